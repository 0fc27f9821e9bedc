"""What exports of the tests share: a trace or conversion is made once, and kept by what it is made of."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from mmg_export.fork_server import ForkServer
from mmg_export.job import MODEL, PROBLEM
from mmg_export.parts import Part
from mmg_export.trace import Tracer, trace
from torch.export import ExportedProgram

# torch numbers the graphs that a program was traced from by their place in memory.
GRAPH_ID = re.compile(rb"graph_id[^0-9]{1,6}\d+")


class SharedTracer(Tracer):
    """Traces a part once a process: the same module with the same weights and inputs, whichever export asks for it."""

    def __init__(self) -> None:
        super().__init__()
        self._programs: dict[bytes, ExportedProgram] = {}

    def trace(self, part: Part) -> ExportedProgram:
        data = BytesIO()
        try:
            _Contents(data).dump((part.name, part.module, dict(part.inputs), part.outputs, dict(part.free)))
        except (pickle.PicklingError, AttributeError, RuntimeError):  # of a lambda, or what torch has compiled
            return trace(part)
        key = hashlib.sha256(data.getbuffer()).digest()
        if key not in self._programs:
            self._programs[key] = trace(part)
        return self._programs[key]


class _Contents(pickle.Pickler):
    """The same bytes for the same values: torch's own way numbers each tensor anew."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return list, ([str(value.dtype), *value.shape, value.detach().numpy().tobytes()],)
        return NotImplemented


class SharedForkServer(ForkServer):
    """A fork server that goes on between exports and looks into ``folder`` first.

    folder: what was made; another, empty one lets all be made anew. started: how many jobs were really done here.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self._keys: dict[Path, str] = {}
        self._known: list[Path] = []
        self.started = 0

    def __exit__(self, *_: object) -> None:
        """The next export uses it too."""

    def start(self, work: Path) -> None:
        self._keys[work] = key_of(work)
        kept = self.folder / self._keys[work]
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
            kept = self.folder / self._keys.pop(work)
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
