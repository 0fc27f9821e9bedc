"""Whose rows a table holds: those of one device, or of several, by a column that names them or by the signals."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import pairwise

import numpy as np

from mmg.errors import ConfigError, SourceError
from mmg.sources.columns import Column, find_named, find_times
from mmg.sources.files.table.json import JsonTable
from mmg.sources.files.table.stamps import UNREADABLE, Stamps
from mmg.sources.files.table.table import Row, Table, listed
from mmg.sources.files.table.text import TextTable
from mmg.sources.url import SourceUrl

PLACES = re.compile(
    r"device|sensor|id|mac|uuid|address|subject|user|person|participant|position|placement|location|side"
    r"|node|hand|limb|wrist|imu"
)
_NO_DEVICES = frozenset(
    ("packet", "activity", "label", "row", "index", "frame", "sample", "event", "class", "time", "session", "trial")
    + ("gesture", "exercise", "state", "segment")
)
MOST_DEVICES = 4
"""That write by turns."""
FEWEST_ROWS = 100
BY_TURNS = 0.4
"""A device's name changes from row to row at least so often where devices write by turns."""
APART = 1.5
"""A signal that goes on every second row differs so many times more from row to row, where it is another's between."""
TAIL_BYTES, TAIL_ROWS = 16_384, 100
_FRACTION = re.compile(r"-?\d*\.\d+")


def chosen(url: SourceUrl, columns: Sequence[Column]) -> tuple[int, str] | None:
    """The column and the value that ``where`` names. Raises ConfigError."""
    if "where" not in url.options:
        return None
    text = url.options["where"]
    for place in (i for i, character in enumerate(text) if character == ":"):
        column, value = find_named(columns, text[:place]), text[place + 1 :].strip()
        if column is not None and value:
            return column.index, value
    raise ConfigError(f"{url}: where={text}: must be COLUMN:VALUE; its columns are {listed(columns)}")


def rows_of(url: SourceUrl, table: Table, only: tuple[int, str], count: int) -> list[Row]:
    """The first rows of this device, wherever in the file they begin. Raises SourceError where it has none."""
    index, value = only
    seen: dict[str, None] = {}
    found: list[Row] = []
    for row in table.rows():
        if index >= len(row) or table.is_header(row):
            continue
        text = str(row[index]).strip()
        if text == value:
            found.append(row)
            if len(found) == count:
                break
        elif text and len(seen) <= MOST_DEVICES:
            seen[text] = None
    if not found:
        others = ", ".join(itertools.islice(seen, MOST_DEVICES)) + (", ..." if len(seen) > MOST_DEVICES else "")
        raise SourceError(str(url), f"has no row with where={url.options['where']}: there are {others or 'none'}")
    return found


def one_device(
    url: SourceUrl, table: Table, rows: Sequence[Row], signals: Sequence[int], stamps: Stamps | None
) -> tuple[int, str] | None:
    """The column that names the device, and the one that is there.

    signals: the columns of the channels. Raises SourceError where rows are of several: a column names them, in the
    file's first rows or its last, or the signals of two or more take turns.
    """
    only: tuple[int, str] | None = None
    turns = _turns(rows, signals)
    last = last_rows(table)
    for column in table.columns:
        if column.index in signals or (stamps and column.index in stamps.columns) or find_times([column]):
            continue
        values = _values(rows, column.index)
        distinct = list(dict.fromkeys(values))
        named = _names_a_device(column) and not any(map(_FRACTION.fullmatch, distinct))
        several = 1 < len(distinct) <= max(len(rows) // 4, 1)
        if several and (
            named or _differs_at_once(rows, column.index, stamps) or _takes_turns(values, distinct, turns=turns)
        ):
            raise _several(url, column, distinct)
        if named and len(distinct) == 1:
            if len(both := list(dict.fromkeys([*distinct, *_values(last, column.index)]))) > 1:
                raise _several(url, column, both)
            only = only or (column.index, distinct[0])
    if turns > 1 and only is None:
        raise SourceError(
            str(url),
            f"has rows of {turns} devices by turns: its signals jump from row to row, and go on with every "
            f"{'second' if turns == 2 else f'{turns}th'}: write each device to a file of its own, or name it in a "
            "column, and choose one with ?where=COLUMN:VALUE",
        )
    return only


def _several(url: SourceUrl, column: Column, values: Sequence[str]) -> SourceError:
    listed_values = ", ".join(values[:4]) + (", ..." if len(values) > 4 else "")
    return SourceError(
        str(url),
        f"has rows of several in its column {column.name} ({listed_values}): choose one with "
        f"?where={column.name}:{values[0]}",
    )


def _names_a_device(column: Column) -> bool:
    return any(PLACES.fullmatch(word) for word in column.words) and not _NO_DEVICES.intersection(column.words)


def last_rows(table: Table) -> Sequence[Row]:
    """Some of a table's last, where they can be had without all others."""
    if isinstance(table, TextTable):
        return [row for row in table.last_rows(TAIL_BYTES) if not table.is_header(row)]
    return table.document[-TAIL_ROWS:] if isinstance(table, JsonTable) and table.document is not None else ()


def _values(rows: Iterable[Row], index: int) -> list[str]:
    return [text for row in rows if index < len(row) and row[index] is not None and (text := str(row[index]).strip())]


def _takes_turns(values: Sequence[str], distinct: Sequence[str], *, turns: int) -> bool:
    """Whether a column has another of a few values from row to row, as only devices that write by turns give it.

    A figure that does may be a counter's last bit: the signals must take turns with it.
    """
    if len(distinct) > MOST_DEVICES or len(values) < FEWEST_ROWS:
        return False
    changes = sum(one != two for one, two in pairwise(values)) / (len(values) - 1)
    return changes > BY_TURNS and (turns > 1 or not any(value.lstrip("-").isdigit() for value in distinct))


def _turns(rows: Sequence[Row], signals: Sequence[int]) -> int:
    """With which row after a row its signals go on: 1 in the rows of one device, the number of devices by turns."""
    read: list[list[float]] = []
    for row in rows:
        with suppress(*UNREADABLE):
            read.append([float(str(row[index])) for index in signals])
    if len(read) < FEWEST_ROWS:
        return 1
    values = np.array(read)
    values = values[np.isfinite(values).all(axis=1)]
    if len(values) < FEWEST_ROWS:
        return 1
    with np.errstate(over="ignore", invalid="ignore"):
        steps = [np.abs(values[lag:] - values[:-lag]).mean(axis=0) for lag in range(1, MOST_DEVICES + 1)]
        for lag in range(2, MOST_DEVICES + 1):
            before = np.min(steps[: lag - 1], axis=0)
            if (before > APART * steps[lag - 1]).sum() * 2 > len(signals):
                return lag
    return 1


def _differs_at_once(rows: Sequence[Row], index: int, stamps: Stamps | None) -> bool:
    """Whether most stamps stand on rows that differ here: rows of two devices, whatever the column is called."""
    at: dict[int, set[str]] = {}
    counts: Counter[int] = Counter()
    for row in rows if stamps else ():
        with suppress(*UNREADABLE):
            stamp = stamps.read(row) if stamps else 0
            at.setdefault(stamp, set()).add(str(row[index]).strip())
            counts[stamp] += 1
    shared = [stamp for stamp, count in counts.items() if count > 1]
    # Of a coarse clock many rows share a stamp: a device's name is not another in each of them.
    different = [stamp for stamp in shared if len(at[stamp]) > 1]
    return len(shared) > len(at) // 2 and len(different) > 0.8 * len(shared)
