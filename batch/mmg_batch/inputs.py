"""Which recordings a batch has: files, folders, globs, lists and URLs that fsspec reads."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from mmg.errors import ConfigError
from mmg.labels.beside import is_labels_file
from mmg.sources.files.folder import PICTURES, SOUNDS, TABLES

from mmg_batch.grouping import has_samples, is_one_recording
from mmg_batch.lists import entries_in, is_list
from mmg_batch.recording import Entry, absolute, as_words, is_remote, open_remote

CONTAINERS = (".zip", ".mcap", ".vrs", *PICTURES)
KNOWN = (*CONTAINERS, *SOUNDS, *TABLES)


def find(words: Sequence[str], found: Callable[[int], None] = lambda _: None) -> list[Entry]:
    """Every recording that the words name, each once, in the order of their names.

    found: called with how many there are so far. Raises ConfigError where a word names none.
    """
    entries: dict[str, Entry] = {}
    for word in words:
        before = len(entries)
        is_empty = True
        for entry in _in_word(word):
            is_empty = False
            known = entries.setdefault(entry.name, entry)
            if known != entry:
                raise ConfigError(f"{entry.name}: is named twice, and not alike: once is enough")
            found(len(entries))
        if is_empty and len(entries) == before:
            raise ConfigError(f"{word}: holds no recording")
    return [entries[name] for name in sorted(entries)]


def _in_word(word: str) -> Iterator[Entry]:
    if is_remote(word):
        yield from map(Entry, _remote(word))
        return
    path, here = Path(word), Path.cwd()
    if not path.exists():
        if matches := sorted(glob.glob(word, recursive=True)):  # noqa: PTH207 (of a word that may be absolute)
            for match in matches:
                yield from _in_path(Path(match), here)
            return
        yield Entry(_with_options(word, here))
        return
    yield from _in_path(path, here)


def _with_options(word: str, here: Path) -> str:
    """A word that is no path and matches none: a file with options, as ``walk.csv?acc_unit=g``."""
    name = absolute(word, here)
    if not Path(name.partition("?")[0]).exists():
        raise ConfigError(f"{word}: there is no such file or folder, and nothing matches it")
    return name


def _in_path(path: Path, here: Path) -> Iterator[Entry]:
    path = Path(os.path.normpath(here / path))
    if path.is_dir():
        yield from map(Entry, map(str, _in_folder(path, ())))
    elif is_list(path):
        yield from entries_in(path)
    elif not is_labels_file(path):
        yield Entry(str(path))


def _in_folder(folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    """A folder whose tables and sounds belong together is one recording; else each file in it is one.

    above: what identifies the folders that it lies in, into which a link may lead back. Raises ConfigError.
    """
    try:
        found = folder.stat()
        inside = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.name != "__MACOSX")
        files = [path for path in inside if path.is_file() and not is_labels_file(path) and path.stat().st_size]
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be read: {error.strerror}") from error
    here = found.st_dev, found.st_ino
    if here in above:
        return
    loose = [path for path in files if path.suffix.lower() in (*SOUNDS, *TABLES)]
    if is_one_recording(folder, loose):
        yield folder
        return
    for path in files:
        suffix = path.suffix.lower()
        if suffix in TABLES and not has_samples(path):
            continue
        if suffix in KNOWN and not (suffix == ".mcap" and _is_later_part(path)):
            yield path
    for path in inside:
        if path.is_dir():
            yield from _in_folder(path, (*above, here))


def _is_later_part(path: Path) -> bool:
    from mmg.recording.reader import is_later_part

    return is_later_part(path)


def _remote(url: str) -> Iterable[str]:
    """The URL itself, the files that it matches, or those of the folder that it names."""
    system, path = open_remote(url)
    try:
        if glob.has_magic(path):
            found = system.glob(path)
        elif system.isdir(path):
            found = system.find(path)
        else:
            return [url]
    except Exception as error:  # each file system has errors of its own
        raise ConfigError(f"{url}: cannot be listed: {as_words(error)}") from error
    named = [one for one in sorted(found) if Path(one).suffix.lower() in KNOWN and not is_labels_file(Path(one))]
    return [str(system.unstrip_protocol(one)) for one in named]
