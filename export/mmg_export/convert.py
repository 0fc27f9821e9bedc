"""Each conversion in a process of its own: a converter that crashes, or fills memory, takes nothing else with it.

``convert_all``, ``quantise_all`` and ``halve_all`` start as many at a time as there are cores.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmg.cli.progress import Progress
from mmg.cli.reporting import Reporter
from mmg.errors import ConfigError, ModelError
from torch.export import ExportedProgram

from mmg_export.fork_server import LOG, SERVER_LOG, ForkServer
from mmg_export.job import ARRAYS, FLOAT, JOB, MODEL, PROBLEM
from mmg_export.parts import Part, first_line
from mmg_export.streams import Array
from mmg_export.trace import Tracer, find_bfloat16, find_operator

LOOK_EVERY_S = 0.02
"""Between two looks at the processes."""
TEMPORARY_BYTES = 100_000_000
LARGEST_FILE_BYTES = 1 << 31
"""Of a bundle, and of what ONNX's own format can hold."""


@dataclass
class _Running:
    what: str
    work: Path


def require_space(needed: int = TEMPORARY_BYTES) -> None:
    """torch and the converters end in a crash, and not in an error, where the folder for temporary files is full.

    Raises ConfigError where less than ``needed`` bytes are free.
    """
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ConfigError(
            f"{folder}: {free / 1e6:.0f} MB are free, a conversion needs {needed / 1e6:.0f} MB for temporary files; "
            "set TMPDIR to another folder"
        )


