"""A spectrogram of a whole day: the power of each band in columns of time that widen as the sound grows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

COLUMNS_A_HOP = 32
"""At first: 16 ms a column, with hops of half a second."""
MOST_BANDS = 48
LEVELS = 63
"""How many shades there are; 0 stands for no sound."""
FAINTEST, NARROWEST_DB = 1e-12, 40.0


class Spectrogram:
    """Mean power in bands of equal width in mel, of hops of ``samples`` samples at ``rate_hz``.

    Hops come in order, some may be missing. No more than ``most_columns`` columns are kept: they are as wide as a hop's
    32nd part, times the least power of two with which they hold all.
    """

    def __init__(self, rate_hz: float, samples: int, most_columns: int) -> None:
        self._step = max(samples // COLUMNS_A_HOP, 1)
        self._per_hop = samples // self._step
        self._transform = 1 << (2 * self._step - 1).bit_length()
        self._window = np.hanning(2 * self._step).astype(np.float32)
        # A sine of full scale has 0 dB (Parseval: half the transform's length, times the mean square of a sine).
        self._full_scale = self._transform * float((self._window**2).sum()) / 4
        bins = _band_edges(rate_hz, self._transform)
        self._firsts = bins[:-1]
        self.edges_hz = bins * (rate_hz / self._transform)
        self._most = most_columns - most_columns % 2
        self._power = np.zeros((self._most, len(self._firsts)), np.float32)
        self._counts = np.zeros(self._most, np.int32)
        self._tail: tuple[int, NDArray[np.float32]] = (-2, np.zeros(self._step, np.float32))
        self._widened, self._used = 0, 0

    @property
    def columns_a_hop(self) -> float:
        """How many columns stand for a hop; less than one where each stands for several."""
        return self._per_hop / (1 << self._widened)

    def push(self, hop: int, sound: NDArray[np.float32]) -> None:
        """Take the ``(samples,)`` of a hop."""
        before, tail = self._tail
        tail = tail if before == hop - 1 else np.zeros(self._step, np.float32)
        self._tail = (hop, sound[-self._step :])
        if hop < 0:
            return
        joined = np.concatenate([tail, sound])
        frames = np.lib.stride_tricks.sliding_window_view(joined, 2 * self._step)[:: self._step][: self._per_hop]
        spectrum = np.fft.rfft(frames * self._window, self._transform)
        bands = np.add.reduceat(spectrum.real**2 + spectrum.imag**2, self._firsts, axis=1) / self._full_scale
        columns = (hop * self._per_hop + np.arange(self._per_hop)) >> self._widened
        while columns[-1] >= self._most:
            self._widen()
            columns >>= 1
        firsts = np.flatnonzero(np.diff(columns, prepend=-1))
        self._power[columns[firsts]] += np.add.reduceat(bands, firsts, axis=0).astype(np.float32)
        self._counts[columns[firsts]] += np.diff(firsts, append=len(columns))
        self._used = max(self._used, int(columns[-1]) + 1)

    def levels(self) -> tuple[NDArray[np.uint8], float, float]:
        """Shades ``(columns, bands)`` from 1 to ``LEVELS``, 0 where there was no sound, and the dB of both ends.

        The shades reach from what is quiet in this sound to what is loud in it.
        """
        heard = self._counts[: self._used] > 0
        mean = self._power[: self._used] / np.maximum(self._counts[: self._used, None], 1)
        decibels = 10 * np.log10(np.maximum(mean, FAINTEST))
        if not heard.any():
            return np.zeros((0, len(self._firsts)), np.uint8), -NARROWEST_DB, 0.0
        lowest, highest = (float(value) for value in np.percentile(decibels[heard], [5, 99.9]))
        lowest = min(lowest, highest - NARROWEST_DB)
        shades = 1 + np.round((decibels - lowest) / (highest - lowest) * (LEVELS - 1)).clip(0, LEVELS - 1)
        return np.where(heard[:, None], shades, 0).astype(np.uint8), lowest, highest

    def _widen(self) -> None:
        half = self._most // 2
        self._power[:half] = self._power[0::2] + self._power[1::2]
        self._counts[:half] = self._counts[0::2] + self._counts[1::2]
        self._power[half:], self._counts[half:] = 0, 0
        self._widened, self._used = self._widened + 1, (self._used + 1) // 2


def _band_edges(rate_hz: float, transform: int) -> NDArray[np.int64]:
    """The first bin of each band and the end of the last, at equal steps of mel (O'Shaughnessy 1987)."""
    highest = 2595 * np.log10(1 + rate_hz / 2 / 700)
    hz = 700 * (10 ** (np.linspace(0, highest, MOST_BANDS + 1) / 2595) - 1)
    # Bin 0 is no sound but an offset, and a band has at least one bin.
    return np.unique(np.round(hz * transform / rate_hz).astype(np.int64).clip(1, transform // 2))
