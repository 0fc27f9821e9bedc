"""A folder or a zip archive, as apps and loggers export one: which of its files is the sensor."""

from __future__ import annotations

import atexit
import itertools
import lzma
import shutil
import stat
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mmg.bounded_zip import ZIP_ERRORS, BoundedZip
from mmg.bundle.manifest import Modality
from mmg.errors import ConfigError, SourceError
from mmg.folder_lock import held_folder
from mmg.labels.beside import is_labels_file
from mmg.sources.columns import Column
from mmg.sources.files.contents import kinds_of
from mmg.sources.files.joined import JoinedFile
from mmg.sources.files.table.file import TABLE_OPTIONS, TableFile, open_table
from mmg.sources.files.table.layout import LOOK_AHEAD_ROWS
from mmg.sources.files.table.sensors import Sensor, find_sensors, is_one_device, is_without_gravity, wanted_role
from mmg.sources.files.table.table import Row
from mmg.sources.files.table.text import TextTable
from mmg.sources.files.table.units import looks_like_gravity
from mmg.sources.url import PLACING, SourceUrl

if TYPE_CHECKING:
    from mmg.sources import Recording

TABLES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson")
SOUNDS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".3gp", ".amr", ".aif", ".aiff", ".caf")
PICTURES = (".mp4", ".mov", ".mkv", ".webm", ".avi")
OF_KIND = {"signal": TABLES, "audio": SOUNDS, "video": PICTURES}
WHAT = {"signal": "table", "audio": "sound", "video": "video"}
MOST_FILES, DEEPEST = 2000, 2
UNPACKED, MARK = "mmg-zip-", ".mmg-zip-held"
"""How the folder of an archive's files begins; it means nothing to a person. And a file in it that is none of them: a
hidden one is not read, and none without an ending is unpacked."""
# An archive may promise more than a disk holds.
LARGEST_BYTES = 8 << 30
LIST_BYTES = 4 << 20
"""Of an archive's list of entries: forty thousand with names of fifty letters."""
LARGEST_RATIO, SMALL_BYTES = 100, 256 << 20
"""Text of numbers packs to a tenth: more than so many bytes from one, and more than the second in all, is a bomb."""
WORSE = ("uncalibrated", "uncal", "raw")


def open_part(url: SourceUrl, folder: Path, modality: Modality) -> Recording:
    """This modality's sensor from a folder, or a zip archive that was unpacked to one.

    Raises SourceError where there is none, or more than one that could be meant.
    """
    if "file" in url.options:
        return _open_named(url, folder, modality)
    found = [path for path in _files(url, folder) if modality.kind in _kinds_in_file(path)]
    roles = [wanted_role(channel) for channel in modality.channels]
    tables = [path for path in found if path.suffix.lower() in TABLES]
    is_imu = modality.kind == "signal" and any(role and role.kind == "acceleration" for role in roles)
    if is_imu and (tables or not found):
        return _open_parts(url, _looked_at(tables), modality)
    if not found:
        raise SourceError(str(url), f"holds no {WHAT[modality.kind]}")
    if len(found) > 1:
        raise SourceError(str(url), f"holds several: {_named(found)}: name one with ?file={_placed(found[0])}")
    from mmg.sources import open_file

    placing = {name: value for name, value in url.options.items() if name in PLACING}
    return open_file(SourceUrl(str(url), "file", str(found[0]), placing), found[0], modality)


def _open_named(url: SourceUrl, folder: Path, modality: Modality) -> Recording:
    """The file that the URL's ``file`` names, by its path within or by the end of it."""
    from mmg.sources import open_file

    name = url.options["file"]
    files = _files(url, folder)
    found = [path for path in files if path == folder / name] or [
        path for path in files if f"/{path}".endswith(f"/{name}")
    ]
    if len(found) != 1:
        raise SourceError(str(url), f"has {len(found) or 'no'} files {name}: it holds {_named(files)}")
    options = {option: value for option, value in url.options.items() if option != "file"}
    return open_file(SourceUrl(str(url), "file", str(found[0]), options), found[0], modality)


def kinds_in(url: SourceUrl) -> frozenset[str]:
    """The kinds of sensor (``signal``, ``audio``, ``video``) in a file, a folder or an archive.

    Raises SourceNotFound, SourceError.
    """
    from mmg.sources import readable

    path = readable(url)
    if path.suffix.lower() == ".zip" and path.is_file():
        path = unpacked(str(url), path.absolute())
    found: set[str] = set()
    for one in _files(url, path) if path.is_dir() else [path]:
        found |= _kinds_in_file(one)
    return frozenset(found)


