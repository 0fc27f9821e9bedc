"""Sensors are unplugged, stall and garble at random for as long as you like: does the live run live through it?

``python -m mmg_tools.soak --events 1000 --seed 1`` plays a scenario in a loop on virtual ports (a pty and an ALSA
device), lets seeded faults happen to both and watches ``mmg-run`` from outside. It must not crash or stick, its memory
and threads must stay flat, and every hop in which a sensor was well must be decided within the grace.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from mmg.cli.exit_codes import run_command
from mmg.cli.progress import Progress
from mmg.cli.reporting import stderr_reporter
from mmg.engine import DEFAULT_GRACE_S
from mmg.errors import MmgError

from mmg_tools.attached import AttachedRun
from mmg_tools.live_check import HOP_S
from mmg_tools.virtual.faults import Fault, FaultPlayer
from mmg_tools.virtual.scenario import render
from mmg_tools.virtual.wearable import VirtualWearable

_report = stderr_reporter("soak")
SCENARIO_S = 120.0
BACK_WITHIN_S = 4.0
"""A sensor counts as well so long after its last fault: samples of whose loss nobody was told are believed to be lost
once the others have been late for 3 s, and those are first read up to half a second after the loss, and judged with
those that follow."""
SLACK_S = 0.1
"""What this machine's own scheduling may add to the grace."""
KINDS = {"imu": ("unplug", "stall", "corrupt"), "audio": ("unplug", "stall", "overrun")}
FAULT_S, CALM_S, LONG_CALM_S, LONG_CALM_PART = (0.05, 1.0), (0.05, 2.0), (4.0, 8.0), 0.12
TICK_S, SAMPLE_S = 0.01, 5.0
SETTLE_S, SETTLE_PART = 180.0, 0.3
"""The first reconnects fill the allocator's pools: memory is judged after so long, or this part of a short run."""
MOST_GROWN_MIB, STOP_WITHIN_S = 4.0, 3.0


@dataclass
class Report:
    """hops_owed: those in which a sensor was well; missed: those of them without a decision; late: those decided later
    than the grace and the machine's slack, of which latest_ms is the worst. grown_mib: what the resident memory gained
    between the first and the last quarter of the time after it settled, and mib_per_hour the same an hour."""

    events: int = 0
    seconds: float = 0.0
    decisions: int = 0
    hops_owed: int = 0
    missed: list[float] = field(default_factory=list)
    late: int = 0
    latest_ms: float = 0.0
    mib_per_hour: float = 0.0
    grown_mib: float = 0.0
    threads: tuple[int, int] = (0, 0)
    exit_code: int = -1
    stop_s: float = 0.0

    @property
    def problems(self) -> list[str]:
        """What was not as it must be, in words."""
        found = []
        if self.exit_code:
            found.append(f"mmg-run ended with exit code {self.exit_code}")
        if self.stop_s > STOP_WITHIN_S:
            found.append(f"it took {self.stop_s:.1f} s to stop")
        if self.missed:
            found.append(f"{len(self.missed)} hops were not decided though a sensor was well, at {self.missed[:5]} s")
        if self.late:
            found.append(f"{self.late} decisions came later than the grace, by up to {self.latest_ms:.0f} ms")
        if self.grown_mib > MOST_GROWN_MIB:
            found.append(f"memory grew by {self.grown_mib:.1f} MiB")
        if self.threads[1] > self.threads[0] + 2:
            found.append(f"threads grew from {self.threads[0]} to {self.threads[1]}")
        return found