def convert_all(
    backend: str, parts: Mapping[str, Mapping[str, Part]], progress: Reporter, tracer: Tracer, server: ForkServer
) -> dict[str, bytes]:
    """The model file of each part. ONNX takes one form of a part, LiteRT one for each signature, by its name.

    Raises ModelError that names the operator and where it is in the module, where the converter's message tells it, or
    where ONNX's runtime would not load it, as of bfloat16.
    """
    programs = {name: {key: tracer.trace(part) for key, part in forms.items()} for name, forms in parts.items()}
    for name, forms in programs.items():
        largest = max(map(_weight_bytes, forms.values()))
        if largest > LARGEST_FILE_BYTES:
            raise ModelError(
                f"{name}: its weights are {largest / 1e9:.1f} GB, and a file of a bundle holds 2 GiB at most"
            )
        if backend == "onnx" and (where := next(filter(None, map(find_bfloat16, forms.values())), "")):
            raise ModelError(
                f"{name}: onnx cannot take the operator {where}, with bfloat16: compute in float32, without "
                "torch.autocast"
            )

    def prepare(name: str, work: Path) -> dict[str, Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of buffers that are views, which are saved all the same
            require_space(TEMPORARY_BYTES + 2 * sum(map(_weight_bytes, programs[name].values())))
            for key, program in programs[name].items():
                try:
                    torch.export.save(program, work / f"{key}.pt2")
                except Exception as error:  # torch has many kinds, as for a sparse buffer
                    raise ModelError(f"{name}: torch.export cannot save it: {first_line(error)}") from error
        first = next(iter(parts[name].values()))
        return {"programs": list(programs[name]), "inputs": list(first.inputs), "outputs": list(first.outputs)}

    def explain(name: str, problem: str) -> str:
        where = find_operator(next(iter(programs[name].values())), problem)
        told = f"cannot take the operator {where}" if where else f"cannot convert it: {first_line(problem)}"
        return f"{name}: {backend} {told}"

    return _run_all(backend, list(parts), prepare, explain, progress, server)


def quantise_all(
    backend: str,
    files: Mapping[str, bytes],
    feeds: Mapping[str, Sequence[Mapping[str, Array]]],
    fixed: Mapping[str, Sequence[Array]],
    progress: Reporter,
    server: ForkServer,
) -> dict[str, bytes]:
    """The int8 form of each model file. feeds: inputs of its runs, to calibrate with; fixed: what of its weights nobody
    trained. Raises ModelError."""

    def prepare(name: str, work: Path) -> dict[str, Any]:
        (work / FLOAT).write_bytes(files[name])
        arrays = {f"{index}/{key}": value for index, feed in enumerate(feeds[name]) for key, value in feed.items()}
        arrays |= {f"fixed/{index}": array for index, array in enumerate(fixed[name])}
        np.savez(work / ARRAYS, **arrays)  # type: ignore[arg-type]
        return {}

    def explain(name: str, problem: str) -> str:
        return f"{name}: cannot be quantised for {backend}: {first_line(problem)}"

    return _run_all(f"{backend} int8", list(files), prepare, explain, progress, server)


def halve_all(backend: str, files: Mapping[str, bytes], progress: Reporter, server: ForkServer) -> dict[str, bytes]:
    """Each model file with its weights as float16. Raises ModelError."""

    def prepare(name: str, work: Path) -> dict[str, Any]:
        (work / FLOAT).write_bytes(files[name])
        return {}

    def explain(name: str, problem: str) -> str:
        return f"{name}: its weights cannot be stored as float16 for {backend}: {first_line(problem)}"

    return _run_all(f"{backend} float16", list(files), prepare, explain, progress, server)


def _run_all(
    kind: str,
    names: Sequence[str],
    prepare: Callable[[str, Path], dict[str, Any]],
    explain: Callable[[str, str], str],
    progress: Reporter,
    server: ForkServer,
) -> dict[str, bytes]:
    waiting, running, made = list(names), dict[Path, _Running](), dict[str, bytes]()
    with (
        Progress(progress, f"made for {kind}", len(names), "files") as shown,
        tempfile.TemporaryDirectory(prefix="mmg-export-") as folder,
    ):
        try:
            while waiting or running:
                while waiting and len(running) < (os.cpu_count() or 1):
                    name = waiting.pop(0)
                    work = Path(folder) / name
                    work.mkdir()
                    (work / JOB).write_text(json.dumps({"kind": kind, **prepare(name, work)}))
                    running[work] = _Running(name, work)
                    server.start(work)
                time.sleep(LOOK_EVERY_S)
                for work, code in server.poll().items():
                    one = running.pop(work)
                    made[one.what] = _end(one, code, kind, explain)
                    progress(f"{one.what} to {kind}: {len(made[one.what]) / 1e3:.0f} KB")
                shown.at(len(made), len(names), note=", ".join(one.what for one in running.values()))
        finally:
            if running:  # one of them failed: the others are for nothing
                server.close()
    return {name: made[name] for name in names}


def _weight_bytes(program: ExportedProgram) -> int:
    """What its parameters, buffers and constants take, those that share their memory once."""
    values = (*program.state_dict.values(), *program.constants.values())
    # Sparse ones have no memory of their own.
    memory = [one.untyped_storage() for one in values if isinstance(one, torch.Tensor) and one.layout == torch.strided]
    return sum({one.data_ptr(): one.nbytes() for one in memory}.values())


def _end(one: _Running, code: int, kind: str, explain: Callable[[str, str], str]) -> bytes:
    problem = one.work / PROBLEM
    if code < 0:
        raise ModelError(f"{one.what} to {kind}: the converter crashed ({signal.Signals(-code).name})")
    if code > 0:
        logs = [one.work / name for name in (SERVER_LOG, LOG) if (one.work / name).exists()]
        printed = "\n".join(log.read_text(errors="replace") for log in logs)
        lines = [line for line in printed.splitlines() if line.strip()]
        last = lines[-1].strip()[:300] if lines else "it printed nothing"
        raise ModelError(f"{one.what} to {kind}: the converter ended with code {code}: {last}")
    if problem.exists():
        raise ModelError(explain(one.what, problem.read_text()))
    return (one.work / MODEL).read_bytes()