def _kinds_in_file(path: Path) -> frozenset[str]:
    by_name = frozenset(kind for kind, suffixes in OF_KIND.items() if path.suffix.lower() in suffixes)
    return kinds_of(path) or by_name


def open_with(url: SourceUrl, path: Path, modality: Modality) -> Recording:
    """An IMU from this table and those that its URL's ``with`` names, comma separated, beside it or by their paths."""
    others = [path.parent / name for name in url.options["with"].split(",")]
    for other in others:
        if not other.is_file():
            raise SourceError(str(url), f"with={other.name}: there is no such file beside {path.name}")
    tables = _looked_at([path, *others])
    for one in (path, *others):
        if not tables[one].kinds:
            raise SourceError(
                str(url), f"{one.name} is no accelerometer or gyroscope that could be told by name or unit"
            )
    return _open_parts(url, tables, modality, chosen=True)


def _find_parts(url: SourceUrl, tables: Mapping[Path, _Look], *, chosen: bool) -> dict[str, Path]:
    """Which of these tables is what kind of sensor: one file for all, or one for each.

    chosen: whether the user named them, so that they belong together. Raises SourceError where a kind is in several
    that are equally good, and where acceleration and turning may be of two devices.
    """
    of_kind: dict[str, list[Path]] = {}
    for path, look in tables.items():
        for kind in look.kinds:
            of_kind.setdefault(kind, []).append(path)
    both = [path for path in of_kind.get("acceleration", []) if path in of_kind.get("gyro", [])]
    if both:
        return {"acceleration": _only(url, both, "the IMU")}
    parts = {kind: _only(url, found, kind) for kind, found in of_kind.items()}
    for kind, path in parts.items():
        lead = parts.get("acceleration") or parts.get("linear")
        if lead and not chosen and not _are_of_one_device(lead, path):
            raise SourceError(
                str(url),
                f"has acceleration in {_placed(lead)} and {kind} in {_placed(path)}, which may be two devices or two "
                "recordings: name one folder, or the files of one IMU",
            )
    if {"acceleration", "gravity"} <= set(parts) and "linear" not in parts:
        both_rows = (_rows_and_sensor(parts[kind], kind) for kind in ("acceleration", "gravity"))
        if is_without_gravity(*both_rows):  # Sensor Logger calls acceleration without gravity Accelerometer
            parts["linear"] = parts.pop("acceleration")
    if "acceleration" in parts:
        parts = {kind: path for kind, path in parts.items() if kind in ("acceleration", "gyro")}
    if not {"acceleration", "linear"} & set(parts):
        listed = _named(list(tables)) or "no table"
        raise SourceError(str(url), f"holds no acceleration that could be told by its name or unit: it has {listed}")
    if "linear" in parts and "gravity" not in parts:
        raise SourceError(
            str(url), f"has acceleration without gravity alone ({parts['linear'].name}): mmg needs it with gravity"
        )
    order = ("acceleration", "linear", "gravity", "gyro")
    return {kind: parts[kind] for kind in order if kind in parts}


def unpacked(url: str, path: Path) -> Path:
    """A zip archive's files in a folder for temporary files, which goes when the process ends; what one leaves that is
    killed goes when the next one unpacks. Raises SourceError."""
    try:
        return _unpack(path)
    except OSError as error:
        raise SourceError(url, f"cannot be unpacked: {error.strerror or error}") from error
    except (*ZIP_ERRORS, lzma.LZMAError) as error:
        raise SourceError(url, f"is no zip archive that can be read: {error}") from error


def forget_unpacked() -> None:
    """Remove what was unpacked so far, for a process that reads many archives, none of which is open any more."""
    _unpack.cache_clear()
    _folders.close()


_folders = ExitStack()
"""Of archives' files."""
atexit.register(forget_unpacked)


@cache
def _unpack(path: Path) -> Path:
    with BoundedZip(path, LIST_BYTES) as archive:
        members = [one for one in archive.infolist() if not one.is_dir() and not _is_link(one)]
        wanted = [one for one in members if Path(one.filename).suffix.lower() in (*TABLES, *SOUNDS, *PICTURES)]
        size = sum(one.file_size for one in wanted)
        if size > LARGEST_BYTES or len(wanted) > MOST_FILES:
            raise ValueError(f"it holds {len(wanted)} files of {size / 1e9:.1f} GB: unpack it and name the folder")
        packed = path.stat().st_size
        if sum(one.compress_size for one in wanted) > packed:
            raise ValueError("its files overlap")
        if size > max(SMALL_BYTES, LARGEST_RATIO * packed):
            raise ValueError(f"it would unpack to {size / 1e9:.1f} GB, over {LARGEST_RATIO} times what it takes")
        folder = _folders.enter_context(held_folder(UNPACKED, MARK))
        if size > shutil.disk_usage(folder).free:
            raise ValueError(f"it holds {size / 1e6:.0f} MB, more than there is room for in {folder}")
        for one in wanted:
            archive.extract(one, folder)
    return folder


