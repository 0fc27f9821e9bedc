"""The sound that a page keeps to be played: all of a short recording, and of a long one what is around something."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmg.labels import Label
from mmg.look.adpcm import block_bytes, encode
from mmg.look.decided import Decided

LOWEST_HZ = 8000
BEFORE_S, PIECE_S = 1.0, 5.0
"""A piece begins so long before what is interesting, and lasts so long."""
TAPS_A_STEP = 32
GOLDEN = 0.618034
LOUDEST, QUIETEST = 0.97, 1e-4


@dataclass(frozen=True)
class Room:
    """What fits: ``hops`` hops of sound in all, at the model's rate divided by ``divisor``."""

    hops: int
    divisor: int


def room_for(limit_bytes: int, total_hops: int, rate_hz: float, samples: int) -> Room:
    """The full rate where the whole sound fits with it, else one that is enough for speech.

    samples: in a hop, at ``rate_hz``.
    """
    lowest = max(int(rate_hz // LOWEST_HZ), 1)
    for divisor in range(1, lowest + 1):
        hops = max(limit_bytes, 0) // block_bytes(-(-samples // divisor))
        if hops >= total_hops or divisor == lowest:
            return Room(min(hops, total_hops), divisor)
    raise AssertionError("a divisor of 1 is always tried")


class KeptSound:
    """Takes hops of sound, keeps those that are ``wanted`` at a part of their rate, and encodes them at the end."""

    def __init__(self, wanted: frozenset[int], divisor: int) -> None:
        self.wanted, self.divisor = wanted, divisor
        self._taps = _low_pass(divisor)
        self._tail: tuple[int, NDArray[np.float32]] = (-2, np.empty(0, np.float32))
        self._hops: list[int] = []
        self._blocks: list[NDArray[np.float32]] = []
        self.peak = 0.0

    def push(self, hop: int, sound: NDArray[np.float32]) -> None:
        """Take the ``(samples,)`` of a hop, in order."""
        before, tail = self._tail
        needed = len(self._taps) - 1
        self._tail = (hop, sound[len(sound) - needed :])
        if hop not in self.wanted:
            return
        tail = tail if before == hop - 1 else np.zeros(needed, np.float32)
        joined = np.concatenate([tail, sound])
        block = np.convolve(joined, self._taps, "valid")[:: self.divisor] if needed else sound
        self._hops.append(hop)
        self._blocks.append(block.astype(np.float32))
        self.peak = max(self.peak, float(np.abs(block).max(initial=0.0)))

    def pieces(self) -> list[tuple[int, int]]:
        """Each run of hops that follow one another: the first and how many, in the order of the blocks."""
        found: list[tuple[int, int]] = []
        for hop in self._hops:
            if found and sum(found[-1]) == hop:
                found[-1] = (found[-1][0], found[-1][1] + 1)
            else:
                found.append((hop, 1))
        return found

    @property
    def louder_db(self) -> float:
        """By how much ``encoded`` makes it louder, so that the loudest sample is near full scale."""
        return 20 * math.log10(LOUDEST / max(self.peak, QUIETEST))

    @property
    def block_bytes(self) -> int:
        """How long each encoded hop is; 0 where nothing was kept."""
        return block_bytes(self.block_samples) if self._blocks else 0

    @property
    def block_samples(self) -> int:
        """Samples of a hop, as they were kept; 0 where nothing was."""
        return len(self._blocks[0]) if self._blocks else 0

    def encoded(self) -> bytes:
        """The blocks of ``adpcm.encode``, a hop each, made louder."""
        if not self._blocks:
            return b""
        return encode(np.stack(self._blocks) * (LOUDEST / max(self.peak, QUIETEST)))


def choose_hops(decided: Decided, marks: Sequence[Label], hop_s: float, total_hops: int, most: int) -> frozenset[int]:
    """Which hops to keep where not all fit: around marks, and where a decision changes, is doubtful or wrong.

    Each label has its turn, so that what is rare is heard as well; what room is left is spread over the whole.
    """
    if most >= total_hops:
        return frozenset(range(total_hops))
    before, length = round(BEFORE_S / hop_s), max(round(PIECE_S / hop_s), 1)
    # Steps of the golden ratio: wherever the room ends, they lie evenly over the whole.
    spread = [total_hops * hop_s * (turn * GOLDEN % 1) for turn in range(most)]
    groups = [*_interesting(decided, marks), spread]
    kept: set[int] = set()
    turns = max(map(len, groups))
    for turn in range(turns):
        for group in groups:
            if turn >= len(group):
                continue
            first = max(int(group[turn] / hop_s) - before, 0)
            piece = set(range(first, min(first + length, total_hops))) - kept
            if len(kept) + len(piece) > most:
                return frozenset(kept)
            kept |= piece
    return frozenset(kept)


def _interesting(decided: Decided, marks: Sequence[Label]) -> list[list[float]]:
    """Times in groups that take turns, what matters most first in each."""
    groups = [[mark.start_s for mark in marks]]
    if len(decided.times_s):
        changes = np.flatnonzero(np.diff(decided.label, prepend=-1))
        lengths = np.diff(changes, append=len(decided.label))
        begins, label = decided.times_s[changes], decided.label[changes]
        for place in np.unique(label):
            # The longest first; of equal ones not those at the beginning.
            here = lengths[label == place]
            order = np.lexsort((np.arange(len(here)) * GOLDEN % 1, -here))
            groups.append([float(time) for time in begins[label == place][order]])
        wrong = (decided.truth >= 0) & (decided.truth != decided.label)
        doubtful = np.argsort(decided.confidence - wrong, kind="stable")[: max(len(wrong) // 10, 1)]
        groups.append([float(time) for time in decided.times_s[doubtful]])
    return groups


def _low_pass(divisor: int) -> NDArray[np.float32]:
    """A windowed sinc, of one tap where nothing is to be left out."""
    if divisor == 1:
        return np.ones(1, np.float32)
    half = TAPS_A_STEP * divisor // 2
    places = np.arange(-half, half + 1)
    taps = np.sinc(places * 0.9 / divisor) * np.hamming(2 * half + 1)
    even: NDArray[np.float32] = (taps / taps.sum()).astype(np.float32)
    return even
