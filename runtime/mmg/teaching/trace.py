"""A trace: what one modality gave for consecutive hops, which is all that teaching looks at."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mmg.engine.encoded import EncodedHop

POINTS = 5
"""Of a hop's shape: 10 a second at hops of half a second, which tell motions apart as well as 25 do."""
LARGEST = 256.0
"""From there on a number of 16 bits is not told from one that is an eighth more."""


@dataclass(frozen=True, slots=True)
class Trace:
    """tokens: ``(hops, tokens_per_hop, dim)`` float32. shape: ``(hops, points, channels)`` float32, in the channels'
    units; ``(hops, 0, 0)`` for sound and video, of which nothing raw is kept."""

    tokens: NDArray[np.float32]
    shape: NDArray[np.float32]

    @property
    def hops(self) -> int:
        """How many."""
        return len(self.tokens)

    @property
    def has_shape(self) -> bool:
        """Whether the signal's own shape is known."""
        return bool(self.shape.shape[1])

    def part(self, begin: int, end: int) -> Trace:
        """From this hop of it to before that one."""
        return Trace(self.tokens[begin:end], self.shape[begin:end])

    def each(self) -> list[Trace]:
        """Its hops, one by one."""
        return [self.part(hop, hop + 1) for hop in range(self.hops)]

    def runs(self, is_kept: Sequence[bool]) -> list[Trace]:
        """The stretches of it of which every hop is kept."""
        edges = np.flatnonzero(np.diff([False, *is_kept, False])).reshape(-1, 2)
        return [self.part(begin, end) for begin, end in edges.tolist()]

    def key(self) -> tuple[object, ...]:
        """The same for traces that a file cannot tell apart, and for no others."""
        return *self.tokens.shape, as_kept(self.tokens).tobytes(), *self.shape.shape, as_kept(self.shape).tobytes()

    def is_same(self, other: Trace) -> bool:
        """Whether a file cannot tell them apart."""
        if self.tokens.shape != other.tokens.shape or self.shape.shape != other.shape.shape:
            return False
        # Thousands may be compared, and nearly all differ from the first number on.
        first, second = (float(one.tokens.flat[0]) if one.tokens.size else 0.0 for one in (self, other))
        return abs(first - second) <= 0.01 * (1 + abs(first)) and self.key() == other.key()

    @classmethod
    def of(cls, hops: Sequence[EncodedHop]) -> Trace:
        """The longest run of consecutive hops with tokens, the newest of several; without a hop where there is none."""
        best: list[EncodedHop] = []
        run: list[EncodedHop] = []
        for hop in hops:
            if hop.tokens is None:
                run = []
                continue
            run = [*run, hop] if run and run[-1].hop + 1 == hop.hop else [hop]
            best = run if len(run) >= len(best) else best
        return cls.joined([hop.tokens for hop in best if hop.tokens is not None], [hop.shape for hop in best])

    @classmethod
    def joined(cls, tokens: Sequence[NDArray[Any]], shapes: Sequence[NDArray[Any] | None]) -> Trace:
        """Of consecutive hops. tokens: ``(tokens_per_hop, dim)`` each; shapes: ``(points, channels)`` each, or None."""
        if not tokens:
            return cls(np.zeros((0, 0, 0), np.float32), np.zeros((0, 0, 0), np.float32))
        known = [shape for shape in shapes if shape is not None]
        whole = np.stack(known) if len(known) == len(tokens) else np.zeros((len(tokens), 0, 0))
        return cls(np.stack(tokens).astype(np.float32), whole.astype(np.float32))


def as_kept(array: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
    """As a file keeps it: in little-endian numbers of 16 bits, or of 32 where one is larger than ``LARGEST``, as the
    counts of a light sensor are."""
    return array.astype("<f4" if np.abs(array).max(initial=0.0) > LARGEST else "<f2")


def shape_of(samples: NDArray[Any]) -> NDArray[np.float32]:
    """``(POINTS, channels)``: a hop's samples ``(n, channels)``, averaged over equal parts of it.

    Fewer samples than that stand for themselves, the nearest for each part.
    """
    count = len(samples)
    if count % POINTS == 0:
        return np.asarray(samples.reshape(POINTS, -1, samples.shape[1]).mean(axis=1), np.float32)
    edges = np.linspace(0, count, POINTS + 1)
    parts = [samples[int(a) : max(int(b), int(a) + 1)].mean(axis=0) for a, b in itertools.pairwise(edges)]
    return np.asarray(parts, np.float32)