def _is_link(member: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(member.external_attr >> 16)


def _files(url: SourceUrl, folder: Path) -> list[Path]:
    found: list[Path] = []
    try:
        for path in _walk(folder, DEEPEST):
            found.append(path)
            if len(found) > MOST_FILES:
                raise SourceError(str(url), f"holds over {MOST_FILES} files: name the folder of one recording")
    except OSError as error:
        raise SourceError(str(url), f"cannot be read: {error.strerror} ({error.filename})") from error
    return found


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == "__MACOSX" or is_labels_file(path):
            continue
        if path.is_dir() and not path.is_symlink():
            if depth:
                yield from _walk(path, depth - 1)
        elif path.is_file() and path.stat().st_size:
            yield path


class _Look(NamedTuple):
    """What was seen of a table: the kinds of sensor in it, none where it cannot be read, and itself where it is text: a
    document of JSON is too large to be held."""

    kinds: frozenset[str]
    table: TextTable | None


def _looked_at(paths: Sequence[Path]) -> dict[Path, _Look]:
    return {path: _look_at(path) for path in paths}


def _look_at(path: Path) -> _Look:
    try:
        table = open_table(SourceUrl(str(path), "file", str(path), {}), path)
    except (SourceError, ConfigError, OSError):
        return _Look(frozenset(), None)
    if not table.named and path.stem.lower() == "acc" and len(table.columns) == 3:
        kinds = frozenset(("acceleration",))  # Empatica's
    else:
        kinds = frozenset(sensor.kind for sensor in find_sensors(table.columns, path.stem))
    return _Look(kinds, table if isinstance(table, TextTable) else None)


def _are_of_one_device(one: Path, two: Path) -> bool:
    roles = [Column.of(0, f"{path.stem} x").role() for path in (one, two)]
    words = [role.of if role else () for role in roles]
    return one.parent == two.parent and is_one_device(*words)


def _placed(path: Path) -> str:
    folder = path.parent.name
    return path.name if not folder or folder.startswith(UNPACKED) else f"{folder}/{path.name}"


def _only(url: SourceUrl, found: Sequence[Path], what: str) -> Path:
    heavy = [path for path in found if what == "acceleration" and len(found) > 1 and _has_gravity(path)] or list(found)
    better = [path for path in heavy if not any(word in path.stem.lower() for word in WORSE)] or heavy
    total = [path for path in better if "total" in path.stem.lower()]
    better = total if len(total) == 1 else better
    if len(better) > 1:
        way = f"name the one that is meant with ?file={_placed(better[0])}"
        raise SourceError(str(url), f"has {what} in several files: {_named(better)}: {way}")
    return better[0]


def _has_gravity(path: Path) -> bool:
    rows, sensor = _rows_and_sensor(path, "acceleration")
    return looks_like_gravity([sensor.axes[axis] for axis in "xyz"], list(rows))


def _rows_and_sensor(path: Path, kind: str) -> tuple[Iterator[Row], Sensor]:
    table = open_table(SourceUrl(str(path), "file", str(path), {}), path)
    [sensor] = [one for one in find_sensors(table.columns, path.stem) if one.kind == kind][:1]
    return itertools.islice(table.rows(), LOOK_AHEAD_ROWS), sensor


def _open_parts(url: SourceUrl, tables: Mapping[Path, _Look], modality: Modality, *, chosen: bool = False) -> Recording:
    parts = _find_parts(url, tables, chosen=chosen)
    if list(parts) == ["acceleration"]:
        path = parts["acceleration"]
        options = {name: value for name, value in url.options.items() if name != "with"}
        table = None if options.keys() & TABLE_OPTIONS else tables[path].table
        return TableFile(SourceUrl(str(url), "file", str(path), options), path, modality, table=table)
    return JoinedFile(url, parts, modality)


def _named(paths: Sequence[Path]) -> str:
    return ", ".join(_placed(path) for path in paths[:6]) + (", ..." if len(paths) > 6 else "")
