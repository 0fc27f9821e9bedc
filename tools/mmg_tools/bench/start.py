"""How long one waits: for the first decision on the demo, and for ``--help``."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from statistics import median

from mmg.errors import MmgError

from mmg_tools.attached import COMMAND
from mmg_tools.bench.table import Figure, Reporter, Row
from mmg_tools.bench.throughput import RUN

GOAL_S = 1.0


def measure(report: Reporter, *, quick: bool = False) -> list[Figure]:
    """Wall time from the start of the process, a median."""
    rows = []
    for what, command in (("first decision", (*RUN, "--demo")), ("--help", (*COMMAND, "--help"))):
        report(f"start: {what}")
        times_s = [first_line_s(command) for _ in range(1 if quick else 5)]
        rows.append(Row(what, median(times_s), {"slowest_s": max(times_s)}))
    return [Figure("start", "wall seconds from the start of mmg-run", GOAL_S, True, tuple(rows))]


def first_line_s(command: Sequence[str]) -> float:
    """Seconds until the command's first line. Raises MmgError where it has none."""
    began_s = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        took_s = time.perf_counter() - began_s
        process.kill()
    if not line:
        raise MmgError(f"{' '.join(command)} printed nothing")
    return took_s
