"""Time stamps as files write them: counts of a unit, dates, times of day, days of a spreadsheet."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Protocol

from mmg.sources.files.table.table import Row
from mmg.sources.units import TIME_NS

# Stamps and shifts of at most this stay exact in int64 whatever is added to or taken from them.
FARTHEST_NS = 1 << 61
DAY_NS = 86_400 * 10**9
# Stamps between these seconds (2000 and 2100) can be the time since 1970.
EPOCH_S = (946_684_800, 4_102_444_800)
SLOWEST_HZ, FASTEST_HZ = 0.05, 20_000
# Day 0 of Excel (1899-12-30, its 1900 has a 29th of February) and of MATLAB's datenum, in days before 1970.
SPREADSHEETS = {"Excel": 25_569, "MATLAB": 719_529}
TICKS = {"Windows": 11_644_473_600, ".NET": 62_135_596_800}
TICKS_A_SECOND = 10_000_000
"""Seconds from 1601 and from the year 1 to 1970; https://learn.microsoft.com (FILETIME, DateTime.Ticks)."""
UNREADABLE = (ValueError, TypeError, IndexError, ArithmeticError)
"""What a cell raises that is no number or no time."""
GUESSED = ("s", "ms", "us", "ns")
COUNTER_BITS = (16, 24, 31, 32)
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DATE = r"(?P<a>\d{1,4})[-/. ](?P<b>\d{1,2}|[A-Za-z]{3})[-/. ](?P<c>\d{4}|\d{1,2})"
# Spaces belong to what follows them: a cell may have 100 kB of them, and four places in a row that take any number took
# time by the fourth power of that.
_TIME = r"(?P<h>\d{1,2}):(?P<m>\d{1,2})(?::(?P<s>\d{1,2}))?(?:[.,:](?P<f>\d{1,12}))?"
_HALF = r"(?:\s*(?=[AaPpMm.])(?P<half>[AaPp])?(?:\.?[Mm]\.?)?)?"
_ZONE = r"(?:\s*(?:Z|UTC|GMT|(?P<sign>[+-])(?P<zh>\d{2}):?(?P<zm>\d{2})?))?"
_COMPACT = re.compile(
    r"\s*((?:19|20)\d\d)(0[1-9]|1[0-2])([0-2]\d|3[01])[T_ -]?([01]\d|2[0-3])([0-5]\d)([0-5]\d)[.,_]?(\d{1,9})?(Z?)\s*"
)
_STAMP = re.compile(rf"\s*(?:{_DATE})?(?:[T_ ,;-]*{_TIME}{_HALF}{_ZONE})?(?:\s*\[.*\])?\s*")


