"""Resident memory of each subset, and what a modality that is left out gives back, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import combinations
from statistics import median

from mmg.errors import MmgError

from mmg_tools.bench.needs import require_onnxruntime
from mmg_tools.bench.table import Figure, Reporter, Row

ALL = ("imu", "audio", "video")
GOAL_PERCENT = 80.0


def measure(report: Reporter, *, quick: bool = False) -> list[Figure]:
    """Of each modality the share of its session's own memory that leaving it out of all gives back, and what each
    subset has over bare Python with numpy and onnxruntime. Raises BackendUnavailable without the latter."""
    require_onnxruntime()
    repeats = 1 if quick else 3
    bare_mib = resident_mib(repeats, "bare")
    over: dict[tuple[str, ...], float] = {}
    for size in range(1, len(ALL) + 1):
        for names in combinations(ALL, size):
            report(f"memory: {'+'.join(names)}")
            over[names] = resident_mib(repeats, "engine", ",".join(names)) - bare_mib
    subsets = [
        Row(f"{'+'.join(names)}, MiB over bare", mib, {"bare_MiB": bare_mib}, held=False) for names, mib in over.items()
    ]
    report("memory: sessions alone")
    fusion_mib = resident_mib(repeats, "sessions", "fusion") - bare_mib
    given, further = [], []
    for name in ALL:
        own_mib = resident_mib(repeats, "sessions", name) - bare_mib
        more_mib = resident_mib(repeats, "sessions", f"fusion,{name}") - bare_mib - fusion_mib
        back_mib = over[ALL] - over[tuple(one for one in ALL if one != name)]
        back = {"given_back_MiB": back_mib}
        # The first session of a process, which the fusion's always is, brings what the library needs once.
        measured = {**back, "its_session_MiB": more_mib}
        given.append(Row(f"{name} left out, %", 100 * back_mib / more_mib, measured))
        alone = {**back, "a_first_session_MiB": own_mib}
        further.append(Row("  of a process's first session, %", 100 * back_mib / own_mib, alone, held=False))
    pairs = [row for both in zip(given, further, strict=True) for row in both]
    title = "what leaving a modality out gives back, in % of its session's own memory"
    return [Figure("memory", title, GOAL_PERCENT, False, (*subsets, *pairs), digits=1)]


def resident_mib(repeats: int, *arguments: str) -> float:
    """The median over some processes of ``resident``. Raises MmgError."""
    command = [sys.executable, "-m", "mmg_tools.bench.resident", *arguments]
    # As mmg has it: with telemetry onnxruntime is larger.
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
    made = []
    for _ in range(repeats):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MmgError(f"the process for {' '.join(arguments)} failed: {done.stderr.strip()[-300:]}")
        made.append(float(done.stdout))
    return median(made)
