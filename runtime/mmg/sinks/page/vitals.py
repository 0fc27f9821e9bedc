"""What this process costs: processor time and memory, as Linux tells them."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

LATENCY_S = 60.0
"""So much of the past the percentiles are of."""
MOST_LATENCIES = 1200
STATM = Path("/proc/self/statm")


class CpuShare:
    """Percent of one core since it was last asked."""

    def __init__(
        self,
        monotonic_s: Callable[[], float] = time.monotonic,
        process_s: Callable[[], float] = time.process_time,
    ) -> None:
        self._monotonic_s, self._process_s = monotonic_s, process_s
        self._then = monotonic_s(), process_s()

    def percent(self) -> float:
        """0 the first time that no time has passed."""
        now = self._monotonic_s(), self._process_s()
        (then_s, spent_s), self._then = self._then, now
        passed_s = now[0] - then_s
        return round((now[1] - spent_s) / passed_s * 100, 2) if passed_s > 0 else 0.0


def resident_bytes() -> int:
    """Of this process; 0 where the system does not tell."""
    try:
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


class Latencies:
    """Milliseconds of the last minute."""

    def __init__(self) -> None:
        self._kept: deque[tuple[float, float]] = deque(maxlen=MOST_LATENCIES)

    def add(self, now_s: float, latency_ms: float) -> None:
        """Keep one."""
        self._kept.append((now_s, latency_ms))

    def percentiles(self, now_s: float) -> dict[str, float | None]:
        """``p50`` and ``p95``; None where there was none."""
        while self._kept and now_s - self._kept[0][0] > LATENCY_S:
            self._kept.popleft()
        of = sorted(one for _, one in self._kept)
        return {"p50": percentile(of, 50), "p95": percentile(of, 95)}


def percentile(ordered: Iterable[float], percent: int) -> float | None:
    """The nearest rank of what is in order; None of nothing."""
    values = list(ordered)
    if not values:
        return None
    return round(values[min(len(values) * percent // 100, len(values) - 1)], 2)
