"""Which column of a CSV file feeds which channel, in which unit, and which one tells the time."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from mmg.bundle.manifest import Channel, Modality
from mmg.errors import ConfigError, SourceError
from mmg.sources.columns import Column, find_channel, find_named, find_time
from mmg.sources.files.csv.text import CsvText
from mmg.sources.units import ACCELERATION, ANGULAR_RATE, TIME_NS, canonical, quantity
from mmg.sources.url import SourceUrl

UNIT_OPTIONS = {"acc_unit": ACCELERATION, "gyro_unit": ANGULAR_RATE}
LOOK_AHEAD_ROWS = 2000
# Stamps between these seconds (2000 and 2100) can be the time since 1970.
EPOCH_S = (946_684_800, 4_102_444_800)
SLOWEST_HZ = 0.05


@dataclass(frozen=True, slots=True)
class Layout:
    """Where to find what. A channel without a column is None in ``columns`` and filled with zeros.

    factors: what to multiply each channel's cells by to get the manifest's unit.
    time: the column of the stamps and how many nanoseconds one of its units lasts, or None where rows are evenly
        spaced at ``rate_hz``.
    """

    columns: tuple[int | None, ...]
    factors: tuple[float, ...]
    time: tuple[int, int] | None
    rate_hz: float
    notes: tuple[str, ...]


def options_of(modality: Modality) -> list[str]:
    """The URL options that a CSV of this modality takes."""
    tables = [quantity(channel.unit) for channel in modality.channels]
    units = [name for name, table in UNIT_OPTIONS.items() if table in tables]
    return ["time", "time_unit", "columns", "rate", "delimiter", *units]


def lay_out(url: SourceUrl, text: CsvText, modality: Modality) -> Layout:
    """Match the columns with the channels. Raises ConfigError for an option that cannot be, SourceError where the
    file has no column for a channel that is required or for the time."""
    columns = [Column.of(i, name) for i, name in enumerate(text.names or map(str, range(text.width)))]
    notes: list[str] = []
    if "columns" in url.options:
        found = _given(url, columns, modality)
    elif text.names:
        found = _named(url, columns, modality)
    else:
        raise SourceError(str(url), f"has no header: number its {text.width} columns from 0: ?time=0&columns=1,2,...")
    zeros = [channel.name for channel, each in zip(modality.channels, found, strict=True) if each is None]
    if zeros:
        notes.append(f"{text.path.name} has no {', '.join(zeros)}: filled with zeros")
    factors = [_factor(url, channel, each, notes) for channel, each in zip(modality.channels, found, strict=True)]
    rate_hz = url.number("rate", 0.01, 1e6)
    if rate_hz and "time" in url.options:
        raise ConfigError(f"{url}: time= and rate= exclude each other: rate= is for rows without a time")
    time = None if rate_hz else _time(url, columns, text, modality, notes)
    indices = tuple(each[0].index if each else None for each in found)
    return Layout(indices, tuple(factors), time, float(rate_hz or 0), tuple(dict.fromkeys(notes)))


_Found = tuple[Column, str | None] | None


def _given(url: SourceUrl, columns: Sequence[Column], modality: Modality) -> list[_Found]:
    names = url.options["columns"].split(",")
    channels = modality.channels
    least = max((i + 1 for i, channel in enumerate(channels) if not channel.optional), default=1)
    if not least <= len(names) <= len(channels):
        wanted = ", ".join(channel.name for channel in channels)
        raise ConfigError(f"{url}: columns= names {len(names)} columns: {modality.name} wants {wanted}")
    found: list[_Found] = []
    for name in names:
        column = _column(url, columns, name)
        role = column.role()
        found.append((column, role[2] if role else column.unit))
    return found + [None] * (len(channels) - len(names))


def _named(url: SourceUrl, columns: Sequence[Column], modality: Modality) -> list[_Found]:
    found = [find_channel(columns, channel) for channel in modality.channels]
    pairs = list(zip(modality.channels, found, strict=True))
    missing = [channel.name for channel, each in pairs if each is None and not channel.optional]
    if missing:
        order = ",".join(channel.name.upper() for channel in modality.channels)
        raise SourceError(
            str(url),
            f"has no column for {', '.join(missing)}: its columns are {_listed(columns)}: say which with "
            f"?columns={order}",
        )
    return found


def _factor(url: SourceUrl, channel: Channel, found: _Found, notes: list[str]) -> float:
    """From the file's unit to the channel's. The URL's word goes before the header's, the header's before SI."""
    for option, table in UNIT_OPTIONS.items():
        unit = url.one_of(option, table) if table == quantity(channel.unit) else None
        written = found[1] if found and quantity(channel.unit) == table and found[1] in table else None
        if unit is None and written is not None:
            unit = written
            notes.append(f"{option}={unit} is taken from the header")
        if unit is not None:
            return table[unit] / table[canonical(channel.unit) or unit]
    return 1.0


def _column(url: SourceUrl, columns: Sequence[Column], name: str) -> Column:
    column = find_named(columns, name)
    if column is None:
        raise SourceError(str(url), f"has no column {name!r}: its columns are {_listed(columns)}")
    return column


def _time(
    url: SourceUrl, columns: Sequence[Column], text: CsvText, modality: Modality, notes: list[str]
) -> tuple[int, int]:
    found = find_time(columns) if text.names else None
    if "time" in url.options:
        column = _column(url, columns, url.options["time"])
        known = find_time([column])
        found = column, known[1] if known else None
    if found is None:
        raise SourceError(
            str(url),
            f"has no column of time stamps: its columns are {_listed(columns)}: say which with ?time=COLUMN, "
            "or give the rate of evenly spaced rows with ?rate=HZ",
        )
    column, named_unit = found
    unit = url.one_of("time_unit", TIME_NS) or named_unit
    if unit is None:
        unit = _guessed_unit(text, column.index, modality.rate_hz)
        notes.append(f"column {column.name} is read as {unit}: add ?time_unit= if that is wrong")
    return column.index, TIME_NS[unit]


def _guessed_unit(text: CsvText, index: int, rate_hz: float) -> str:
    """From the first rows: the unit that makes the stamps a time since 1970, else the rate nearest to the model's."""
    stamps = [_stamp(row, index) for row in itertools.islice(text.rows(), LOOK_AHEAD_ROWS)]
    known = [stamp for stamp in stamps if stamp is not None]
    steps = [late - early for early, late in itertools.pairwise(known) if late > early]
    if not steps:
        return "ms"
    step, middle = statistics.median(steps), statistics.median(known)
    for unit, unit_ns in TIME_NS.items():
        epoch = EPOCH_S[0] <= middle * unit_ns / 10**9 <= EPOCH_S[1]
        if epoch and 10**9 / (step * unit_ns) >= SLOWEST_HZ:
            return unit
    return min(TIME_NS, key=lambda unit: _times_apart(10**9 / (step * TIME_NS[unit]), rate_hz))


def _times_apart(one_hz: float, other_hz: float) -> float:
    return max(one_hz / other_hz, other_hz / one_hz)


def _stamp(row: Sequence[str], index: int) -> float | None:
    try:
        value = float(Decimal(row[index]))
    except (IndexError, InvalidOperation, ValueError, OverflowError):
        return None
    return value if abs(value) < 1e19 else None


def _listed(columns: Sequence[Column]) -> str:
    names = [column.name for column in columns]
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
