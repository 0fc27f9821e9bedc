"""Which column of a table tells the time, and how; or the rate of evenly spaced rows."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise

from mmg.bundle.manifest import Modality
from mmg.errors import ConfigError, SourceError
from mmg.sources.columns import Column, find_times
from mmg.sources.files.table.stamps import (
    EPOCH_S,
    UNREADABLE,
    Counts,
    Dates,
    Days,
    Stamps,
    Ticks,
    is_order_certain,
    recognise,
)
from mmg.sources.files.table.table import Row, Table, listed, named_column
from mmg.sources.units import TIME_NS
from mmg.sources.url import SourceUrl

MOSTLY = 0.995
SLOWEST_HZ, FASTEST_HZ = 0.5, 5000.0
"""Of a signal that is worn; what is outside is another unit of time."""
LIKELY_HZ, MOST_FASTER, MOST_SLOWER, FEWEST_ROWS = (12.0, 250.0), 3.0, 2.0, 100
"""A guessed unit is believed where it makes a rate that is usual, or up to so many times the model's own."""
_PREAMBLE_RATE = re.compile(
    r"([^\n]{0,24}\b(?:at|rate|sampl\w*|frequency)\b\D{0,20}?)(\d+(?:\.\d+)?)\s*Hz", re.IGNORECASE
)
_ROUNDED = re.compile(r"\d(?:[.,]\d{1,7})?e\+?\d+", re.IGNORECASE)
_FILTER = re.compile(r"filter|pass|cut", re.IGNORECASE)


def choose_clock(
    url: SourceUrl,
    table: Table,
    rows: Sequence[Row],
    modality: Modality,
    empatica: tuple[int, float] | None,
    notes: list[str],
) -> tuple[Stamps | None, float, int | None]:
    """How the time is told: stamps, or the rate of even rows and where the file tells it their start in ns.

    empatica: see ``empatica_clock``. Raises ConfigError for options that cannot be, SourceError where nothing tells.
    """
    rate_hz = url.number("rate", 0.01, 1e6)
    if rate_hz and "time" in url.options:
        raise ConfigError(f"{url}: time= and rate= exclude each other: rate= is for rows without a time")
    if rate_hz:
        _note_other_rate(url, table, rows, modality, float(rate_hz), notes)
        return None, float(rate_hz), None
    if empatica:
        return None, empatica[1], empatica[0]
    stamps = _stamps(url, table, rows, modality, notes)
    if stamps:
        return stamps, 0.0, None
    declared = preamble_clock(table.preamble)
    told_hz = table.rate_hz or declared[0]
    if told_hz:
        notes.append(f"{table.path.name} says {told_hz:g} Hz: its rows are spaced evenly")
        return None, told_hz, declared[1]
    raise SourceError(
        str(url),
        f"has no column of time stamps: its columns are {listed(table.columns)}: say which with ?time=COLUMN, "
        "or give the rate of evenly spaced rows with ?rate=HZ",
    )


def _stamps(url: SourceUrl, table: Table, rows: Sequence[Row], modality: Modality, notes: list[str]) -> Stamps | None:
    order = url.one_of("dates", ("dmy", "mdy", "ymd"))
    unit = url.one_of("time_unit", TIME_NS)
    columns = table.columns
    if "time" in url.options:
        column = named_column(str(url), columns, url.options["time"])
        known = find_times([column])
        candidates = [(column, known[0][1] if known else None)]
    else:
        candidates = find_times(columns) if table.named else _unnamed_time(table, rows)
    day = next((column.index for column in columns if column.words[-1:] in (("date",), ("day",))), None)
    best: tuple[tuple[bool, bool, bool, bool, int], Stamps] | None = None
    for place, (column, named_unit) in enumerate(candidates):
        stamps = recognise(rows, column.index, unit or named_unit, modality.rate_hz, day, order)
        if stamps is None:
            continue
        forward, distinct = _forward(stamps, rows)
        # The milliseconds of a second go forward too, but for one step in fifty.
        rank = ("canonical" in column.words, forward > MOSTLY, stamps.absolute, distinct > 0.5, -place)
        if best is None or rank > best[0]:
            best = rank, stamps
    if best is not None:
        _check_rounding(url, table, best[1], rows)
        if isinstance(best[1], Counts) and best[1].guessed:
            _check_guess(url, table, best[1], rows, modality)
        if order is None:
            _note_clock(table, best[1], rows, notes)
        return best[1]
    if not candidates or table.rate_hz:
        return None
    column, named_unit = candidates[0]
    cells = [cell for row in rows if column.index < len(row) and (cell := str(row[column.index]).strip())]
    if cells and all(re.match(r"\D*\d.*[a-z:/]", cell, re.IGNORECASE) for cell in cells[:20]):
        raise SourceError(
            str(url), f"its column {column.name} is no time that can be read ({cells[0][:40]!r}): add ?rate=HZ"
        )
    return Counts(column.index, unit or named_unit or "ms", guessed=False, absolute=False)


def _unnamed_time(table: Table, rows: Sequence[Row]) -> list[tuple[Column, str | None]]:
    """The first column of a table without a header, where it holds dates."""
    return [(table.columns[0], None)] if isinstance(recognise(rows, 0, None, 1.0, None), Dates) else []


def _note_clock(table: Table, stamps: Stamps, rows: Sequence[Row], notes: list[str]) -> None:
    name = ", ".join(table.columns[index].name for index in stamps.columns)
    if isinstance(stamps, Counts) and stamps.guessed:
        notes.append(f"column {name} is read as {stamps.unit}: add ?time_unit= if that is wrong")
    elif isinstance(stamps, Dates) and not is_order_certain(rows, stamps):
        other = "mdy" if stamps.order == "dmy" else "dmy"
        notes.append(f"column {name} is read as {stamps.told}: add ?dates={other} if that is wrong")
    elif isinstance(stamps, Days | Ticks):
        notes.append(f"column {name} is read as {stamps.told}")


