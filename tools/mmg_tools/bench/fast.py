"""What ``mmg-run --pace fast`` costs over ten minutes of IMU and sound, without its start, against the models alone."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from statistics import median

from mmg import Bundle
from mmg_training.wearer.record import write_imu, write_sound

from mmg_tools.bench.bare import Bare
from mmg_tools.bench.hops import Recording
from mmg_tools.bench.needs import run_backends
from mmg_tools.bench.table import Figure, Reporter, Row
from mmg_tools.bench.throughput import HOP_S, SHORT_S, run_on_one_core
from mmg_tools.virtual.scenario import SOUND_HZ, render

GOAL = 1.4
TITLE = "CPU time of mmg-run --pace fast over that of the bare runs of the same models"
NAMES = ("imu", "audio")
SECONDS, TURNS, QUICK_SECONDS = 600.0, 5, 60.0


def measure(report: Reporter, *, quick: bool = False) -> list[Figure]:
    """The ratio on each backend, medians of turns."""
    seconds, turns = (QUICK_SECONDS, 1) if quick else (SECONDS, TURNS)
    hops = round(seconds / HOP_S)
    spent: dict[str, list[tuple[float, float]]] = {backend: [] for backend in run_backends()}
    with tempfile.TemporaryDirectory(prefix="mmg-bench-") as name, Bundle.open("starter") as bundle:
        scenario, folder = render(seconds=seconds), Path(name)
        write_imu(scenario.imu, folder / "imu.csv")
        write_sound(scenario.sound, folder / "audio.wav", SOUND_HZ)
        source = ("--imu", str(folder / "imu.csv"), "--audio", str(folder / "audio.wav"))
        recording = Recording(bundle.manifest, NAMES, hops)
        bare = {backend: Bare(bundle, recording, backend) for backend in spent}
        for turn in range(1, turns + 1):
            report(f"fast: turn {turn} of {turns}")
            for backend, pairs in spent.items():
                pairs.append((_run(source, backend), _run_bare(bare[backend], hops)))
    rows = []
    for backend, pairs in spent.items():
        mmg_us, bare_us = (median(side) * 1e6 for side in zip(*pairs, strict=True))
        rows.append(Row(f"imu+audio, {backend}", mmg_us / bare_us, {"mmg_us": mmg_us, "bare_us": bare_us}))
    return [Figure("fast", TITLE, GOAL, True, tuple(rows))]


def _run(source: tuple[str, ...], backend: str) -> float:
    """CPU seconds a hop: of a whole run less one of its first second, which opens and reads the same files."""
    whole_s, decided = run_on_one_core(*source, "--backend", backend)
    short_s, first = run_on_one_core(*source, "--backend", backend, "--duration", f"{SHORT_S:g}")
    return (whole_s - short_s) / (decided - first)


def _run_bare(bare: Bare, hops: int) -> float:
    """CPU seconds a hop, on the core that ``mmg-run`` had."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        began_ns = time.thread_time_ns()
        for hop in range(hops):
            bare(hop)
        return (time.thread_time_ns() - began_ns) / 1e9 / hops
    finally:
        os.sched_setaffinity(0, cores)
