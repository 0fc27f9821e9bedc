"""The text of a CSV file: its encoding, delimiter and header, and its rows."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from mmg.errors import SourceError

HEAD_BYTES = 65_536
LONGEST_LINE = 100_000
COMMENTS = ("#", "%", "//")


@dataclass(frozen=True, slots=True)
class CsvText:
    """A CSV file as it is written. ``names`` is empty where it has no header; ``width`` counts the columns."""

    url: str
    path: Path
    encoding: str
    delimiter: str
    names: tuple[str, ...]
    width: int

    def rows(self) -> Iterator[list[str]]:
        """Every data row as cells. A row that is no CSV (a quote left open, a line without end) is an empty list."""
        with _reading(self.path, self.encoding) as file:
            for number, row in enumerate(_split(_lines(file), self.delimiter)):
                if number > 0 or _cells(row) != self.names:
                    yield row


def open_text(url: str, path: Path, delimiter: str | None) -> CsvText:
    """Look at a file's first lines. Raises SourceError where it is not text or holds no line."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    encoding = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    if b"\0" in head and encoding != "utf-16":
        raise SourceError(url, "is not text: a signal is read from a CSV file")
    comment = ""
    with _reading(path, encoding) as file:
        for line in file:
            if line.lstrip().startswith(COMMENTS):
                comment = line
            elif line.strip():
                break
        else:
            raise SourceError(url, "contains no data")
    if delimiter is None:
        delimiter = _sniffed(line)
    first = _cells(next(_split(_lines([line]), delimiter), []))
    above = _cells(next(_split(iter([comment.lstrip(" #%/\t")]), delimiter), []))
    names = first if _is_header(first) else above if len(above) == len(first) and _is_header(above) else ()
    return CsvText(url, path, encoding, delimiter, names, len(first))


def _reading(path: Path, encoding: str) -> TextIO:
    return path.open(encoding=encoding, errors="replace")


def _lines(file: Iterable[str]) -> Iterator[str]:
    for line in file:
        if '"' in line or "\0" in line or len(line) > LONGEST_LINE:
            broken = line.count('"') % 2 or "\0" in line or len(line) > LONGEST_LINE
            yield "\n" if broken else line
        elif not line.isspace() and not line.lstrip().startswith(COMMENTS):
            yield line


def _split(lines: Iterator[str], delimiter: str) -> Iterator[list[str]]:
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True)


def _cells(row: list[str]) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in row)


def _sniffed(line: str) -> str:
    bare = re.sub(r'"[^"]*"', "", line)
    best = max(",;\t|", key=bare.count)
    if best in bare:
        return best
    return " " if re.search(r"\S +\S", bare) else ","


def _is_header(cells: tuple[str, ...]) -> bool:
    """Mostly words. A row of data may hold a word too, such as its label."""
    return sum(map(_is_number, cells)) * 2 < len(cells)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