def _check_rounding(url: SourceUrl, table: Table, stamps: Stamps, rows: Sequence[Row]) -> None:
    """Raises SourceError for ``1.71473E+12`` row after row: the digits that told them apart are gone."""
    index = stamps.columns[0]
    cells = [str(row[index]).strip() for row in rows if index < len(row)]
    if len(cells) > 1 and all(map(_ROUNDED.fullmatch, cells)) and len(set(cells)) * 20 < len(cells):
        raise SourceError(
            str(url),
            f"its column {table.columns[index].name} was rounded when it was written, as a spreadsheet does: "
            f"{len(cells)} rows are at {cells[0]}: add ?rate=HZ, or export it again",
        )


def _check_guess(url: SourceUrl, table: Table, stamps: Counts, rows: Sequence[Row], modality: Modality) -> None:
    """Raises SourceError where the likeliest unit makes no usual rate: it may count ticks of another length."""
    rate_hz = _rate_hz(stamps, rows)
    lowest = min(LIKELY_HZ[0], modality.rate_hz / MOST_SLOWER)
    highest = max(LIKELY_HZ[1], modality.rate_hz * MOST_FASTER)
    if rate_hz is None or stamps.absolute or lowest < rate_hz < highest:
        return
    column = table.columns[stamps.index]
    told = f"names a unit that is not known here ({column.written}) in" if column.written else "names no unit of"
    rate = f"as {stamps.unit} its rows would follow each other at {rate_hz:.3g} Hz"
    way = f"add ?time_unit={stamps.unit} if they do, or ?rate=HZ"
    raise SourceError(str(url), f"{told} its column {column.name}: {rate}: {way}")


def _note_other_rate(
    url: SourceUrl, table: Table, rows: Sequence[Row], modality: Modality, rate_hz: float, notes: list[str]
) -> None:
    """Say so where a sound clock in the table tells another rate than the user."""
    for column, unit in find_times(table.columns):
        stamps = recognise(rows, column.index, unit, modality.rate_hz, None)
        if stamps is None or (isinstance(stamps, Counts) and stamps.guessed and not stamps.absolute):
            continue
        forward, distinct = _forward(stamps, rows)
        told_hz = _rate_hz(stamps, rows)
        if told_hz and forward > MOSTLY and distinct > 0.5 and abs(told_hz - rate_hz) > 0.05 * rate_hz:
            notes.append(
                f"column {column.name} says {told_hz:.4g} Hz, and rate={rate_hz:g} is taken: leave {url.path} without "
                "rate= if the column is right"
            )
            return


def _rate_hz(stamps: Stamps, rows: Sequence[Row]) -> float | None:
    """Of the rows; None of too few."""
    read = []
    for row in rows:
        with suppress(*UNREADABLE):
            read.append(stamps.read(row))
    steps = [late - early for early, late in pairwise(read) if late >= early]
    forward = [step for step in steps if step > 0]
    if len(steps) < FEWEST_ROWS or not forward:
        return None
    return 1e9 * len(steps) / (statistics.median(forward) * len(forward))


def _forward(stamps: Stamps, rows: Sequence[Row]) -> tuple[float, float]:
    """The part of the steps from row to row, where there are any, that go forward; and that of the rows with a step."""
    read = []
    for row in rows:
        with suppress(*UNREADABLE):
            read.append(stamps.read(row))
    steps = [late - early for early, late in pairwise(read) if late != early]
    return sum(step > 0 for step in steps) / max(len(steps), 1), len(steps) / max(len(read) - 1, 1)


def empatica_clock(table: Table, rows: Sequence[Row]) -> tuple[int, float] | None:
    """The start in ns and the rate where a file is laid out as Empatica's E4 does: both stand where samples should."""
    if table.named or len(rows) < 3 or len(table.columns) != 3:
        return None
    try:
        start, rate = ({float(str(cell)) for cell in row[:3]} for row in rows[:2])
    except ValueError:
        return None
    if len(start) != 1 or len(rate) != 1:
        return None
    [start_s], [rate_hz] = start, rate
    return (round(start_s * 10**9), rate_hz) if EPOCH_S[0] < start_s < EPOCH_S[1] and 1 <= rate_hz <= 1000 else None


def preamble_clock(lines: Sequence[str]) -> tuple[float | None, int | None]:
    """The rate and the start that the lines above a table tell, as ActiGraph and GENEActiv write them."""
    text = "\n".join(lines)
    rates = {float(match[2]) for match in _PREAMBLE_RATE.finditer(text) if not _FILTER.search(match[1])}
    day = re.search(r"^Start Date\W+(\S+)", text, re.IGNORECASE | re.MULTILINE)
    time = re.search(r"^Start Time\W+(\w(?:.*\w)?)", text, re.IGNORECASE | re.MULTILINE)
    order = re.search(r"date format\W+([dmy])\w*\W+([dmy])\w*\W+([dmy])", text, re.IGNORECASE)
    start_ns = None
    if time:
        row = ((f"{day[1]} " if day else "") + time[1],)
        stamps = recognise([row], 0, None, 1.0, None, "".join(order.groups()).lower() if order else None)
        if stamps and stamps.absolute:
            with suppress(*UNREADABLE):
                start_ns = stamps.read(row)
    return rates.pop() if len(rates) == 1 else None, start_ns
