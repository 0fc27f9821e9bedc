"""Which column of a table feeds which channel, in which unit, and which one tells the time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from mmg.bundle.manifest import Modality
from mmg.errors import ConfigError, SourceError
from mmg.sources.columns import Column, find_named, find_times
from mmg.sources.files.table.sensors import choose_sensors, wanted_role
from mmg.sources.files.table.stamps import (
    EPOCH_S,
    UNREADABLE,
    Counts,
    Dates,
    Days,
    Stamps,
    is_order_certain,
    recognise,
)
from mmg.sources.files.table.text import Row
from mmg.sources.files.table.units import Source, Unit, choose_units, looks_like_gravity, unit_options
from mmg.sources.units import TIME_NS
from mmg.sources.url import SourceUrl

PLACES = re.compile(
    r"device|sensor|id|mac|uuid|address|subject|user|person|participant|position|placement|location|side"
)
FEW_VALUES = 12


class Table(Protocol):
    """A file as columns and rows, whatever it is written in.

    named: whether the columns have names. rate_hz: of rows without a time, where the file tells. packed: whether rows
    that share a time stamp were taken one after the other. preamble: lines above the header. first: the first row.
    """

    @property
    def path(self) -> Path: ...
    @property
    def columns(self) -> tuple[Column, ...]: ...
    @property
    def named(self) -> bool: ...
    @property
    def rate_hz(self) -> float | None: ...
    @property
    def packed(self) -> bool: ...
    @property
    def preamble(self) -> tuple[str, ...]: ...
    @property
    def first(self) -> tuple[str, ...]: ...

    def rows(self) -> object: ...
    def is_header(self, row: Row, /) -> bool: ...


@dataclass(frozen=True, slots=True)
class Layout:
    """Where to find what.

    sources: the columns and factors that are summed for each channel; none where it is filled with zeros.
    stamps: how the time is read, or None where rows are evenly spaced at ``rate_hz``, from ``start_ns`` where the file
    tells it. begin: rows to pass over. only: the column and the value that a row must have to be taken; ``strict``
    where other rows are not even counted. understood: a line for each thing that was read, for ``--explain``.
    """

    sources: tuple[Source, ...]
    stamps: Stamps | None
    rate_hz: float
    start_ns: int | None
    begin: int
    only: tuple[int, str] | None
    strict: bool
    notes: tuple[str, ...]
    understood: tuple[str, ...]
    declared: dict[str, str] = field(default_factory=dict)
    assumed: dict[str, str] = field(default_factory=dict)


def options_of(modality: Modality) -> list[str]:
    """The URL options that a table of this modality takes."""
    return [
        "time",
        "time_unit",
        "dates",
        "columns",
        "rate",
        "delimiter",
        "skip",
        "where",
        "with",
        *unit_options(modality),
    ]


def lay_out(url: SourceUrl, table: Table, rows: Sequence[Row], modality: Modality, part: str | None = None) -> Layout:
    """Match the columns with the channels. ``rows`` are the first of the table. part: see ``choose_sensors``.

    Raises ConfigError for an option that cannot be, SourceError where the file has no column for a channel that is
    required, or for the time, or where two devices are mixed in it.
    """
    columns, notes = list(table.columns), []
    empatica = _empatica(table, rows)
    if empatica:
        rows = rows[2:]
        notes.append(f"{table.path.name} is laid out as Empatica's: its first rows are the start and the rate")
    only, strict = _where(url, columns)
    if only:
        rows = [row for row in rows if only[0] < len(row) and str(row[only[0]]).strip() == only[1]]
        if not rows:
            raise SourceError(str(url), f"has no row with where={url.options['where']}")
    found = _matched(url, table, rows, modality, empatica is not None, notes, part)
    if not only:
        only = _one_device(url, columns, rows, found)
    zeros = [channel.name for channel, each in zip(modality.channels, found, strict=True) if not each]
    if zeros:
        notes.append(f"{table.path.name} has no {', '.join(zeros)}: filled with zeros{_sibling(table, zeros)}")
    given = Unit("g/64", "is Empatica's") if empatica else None
    sources, units = choose_units(url, modality, found, rows, given, notes)
    stamps, rate_hz, start_ns = _clock(url, table, rows, modality, empatica, notes)
    understood = [
        f"{channel.name} <- {' + '.join(column.name for column in each) or 'zeros'}"
        + (f" [{unit.name}, {unit.how}]" if unit and each else "")
        for channel, each, unit in zip(modality.channels, found, units, strict=True)
    ]
    if stamps:
        named = ", ".join(columns[index].name for index in stamps.columns)
        understood.append(f"time <- {named} [{stamps.told}]")
    else:
        understood.append(f"time <- rows at {rate_hz:g} Hz")
    declared = {unit.option: unit.name for unit in units if unit and unit.is_declared}
    assumed = {unit.option: unit.name for unit in units if unit and not unit.is_declared}
    return Layout(
        sources,
        stamps,
        rate_hz,
        start_ns,
        2 if empatica else 0,
        only,
        strict,
        tuple(dict.fromkeys(notes)),
        tuple(understood),
        declared,
        assumed,
    )


def _matched(
    url: SourceUrl,
    table: Table,
    rows: Sequence[Row],
    modality: Modality,
    is_empatica: bool,
    notes: list[str],
    part: str | None,
) -> list[tuple[Column, ...]]:
    """The columns of each channel: none, one, or the two of which it is the sum."""
    columns = table.columns
    if "columns" in url.options:
        return _given(url, columns, modality)
    if is_empatica:
        return _xyz(modality, columns[:3])
    if not table.named and (plain := _dated_axes(table, rows, modality)):
        notes.append(f"{table.path.name} has no header: a time and three columns as long as gravity are x, y, z")
        return plain
    if not table.named:
        raise SourceError(
            str(url),
            f"has no header: number its {len(columns)} columns from 0: ?time=0&columns=1,2,... "
            f"(its first row is {','.join(table.first)[:80]!r})",
        )
    found = choose_sensors(url, table, rows, modality, notes, part)
    pairs = list(zip(modality.channels, found, strict=True))
    missing = [channel.name for channel, each in pairs if not each and not channel.optional]
    if missing:
        order_text = ",".join(channel.name.upper() for channel in modality.channels)
        raise SourceError(
            str(url),
            f"has no column for {', '.join(missing)}: its columns are {_listed(columns)}: say which with "
            f"?columns={order_text}{_sibling(table, missing)}",
        )
    return found


def _dated_axes(table: Table, rows: Sequence[Row], modality: Modality) -> list[tuple[Column, ...]] | None:
    """Of a table without a header, as Axivity writes it: a date, and three columns that can only be acceleration."""
    if len(table.columns) != 4 or not isinstance(recognise(rows, 0, None, modality.rate_hz, None), Dates):
        return None
    return _xyz(modality, table.columns[1:]) if looks_like_gravity(table.columns[1:], rows) else None


def _xyz(modality: Modality, columns: Sequence[Column]) -> list[tuple[Column, ...]]:
    """Three columns as the acceleration."""
    order = {"x": 0, "y": 1, "z": 2}
    roles = [wanted_role(channel) for channel in modality.channels]
    return [(columns[order[role.axis]],) if role and role.kind == "acceleration" else () for role in roles]


def _given(url: SourceUrl, columns: Sequence[Column], modality: Modality) -> list[tuple[Column, ...]]:
    names = url.options["columns"].split(",")
    channels = modality.channels
    least = max((i + 1 for i, channel in enumerate(channels) if not channel.optional), default=1)
    if not least <= len(names) <= len(channels):
        wanted = ", ".join(channel.name for channel in channels)
        raise ConfigError(f"{url}: columns= names {len(names)} columns: {modality.name} wants {wanted}")
    found: list[tuple[Column, ...]] = [(_column(url, columns, name),) for name in names]
    return found + [()] * (len(channels) - len(names))


def _where(url: SourceUrl, columns: Sequence[Column]) -> tuple[tuple[int, str] | None, bool]:
    if "where" not in url.options:
        return None, False
    name, colon, value = url.options["where"].rpartition(":")
    if not colon or not name or not value:
        raise ConfigError(f"{url}: where={url.options['where']}: must be COLUMN:VALUE")
    return (_column(url, columns, name).index, value.strip()), True


def _one_device(
    url: SourceUrl, columns: Sequence[Column], rows: Sequence[Row], found: Sequence[tuple[Column, ...]]
) -> tuple[int, str] | None:
    """The column that names the device, and the one that is there. Raises SourceError where it names several."""
    used = {column.index for each in found for column in each}
    for column in columns:
        if column.index in used or not any(PLACES.fullmatch(word) for word in column.words):
            continue
        values = list(
            dict.fromkeys(text for row in rows if column.index < len(row) and (text := str(row[column.index]).strip()))
        )
        if 1 < len(values) <= FEW_VALUES:
            several = ", ".join(values[:4]) + (", ..." if len(values) > 4 else "")
            raise SourceError(
                str(url),
                f"has rows of several in its column {column.name} ({several}): choose one with "
                f"?where={column.name}:{values[0]}",
            )
        if len(values) == 1:
            return column.index, values[0]
    return None


def _column(url: SourceUrl, columns: Sequence[Column], name: str) -> Column:
    column = find_named(columns, name)
    if column is None:
        raise SourceError(str(url), f"has no column {name!r}: its columns are {_listed(columns)}")
    return column


def _clock(
    url: SourceUrl,
    table: Table,
    rows: Sequence[Row],
    modality: Modality,
    empatica: tuple[int, float] | None,
    notes: list[str],
) -> tuple[Stamps | None, float, int | None]:
    rate_hz = url.number("rate", 0.01, 1e6)
    if rate_hz and "time" in url.options:
        raise ConfigError(f"{url}: time= and rate= exclude each other: rate= is for rows without a time")
    if rate_hz:
        return None, float(rate_hz), None
    if empatica:
        return None, empatica[1], empatica[0]
    stamps = _stamps(url, table, rows, modality, notes)
    if stamps:
        return stamps, 0.0, None
    declared = _preamble_clock(table.preamble)
    told_hz = table.rate_hz or declared[0]
    if told_hz:
        notes.append(f"{table.path.name} says {told_hz:g} Hz: its rows are spaced evenly")
        return None, told_hz, declared[1]
    raise SourceError(
        str(url),
        f"has no column of time stamps: its columns are {_listed(table.columns)}: say which with ?time=COLUMN, "
        "or give the rate of evenly spaced rows with ?rate=HZ",
    )


def _stamps(url: SourceUrl, table: Table, rows: Sequence[Row], modality: Modality, notes: list[str]) -> Stamps | None:
    order = url.one_of("dates", ("dmy", "mdy", "ymd"))
    unit = url.one_of("time_unit", TIME_NS)
    columns = table.columns
    if "time" in url.options:
        column = _column(url, columns, url.options["time"])
        known = find_times([column])
        candidates = [(column, known[0][1] if known else None)]
    else:
        candidates = find_times(columns) if table.named else _unnamed_time(table, rows)
    day = next((column.index for column in columns if column.words[-1:] in (("date",), ("day",))), None)
    best: tuple[tuple[bool, bool, bool, int], Stamps] | None = None
    for place, (column, named_unit) in enumerate(candidates):
        stamps = recognise(rows, column.index, unit or named_unit, modality.rate_hz, day, order)
        if stamps is None:
            continue
        fine = _distinct(stamps, rows)
        canonical_clock = "canonical" in column.words
        rank = (canonical_clock, fine > 0.5, stamps.absolute, -place)
        if best is None or rank > best[0]:
            best = rank, stamps
    if best is not None:
        if order is None:
            _note_clock(table, best[1], rows, notes)
        return best[1]
    if not candidates or table.rate_hz:
        return None
    column, named_unit = candidates[0]
    cells = [cell for row in rows if column.index < len(row) and (cell := str(row[column.index]).strip())]
    if cells and all(re.search(r"\d.*[a-z:/]", cell, re.IGNORECASE) for cell in cells[:20]):
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
    elif isinstance(stamps, Days):
        notes.append(f"column {name} is read as {stamps.told}")


def _distinct(stamps: Stamps, rows: Sequence[Row]) -> float:
    """The part of the rows whose stamp is not that of the row before."""
    read = []
    for row in rows:
        with suppress(*UNREADABLE):
            read.append(stamps.read(row))
    return sum(one != two for one, two in pairwise(read)) / max(len(read) - 1, 1)


def _empatica(table: Table, rows: Sequence[Row]) -> tuple[int, float] | None:
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


def _preamble_clock(lines: Sequence[str]) -> tuple[float | None, int | None]:
    """The rate and the start that the lines above a table tell, as ActiGraph and GENEActiv write them."""
    text = "\n".join(lines)
    rate = re.search(r"(?:at|rate|frequency|freq)\D{0,20}?(\d+(?:\.\d+)?)\s*Hz", text, re.IGNORECASE)
    date = re.search(r"^Start (?:Date)\W+(\S+)", text, re.IGNORECASE | re.MULTILINE)
    time = re.search(r"^Start (?:Time)\W+(.+?)\W*$", text, re.IGNORECASE | re.MULTILINE)
    start_ns = None
    if time:
        row = ((f"{date[1]} " if date else "") + time[1],)
        stamps = recognise([row], 0, None, 1.0, None)
        if stamps and stamps.absolute:
            start_ns = stamps.read(row)
    return float(rate[1]) if rate else None, start_ns


def _sibling(table: Table, missing: Sequence[str]) -> str:
    """Where another file beside this one has what it lacks."""
    wanted = {role[0] for name in missing if (role := Column.of(0, name).role())}
    words = {"gyro": "gyr", "acceleration": "acc"}
    for path in sorted(table.path.parent.iterdir()) if wanted else ():
        stem = path.stem.lower()
        if (
            path != table.path
            and path.suffix == table.path.suffix
            and any(words.get(one, "?") in stem for one in wanted)
        ):
            return f" ({path.name} may have them: add ?with={path.name})"
    return ""


def _listed(columns: Sequence[Column]) -> str:
    names = [column.name for column in columns]
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