class Stamps(Protocol):
    """Reads one row's time in nanoseconds.

    columns: the columns that it reads. absolute: whether the times count from 1970. wraps_ns: after how long the
    clock may begin anew by its nature. told: how it is read, for a person.
    """

    @property
    def columns(self) -> tuple[int, ...]: ...
    @property
    def absolute(self) -> bool: ...
    @property
    def wraps_ns(self) -> tuple[int, ...]: ...
    @property
    def told(self) -> str: ...

    def read(self, row: Row) -> int:
        """Raises ValueError, TypeError, IndexError or ArithmeticError where the row has none."""
        ...


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of one unit. guessed: whether the unit is not written."""

    index: int
    unit: str
    guessed: bool
    absolute: bool

    @property
    def columns(self) -> tuple[int, ...]:
        """See Stamps."""
        return (self.index,)

    @property
    def wraps_ns(self) -> tuple[int, ...]:
        """A counter of 16, 24, 31 or 32 bits; the seconds of a minute or an hour."""
        unit_ns = TIME_NS[self.unit]
        clocks = (60 * 10**9, 3600 * 10**9, DAY_NS) if self.unit == "s" else (1000 * unit_ns,)
        return tuple(unit_ns << bits for bits in COUNTER_BITS) + clocks

    @property
    def told(self) -> str:
        """See Stamps."""
        return self.unit

    def read(self, row: Row) -> int:
        """Exact: float64 would lose digits."""
        cell, unit_ns = row[self.index], TIME_NS[self.unit]
        try:
            stamp = int(cell) * unit_ns if isinstance(cell, str) else int(str(cell)) * unit_ns
        except ValueError:
            value = Decimal(str(cell).strip()) * unit_ns
            if not value.is_finite() or abs(value) > FARTHEST_NS:
                raise
            stamp = int(value.to_integral_value())
        if not -FARTHEST_NS <= stamp <= FARTHEST_NS:
            raise ValueError(cell)
        return stamp


@dataclass(frozen=True, slots=True)
class Days:
    """Days of a spreadsheet, with the time as their fraction."""

    index: int
    program: str
    absolute: bool = True
    wraps_ns: tuple[int, ...] = ()

    @property
    def columns(self) -> tuple[int, ...]:
        """See Stamps."""
        return (self.index,)

    @property
    def told(self) -> str:
        """See Stamps."""
        return f"{self.program}'s days"

    def read(self, row: Row) -> int:
        """See Stamps."""
        value = (Decimal(str(row[self.index]).strip()) - SPREADSHEETS[self.program]) * DAY_NS
        if not value.is_finite() or abs(value) > FARTHEST_NS:
            raise ValueError(row[self.index])
        return int(value.to_integral_value())


@dataclass(frozen=True, slots=True)
class Ticks:
    """Counts of 100 ns since a year of its own, as Windows (FILETIME) and .NET write them."""

    index: int
    program: str
    absolute: bool = True
    wraps_ns: tuple[int, ...] = ()

    @property
    def columns(self) -> tuple[int, ...]:
        """See Stamps."""
        return (self.index,)

    @property
    def told(self) -> str:
        """See Stamps."""
        return f"ticks of 100 ns, as {self.program} counts them"

    def read(self, row: Row) -> int:
        """See Stamps."""
        since_1970 = int(str(row[self.index])) - TICKS[self.program] * TICKS_A_SECOND
        if abs(since_1970) * 100 > FARTHEST_NS:
            raise ValueError(row[self.index])
        return since_1970 * 100


@dataclass(frozen=True, slots=True)
class Dates:
    """Dates with times, in one column or two; times of day where there is no date. Without a zone they count as UTC.

    order: ``ymd``, ``dmy`` or ``mdy``. hours: whether the first figure of a time is the hour, and not the minute.
    counted: whether what stands behind the second counts milliseconds, so that ``.5`` is 5 ms, and is no fraction.
    """

    columns: tuple[int, ...]
    order: str
    absolute: bool
    hours: bool = True
    counted: bool = False

    @property
    def wraps_ns(self) -> tuple[int, ...]:
        """A day for times of day, twelve hours where they are of a clock's face, an hour without the hour."""
        if not self.hours:
            return (3600 * 10**9,)
        return () if self.absolute else (DAY_NS, DAY_NS // 2)

    @property
    def told(self) -> str:
        """See Stamps."""
        if not self.absolute:
            return "times of day"
        return {"ymd": "dates", "dmy": "dates, day first", "mdy": "dates, month first"}[self.order]

    def read(self, row: Row) -> int:
        """See Stamps."""
        text = _spelled(" ".join(str(row[index]).strip() for index in self.columns))
        match = _STAMP.fullmatch(text)
        if match is None or (self.absolute and match["a"] is None) or match["h"] is None:
            raise ValueError(text)
        seconds = _seconds(match, self.hours)
        if self.absolute:
            seconds += _days(match, self.order) * 86_400
        if not -FARTHEST_NS <= seconds * 10**9 <= 2 * FARTHEST_NS:  # before 1897, or after 2115
            raise ValueError(text)
        if self.counted:
            return seconds * 10**9 + int(match["f"] or "0") * 10**6
        return seconds * 10**9 + int((match["f"] or "0").ljust(9, "0")[:9])


def _spelled(text: str) -> str:
    """``20240503_100000.5`` as ``2024-05-03 10:00:00.5``; any other text as it is."""
    match = _COMPACT.fullmatch(text)
    if match is None:
        return text
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    return f"{year}-{month}-{day} {hour}:{minute}:{second}" + (f".{fraction}" if fraction else "") + zone


def _seconds(match: re.Match[str], hours: bool) -> int:
    if not hours:
        return int(match["h"]) * 60 + int(match["m"])
    hour, minute, second = int(match["h"]), int(match["m"]), int(match["s"] or 0)
    if hour > 24 or minute > 59 or second > 60:
        raise ValueError(match[0])
    if match["half"]:
        hour = hour % 12 + 12 * (match["half"] in "Pp")
    shift = 0
    if match["sign"]:
        shift = (int(match["zh"]) * 3600 + int(match["zm"] or 0) * 60) * (1 if match["sign"] == "+" else -1)
    return hour * 3600 + minute * 60 + second - shift


def _days(match: re.Match[str], order: str) -> int:
    """Since 1970. Raises ValueError for a date that is none."""
    parts = {"y": 0, "m": 0, "d": 0}
    named = match["b"][:3].lower() in _MONTHS
    order = "ymd" if len(match["a"]) == 4 else "dmy" if named else order
    for letter, text in zip(order, (match["a"], match["b"], match["c"]), strict=True):
        parts[letter] = _MONTHS.index(text[:3].lower()) + 1 if text.isalpha() else int(text)
    year = parts["y"] + 2000 * (parts["y"] < 100)
    return date(year, parts["m"], parts["d"]).toordinal() - date(1970, 1, 1).toordinal()


def recognise(
    rows: Sequence[Row], index: int, unit: str | None, rate_hz: float, day: int | None, order: str | None = None
) -> Stamps | None:
    """How this column's cells tell the time, from a file's first rows; None where they do not.

    unit: of counts, where it is known. rate_hz: the model's, which tells a guessed unit. day: a column of dates, for
    times of day. order: of a date's figures, where it is known.
    """
    cells = [str(row[index]).strip() for row in rows if index < len(row) and row[index] is not None]
    cells = [cell for cell in cells if cell]
    if cells and all(map(_COMPACT.fullmatch, cells)):
        return Dates((index,), "ymd", True)
    numbers = [value for cell in cells if (value := _number(cell)) is not None]
    if cells and len(numbers) * 2 > len(cells):
        return _counted(index, unit, numbers, rate_hz)
    matches = [match for cell in cells if (match := _STAMP.fullmatch(cell)) and (match["h"] or match["a"])]
    if not cells or len(matches) * 2 <= len(cells):
        return None
    if all(match["h"] is None for match in matches):
        return None  # days alone
    if matches[0]["a"]:
        return _as_they_rise(Dates((index,), order or _order(matches), True), rows)
    hours = not all(match["s"] is None and match["f"] for match in matches)
    found = Dates((index,), "ymd", False, hours)
    if day is not None and day != index:
        dates = [
            match
            for row in rows
            if day < len(row) and (match := _STAMP.fullmatch(str(row[day]).strip())) and match["a"]
        ]
        if dates:
            found = replace(found, columns=(day, index), order=order or _order(dates), absolute=True)
    return _as_they_rise(found, rows)


def _as_they_rise(stamps: Dates, rows: Sequence[Row]) -> Dates:
    """Some write milliseconds without leading zeros: ``10:00:00.5`` is 5 ms where the rows rise only then."""
    counted = replace(stamps, counted=True)
    falls = [0, 0]
    for place, one in enumerate((stamps, counted)):
        read = []
        for row in rows:
            with suppress(*UNREADABLE):
                read.append(one.read(row))
        falls[place] = sum(late < early for early, late in pairwise(read))
    return counted if falls[1] < falls[0] else stamps


def _order(matches: Sequence[re.Match[str]]) -> str:
    if len(matches[0]["a"]) == 4:
        return "ymd"
    if any(not match["b"].isdigit() or int(match["a"]) > 12 for match in matches):
        return "dmy"
    if any(int(match["b"]) > 12 for match in matches):
        return "mdy"
    return "mdy" if "/" in matches[0][0] else "dmy"


def is_order_certain(rows: Sequence[Row], stamps: Stamps) -> bool:
    """Whether the dates themselves show which figure is the day."""
    if not isinstance(stamps, Dates) or not stamps.absolute or stamps.order == "ymd":
        return True
    cells = [str(row[stamps.columns[0]]).strip() for row in rows if row]
    matches = [match for cell in cells if (match := _STAMP.fullmatch(cell))]
    return any(
        match["a"] and (not match["b"].isdigit() or int(match["a"]) > 12 or int(match["b"]) > 12) for match in matches
    )


def _counted(index: int, unit: str | None, values: list[float], rate_hz: float) -> Stamps:
    steps = [late - early for early, late in pairwise(values) if late >= early]
    forward = [step for step in steps if step > 0]
    # Rows that share a stamp make the step from row to row shorter than that of the stamps.
    step = statistics.median(forward) * len(forward) / len(steps) if forward else 0.0
    middle = statistics.median(values)
    if unit is None and step:
        for program, shift in SPREADSHEETS.items():
            since_1970_s = (middle - shift) * 86_400
            if EPOCH_S[0] <= since_1970_s <= EPOCH_S[1] and SLOWEST_HZ <= 1 / (step * 86_400) <= FASTEST_HZ < 1 / step:
                return Days(index, program)
        for program, shift_s in TICKS.items():
            since_1970_s = middle / TICKS_A_SECOND - shift_s
            if EPOCH_S[0] <= since_1970_s <= EPOCH_S[1] and SLOWEST_HZ <= TICKS_A_SECOND / step <= FASTEST_HZ:
                return Ticks(index, program)
    chosen = unit or _guessed_unit(step, middle, rate_hz)
    absolute = EPOCH_S[0] <= middle * TIME_NS[chosen] / 10**9 <= EPOCH_S[1]
    return Counts(index, chosen, unit is None, absolute)


def _guessed_unit(step: float, middle: float, rate_hz: float) -> str:
    """The unit that makes the stamps a time since 1970, else the rate nearest to the model's."""
    if not step:
        return "ms"
    for unit in GUESSED:
        unit_ns = TIME_NS[unit]
        epoch = EPOCH_S[0] <= middle * unit_ns / 10**9 <= EPOCH_S[1]
        if epoch and 10**9 / (step * unit_ns) >= SLOWEST_HZ:
            return unit
    return min(GUESSED, key=lambda unit: _times_apart(10**9 / (step * TIME_NS[unit]), rate_hz))


def _times_apart(one_hz: float, other_hz: float) -> float:
    return max(one_hz / other_hz, other_hz / one_hz)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < 1e19 else None
