"""The text of a table: its encoding, delimiter and header, and its rows."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from mmg_device_profiles.regular_file import open_regular

from mmg.errors import SourceError
from mmg.sources.columns import NO_UNITS, Column
from mmg.sources.files.table.table import Row
from mmg.sources.units import canonical

HEAD_BYTES = 65_536
MINUS = "\u2212"
"""As word processors and some locales write it."""
LONGEST_LINE = 100_000
LONGEST_CELL = 200
"""What is longer is no figure."""
COMMENTS = ("#", "%", "//")
DELIMITERS = ("\t", ";", "|", ",", " ")
"""Where two suit as well, the first: commas may be decimal, and blanks may stand within cells."""
HEADER_ROWS = 4
PACKED = {
    b"\x1f\x8b": "packed by gzip: unpack it (gunzip)",
    b"BZh": "packed by bzip2: unpack it (bunzip2)",
    b"\xfd7zXZ": "packed by xz: unpack it (unxz)",
    b"7z\xbc\xaf": "a 7z archive: unpack it",
    b"PK\x03\x04": "a spreadsheet (.xlsx) or a zip archive: save it as CSV, or name it .zip",
    b"\xd0\xcf\x11\xe0": "a spreadsheet (.xls): save it as CSV",
    b"PAR1": "Parquet: save it as CSV",
    b"\x93NUMPY": "a NumPy array: save it as CSV",
    b"MATLAB": "a MATLAB file: save it as CSV",
}

_NUMBER = re.compile(r"\s*[-+]?(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?\s*|\s*nan\s*|\s*[-+]?inf\s*", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"\d,\d")  # to search for no more: a longer one takes time by the square of a cell
_QUOTED_COMMA = re.compile(r'"(\s*[-+]?\d+),(\d+(?:e[-+]?\d+)?\s*)"', re.IGNORECASE)
_THOUSANDS = re.compile(r'"\s*[-+]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?\s*"')
_QUOTED_COMMAS = re.compile(r'"\s*[-+]?\d+(?:,\d+)+(?:\.\d+)?\s*"')
_POINT = re.compile(r"\d\.\d")
_STAMP = re.compile(r"\s*(\d{1,4}[-/.]\w{1,3}[-/.]\d{2,4}.*|\d{1,2}:\d\d.*)")


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table as text. ``columns`` are numbered where there is no header, and ``named`` tells whether there is one.

    preamble: the lines above the header. first: the first row, for messages. thousands: whether commas within quotes
    part the thousands of a figure.
    """

    path: Path
    encoding: str
    delimiter: str
    decimal_comma: bool
    line_mark: str
    columns: tuple[Column, ...]
    named: bool
    preamble: tuple[str, ...]
    first: tuple[str, ...]
    header: frozenset[tuple[str, ...]]
    begin: int
    rate_hz: float | None = None
    packed: bool = False
    thousands: bool = False

    def rows(self) -> Iterator[list[str]]:
        """Every data row as cells. A row that is no CSV (a quote left open, a line without end) is an empty list."""
        with _reading(self.path, self.encoding) as file:
            lines = _joined(itertools.islice(bounded_lines(file), self.begin, None), thousands=self.thousands)
            yield from _split(_clean(lines, self.delimiter, self.line_mark, self.decimal_comma), self.delimiter)

    def last_rows(self, size: int) -> list[list[str]]:
        """The rows in the last ``size`` bytes, without the first, which may be cut."""
        with open_regular(self.path) as file:
            file.seek(-min(size, self.path.stat().st_size), 2)
            tail = file.read()
            file.seek(0)
            is_big_endian = file.read(2) == codecs.BOM_UTF16_BE
        tail = tail[len(tail) % 2 :] if self.encoding.startswith("utf-16") else tail
        encoding = ("utf-16-be" if is_big_endian else "utf-16-le") if self.encoding == "utf-16" else self.encoding
        lines = _joined(tail.decode(encoding, errors="replace").splitlines(keepends=True)[1:], thousands=self.thousands)
        return list(_split(_clean(lines, self.delimiter, self.line_mark, self.decimal_comma), self.delimiter))

    def is_header(self, row: Row) -> bool:
        """Whether a row within the data is the header again, as a logger that restarts writes it."""
        return _cells(row) in self.header


def open_text(url: str, path: Path, delimiter: str | None, skip: int) -> TextTable:
    """Look at a file's first lines. Raises SourceError where it is not text or holds no line.

    delimiter: None finds it. skip: so many lines are passed over, whatever they hold.
    """
    encoding = _encoding(url, path)
    with _reading(path, encoding) as file:
        head = _head(file)
    if not any(line.strip() for line in head):
        raise SourceError(url, "contains no data")
    hinted = re.fullmatch(r'"?sep=(.)"?\s*', head[skip]) if skip < len(head) else None
    begin = skip + bool(hinted)
    if delimiter is None and hinted:
        delimiter = hinted[1]
    return _table(url, path, encoding, head, begin, (delimiter,) if delimiter else DELIMITERS)


