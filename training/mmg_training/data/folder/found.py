"""Which sessions a folder holds, and who and where each is of."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from mmg.errors import ConfigError
from mmg.labels import is_labels_file, read_labels
from mmg.printable import encodable
from mmg.recording.reader import is_later_part
from mmg.sources.files.folder import PICTURES, SOUNDS, TABLES
from mmg_device_profiles.regular_file import read_within
from mmg_device_profiles.toml import read_toml

UNKNOWN = "unknown"
TABLE, ABOUT = "sessions.csv", "session.toml"
RECORDINGS = (*TABLES, *SOUNDS, *PICTURES, ".zip", ".vrs", ".mcap")
KEYS = ("person", "place")


@dataclass(frozen=True)
class Recorded:
    """One session: ``files`` is a folder, or the files beside each other that share a stem. person: ``UNKNOWN`` where
    nobody is named."""

    name: str
    files: tuple[Path, ...]
    person: str = UNKNOWN
    place: str = ""


def find_sessions(root: Path) -> list[Recorded]:
    """The sessions in a folder, by their names: each folder, and each recording beside them.

    A folder of folders that has no recording and no labels of its own is a person's, and holds that person's sessions.
    Raises ConfigError.
    """
    found = []
    try:
        if not root.is_dir():
            raise ConfigError(f"{root}: is no folder; name the one that holds your sessions")
        told = _table(root / TABLE)
        for name, files, person in _walk(root):
            found.append(_described(name, files, person, told.pop(name, {})))
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be read: {error.strerror}") from error
    if told:
        raise ConfigError(f"{root / TABLE}: there is no session {next(iter(told))!r} in {root}")
    for one, other in pairwise(found):
        if one.name == other.name:
            raise ConfigError(f"{root}: two sessions are called {one.name}, a folder and a file perhaps: rename one")
    if not found:
        raise ConfigError(f"{root}: holds no session: a folder of files, or a recording, for each")
    return found


def _walk(root: Path) -> list[tuple[str, tuple[Path, ...], str]]:
    """Name, files and the person that a folder is of; a run's metrics and card hold these words."""
    found: list[tuple[str, tuple[Path, ...], str]] = []
    stems: dict[str, list[Path]] = {}
    for path in _visible(root):
        inner = _visible(path) if path.is_dir() else []
        folders = [one for one in inner if one.is_dir()]
        if folders and not any(_is_of_a_session(one) for one in inner):
            found += [(f"{path.name}/{one.name}", (one,), path.name) for one in folders]
        elif path.is_dir():
            found.append((path.name, (path,), UNKNOWN))
        elif path.suffix.lower() in RECORDINGS and not _is_aside(path):
            stems.setdefault(path.stem, []).append(path)
    found += [(stem, tuple(paths), UNKNOWN) for stem, paths in stems.items()]
    return sorted((encodable(name), files, encodable(person)) for name, files, person in found)


def _is_of_a_session(path: Path) -> bool:
    """Whether it tells that its folder is a session: a recording, labels, or who it is of; no page of ``mmg-look``."""
    return path.is_file() and (path.name == ABOUT or path.suffix.lower() in RECORDINGS)


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__")))


def _is_aside(path: Path) -> bool:
    """Whether it is no recording of its own: a table of sessions, labels as a tool wrote them, or a later part of a
    recording that was split."""
    if path.name == TABLE or is_labels_file(path):
        return True
    if path.suffix.lower() not in TABLES:
        return path.suffix == ".mcap" and is_later_part(path)
    try:
        read_labels(path)
    except ConfigError:
        return False
    return True


def _described(name: str, files: tuple[Path, ...], person: str, told: Mapping[str, str]) -> Recorded:
    beside = files[0] / ABOUT if files[0].is_dir() else files[0].with_name(f"{files[0].stem}.{ABOUT}")
    own = _about(beside) if beside.exists() else {}
    for key in KEYS:
        if own.get(key, told.get(key)) != told.get(key, own.get(key)):
            raise ConfigError(f"{beside}: {key} is {own[key]!r}, but {told[key]!r} in {TABLE}: which is right?")
    both = {**own, **told}
    return Recorded(name, files, both.get("person") or person, both.get("place") or "")


def _about(path: Path) -> dict[str, str]:
    try:
        return _checked(read_toml(path), str(path))
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def _table(path: Path) -> dict[str, dict[str, str]]:
    """Session -> who and where; nothing where there is no table."""
    if not path.exists():
        return {}
    try:
        stream = io.StringIO(read_within(path).decode("utf-8-sig"), newline="")
        rows = [{str(key).strip(): (cell or "").strip() for key, cell in row.items()} for row in csv.DictReader(stream)]
    except (OSError, UnicodeDecodeError, csv.Error, AttributeError) as error:
        raise ConfigError(f"{path}: needs the columns session, person and place ({error})") from error
    found: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows, 2):
        name = row.pop("session", "")
        if not name or name in found:
            raise ConfigError(f"{path}: line {number}: {'names a session twice' if name else 'names no session'}")
        found[name] = _checked({key: cell for key, cell in row.items() if cell}, f"{path}: line {number}")
    return found


def _checked(table: Mapping[str, Any], where: str) -> dict[str, str]:
    for key, value in table.items():
        if key not in KEYS:
            raise ConfigError(f"{where}: {key!r} is not one of {', '.join(KEYS)}")
        if not isinstance(value, str) or not value.isprintable():
            raise ConfigError(f"{where}: {key} is to be a word")
    return {key: value.strip() for key, value in table.items()}
