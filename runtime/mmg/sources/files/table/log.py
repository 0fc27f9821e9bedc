"""What a serial monitor saved: ``ax:0.1 ay:-2`` line by line, or lines behind ``10:00:00.000 ->``."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmg_device_profiles.regular_file import open_regular

from mmg.sources.columns import Column, find_times, names_sensors
from mmg.sources.files.table.table import Row
from mmg.sources.files.table.text import LONGEST_CELL, LONGEST_LINE, bounded_lines
from mmg.sources.protocols.text_line import is_number, read_pairs

LOOK_AHEAD_LINES = 100
FEWEST_PAIRS = 3
_MONITOR = re.compile(r"\s*(\d{1,2}:\d\d:\d\d(?:[.,]\d{1,9})?)\s*->\s?(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class LogTable:
    """Lines of names with values, or of values below a line of names; other lines are no rows.

    stamped: whether the monitor's time of day is the first column.
    """

    path: Path
    columns: tuple[Column, ...]
    stamped: bool
    labelled: bool
    rate_hz: float | None = None
    packed: bool = False
    named: bool = True
    preamble: tuple[str, ...] = ()

    @property
    def first(self) -> tuple[str, ...]:
        """The first row, for messages."""
        return tuple(map(str, next(self.rows(), ())))

    def rows(self) -> Iterator[Row]:
        """Every line that is a sample, and every other line of names; None where it lacks a name."""
        names = [column.name for column in self.columns][self.stamped :]
        for stamp, text in _lines(self.path):
            cells: list[str | float | None] = []
            if self.labelled:
                pairs = read_pairs(text)
                cells = list(map(pairs.get, names)) if pairs else []
            elif (parts := _parts(text)) != names and (
                (len(parts) == len(names) and any(map(is_number, parts)))
                or names_sensors(part[:LONGEST_CELL] for part in parts)
            ):
                cells = list(parts)
            if cells:
                yield [stamp, *cells] if self.stamped else cells

    def is_header(self, _row: Row) -> bool:
        """There is none within."""
        return False


def open_log(path: Path) -> LogTable | None:
    """A file that most of its first lines show to be such a log; None for any other. Raises OSError."""
    lines = list(itertools.islice(_lines(path), LOOK_AHEAD_LINES))
    pairs = [found for _, text in lines if (found := read_pairs(text)) and len(found) >= FEWEST_PAIRS]
    if len(pairs) * 2 > len(lines):
        names, labelled = list(pairs[0]), True
    elif sum(stamp is not None for stamp, _ in lines) * 2 > len(lines):
        rows = [_parts(text) for _, text in lines]
        names = next((row for row in rows if len(row) >= FEWEST_PAIRS and not any(map(is_number, row))), [])
        labelled = False
    else:
        return None
    columns = [Column.of(i, name) for i, name in enumerate(names)]
    stamped = bool(names) and lines[-1][0] is not None and not find_times(columns)
    if stamped:
        columns = [Column.of(i, name) for i, name in enumerate(["time", *names])]
    return LogTable(path, tuple(columns), stamped, labelled) if names else None


def _lines(path: Path) -> Iterator[tuple[str | None, str]]:
    """Each line without the monitor's time, and that time where it has one."""
    with io.TextIOWrapper(open_regular(path), encoding="utf-8-sig", errors="replace") as file:
        for line in bounded_lines(file):
            if len(line) > LONGEST_LINE or not line.strip():
                continue
            match = _MONITOR.fullmatch(line.rstrip())
            yield (match[1], match[2]) if match else (None, line.strip())


def _parts(text: str) -> list[str]:
    return [part.strip() for part in re.split("[,;\t]", text)]
