"""A signal's outline: the least and the greatest value in each bin of time, in bins that widen as the signal grows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmg.types import Chunk

NARROWEST_NS = 1_000_000
STILL_AS_FULL = 0.75
"""Bins that widen and stay so full were narrower than the samples are apart: every other was empty."""
NOTHING = -32768
"""What stands for an empty bin among whole numbers."""


class Envelope:
    """The least and greatest values of ``channels`` channels, in ``most_bins`` bins at most, however long they go on.

    Bins count from ``origin_ns`` and are a millisecond wide, times the least power of two with which they hold all.
    The same samples give the same bins, however they were cut into chunks. What was before the origin is left out.
    """

    def __init__(self, origin_ns: int, channels: int, most_bins: int) -> None:
        self._origin_ns, self._most = origin_ns, most_bins - most_bins % 2
        self.bin_ns = NARROWEST_NS
        self._low = np.full((self._most, channels), np.nan, np.float32)
        self._high = self._low.copy()
        self._used = self._samples = 0

    @property
    def samples_a_bin(self) -> float:
        """How many samples a bin stands for, of those that are not empty."""
        return self._samples / max(self._full(), 1)

    def push(self, chunk: Chunk) -> None:
        """Take ``(T, C)`` samples; those that are not finite count as none."""
        samples = np.where(np.isfinite(chunk.samples), chunk.samples, np.float32(np.nan)).astype(np.float32)
        places = (chunk.times_ns - self._origin_ns) // self.bin_ns
        kept = places >= 0
        places, samples = places[kept], samples[kept]
        if not len(places):
            return
        self._samples += len(places)
        if (np.diff(places) < 0).any():
            order = np.argsort(places, kind="stable")
            places, samples = places[order], samples[order]
        while places[-1] >= self._most:
            self._widen()
            places //= 2
        firsts = np.flatnonzero(np.diff(places, prepend=-1))
        bins = places[firsts]
        self._low[bins] = np.fmin(self._low[bins], np.fmin.reduceat(samples, firsts, axis=0))
        self._high[bins] = np.fmax(self._high[bins], np.fmax.reduceat(samples, firsts, axis=0))
        self._used = max(self._used, int(bins[-1]) + 1)

    def bins(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The least and greatest values, both ``(bins, C)``, not a number where nothing was; ``bin_ns`` each.

        Bins that are narrower than the samples are apart are widened first.
        """
        while self._used > 1 and (full := self._full()):
            low, high, bin_ns, used = self._low.copy(), self._high.copy(), self.bin_ns, self._used
            self._widen()
            if self._full() < STILL_AS_FULL * full:
                self._low, self._high, self.bin_ns, self._used = low, high, bin_ns, used
                break
        return self._low[: self._used], self._high[: self._used]

    def _full(self) -> int:
        return int(np.isfinite(self._low[: self._used]).any(axis=1).sum())

    def _widen(self) -> None:
        half = self._most // 2
        self._low[:half] = np.fmin(self._low[0::2], self._low[1::2])
        self._high[:half] = np.fmax(self._high[0::2], self._high[1::2])
        self._low[half:] = self._high[half:] = np.nan
        self.bin_ns, self._used = self.bin_ns * 2, (self._used + 1) // 2


def quantised(
    low: NDArray[np.float32], high: NDArray[np.float32], finest: float
) -> tuple[float, NDArray[np.int16], NDArray[np.int16]]:
    """Whole multiples of a step, which is ``finest`` or what the largest value needs; ``NOTHING`` where nothing was."""
    largest = max((float(np.nanmax(np.abs(part))) for part in (low, high) if np.isfinite(part).any()), default=0.0)
    step = max(finest, largest / 32767)

    def whole(values: NDArray[np.float32]) -> NDArray[np.int16]:
        known = np.isfinite(values)
        counts = np.round(np.where(known, values, 0) / step).clip(-32767, 32767)
        return np.where(known, counts, NOTHING).astype(np.int16)

    return step, whole(low), whole(high)
