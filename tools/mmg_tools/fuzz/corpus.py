"""The inputs that are kept: small ones in the tree, by target, and those that a campaign found, beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from mmg_tools.fuzz.lines import Line, Lines
from mmg_tools.fuzz.target import Reader

HASHED = 12
"""Characters of a name that is the beginning of a SHA-256. A file of another name is kept whatever it reaches."""


def checkout_corpora() -> Path:
    """Where the tree has them."""
    return Path(__file__).resolve().parents[3] / "tests" / "corpora"


def read_seeds(*folders: Path) -> list[bytes]:
    """The inputs in these folders, each once, in the same order everywhere; none of a folder that is not there."""
    found: dict[bytes, None] = {}
    for folder in folders:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.is_file():
                found[path.read_bytes()] = None
    return list(found)


def keep(folder: Path, data: bytes, *, name: str = "") -> Path:
    """Write an input under the beginning of its digest, or under a name."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (name or hashlib.sha256(data).hexdigest()[:HASHED])
    path.write_bytes(data)
    return path


def smallest(read: Reader, inputs: Iterable[bytes], lines: Lines) -> Iterator[bytes]:
    """Of these inputs those that reach a line which no shorter one reaches."""
    reached: set[Line] = set()
    for data in sorted(inputs, key=lambda one: (len(one), one)):
        fresh = reach(read, data, lines) - reached
        if fresh:
            reached |= fresh
            yield data


def reach(read: Reader, data: bytes, lines: Lines) -> frozenset[Line]:
    """The lines that an input reaches, of one at which the reader fails too."""

    def call() -> None:
        with suppress(Exception):
            read(data)

    return lines.of(call)


def minimise(read: Reader, folder: Path, found: Path, lines: Lines) -> int:
    """Put the smallest inputs of both folders that reach the same lines into the first; returns how many it has."""
    kept = list(smallest(read, read_seeds(folder, found), lines))
    for path in folder.iterdir() if folder.is_dir() else ():
        if is_hashed(path):
            path.unlink()
    named = set(read_seeds(folder))
    for data in kept:
        if data not in named:
            keep(folder, data)
    return len(read_seeds(folder))


def is_hashed(path: Path) -> bool:
    """Whether the tool named it."""
    return len(path.name) == HASHED and set(path.name) <= set("0123456789abcdef")
