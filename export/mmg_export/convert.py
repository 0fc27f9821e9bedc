"""Each conversion in a process of its own: a converter that crashes, or fills memory, takes nothing else with it.

``python -m mmg_export.convert FOLDER`` is the process; ``convert_all``, ``quantise_all`` and ``halve_all`` start as
many at a time as there are cores.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmg.errors import ModelError
from mmg_training.evaluation.progress import Reporter
from torch.export import ExportedProgram

from mmg_export.parts import Part, first_line
from mmg_export.streams import Array
from mmg_export.trace import find_operator, trace

# Seconds between two looks at the processes, and between two lines about those that go on.
LOOK_EVERY_S, TELL_EVERY_S = 0.05, 10.0
COMMAND = ("-m", "mmg_export.convert")
JOB, LOG, PROBLEM, MODEL, ARRAYS = "job.json", "log.txt", "problem.txt", "model", "arrays.npz"


@dataclass
class _Running:
    what: str
    work: Path
    process: subprocess.Popen[bytes]
    told_s: float


def convert_all(backend: str, parts: Mapping[str, Mapping[str, Part]], progress: Reporter) -> dict[str, bytes]:
    """The model file of each part. ONNX takes one form of a part, LiteRT one for each signature, by its name.

    Raises ModelError that names the operator and where it is in the module, where the converter's message tells it.
    """
    programs = {name: {key: trace(part) for key, part in forms.items()} for name, forms in parts.items()}

    def prepare(name: str, work: Path) -> dict[str, Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of buffers that are views, which are saved all the same
            for key, program in programs[name].items():
                torch.export.save(program, work / f"{key}.pt2")
        first = next(iter(parts[name].values()))
        return {"programs": list(programs[name]), "inputs": list(first.inputs), "outputs": list(first.outputs)}

    def explain(name: str, problem: str) -> str:
        where = find_operator(next(iter(programs[name].values())), problem)
        told = f"cannot take the operator {where}" if where else f"cannot convert it: {first_line(problem)}"
        return f"{name}: {backend} {told}"

    return _run_all(backend, list(parts), prepare, explain, progress)


def quantise_all(
    backend: str,
    files: Mapping[str, bytes],
    feeds: Mapping[str, Sequence[Mapping[str, Array]]],
    fixed: Mapping[str, Sequence[Array]],
    progress: Reporter,
) -> dict[str, bytes]:
    """The int8 form of each model file. feeds: inputs of its runs, to calibrate with; fixed: what of its weights nobody
    trained. Raises ModelError."""

    def prepare(name: str, work: Path) -> dict[str, Any]:
        (work / "float").write_bytes(files[name])
        arrays = {f"{index}/{key}": value for index, feed in enumerate(feeds[name]) for key, value in feed.items()}
        arrays |= {f"fixed/{index}": array for index, array in enumerate(fixed[name])}
        np.savez(work / ARRAYS, **arrays)  # type: ignore[arg-type]
        return {}

    def explain(name: str, problem: str) -> str:
        return f"{name}: cannot be quantised for {backend}: {first_line(problem)}"

    return _run_all(f"{backend} int8", list(files), prepare, explain, progress)


def halve_all(backend: str, files: Mapping[str, bytes], progress: Reporter) -> dict[str, bytes]:
    """Each model file with its weights as float16. Raises ModelError."""

    def prepare(name: str, work: Path) -> dict[str, Any]:
        (work / "float").write_bytes(files[name])
        return {}

    def explain(name: str, problem: str) -> str:
        return f"{name}: its weights cannot be stored as float16 for {backend}: {first_line(problem)}"

    return _run_all(f"{backend} float16", list(files), prepare, explain, progress)


def _run_all(
    kind: str,
    names: Sequence[str],
    prepare: Callable[[str, Path], dict[str, Any]],
    explain: Callable[[str, str], str],
    progress: Reporter,
) -> dict[str, bytes]:
    waiting, running, made = list(names), list[_Running](), dict[str, bytes]()
    with tempfile.TemporaryDirectory(prefix="mmg-export-") as folder:
        try:
            while waiting or running:
                while waiting and len(running) < (os.cpu_count() or 1):
                    name = waiting.pop(0)
                    work = Path(folder) / name
                    work.mkdir()
                    (work / JOB).write_text(json.dumps({"kind": kind, **prepare(name, work)}))
                    running.append(_start(name, work))
                time.sleep(LOOK_EVERY_S)
                for one in [one for one in running if one.process.poll() is not None]:
                    running.remove(one)
                    made[one.what] = _end(one, kind, explain)
                    progress(f"{one.what} to {kind}: {len(made[one.what]) / 1e3:.0f} KB")
                _announce(running, kind, progress)
        finally:
            for one in running:
                one.process.kill()
            for one in running:
                one.process.communicate()
    return {name: made[name] for name in names}


def _start(name: str, work: Path) -> _Running:
    with (work / LOG).open("wb") as log:
        command = [sys.executable, *COMMAND, str(work)]
        # What a converter leaves behind goes with the folder; the caller's own folder is no place to import from.
        environment = {**os.environ, "TMPDIR": str(work), "PYTHONSAFEPATH": "1"}
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.PIPE, env=environment)
    return _Running(name, work, process, time.monotonic())


def _announce(running: Sequence[_Running], kind: str, progress: Reporter) -> None:
    now_s = time.monotonic()
    if running and now_s - max(one.told_s for one in running) > TELL_EVERY_S:
        progress(f"{', '.join(one.what for one in running)} to {kind} ...")
        for one in running:
            one.told_s = now_s


def _end(one: _Running, kind: str, explain: Callable[[str, str], str]) -> bytes:
    one.process.communicate()
    code, problem = one.process.returncode, one.work / PROBLEM
    if code < 0:
        raise ModelError(f"{one.what} to {kind}: the converter crashed ({signal.Signals(-code).name})")
    if code > 0:
        lines = [line for line in (one.work / LOG).read_text(errors="replace").splitlines() if line.strip()]
        last = lines[-1].strip()[:300] if lines else "it said nothing"
        raise ModelError(f"{one.what} to {kind}: the converter ended with code {code}: {last}")
    if problem.exists():
        raise ModelError(explain(one.what, problem.read_text()))
    return (one.work / MODEL).read_bytes()


def _work(work: Path) -> None:
    """The process: what a converter raises is written down, for the process that asked to tell."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    try:
        data = _do(work, json.loads((work / JOB).read_text()))
    except Exception as error:  # each converter has its own kinds
        (work / PROBLEM).write_text("\n".join(_chain(error)))
        return
    (work / MODEL).write_bytes(data)


