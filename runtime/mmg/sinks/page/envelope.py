"""What a page may show of a signal: how far it went up and down, and nothing that could be heard or seen again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mmg.types import Chunk, Samples

PAIRS = 8
"""Of each hop."""
MOST_CHUNKS = 64
AXES = 3
"""A signal's first three channels are the acceleration's."""


class Envelope:
    """Pairs of low and high for the samples of a hop.

    kind: of the modality. For a signal it is the acceleration's length in m/s^2, for audio the level as a fraction of
    full scale, low its root mean square and high its peak. Of video there is none.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._chunks: list[Chunk] = []
        self.rate_hz = 0.0
        """Samples a second: as declared, or as they came in the newest hop."""

    def add(self, chunk: Chunk) -> None:
        """Keep the samples for a moment; pictures are not looked at."""
        times_ns = chunk.times_ns
        if chunk.rate_hz:
            self.rate_hz = chunk.rate_hz
        elif len(times_ns) > 1 and times_ns[-1] > times_ns[0]:
            self.rate_hz = (len(times_ns) - 1) / (int(times_ns[-1]) - int(times_ns[0])) * 1e9
        if self._kind != "video":
            self._chunks.append(chunk)
            del self._chunks[:-MOST_CHUNKS]

    def forget(self) -> None:
        """Of what was kept, nothing is wanted."""
        self._chunks.clear()

    def pairs(self) -> list[list[float]]:
        """The envelope of all that was kept, oldest first, and keep none of it. Empty where nothing came."""
        chunks, self._chunks = self._chunks, []
        if not chunks:
            return []
        samples = np.concatenate([chunk.samples for chunk in chunks]).astype(np.float64)
        parts = np.array_split(np.nan_to_num(samples, posinf=0.0, neginf=0.0), min(PAIRS, len(samples)))
        return [_level(part) if self._kind == "audio" else _length(part) for part in parts if len(part)]


def _level(part: Samples) -> list[float]:
    flat = part.ravel()
    return _rounded(float(np.sqrt(np.mean(np.square(flat)))), float(np.abs(flat).max()))


def _length(part: Samples) -> list[float]:
    lengths = np.sqrt(np.square(part[:, :AXES]).sum(axis=1))
    return _rounded(float(lengths.min()), float(lengths.max()))


def _rounded(*figures: float) -> list[float]:
    return [round(figure, 4) for figure in figures]
