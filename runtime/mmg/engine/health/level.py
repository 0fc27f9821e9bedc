"""Sound that is so quiet throughout that its gain must be far too low."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mmg.engine.health.finding import Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUIET = "very quiet"
QUIET_DBFS, QUIET_S = -58.0, 10.0
"""RMS of a hop, without the mean. Of ESC-10's 240 sounds the quietest reach -41 dBFS. A laptop's microphone that hears
its keys in a still room reaches -56 within 10 s, as 13 recordings show. The demo 30 dB down stays under it."""
AIM_DBFS, MOST_DB = -30.0, 60
SMALLEST = 1e-12


class Level:
    """Whether a sound was ever as loud as sound is. Once it was, its gain is right, and a quiet room is quiet."""

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._samples, self._loudest_dbfs = 0, -math.inf
        self._is_known = False
        self.finding: Finding | None = None

    def take(self, samples: NDArray[np.float32]) -> None:
        """Look at a hop ``(T, 1)``; silence, which is told otherwise, is passed over."""
        if self._is_known:
            return
        first = samples[:, 0]
        with np.errstate(over="ignore", invalid="ignore"):  # a driver may give any bytes
            power = float(np.dot(first, first)) / len(first) - float(np.mean(first, dtype=np.float64)) ** 2
        level = 10 * math.log10(max(power, SMALLEST))
        self._loudest_dbfs = max(self._loudest_dbfs, level)
        self._samples += len(first)
        if level > QUIET_DBFS:
            self._is_known, self.finding = True, None
        elif self.finding is None and self._samples >= QUIET_S * self._rate_hz:
            text = f"{QUIET}: nothing above {self._loudest_dbfs:.0f} dBFS in its first {QUIET_S:.0f} s"
            gain_db = min(math.ceil((AIM_DBFS - self._loudest_dbfs) / 10) * 10, MOST_DB)
            self.finding = Finding("quiet", text, is_fault=False, option="gain", factor=gain_db)
