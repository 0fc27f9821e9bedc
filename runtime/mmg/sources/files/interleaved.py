"""One table whose rows are an accelerometer's or a gyroscope's by turns, joined on time as two files are."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mmg.bundle.manifest import Modality
from mmg.errors import ConfigError, SourceError
from mmg.sources.columns import Column
from mmg.sources.files.joined import JoinedFile
from mmg.sources.files.table.file import TableFile, open_table
from mmg.sources.files.table.layout import LOOK_AHEAD_ROWS
from mmg.sources.files.table.sensors import BETTER, find_sensors, role_of_name, wanted_role
from mmg.sources.files.table.table import Row, Table
from mmg.sources.url import SourceUrl

if TYPE_CHECKING:
    from mmg.sources import Recording

MOST_SENSORS = 40
"""A column of more words than that names something else."""
HALF = 0.5


def open_table_file(url: SourceUrl, path: Path, modality: Modality) -> Recording:
    """A table with a sample a row; where it is none, one whose rows are of one sensor each.

    Raises SourceError and ConfigError as TableFile does.
    """
    try:
        return TableFile(url, path, modality)
    except SourceError as error:
        roles = [wanted_role(channel) for channel in modality.channels]
        if not any(role and role.kind == "acceleration" for role in roles) or {"where", "columns"} & set(url.options):
            raise
        parts = _parts(url, path)
        if "gyro" not in parts or len(parts) < 2:
            raise
        with suppress(SourceError, ConfigError):
            return JoinedFile(url, dict.fromkeys(parts, path), modality, where=parts)
        raise error


def _parts(url: SourceUrl, path: Path) -> dict[str, str]:
    """Each kind of sensor, and the ``where`` that chooses its rows: none where they leave other columns empty."""
    try:
        table = open_table(url, path)
        rows = list(itertools.islice(table.rows(), LOOK_AHEAD_ROWS))
    except (SourceError, ConfigError, OSError):
        return {}
    return _by_name(table, rows) or _by_empty_cells(table, rows)


def _by_name(table: Table, rows: Sequence[Row]) -> dict[str, str]:
    for column in table.columns:
        names = {str(row[column.index]).strip() for row in rows if column.index < len(row)}
        if not 1 < len(names) <= MOST_SENSORS:
            continue
        kinds: dict[str, str] = {}
        for name in sorted(names, key=_goodness, reverse=True):
            role = role_of_name(name)
            if role:
                kinds.setdefault(role.kind, name)
        if "gravity" in kinds and "acceleration" in kinds and not _says_total(kinds["acceleration"]):
            kinds["linear"] = kinds.pop("acceleration")  # Sensor Logger calls acceleration without gravity so
        chosen = ("linear", "gravity", "gyro") if "acceleration" not in kinds else ("acceleration", "gyro")
        if "gyro" in kinds and set(chosen) <= set(kinds):
            return {kind: f"{column.name}:{kinds[kind]}" for kind in chosen}
    return {}


def _goodness(name: str) -> tuple[int, str]:
    words = Column.of(0, re.sub(r"(?i)^total(?=\w)", "total ", name)).words
    return sum(BETTER.get(word, 0) for word in words), name


def _says_total(name: str) -> bool:
    return bool(re.search(r"total|uncal|raw|incl|with", name, re.IGNORECASE))


def _by_empty_cells(table: Table, rows: Sequence[Row]) -> dict[str, str]:
    sensors = {sensor.kind: sensor for sensor in find_sensors(table.columns, table.path.stem)}
    if not {"acceleration", "gyro"} <= set(sensors):
        return {}
    full = dict.fromkeys(("acceleration", "gyro"), 0)
    both = 0
    for row in rows:
        there = [kind for kind in full if all(_has(row, column) for column in sensors[kind].axes.values())]
        both += len(there) == len(full)
        for kind in there:
            full[kind] += 1
    # A few rows may have both: those that two clocks happen to share.
    return dict.fromkeys(full, "") if min(full.values()) > 1 and both < HALF * min(full.values()) else {}


def _has(row: Row, column: Column) -> bool:
    return column.index < len(row) and row[column.index] is not None and bool(str(row[column.index]).strip())