def draw_faults(seed: int, events: int) -> list[Fault]:
    """Seeded faults, half of them for each sensor, one after the other with calm between."""
    faults: list[Fault] = []
    for number, sensor in enumerate(KINDS):
        random, now_s = np.random.default_rng((seed, number)), 5.0
        for _ in range(events // len(KINDS)):
            kind, length_s = str(random.choice(KINDS[sensor])), float(random.uniform(*FAULT_S))
            faults.append(Fault(now_s, sensor, kind, length_s, 0.3 if kind == "corrupt" else 0.0))
            calm_s = random.uniform(*(LONG_CALM_S if random.random() < LONG_CALM_PART else CALM_S))
            now_s += length_s + float(calm_s)
    return sorted(faults, key=lambda fault: fault.at_s)


def soak(seed: int, events: int, folder: Path) -> Report:
    """Let it all happen; minutes. Raises MmgError where mmg-run never decides."""
    faults = draw_faults(seed, events)
    end_s = max(fault.at_s + fault.seconds for fault in faults) + 2 * BACK_WITHIN_S
    usage: list[tuple[float, float, int]] = []
    wearable = VirtualWearable(render(seconds=SCENARIO_S), folder, loop=True, seed=seed)
    with (
        Progress(_report, "played", end_s, "s") as progress,
        wearable,
        AttachedRun(wearable.urls, wearable.environment) as run,
    ):
        player, now_s, happened = FaultPlayer(faults, wearable.devices), 0.0, ""
        while now_s < end_s and run.is_running:
            now_s = (time.monotonic_ns() - wearable.start_ns) / 1e9
            for event in player.advance(now_s):
                happened = str(event)
            progress.at(now_s, end_s, note=happened)
            if now_s - (usage[-1][0] if usage else 0.0) >= SAMPLE_S and run.is_running:
                usage.append((now_s, *run.usage()[1:]))
            threading.Event().wait(TICK_S)
        report = Report(events=len(faults), seconds=now_s)
        if run.is_running:
            report.exit_code, report.stop_s = run.stop()
        if not run.decisions:
            raise MmgError("mmg-run decided nothing: " + "; ".join(run.notes[-5:]))
        judge(report, run, faults, (run.origin_ns - wearable.start_ns) / 1e9)
    settled = np.array([row for row in usage if row[0] > min(SETTLE_S, SETTLE_PART * now_s)] or usage)
    quarter = max(len(settled) // 4, 1)
    report.grown_mib = float(np.median(settled[-quarter:, 1]) - np.median(settled[:quarter, 1]))
    report.mib_per_hour = report.grown_mib / (settled[-1, 0] - settled[0, 0]) / 0.75 * 3600 if len(settled) > 2 else 0.0
    report.threads = int(settled[0, 2]), int(settled[-1, 2])
    return report


def judge(report: Report, run: AttachedRun, faults: Sequence[Fault], origin_s: float) -> None:
    """Which hops were owed a decision, and whether and when it came. All in scenario seconds."""
    made = {round(d.t_s / HOP_S): (d.read_ns - run.origin_ns) / 1e9 for d in run.decisions}
    troubled = {sensor: [(-10.0, BACK_WITHIN_S)] for sensor in KINDS}
    for fault in faults:
        troubled[fault.sensor].append((fault.at_s, fault.at_s + fault.seconds + BACK_WITHIN_S))
    report.decisions = len(made)
    for hop in range(1, round((report.seconds - origin_s) / HOP_S) - 1):
        # A sample beyond the hop's end shows that it is whole.
        begin_s, end_s = origin_s + (hop - 1) * HOP_S, origin_s + hop * HOP_S + 0.05
        if all(any(a < end_s and begin_s < b for a, b in spans) for spans in troubled.values()):
            continue
        report.hops_owed += 1
        if hop not in made:
            report.missed.append(round(origin_s + hop * HOP_S, 2))
        elif (late_s := made[hop] - hop * HOP_S) > DEFAULT_GRACE_S + SLACK_S:
            report.late += 1
            report.latest_ms = max(report.latest_ms, late_s * 1e3)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 1 where something was not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m mmg_tools.soak", description=__doc__)
    parser.add_argument("--events", type=int, default=1000, help="how many faults (default: 1000, about 17 minutes)")
    parser.add_argument("--seed", type=int, default=1, help="the seed of the faults")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args(arguments)
    if not 2 <= chosen.events <= 100_000:
        parser.error("--events: give 2 to 100000")
    return run_command(lambda: _run(chosen), _report)


def _run(chosen: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="mmg-soak-") as folder:
        report = soak(chosen.seed, chosen.events, Path(folder))
    as_json = json.dumps(asdict(report) | {"problems": report.problems})
    sys.stdout.write((as_json if chosen.json else "\n".join(describe(report))) + "\n")
    return 1 if report.problems else 0


def describe(report: Report) -> list[str]:
    """The lines that the docs quote."""
    return [
        f"{report.events} faults in {report.seconds:.0f} s on virtual ports, {report.decisions} decisions",
        f"hops in which a sensor was well: {report.hops_owed}; not decided: {len(report.missed)}, late: {report.late}",
        f"memory: {report.grown_mib:+.1f} MiB from first to last quarter ({report.mib_per_hour:+.1f} MiB an hour), "
        f"threads {report.threads[0]} then {report.threads[1]}",
        f"stopped with exit code {report.exit_code} in {report.stop_s:.1f} s",
        *(f"PROBLEM: {problem}" for problem in report.problems),
    ]


if __name__ == "__main__":
    raise SystemExit(main())
