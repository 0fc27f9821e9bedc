"""Progress of a command: a line on standard error now and then, with the time to go."""

from __future__ import annotations

import time
from collections.abc import Callable

EVERY_S = 2.0

Reporter = Callable[[str], None]


class Counter:
    """Says how many of ``total`` are done and how long the rest will take, at most every two seconds."""

    def __init__(self, report: Reporter, what: str, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._report, self._what, self._total, self._clock = report, what, total, clock
        self._began_s = self._told_s = clock()
        self._done = 0

    def step(self) -> None:
        """One more is done."""
        self._done += 1
        now_s = self._clock()
        if now_s - self._told_s >= EVERY_S:
            self._told_s = now_s
            left_s = (now_s - self._began_s) / self._done * (self._total - self._done)
            self._report(f"{self._what}: {self._done}/{self._total}, {left_s:.0f} s to go")
