"""Lines for a terminal: wrapped, aligned, in colours or not, and in ASCII where it cannot show more."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from mmg.printable import printable

BOLD, DIM, RED, YELLOW, GREEN = "1", "2", "31", "33", "32"
VALID, INVALID, OVER, WARNED = "✓", "✗", "▲", "!"
ASCII = str.maketrans({"✓": "+", "✗": "x", "▲": "^", "▼": "v", "→": ">"})


class Lines:
    """Collects lines. What a report or a device names is printed without what it would do to the terminal."""

    def __init__(self, width: int, *, colours: bool, ascii: bool) -> None:
        self.width = width
        self._colours, self._ascii = colours, ascii
        self._lines: list[str] = []

    def add(self, text: str = "", colour: str = "") -> None:
        """One line as it is."""
        text = printable(text.rstrip())
        if self._ascii:
            text = text.translate(ASCII).encode("ascii", "backslashreplace").decode()
        self._lines.append(f"\x1b[{colour}m{text}\x1b[0m" if colour and self._colours else text)

    def wrap(self, text: str, colour: str = "", *, start: str = "  ", then: str = "    ") -> None:
        """As many lines as it takes."""
        glued = text.replace(" %", "\0%")  # a figure and its unit stay on one line
        for line in textwrap.wrap(
            glued, self.width, initial_indent=start, subsequent_indent=then, break_on_hyphens=False
        ):
            self.add(line.replace("\0%", " %"), colour)

    def section(self, title: str, items: Sequence[str], colour: str = "") -> None:
        """A title and its items, after an empty line; nothing where there are none."""
        if items:
            self.add()
            self.add(title, BOLD)
            for item in items:
                self.wrap(item, colour)

    def text(self) -> str:
        """All of it, with a line end."""
        return "\n".join(self._lines) + "\n"


def widths_of(rows: Sequence[Sequence[str]]) -> list[int]:
    """The widest cell of each column."""
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def align(row: Sequence[str], widths: Sequence[int], gutter: int = 2) -> str:
    """The first cell to the left, the others, which are figures, to the right. What is too long ends in ``~``."""
    first = row[0] if len(row[0]) <= widths[0] else f"{row[0][: widths[0] - 1]}~"
    cells = [f"{first:<{widths[0]}}", *(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))]
    return (" " * gutter).join(cells)
