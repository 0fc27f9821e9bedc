"""Which column of a table feeds which channel, in which unit, and which one tells the time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from mmg.bundle.manifest import Modality
from mmg.errors import ConfigError, SourceError
from mmg.sources.columns import Column
from mmg.sources.files.table.clock import choose_clock, empatica_clock, preamble_clock
from mmg.sources.files.table.devices import chosen, one_device, rows_of
from mmg.sources.files.table.sensors import choose_sensors, wanted_role
from mmg.sources.files.table.stamps import UNREADABLE, Dates, Stamps, recognise
from mmg.sources.files.table.table import Row, Table, listed, named_column
from mmg.sources.files.table.units import Source, Unit, choose_units, looks_like_gravity, unit_options
from mmg.sources.url import SourceUrl

LOOK_AHEAD_ROWS = 2000
"""What is known of a table before it is read."""


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
    common = ("time", "time_unit", "dates", "columns", "rate", "delimiter", "skip", "where", "with", "axes")
    return [*common, *unit_options(modality)]


def lay_out(
    url: SourceUrl,
    table: Table,
    rows: Sequence[Row],
    modality: Modality,
    part: str | None = None,
    gravity: str | None = None,
) -> Layout:
    """Match the columns with the channels. ``rows`` are the first of the table. part: see ``choose_sensors``. gravity:
    see ``choose_units``.

    Raises ConfigError for an option that cannot be, SourceError where the file has no column for a channel that is
    required, or for the time, or where two devices are mixed in it.
    """
    columns, notes = list(table.columns), []
    empatica = empatica_clock(table, rows)
    if empatica:
        rows = rows[2:]
        notes.append(f"{table.path.name} is laid out as Empatica's: its first rows are the start and the rate")
    only = chosen(url, columns)
    strict = only is not None
    if only:
        rows = rows_of(url, table, only, LOOK_AHEAD_ROWS)
    found = _matched(url, table, rows, modality, empatica is not None, notes, part)
    zeros = [channel.name for channel, each in zip(modality.channels, found, strict=True) if not each]
    if zeros:
        elsewhere = _sibling(table, zeros) + _unused(table, found)
        notes.append(f"{table.path.name} has no {', '.join(zeros)}: filled with zeros{elsewhere}")
    if part is not None:  # where the rows of other sensors are between, their cells are empty
        rows = [row for row in rows if all(_is_there(row, column) for each in found for column in each)]
    given = Unit("g/64", "is Empatica's") if empatica else None
    sources, units = choose_units(url, modality, found, rows, given, gravity, notes)
    stamps, rate_hz, start_ns = choose_clock(url, table, rows, modality, empatica, notes)
    if not only:
        signals = sorted({column.index for each in found for column in each})
        only = one_device(url, table, rows, signals, stamps)
    understood = [
        f"{channel.name} <- {' + '.join(column.name for column in each) or 'zeros'}"
        + (f" [{_how(unit)}]" if unit and each else "")
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


def _is_there(row: Row, column: Column) -> bool:
    return column.index < len(row) and row[column.index] is not None and str(row[column.index]).strip() != ""


def _how(unit: Unit) -> str:
    """A unit, and how it is known; where it is not written, what would change it."""
    return f"{unit.name}, {unit.how}" + ("" if unit.is_declared else f": {unit.option}= changes it")


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
    if not table.named and (plain := _bare_axes(table, rows, modality)):
        names = ", ".join(column.name for each in plain for column in each)
        notes.append(f"{table.path.name} has no header: its columns {names}, as long as gravity, are x, y, z")
        return plain
    if not table.named:
        begin = 1 if _rises(rows) else 0
        numbers = ",".join(str(i) for i in range(begin, min(len(table.columns), begin + len(modality.channels))))
        raise SourceError(
            str(url),
            f"has no header: number its {len(table.columns)} columns from 0: ?{'time=0' if begin else 'rate=HZ'}"
            f"&columns={numbers} (its first row is {','.join(table.first)[:80]!r})",
        )
    found = choose_sensors(url, table, rows, modality, notes, part)
    pairs = list(zip(modality.channels, found, strict=True))
    missing = [channel.name for channel, each in pairs if not each and not channel.optional]
    if missing:
        order_text = ",".join(channel.name.upper() for channel in modality.channels)
        raise SourceError(
            str(url),
            f"has no column for {', '.join(missing)}: its columns are {listed(columns)}: say which with "
            f"?columns={order_text}{_sibling(table, missing)}",
        )
    return found


def _bare_axes(table: Table, rows: Sequence[Row], modality: Modality) -> list[tuple[Column, ...]] | None:
    """Three columns without a header that can only be acceleration.

    They stand alone below a preamble that tells the rate (ActiGraph), or behind a date: with nothing else (Axivity),
    or with light and temperature (GENEActiv).
    """
    axes = table.columns[1:4]
    if len(table.columns) == 3 and preamble_clock(table.preamble)[0]:
        axes = table.columns
    elif not isinstance(recognise(rows, 0, None, modality.rate_hz, None), Dates) or not (
        len(table.columns) == 4 or any("GENEActiv" in line for line in table.preamble[:5])
    ):
        return None
    return _xyz(modality, axes) if len(axes) == 3 and looks_like_gravity(axes, rows) else None


def _rises(rows: Sequence[Row]) -> bool:
    """Whether the first column can be a time."""
    stamps = recognise(rows, 0, None, 1.0, None)
    read = []
    for row in rows if stamps else ():
        with suppress(*UNREADABLE):
            read.append(stamps.read(row) if stamps else 0)
    return len(read) > 1 and sum(late > early for early, late in pairwise(read)) > 0.9 * (len(read) - 1)


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
    found: list[tuple[Column, ...]] = [(named_column(str(url), columns, name),) for name in names]
    return found + [()] * (len(channels) - len(names))


def _unused(table: Table, found: Sequence[tuple[Column, ...]]) -> str:
    """Columns of axes that no channel takes, and may be meant."""
    used = {column.index for each in found for column in each}
    left = [one for one in table.columns if one.index not in used and one.words[-1:] in (("x",), ("y",), ("z",))]
    return f"; {listed(left)} are not used: name the columns with ?columns= if they are meant" if left else ""


def _beside(path: Path) -> list[Path]:
    try:
        return sorted(path.parent.iterdir())
    except OSError:
        return []


def _sibling(table: Table, missing: Sequence[str]) -> str:
    """Where another file beside this one has what it lacks."""
    wanted = {role[0] for name in missing if (role := Column.of(0, name).role())}
    words = {"gyro": "gyr", "acceleration": "acc"}
    for path in _beside(table.path) if wanted else ():
        stem = path.stem.lower()
        if (
            path != table.path
            and path.suffix == table.path.suffix
            and any(words.get(one, "?") in stem for one in wanted)
        ):
            return f" ({path.name} may have them: add ?with={path.name})"
    return ""
