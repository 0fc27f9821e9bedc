"""Hops that take far too long: each is told of while a model works on it, and again when it is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

MOST_HOPS = 10
"""A model that takes so many hops for one hangs, or is far too large for this machine."""


class SlowHops:
    """What the engine works on, and for how long. The engine's thread tells, and another one looks.

    hop_s: seconds from one decision to the next. report: called by the engine's thread with each line that is worth
    reading; report_hanging: called by the thread that looks, while the other one hangs.
    """

    def __init__(
        self,
        hop_s: float,
        report: Callable[[str], None],
        report_hanging: Callable[[str], None],
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._limit_s, self._report, self._report_hanging = hop_s * MOST_HOPS, report, report_hanging
        self._monotonic_ns = monotonic_ns
        self._lock = threading.Lock()
        self._work: tuple[str, int] | None = None
        self._told: tuple[str, int] | None = None
        self.count = 0
        """How many took longer than ``MOST_HOPS`` hops."""

    def at_work(self, place: str) -> None:
        """By the engine's thread: which model it begins to work with, empty when that is over."""
        before = self._work
        self._work = (place, self._monotonic_ns()) if place else None
        if before is not None and self._took_s(before) > self._limit_s:
            with self._lock:  # the line that it hangs comes first, or not at all
                self._told = before
            self.count += 1
            self._report(f"{before[0]} took {self._took_s(before):.1f} s for a hop; {self.count} so far")

    def at_work_on(self) -> str:
        """Which model works now, and for how long; empty where none does."""
        work = self._work
        return f"{work[0]}, at work for {self._took_s(work):.1f} s," if work else ""

    def look(self) -> None:
        """By another thread: tell of what hangs."""
        with self._lock:
            work = self._work
            if work is not None and work is not self._told and self._took_s(work) > self._limit_s:
                self._told = work
                self._report_hanging(f"{work[0]} hangs: a hop takes {self._took_s(work):.1f} s so far")

    def wait_s(self) -> float:
        """How long to wait until the next look: till a hop that is at work would be too long, and else as long."""
        work = self._work
        if work is None or work is self._told:
            return self._limit_s
        return max(self._limit_s - self._took_s(work), 0.0)

    def _took_s(self, work: tuple[str, int]) -> float:
        return (self._monotonic_ns() - work[1]) / 1e9