def _table(url: str, path: Path, encoding: str, head: list[str], begin: int, delimiters: Sequence[str]) -> TextTable:
    thousands = _parts_thousands(head[begin:])
    head = list(_joined(head, thousands=thousands))
    # Numbers behind which each line has a ";" that separates nothing are "0.5;" otherwise.
    marks = [mark for mark in (";", ",") if _each_ends_with(head[begin:], mark)]
    best, delimiter, decimal_comma = 0, "", False
    for one in delimiters:
        parted = [line for line in head[begin:] if one in line]  # any other line is a single cell, and no row of data
        for comma in (False, True) if one != "," or _quotes_decimals(parted) else (False,):
            mark = marks[0] if marks and marks[0] != one else ""
            fits = _count_data([_row(line, one, mark, comma) for line in parted])
            if fits > best:
                best, delimiter, decimal_comma = fits, one, comma
    if not best:
        return _without_data(url, path, encoding, head, begin, delimiters)
    mark = marks[0] if marks and marks[0] != delimiter else ""
    grid = [_row(line, delimiter, mark, decimal_comma) for line in head]
    data = _first_data(grid, begin)
    names, units, above = _header(grid, head, begin, data, delimiter)
    width = max(len(grid[data]), len(names))
    columns = tuple(
        Column.of(i, names[i] if i < len(names) else str(i), units[i] if i < len(units) else "") for i in range(width)
    )
    first = tuple(grid[data])
    header = frozenset(_cells(row) for row in grid[above:data] if row)
    preamble = tuple(line.strip() for line in head[:above] if line.strip())
    return TextTable(
        path,
        encoding,
        delimiter,
        decimal_comma,
        mark,
        columns,
        bool(names),
        preamble,
        first,
        header,
        data,
        thousands=thousands,
    )


def _without_data(
    url: str, path: Path, encoding: str, head: list[str], begin: int, delimiters: Sequence[str]
) -> TextTable:
    """A table whose first lines hold no row of numbers: its header is the first line."""
    place = next((i for i in range(begin, len(head)) if head[i].strip() and not _is_comment(head[i])), None)
    if place is None:
        raise SourceError(url, "contains no data")
    line = head[place]
    if len(line) > LONGEST_LINE:
        raise SourceError(url, "is one long line: a table has a line for each sample")
    bare = re.sub(r'"[^"]*"', "", line)
    delimiter = max(delimiters, key=lambda mark: (bare.count(mark), mark != " "))
    names = _row(line, delimiter, "", False)
    columns = tuple(Column.of(i, name) for i, name in enumerate(names))
    header = frozenset([_cells(names)])
    return TextTable(path, encoding, delimiter, False, "", columns, True, (), (), header, place + 1)


def _header(
    grid: list[list[str]], head: list[str], begin: int, data: int, delimiter: str
) -> tuple[list[str], list[str], int]:
    """The names, the row of units below them, and the line at which they begin."""
    width = len(grid[data])
    rows: list[tuple[int, list[str]]] = []
    for place in range(data - 1, begin - 1, -1):
        line = head[place]
        if not line.strip():
            continue
        cells = _row(line.strip().lstrip(" #%/\t"), delimiter, "", False) if _is_comment(line) else grid[place]
        if abs(len(cells) - width) > 1 or _is_data(cells) or len(rows) == HEADER_ROWS or len(cells) < 2:
            break
        if cells.count("") * 2 > len(cells) and any(_tells_all(below) for _, below in rows):
            break  # a preamble that a spreadsheet has filled up with empty cells
        rows.append((place, cells))
    if not rows:
        return [], [], data
    names, units = rows[-1][1], [""] * width
    for _, cells in reversed(rows[:-1]):
        known = [canonical(cell) for cell in cells]
        if sum(unit is not None for unit in known) * 2 >= sum(cell.lower() not in NO_UNITS for cell in cells) > 0:
            units = cells
        else:
            names = [f"{name} {cell}".strip() for name, cell in itertools.zip_longest(names, cells, fillvalue="")]
    return names, units, rows[-1][0]


def _tells_all(cells: Sequence[str]) -> bool:
    """Whether a row of a header needs none above it: each column has a name of its own."""
    return "" not in cells and len(set(cells)) == len(cells)


def _encoding(url: str, path: Path) -> str:
    with open_regular(path) as file:
        head = file.read(HEAD_BYTES)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in head:
        even, odd = head[::2].count(0), head[1::2].count(0)
        if max(even, odd) > len(head) // 8 and min(even, odd) == 0:
            return "utf-16-le" if odd else "utf-16-be"
        way = next((way for begin, way in PACKED.items() if head.startswith(begin)), None)
        raise SourceError(url, f"is {way}" if way else "is not text: a signal is read from a table (CSV, JSON)")
    try:
        codecs.getincrementaldecoder("utf-8")("strict").decode(head)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def _reading(path: Path, encoding: str) -> TextIO:
    return io.TextIOWrapper(open_regular(path), encoding=encoding, errors="replace")


