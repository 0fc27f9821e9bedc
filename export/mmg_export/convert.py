"""Each conversion in a process of its own: a converter that crashes, or fills memory, takes nothing else with it.

``python -m mmg_export.convert FOLDER`` is the process; ``convert`` and ``quantise`` start it.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmg.errors import ModelError

from mmg_export.parts import Part, first_line
from mmg_export.streams import Array
from mmg_export.trace import find_operator, trace

# Seconds between two lines about a conversion that goes on.
TELL_EVERY_S = 5.0
JOB, PROBLEM, MODEL = "job.json", "problem.txt", "model"
Say = Callable[[str], None]


def convert(backend: str, name: str, parts: Mapping[str, Part], say: Say) -> bytes:
    """The model file of one part. ONNX takes one traced form of it, LiteRT one for each signature, by its name.

    Raises ModelError that names the operator and where it is in the module, where the converter's message tells it.
    """
    programs = {key: trace(part) for key, part in parts.items()}
    first = next(iter(parts.values()))
    job = {
        "backend": backend,
        "programs": list(programs),
        "inputs": list(first.inputs),
        "outputs": list(first.outputs),
    }
    with tempfile.TemporaryDirectory(prefix="mmg-export-") as folder:
        work = Path(folder)
        for key, program in programs.items():
            torch.export.save(program, work / f"{key}.pt2")
        problem = _run_process(work, job, f"{name} to {backend}", say)
        if problem:
            where = find_operator(next(iter(programs.values())), problem)
            told = (
                f"cannot take the operator {where}" if where else f"cannot convert it: {problem.splitlines()[0][:300]}"
            )
            raise ModelError(f"{name}: {backend} {told}")
        return (work / MODEL).read_bytes()


def quantise(backend: str, name: str, data: bytes, feeds: Sequence[Mapping[str, Array]], say: Say) -> bytes:
    """The int8 form of a model file; ``feeds`` are inputs of its runs, to calibrate with. Raises ModelError."""
    with tempfile.TemporaryDirectory(prefix="mmg-export-") as folder:
        work = Path(folder)
        (work / "float").write_bytes(data)
        arrays = {f"{index}/{key}": value for index, feed in enumerate(feeds) for key, value in feed.items()}
        np.savez(work / "feeds.npz", **arrays)  # type: ignore[arg-type]
        problem = _run_process(work, {"backend": f"{backend} int8"}, f"{name} to {backend} int8", say)
        if problem:
            raise ModelError(f"{name}: cannot be quantised for {backend}: {problem.splitlines()[0][:300]}")
        return (work / MODEL).read_bytes()


def _run_process(work: Path, job: Mapping[str, object], what: str, say: Say) -> str:
    """Do the job in a process; what it could not do, empty where it could. Raises ModelError where it died."""
    began_s, log = time.monotonic(), work / "log.txt"
    (work / JOB).write_text(json.dumps(job))
    with log.open("wb") as stream:
        command = [sys.executable, "-m", "mmg_export.convert", str(work)]
        process = subprocess.Popen(command, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL)
        try:
            while True:
                try:
                    code = process.wait(TELL_EVERY_S)
                    break
                except subprocess.TimeoutExpired:
                    say(f"{what}: {time.monotonic() - began_s:.0f} s so far")
        finally:
            process.kill()
            process.wait()
    if code < 0:
        raise ModelError(f"{what}: the converter crashed ({signal.Signals(-code).name})")
    if code > 0:
        last = next((line for line in reversed(log.read_text(errors="replace").splitlines()) if line.strip()), "")
        raise ModelError(f"{what}: the converter ended with code {code}: {last.strip()[:300]}")
    return (work / PROBLEM).read_text() if (work / PROBLEM).exists() else ""


def _work(work: Path) -> None:
    """The process: what a converter raises is written down, for the process that asked to tell."""
    torch.set_num_threads(1)
    try:
        data = _do(work, json.loads((work / JOB).read_text()))
    except Exception as error:  # each converter has its own kinds
        (work / PROBLEM).write_text("\n".join(_chain(error)))
        return
    (work / MODEL).write_bytes(data)


def _do(work: Path, job: dict[str, Any]) -> bytes:
    if job["backend"] in ("onnx", "litert"):
        programs = {key: torch.export.load(work / f"{key}.pt2") for key in job["programs"]}
        if job["backend"] == "onnx":
            from mmg_export.onnx_file import to_onnx

            (program,) = programs.values()
            return to_onnx(program, job["inputs"], job["outputs"])
        from mmg_export.litert_file import to_litert

        return to_litert(programs)
    data = (work / "float").read_bytes()
    if job["backend"] == "onnx int8":
        from mmg_export.quantise_onnx import quantise_onnx

        return quantise_onnx(data, _read_feeds(work / "feeds.npz"))
    from mmg_export.quantise_litert import quantise_litert

    return quantise_litert(data)


def _read_feeds(path: Path) -> list[dict[str, Array]]:
    feeds: dict[int, dict[str, Array]] = {}
    with np.load(path) as arrays:
        for key in arrays.files:
            index, _, name = key.partition("/")
            feeds.setdefault(int(index), {})[name] = arrays[key]
    return [feeds[index] for index in sorted(feeds)]


def _chain(error: BaseException | None) -> list[str]:
    """What an error and those behind it say, the innermost first: a converter wraps what matters."""
    told: list[str] = []
    while error is not None:
        told.insert(0, f"{type(error).__name__}: {first_line(error)}\n{error}")
        error = error.__cause__ or error.__context__
    return told


if __name__ == "__main__":
    _work(Path(sys.argv[1]))
