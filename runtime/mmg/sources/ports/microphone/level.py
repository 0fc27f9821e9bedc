"""Whether a microphone's level is set so low that what happens hardly shows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mmg.types import Samples

SPAN_S, SPANS = 0.5, 120
"""A minute, judged by the level of each half second."""
LOUDEST_DBFS = -65.0
"""RMS without the mean. A laptop's microphone in a still room hears its own keys at -50 dBFS, and speech louder."""
EVENT_DB, LEAST_EVENTS = 12.0, 6
"""What rises so far above the quietest tenth happened; with fewer in a minute it may just have been a quiet one."""
FLOOR_PART = 0.1
SMALLEST = 1e-12


class Level:
    """Listens to the first channel of what a microphone gives, and has at most one thing to say."""

    def __init__(self, rate_hz: float) -> None:
        self._span = round(rate_hz * SPAN_S)
        self._sum = self._squares = 0.0
        self._samples = 0
        self._levels_dbfs: list[float] = []
        self.note = ""
        """Worth telling once; empty for nothing. It stays."""

    def hear(self, sound: Samples) -> None:
        """``(T, C)`` float32, as it came."""
        if self.note:
            return
        first = sound[:, 0]
        with np.errstate(over="ignore", invalid="ignore"):  # a device that is gone may give any bytes
            self._sum += float(first.sum(dtype=np.float64))
            self._squares += float(np.dot(first, first))
        self._samples += len(first)
        if self._samples >= self._span:
            mean = self._sum / self._samples
            power = max(self._squares / self._samples - mean * mean, SMALLEST)
            self._levels_dbfs.append(10 * math.log10(power))
            self._sum, self._squares, self._samples = 0.0, 0.0, 0
        if len(self._levels_dbfs) == SPANS:
            self._judge(sorted(self._levels_dbfs))
            self._levels_dbfs.clear()

    def _judge(self, levels_dbfs: list[float]) -> None:
        loudest, floor = levels_dbfs[-1], levels_dbfs[int(SPANS * FLOOR_PART)]
        events = sum(level > floor + EVENT_DB for level in levels_dbfs)
        if loudest < LOUDEST_DBFS and events >= LEAST_EVENTS:
            self.note = (
                f"very quiet: nothing above {loudest:.0f} dBFS in a minute: turn the microphone up (alsamixer), or add "
                "gain=20 to its URL"
            )
