"""What is told while a page is made: lines worth reading, which the page keeps, and how far reading has come."""

from __future__ import annotations

import time
from collections.abc import Callable

EVERY_S = 2.0


class Notes:
    """Tells each line once, and keeps it: recordings are read twice, and have no more to say the second time."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self.lines: list[str] = []

    def __call__(self, line: str) -> None:
        """Take a line."""
        if line not in self.lines:
            self.lines.append(line)
            self._report(line)


class Progress:
    """Tells a line when ``EVERY_S`` seconds have passed since the last one, or since it was made."""

    def __init__(self, report: Callable[[str], None], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._report, self._monotonic = report, monotonic
        self._due_s = monotonic() + EVERY_S

    def tick(self, what: str, done_s: float, of_s: float) -> None:
        """``done_s`` of about ``of_s`` seconds are done."""
        if self._monotonic() >= self._due_s:
            self._due_s = self._monotonic() + EVERY_S
            self._report(f"{what} {done_s:.0f} of about {max(of_s, done_s):.0f} s")
