"""A list of recordings: CSV or Parquet with a column ``recording``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from mmg.errors import BackendUnavailable, ConfigError
from mmg_device_profiles.regular_file import open_regular

from mmg_batch.recording import Entry, absolute

RECORDING, PERSON, BOARD, TRUTH = "recording", "person", "board", "truth"
SEPARATORS = ",;\t"
INDEX = "__index_level_"
"""Begins the name of a column that pandas adds."""
LONGEST_HEADER = 1 << 16


def is_list(path: Path) -> bool:
    """Whether it is a Parquet file, or a CSV whose header has a column ``recording``."""
    if not path.is_file():  # a pipe would be waited for
        return False
    return path.suffix.lower() == ".parquet" or bool(_separator(path))


def _separator(path: Path) -> str:
    """What separates the columns of a list; empty where the file is none."""
    if path.suffix.lower() != ".csv":
        return ""
    try:
        with io.TextIOWrapper(open_regular(path), "utf-8-sig", "replace") as stream:
            header = stream.readline(LONGEST_HEADER)
    except OSError:
        return ""
    for one in SEPARATORS:
        if RECORDING in [name.strip() for name in next(csv.reader([header], delimiter=one), [])]:
            return one
    return ""


def entries_in(path: Path) -> Iterator[Entry]:
    """The recordings of a list. Paths count from its folder. Raises ConfigError, which names the row.

    Columns: ``recording``, and where they are known ``person``, ``board`` and ``truth``; any other is a modality, with
    the URL of its recording.
    """
    for number, row in enumerate(_rows(path), 1):
        told = {(name or "").strip(): (value or "").strip() for name, value in row.items()}
        known = {name: value for name, value in told.items() if name and value and not name.startswith(INDEX)}
        if not known:
            continue
        if RECORDING not in known:
            raise ConfigError(f"{path}: row {number} names no recording")
        others = {name: value for name, value in known.items() if name not in (RECORDING, PERSON, BOARD, TRUTH)}
        truth = known.get(TRUTH, "")
        try:
            yield Entry(
                absolute(known[RECORDING], path.parent),
                {name: absolute(value, path.parent) for name, value in others.items()},
                known.get(PERSON, ""),
                known.get(BOARD, ""),
                absolute(truth, path.parent) if truth else "",
            )
        except ConfigError as error:
            raise ConfigError(f"{path}: row {number}: {error}") from error


def check_sensors(entries: Iterable[Entry], sensors: Mapping[str, Sequence[str]]) -> None:
    """sensors: bundle -> the names of its sensors. Raises ConfigError where a list has a column that is none."""
    for entry in entries:
        for bundle, names in sensors.items():
            for name in entry.urls:
                if name not in names:
                    has = ", ".join((*names, PERSON, BOARD, TRUTH))
                    raise ConfigError(
                        f"{entry.name}: its list has a column {name!r}, and bundle {bundle} no such sensor: columns "
                        f"are {RECORDING}, {has}; rename or remove it"
                    )


def _rows(path: Path) -> Iterator[Mapping[str, str | None]]:
    if path.suffix.lower() == ".parquet":
        yield from _parquet(path)
        return
    try:
        with io.TextIOWrapper(open_regular(path), "utf-8-sig", newline="") as stream:
            for row in csv.DictReader(stream, delimiter=_separator(path) or ","):
                if None in row:
                    raise ConfigError(f"{path}: a row has more cells than the header")
                yield row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read as a list: {error}") from error


def _parquet(path: Path) -> Iterator[Mapping[str, str | None]]:
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise BackendUnavailable("pyarrow, which Parquet needs,", "pyarrow") from error
    try:
        with open_regular(path) as stream:
            table = pq.read_table(stream)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: is no list that can be read: {str(error).partition(chr(10))[0]}") from error
    if RECORDING not in map(str.strip, table.column_names):
        raise ConfigError(f"{path}: has no column {RECORDING}; it has {', '.join(table.column_names)}")
    for row in table.to_pylist():
        yield {name: None if value is None else str(value) for name, value in row.items()}
