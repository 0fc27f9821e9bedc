"""What is told while a page is made: lines worth reading, which the page keeps."""

from __future__ import annotations

from collections.abc import Callable


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
