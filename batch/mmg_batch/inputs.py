"""Which recordings a batch has: files, folders, globs, lists and URLs that fsspec reads."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from mmg.errors import ConfigError
from mmg.labels.beside import is_labels_file
from mmg.sources.files.folder import PICTURES, SOUNDS, TABLES
from mmg.sources.url import parse_url

from mmg_batch.grouping import has_samples, is_one_recording
from mmg_batch.lists import entries_in, is_list
from mmg_batch.recording import Entry, absolute, is_remote, name_of
from mmg_batch.remote import remote_files

CONTAINERS = (".zip", ".mcap", ".vrs", *PICTURES)
KNOWN = (*CONTAINERS, *SOUNDS, *TABLES)


def find(
    words: Sequence[str], found: Callable[[int], None] = lambda _: None, tell: Callable[[str], None] = lambda _: None
) -> list[Entry]:
    """Every recording that the words name, each once, in the order of their names.

    found: called with how many there are so far. tell: called with a line for a folder that is left out, as it cannot
    be read. Raises ConfigError where a word names none, and where two say other things of one recording.
    """
    entries: dict[str, Entry] = {}
    for word in words:
        is_empty = True
        for entry in _in_word(word, tell):
            is_empty = False
            plain, known = Entry(entry.name), entries.get(entry.name)
            if known is None or known == plain:
                entries[entry.name] = entry  # a list says more of it than a path
            elif entry not in (known, plain):
                raise ConfigError(f"{entry.name}: is named twice, and not alike: once is enough")
            found(len(entries))
        if is_empty:
            raise ConfigError(f"{word}: holds no recording")
    return [entries[name] for name in sorted(entries)]


def _in_word(word: str, tell: Callable[[str], None]) -> Iterator[Entry]:
    if is_remote(word):
        yield from map(Entry, remote_files(word, is_recording_name))
        return
    path, here = Path(word), Path.cwd()
    if not path.exists():
        if matches := sorted(glob.glob(word, recursive=True)):  # noqa: PTH207 (of a word that may be absolute)
            yield from _in_matches([_absolute(match, here) for match in matches], tell)
            return
        yield Entry(_with_options(word, here))
        return
    path = _absolute(word, here)
    if path.is_dir():
        yield from map(Entry, map(name_of, _in_folder(path, (), tell)))
    elif not path.is_file():
        raise ConfigError(f"{path}: is neither a file nor a folder")
    elif is_list(path):
        yield from entries_in(path)
    elif not is_labels_file(path):
        yield Entry(name_of(path))


def _in_matches(matches: Iterable[Path], tell: Callable[[str], None]) -> Iterator[Entry]:
    """What a glob matches, chosen as in a folder; what lies in a recording is that recording's."""
    folders: set[Path] = set()
    for path in matches:
        if not folders.isdisjoint(path.parents):
            continue
        if path.is_dir():
            for one in _in_folder(path, (), tell):
                if one.is_dir():
                    folders.add(one)
                yield Entry(name_of(one))
        elif is_list(path):
            yield from entries_in(path)
        elif _is_wanted(path) and _is_recording(path):
            yield Entry(name_of(path))


def _absolute(path: str, here: Path) -> Path:
    return Path(os.path.normpath(here / path))


def _with_options(word: str, here: Path) -> str:
    """A word that is no path and matches none: a file with options, as ``walk.csv?acc_unit=g``."""
    name = absolute(word, here)
    if not Path(parse_url(name).path).exists():
        raise ConfigError(f"{word}: there is no such file or folder, and nothing matches it")
    return name


def _in_folder(folder: Path, above: tuple[tuple[int, int], ...], tell: Callable[[str], None]) -> Iterator[Path]:
    """A folder whose tables and sounds belong together is one recording; else each file in it is one.

    above: what identifies the folders that it lies in, into which a link may lead back. Raises ConfigError where the
    folder that was named cannot be read; of one in it, that is told.
    """
    try:
        found = folder.stat()
        inside = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.name != "__MACOSX")
        files = list(filter(_is_wanted, inside))
    except OSError as error:
        why = f"{folder}: cannot be read: {error.strerror}"
        if not above:
            raise ConfigError(why) from error
        tell(f"{why}: it is left out")
        return
    here = found.st_dev, found.st_ino
    if here in above:
        return
    loose = [path for path in files if path.suffix.lower() in (*SOUNDS, *TABLES)]
    if is_one_recording(folder, loose):
        yield folder
        return
    yield from filter(_is_recording, files)
    for path in inside:
        if path.is_dir():
            yield from _in_folder(path, (*above, here), tell)


def _is_wanted(path: Path) -> bool:
    return path.is_file() and not is_labels_file(path) and path.stat().st_size > 0


def _is_recording(path: Path) -> bool:
    """Whether a file that nobody named is one, and no part of another."""
    suffix = path.suffix.lower()
    if suffix in TABLES:
        return has_samples(path)
    return suffix in KNOWN and not (suffix == ".mcap" and _is_later_part(path))


def is_recording_name(name: str) -> bool:
    """Whether a remote file is one, as far as its name says."""
    return Path(name).suffix.lower() in KNOWN and not is_labels_file(Path(name))


def _is_later_part(path: Path) -> bool:
    from mmg.recording.reader import is_later_part

    return is_later_part(path)
