"""Conversions that the tests share: the same job is done once, and its result is kept by what the job is made of."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

from mmg_export.fork_server import ForkServer
from mmg_export.job import MODEL, PROBLEM

# torch numbers the graphs that a program was traced from by their place in memory.
GRAPH_ID = re.compile(rb"graph_id[^0-9]{1,6}\d+")


class SharedForkServer(ForkServer):
    """A fork server that goes on between exports and looks into ``folder`` first.

    started: how many jobs were really done here.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._keys: dict[Path, str] = {}
        self._known: list[Path] = []
        self.started = 0

    def __exit__(self, *_: object) -> None:
        """The next export uses it too."""

    def start(self, work: Path) -> None:
        self._keys[work] = key_of(work)
        kept = self._folder / self._keys[work]
        if kept.is_dir():
            shutil.copytree(kept, work, dirs_exist_ok=True)
            self._known.append(work)
        else:
            self.started += 1
            super().start(work)

    def poll(self) -> dict[Path, int]:
        known, self._known = self._known, []
        ended = super().poll()
        for work, code in ended.items():
            kept = self._folder / self._keys.pop(work)
            if code == 0:
                keep(work, kept)
        return ended | dict.fromkeys(known, 0)


def keep(work: Path, kept: Path) -> None:
    making = kept.with_name(f"{kept.name}.{os.getpid()}")
    making.mkdir(parents=True)
    for name in (MODEL, PROBLEM):
        if (work / name).exists():
            shutil.copy(work / name, making)
    try:
        making.rename(kept)
    except OSError:  # another process was first
        shutil.rmtree(making)


def key_of(work: Path) -> str:
    """The digest of all that the job was given: the same for two traces of one module."""
    digest = hashlib.sha256()
    for name, data in contents_of(work):
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()


def contents_of(work: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(work.iterdir()):
        if path.suffix != ".pt2":
            yield path.name, path.read_bytes()
            continue
        with ZipFile(path) as program:
            for name in sorted(program.namelist()):
                if not name.endswith("serialization_id"):
                    yield f"{path.name}/{name}", GRAPH_ID.sub(b"", program.read(name))