def _end_with_parent() -> None:
    """However the process that asked ends, its end of the pipe is closed then."""
    os.read(0, 1)  # not through sys.stdin, whose lock a thread may not hold when Python ends
    os._exit(1)


def _do(work: Path, job: dict[str, Any]) -> bytes:
    if job["kind"] == "onnx":
        from mmg_export.onnx_file import to_onnx

        (program,) = _read_programs(work, job).values()
        return to_onnx(program, job["inputs"], job["outputs"])
    if job["kind"] == "litert":
        from mmg_export.litert_file import to_litert

        return to_litert(_read_programs(work, job))
    data = (work / "float").read_bytes()
    if job["kind"] == "onnx float16":
        from mmg_export.half import halve_onnx

        return halve_onnx(data)
    if job["kind"] == "litert float16":
        from mmg_export.quantise_litert import halve_litert

        return halve_litert(data)
    feeds, fixed = _read_arrays(work / ARRAYS)
    if job["kind"] == "onnx int8":
        from mmg_export.quantise_onnx import quantise_onnx

        return quantise_onnx(data, feeds, fixed)
    from mmg_export.quantise_litert import quantise_litert

    return quantise_litert(data, fixed)


def _read_programs(work: Path, job: dict[str, Any]) -> dict[str, ExportedProgram]:
    return {key: torch.export.load(work / f"{key}.pt2") for key in job["programs"]}


def _read_arrays(path: Path) -> tuple[list[dict[str, Array]], list[Array]]:
    feeds: dict[int, dict[str, Array]] = {}
    fixed: list[Array] = []
    with np.load(path) as arrays:
        for key in arrays.files:
            index, _, name = key.partition("/")
            if index == "fixed":
                fixed.append(arrays[key])
            else:
                feeds.setdefault(int(index), {})[name] = arrays[key]
    return [feeds[index] for index in sorted(feeds)], fixed


def _chain(error: BaseException | None) -> list[str]:
    """What an error and those behind it say, the innermost first: a converter wraps what matters."""
    told: list[str] = []
    while error is not None:
        told.insert(0, f"{type(error).__name__}: {first_line(error)}\n{error}")
        error = error.__cause__ or error.__context__
    return told


if __name__ == "__main__":
    _work(Path(sys.argv[1]))
