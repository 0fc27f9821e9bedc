"""One conversion: from what lies in a folder to the model file beside it.

``prepare`` of ``mmg_export.convert`` writes ``job.json`` and what the kind needs: traced programs, or a model file and
arrays. ``run`` leaves ``model``, or ``problem.txt`` with what the converter raised.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram

from mmg_export.parts import first_line
from mmg_export.streams import Array

JOB, PROBLEM, MODEL, FLOAT, ARRAYS = "job.json", "problem.txt", "model", "float", "arrays.npz"
NEEDS = {
    "onnx": ("mmg_export.onnx_file", "onnxscript"),
    "litert": ("mmg_export.litert_file", "litert_torch"),
    "onnx float16": ("mmg_export.float16",),
    "litert float16": ("mmg_export.quantise_litert", "ai_edge_quantizer"),
    "onnx int8": ("onnx",),  # and onnxruntime, which has threads that a fork would lose
    "litert int8": ("mmg_export.quantise_litert", "ai_edge_quantizer"),
}
"""What each kind imports, which takes long."""


def preload(work: Path) -> None:
    """Import what the job needs, in the process that forks. What is wrong with it is the job's to raise."""
    try:
        kind = json.loads((work / JOB).read_text())["kind"]
        for module in NEEDS[kind]:
            import_module(module)
        if kind == "onnx":
            _warm_up_onnx()
    except Exception:
        return


@cache
def _warm_up_onnx() -> None:
    """The first conversion of a process builds torch's tables of operators, which takes longer than a small model."""
    from tqdm import tqdm

    from mmg_export.onnx_file import to_onnx

    torch.set_num_threads(1)
    tqdm.monitor_interval = 0  # its thread would be lost in a fork, perhaps with a lock that it held
    to_onnx(torch.export.export(torch.nn.ReLU(), (torch.zeros(1),)), ["x"], ["y"])


def run(work: Path) -> None:
    """Do the job. What a converter raises is written down, for the process that asked to report."""
    torch.set_num_threads(1)
    try:
        data = _convert(work, json.loads((work / JOB).read_text()))
    except Exception as error:  # each converter has its own kinds
        (work / PROBLEM).write_text("\n".join(_chain(error)))
        return
    (work / MODEL).write_bytes(data)


def _convert(work: Path, job: dict[str, Any]) -> bytes:
    if job["kind"] == "onnx":
        from mmg_export.onnx_file import to_onnx

        (program,) = _read_programs(work, job).values()
        return to_onnx(program, job["inputs"], job["outputs"])
    if job["kind"] == "litert":
        from mmg_export.litert_file import to_litert

        return to_litert(_read_programs(work, job))
    data = (work / FLOAT).read_bytes()
    if job["kind"] == "onnx float16":
        from mmg_export.float16 import halve_onnx

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
    lines: list[str] = []
    while error is not None:
        lines.insert(0, f"{type(error).__name__}: {first_line(error)}\n{error}")
        error = error.__cause__ or error.__context__
    return lines
