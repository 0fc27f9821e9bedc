"""Does ``mmg-run`` stay light and on time for as long as it is worn?

``python -m mmg_tools.endurance`` plays a scenario over and over on virtual ports (a pty and an ALSA device), and looks
at the processor time and memory of the ``mmg-run`` that is attached to them, and at the time of every decision. A
thread that asks to be woken every few milliseconds shows when the machine itself ran nobody.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from mmg.board.profiling.stalls import LATE_S, StallWatch
from mmg.cli.exit_codes import handle_signals, raise_interrupt, run_command
from mmg.cli.progress import Progress
from mmg.cli.reporting import stderr_reporter
from mmg.errors import MmgError

from mmg_tools.attached import AttachedRun
from mmg_tools.live_check import HOP_S
from mmg_tools.virtual.scenario import render
from mmg_tools.virtual.wearable import VirtualWearable

_report = stderr_reporter("endurance")
SCENARIO_S, SAMPLE_S, SETTLE_S = 120.0, 5.0, 60.0
DEADLINE_MS = 50.0
"""What the profile generic-x86-64 gives a decision from its hop's end."""
MOST_CPU_PERCENT, MOST_MIB_PER_HOUR = 5.0, 1.0


@dataclass(frozen=True, slots=True)
class Report:
    """cpu_percent: of one core, from the end of the first minute on. mib_per_hour: slope of a line through the resident
    memory from then on. misses: decisions later than the deadline; explained: those of them in whose time the machine
    stalled for at least what they were late. longest_stall_ms: of the machine. undecided: hops without a decision."""

    minutes: float
    decisions: int
    undecided: int
    cpu_percent: float
    resident_mib: float
    mib_per_hour: float
    latency_p50_ms: float
    latency_p95_ms: float
    latency_max_ms: float
    misses: int
    explained: int
    stalls: int
    longest_stall_ms: float

    @property
    def passes(self) -> bool:
        """Whether what the project promises holds."""
        light = self.cpu_percent < MOST_CPU_PERCENT and self.mib_per_hour < MOST_MIB_PER_HOUR
        return light and self.misses == self.explained and not self.undecided


def endure(minutes: float, folder: Path) -> Report:
    """Play and look on, for so long. Raises MmgError where mmg-run ends by itself or never decides."""
    usage: list[tuple[float, float, float]] = []
    wearable, watch = VirtualWearable(render(seconds=SCENARIO_S), folder, loop=True), StallWatch()
    with (
        Progress(_report, "played", minutes * 60, "s") as progress,
        wearable,
        AttachedRun(wearable.urls, wearable.environment) as run,
    ):
        begin_s = time.monotonic()
        end_s = begin_s + minutes * 60
        while time.monotonic() < end_s:
            threading.Event().wait(min(SAMPLE_S, max(end_s - time.monotonic(), 0.0)))
            if not run.is_running:
                raise MmgError("mmg-run ended by itself: " + "; ".join(run.notes[-3:]))
            now_s = time.monotonic()
            usage.append((now_s, *run.usage()[:2]))
            progress.at(now_s - begin_s, minutes * 60, note=f"{len(run.decisions)} decisions")
        run.stop()
        watch.close()
        if not run.decisions:
            raise MmgError("mmg-run decided nothing: " + "; ".join(run.notes[-5:]))
        return _judge(minutes, run, np.array(usage), watch)


def _judge(
    minutes: float, run: AttachedRun, usage: np.ndarray[tuple[int, ...], np.dtype[np.float64]], watch: StallWatch
) -> Report:
    settled = usage[usage[:, 0] > usage[0, 0] + min(SETTLE_S, (usage[-1, 0] - usage[0, 0]) / 4)]
    spent = (settled[-1] - settled[0])[:2]
    latency_ms = np.array([decision.latency_ms for decision in run.decisions])
    late = [decision for decision in run.decisions if decision.latency_ms > DEADLINE_MS]
    origin_s = run.origin_ns / 1e9
    explained = sum(
        watch.stalled_s(origin_s + one.t_s - HOP_S, origin_s + one.t_s + one.latency_ms / 1e3)
        >= (one.latency_ms - DEADLINE_MS) / 1e3
        for one in late
    )
    hops = {round(decision.t_s / HOP_S) for decision in run.decisions}
    return Report(
        minutes=minutes,
        decisions=len(run.decisions),
        undecided=max(hops) - min(hops) + 1 - len(hops),
        cpu_percent=round(float(spent[1] / spent[0] * 100), 2),
        resident_mib=round(float(np.median(settled[:, 2])), 1),
        mib_per_hour=round(float(np.polyfit(settled[:, 0] / 3600, settled[:, 2], 1)[0]), 2),
        latency_p50_ms=round(float(np.percentile(latency_ms, 50)), 1),
        latency_p95_ms=round(float(np.percentile(latency_ms, 95)), 1),
        latency_max_ms=round(float(latency_ms.max()), 1),
        misses=len(late),
        explained=explained,
        stalls=len(watch.stalls),
        longest_stall_ms=round(max((to_s - from_s for from_s, to_s in watch.stalls), default=0.0) * 1e3, 1),
    )


def describe(report: Report) -> list[str]:
    """The lines that the docs quote."""
    return [
        f"{report.minutes:g} min on virtual ports, {report.decisions} decisions, {report.undecided} hops without one",
        f"processor: {report.cpu_percent} % of one core (under {MOST_CPU_PERCENT:g})",
        f"memory: {report.resident_mib} MiB, {report.mib_per_hour:+} MiB an hour (under {MOST_MIB_PER_HOUR:g})",
        f"hop's end to decision: p50 {report.latency_p50_ms} ms, p95 {report.latency_p95_ms} ms, "
        f"max {report.latency_max_ms} ms",
        f"later than {DEADLINE_MS:g} ms: {report.misses}, of which {report.explained} while the machine stalled "
        f"({report.stalls} stalls over {LATE_S * 1e3:g} ms, the longest {report.longest_stall_ms} ms)",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 1 where the promise does not hold."""
    parser = argparse.ArgumentParser(prog="python -m mmg_tools.endurance", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args(arguments)
    if not 0.5 <= chosen.minutes <= 100_000:
        parser.error("--minutes: give 0.5 to 100000")
    handle_signals(raise_interrupt)
    return run_command(lambda: _run(chosen), _report, stopped=130)


def _run(chosen: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="mmg-endurance-") as folder:
        report = endure(chosen.minutes, Path(folder))
    as_json = json.dumps(asdict(report) | {"passes": report.passes})
    sys.stdout.write((as_json if chosen.json else "\n".join(describe(report))) + "\n")
    return 0 if report.passes else 1


if __name__ == "__main__":
    raise SystemExit(main())
