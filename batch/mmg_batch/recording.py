"""One recording of a batch: where it is, what it is made of, and whether that has changed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mmg.errors import BackendUnavailable, ConfigError, SourceError, SourceNotFound
from mmg.labels.beside import BESIDE, labels_file
from mmg.sources.url import parse_url
from mmg_device_profiles.regular_file import open_regular

REMOTE = re.compile(r"(?!(?:file|serial|iio|mic|camera)://)[A-Za-z][A-Za-z0-9+.-]*(?:::[^/]*)?://", re.IGNORECASE)
"""What begins a URL that fsspec reads, and mmg itself does not."""
WEB = ("http://", "https://")
BLOCK = 1 << 20


@dataclass(frozen=True)
class Entry:
    """One recording. ``name`` is its absolute path or its URL, and tells it from all others.

    urls: modality -> where its recording is, of those that a list names; empty: every sensor that is in ``name``.
    person, board: who wore it and on what, empty where nobody says. truth: the file of its labels, empty for those
    that lie beside it.
    """

    name: str
    urls: Mapping[str, str] = field(default_factory=dict)
    person: str = ""
    board: str = ""
    truth: str = ""

    @property
    def places(self) -> tuple[str, ...]:
        """The paths and URLs of its sensors."""
        return tuple(dict.fromkeys(self.urls.values())) or (self.name,)


def is_remote(place: str) -> bool:
    """Whether fsspec is to fetch it."""
    return REMOTE.match(place) is not None


def open_remote(url: str, **options: Any) -> tuple[Any, str]:
    """fsspec's file system of a URL, with these options, and the path in it. Raises SourceError, BackendUnavailable."""
    try:
        import fsspec
    except ImportError as error:
        raise BackendUnavailable("fsspec, which URLs need,", "fsspec") from error
    try:
        system, path = fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        if "aiohttp" in str(error):  # fsspec asks for requests beside it, which it does not load
            raise BackendUnavailable("aiohttp, which URLs on the web need,", "aiohttp") from error
        raise SourceError(url, str(error).partition("\n")[0]) from error
    except ValueError as error:  # an unknown protocol
        raise SourceError(url, str(error).partition("\n")[0]) from error
    return system, path


def truth_of(entry: Entry) -> str:
    """The file of its labels that is there, as ``name_of`` has it; empty where there is none.

    Raises SourceError where a list names one that is not there.
    """
    if entry.truth:
        if not is_remote(entry.truth) and (
            (url := parse_url(entry.truth)).options or not Path(url.path).is_file()  # labels have no options
        ):
            raise SourceNotFound(entry.truth, "there is no such file of labels")
        return entry.truth
    if is_remote(entry.name):
        system, path = open_remote(entry.name)
        beside = labels_beside(path)
        return str(system.unstrip_protocol(beside)) if beside and system.exists(beside) else ""
    beside_it = labels_file(Path(parse_url(entry.name).path))
    return name_of(beside_it) if beside_it.is_file() else ""


def state_of(entry: Entry) -> list[list[object]]:
    """Its files as ``[path, bytes, when or what it is]``: equal as long as none of them was changed.

    Raises SourceError where one is not there, ConfigError for a URL that cannot be.
    """
    truth = truth_of(entry)
    return [state for place in (*entry.places, *[truth] * bool(truth)) for state in _states(place)]


def labels_beside(path: str) -> str:
    """Where the labels of a remote file would be; empty where the path is a host's alone. An ``https`` file system's
    paths are whole URLs."""
    address, question, query = path.partition("?") if "://" in path else (path, "", "")
    folder, slash, name = address.rpartition("/")
    if not name or folder.endswith(":/"):
        return ""
    return f"{folder}{slash}{Path(name).stem}{BESIDE}{question}{query}"


def as_noted(entry: Entry, state: list[list[object]]) -> str:
    """The state of its files, and what a list says of it: equal as long as neither was changed."""
    return json.dumps([state, sorted(entry.urls.items()), entry.person, entry.board])


def bytes_of(state: Iterable[list[object]]) -> int:
    """Of all its files."""
    return sum(int(str(size)) for _, size, _ in state)


def digest_of(places: Iterable[str], alive: Callable[[], None] = lambda: None) -> str:
    """The SHA-256 of a recording's files: of the file itself where there is one, else of the lines that ``sha256sum``
    prints for them, by their names. Raises SourceError.

    alive: called with each block that was read.
    """
    found = [(path.name, path) for place in places for path in _files(Path(parse_url(place).path))]
    digests = sorted((_sha256(path, alive), name) for name, path in found)
    if len(digests) == 1:
        return digests[0][0]
    lines = "".join(f"{digest}  {name}\n" for digest, name in digests)
    return hashlib.sha256(os.fsencode(lines)).hexdigest()


def _sha256(path: Path, alive: Callable[[], None]) -> str:
    digest = hashlib.sha256()
    try:
        with open_regular(path) as stream:
            while block := stream.read(BLOCK):
                digest.update(block)
                alive()
    except OSError as error:
        raise SourceError(str(path), f"cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def _states(place: str) -> Iterator[list[object]]:
    if is_remote(place):
        system, inside = open_remote(place)
        try:
            if inside.lower().startswith(WEB):  # whose files fsspec takes for ones that never change
                found = system.info(inside)
                size, which = found.get("size"), found.get("ETag") or found.get("Last-Modified")
            else:
                size, which = system.size(inside), system.ukey(inside)
            yield [place, int(size or 0), str(which)]
        except Exception as error:  # each file system has errors of its own
            raise SourceError(place, f"cannot be looked at: {as_words(error)}") from error
        return
    for path in _files(Path(parse_url(place).path)):
        try:
            found = path.stat()
        except OSError as error:
            raise SourceNotFound(str(path), f"cannot be read: {error.strerror}") from error
        yield [str(path), found.st_size, found.st_mtime_ns]


def _files(path: Path) -> list[Path]:
    """A file, or all in a folder by their names, and the parts of a recording that come after its first.

    Links that lead nowhere, pipes and devices in a folder are passed over. Raises SourceNotFound.
    """
    try:
        if path.is_dir():
            inside = sorted(Path(root, name) for root, _, names in os.walk(path) for name in names)
            return [one for one in inside if one.is_file()]
        is_file = stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        raise SourceNotFound(str(path), f"cannot be read: {error.strerror}") from error
    if not is_file:
        raise SourceNotFound(str(path), "is no regular file")
    if path.suffix == ".mcap":
        from mmg.recording.reader import open_recording

        try:
            return list(open_recording(path).parts)
        except SourceError:
            return [path]
    return [path]


def name_of(path: Path | str) -> str:
    """The path of a recording, or its URL where the path has a ``?``, which begins options."""
    return f"file://{quote(os.fsencode(path))}" if "?" in str(path) else str(path)


def as_words(error: Exception) -> str:
    """An error of a library in one line."""
    return (str(error).strip().partition("\n")[0] or type(error).__name__)[:300]


def absolute(place: str, folder: Path) -> str:
    """A path or URL as it is from everywhere; a relative one counts from ``folder``. Raises ConfigError."""
    if is_remote(place):
        return place
    url = parse_url(place)
    if url.scheme != "file":
        raise ConfigError(f"{place}: is a live port, and a batch takes recordings")
    path = name_of(os.path.normpath(folder / url.path))
    return f"{path}{place[place.index('?') :]}" if url.options else path