def _head(file: TextIO) -> list[str]:
    lines, size = [], 0
    for line in bounded_lines(file):
        lines.append(line)
        size += len(line)
        if size > HEAD_BYTES:
            break
    return lines


def bounded_lines(file: TextIO) -> Iterator[str]:
    """Lines, of which none is held that is longer than ``LONGEST_LINE`` by more than one piece."""
    while line := file.readline(LONGEST_LINE + 1):
        yield line
        # Its rest is passed over only if more is asked for: a file of one line is refused at once.
        while line[-1] != "\n" and (line := file.readline(LONGEST_LINE)):
            pass


def _quotes_decimals(lines: Iterable[str]) -> bool:
    """Whether a comma within quotes is a decimal one: that of "9,812" alone may as well part the thousands."""
    return any(not _THOUSANDS.fullmatch(match[0]) for line in lines for match in _QUOTED_COMMA.finditer(line))


def _parts_thousands(lines: Sequence[str]) -> bool:
    """Whether commas within quotes part thousands for certain: each could, and a point is what is decimal."""
    quoted = [match[0] for line in lines for match in _QUOTED_COMMAS.finditer(line)]
    return bool(quoted) and all(map(_THOUSANDS.fullmatch, quoted)) and any(map(_POINT.search, lines))


def _joined(lines: Iterable[str], *, thousands: bool) -> Iterable[str]:
    """The lines with ``"1,234"`` as ``"1234"`` where commas part thousands."""
    return (_THOUSANDS.sub(lambda found: found[0].replace(",", ""), line) for line in lines) if thousands else lines


def _clean(lines: Iterable[str], delimiter: str, mark: str, decimal_comma: bool) -> Iterator[str]:
    for line in lines:
        if '"' in line or "\0" in line or len(line) > LONGEST_LINE:
            broken = line.count('"') % 2 or "\0" in line or len(line) > LONGEST_LINE
            if broken:
                yield "\n"
                continue
        elif not line[:1].isdigit() and (line.isspace() or line.lstrip().startswith(COMMENTS)):
            continue
        if MINUS in line:
            line = line.replace(MINUS, "-")
        if mark:
            line = line.rstrip().removesuffix(mark)
        if decimal_comma:
            line = _QUOTED_COMMA.sub(r'"\1.\2"', line) if delimiter == "," else line.replace(",", ".")
        yield line


def _split(lines: Iterator[str], delimiter: str) -> Iterator[list[str]]:
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True)


def _row(line: str, delimiter: str, mark: str, decimal_comma: bool) -> list[str]:
    """One line's cells, trimmed; none of a comment, or of what is no CSV."""
    if decimal_comma and not _DECIMAL_COMMA.search(line):
        decimal_comma = False  # a header may have commas that mean themselves
    cells = next(_split(_clean(io.StringIO(line), delimiter, mark, decimal_comma), delimiter), [])
    return list(_cells(cells))


def _cells(row: Row) -> tuple[str, ...]:
    return tuple(str(cell).strip() for cell in row)


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith(COMMENTS)


def _each_ends_with(lines: list[str], mark: str) -> bool:
    ends = [line.rstrip().endswith(mark) for line in lines if line.strip() and not _is_comment(line)]
    return len(ends) > 1 and sum(ends) >= 0.9 * len(ends)


def _is_data(cells: Sequence[str]) -> bool:
    """Mostly figures. A row of data may hold a word too, such as its label."""
    figures = [cell for cell in cells if _is_number(cell)]
    return len(figures) * 2 >= max(len(cells), 1) and any(map(_NUMBER.fullmatch, figures))


def _is_number(cell: str) -> bool:
    return len(cell) < LONGEST_CELL and bool(_NUMBER.fullmatch(cell) or _STAMP.fullmatch(cell))


def _count_data(grid: list[list[str]]) -> int:
    """How many figures stand in rows of data that are as wide as most of them."""
    rows = [row for row in grid if len(row) > 1 and _is_data(row)]
    if not rows:
        return 0
    [(width, count)] = Counter(map(len, rows)).most_common(1)
    return count * sum(map(_is_number, next(row for row in rows if len(row) == width)))


def _first_data(grid: list[list[str]], begin: int) -> int:
    rows = [i for i in range(begin, len(grid)) if len(grid[i]) > 1 and _is_data(grid[i])]
    [(width, _)] = Counter(len(grid[i]) for i in rows).most_common(1)
    return next(i for i in rows if len(grid[i]) == width)
