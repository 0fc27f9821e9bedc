"""A live run on virtual ports, recorded, and its replay by the command."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmg.errors import MmgError

from mmg_tools.attached import COMMAND, AttachedRun
from mmg_tools.virtual.faults import FaultPlayer, random_faults
from mmg_tools.virtual.scenario import render
from mmg_tools.virtual.wearable import VirtualWearable

FAULTS_PER_MINUTE = 6.0
TICK_S = 0.02


@dataclass(frozen=True)
class Live:
    """lines: the live run's JSON lines, replayed: those of ``mmg-run DAY.mcap``; both without latencies."""

    path: Path
    seconds: float
    faults: int
    lines: list[dict[str, Any]]
    replayed: list[dict[str, Any]]

    def figures(self) -> dict[str, Any]:
        """To print."""
        states = {state["state"] for line in self.lines for state in line["sensors"].values()}
        return {
            "decisions": len(self.lines),
            "faults": self.faults,
            "states": " ".join(sorted(states)),
            "replay equal": self.lines == self.replayed,
            "bytes": self.path.stat().st_size,
        }

    @property
    def problems(self) -> list[str]:
        """What is not as it must be."""
        if self.lines == self.replayed:
            return []
        first = next((n for n, (a, b) in enumerate(zip(self.lines, self.replayed, strict=False)) if a != b), None)
        return [f"{len(self.lines)} live lines, {len(self.replayed)} replayed; the first difference is in line {first}"]


def record_live(path: Path, folder: Path, seconds: float, seed: int) -> Live:
    """Let it all happen, in real time. Raises MmgError where nothing is decided."""
    (folder / "ports").mkdir()
    faults = random_faults(seed, ("imu", "audio"), seconds, FAULTS_PER_MINUTE)
    wearable = VirtualWearable(render(seconds=min(seconds, 300.0)), folder / "ports", loop=True, seed=seed)
    with wearable, AttachedRun(wearable.urls, wearable.environment, ("--record", str(path))) as run:
        player = FaultPlayer(faults, wearable.devices)
        while (now_s := (time.monotonic_ns() - wearable.start_ns) / 1e9) < seconds and run.is_running:
            player.advance(now_s)
            threading.Event().wait(TICK_S)
        if not run.is_running:
            raise MmgError("mmg-run ended: " + "; ".join(run.notes[-3:]))
        run.stop()
        lines = [plain(decision.line) for decision in run.decisions]
    if not lines:
        raise MmgError("nothing was decided: " + "; ".join(run.notes[-3:]))
    return Live(path, seconds, len(faults), lines, replay(path))


def replay(path: Path) -> list[dict[str, Any]]:
    """What ``mmg-run`` decides on a recording, without latencies. Raises MmgError."""
    done = subprocess.run([*COMMAND, str(path), "--format", "jsonl"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise MmgError(f"mmg-run {path.name}: {done.stderr.strip()}")
    return [plain(json.loads(line)) for line in done.stdout.splitlines()]


def plain(line: dict[str, Any]) -> dict[str, Any]:
    """A line without what the clock alone determines."""
    return {key: value for key, value in line.items() if key != "latency_ms"}
