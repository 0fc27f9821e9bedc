"""Does a live run decide what the same scenario decides from files, and how soon?

``python -m mmg_tools.live_check`` plays a scenario on virtual ports (a pty and an ALSA device), lets ``mmg-run`` decide
on them, cuts the very same samples into files on the live run's own grid of hops, decides on these, and compares.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from mmg.cli.exit_codes import run_command
from mmg.cli.progress import Progress
from mmg.cli.reporting import stderr_reporter
from mmg.errors import MmgError
from mmg.types import UNKNOWN
from mmg_training.wearer.record import IMU_HZ, write_imu, write_sound

from mmg_tools.attached import COMMAND, AttachedRun
from mmg_tools.rested import RestedModels
from mmg_tools.virtual.scenario import SEED, SOUND_HZ, SUBJECT, Scenario, render
from mmg_tools.virtual.wearable import VirtualWearable

_report = stderr_reporter("live_check")
HOP_S = 0.5
LEAST_EQUAL, LONGEST_P95_MS = 0.9, 60.0
TIMES_MODELS, CEILING_MS = 3, 250.0
"""Longer, where the models alone are slow in the same seconds: so many times what they take, up to half a hop."""
TAIL_S, LOOK_S = 1.0, 0.5


@dataclass(frozen=True, slots=True)
class Report:
    """activities: how many kinds the scenario has. equal: the part of all decisions from files whose hop the live run
    decided with the same label. right_*: the part that names the activity of the hop's middle. unknown_from_files: the
    part that is called none of the activities. latency: from the hop's end, when its last sample was captured, to the
    writing of its decision. models_p95_ms: the same of the models alone in another process, beside it. cpu_percent: of
    one core, start included."""

    seconds: float
    activities: int
    from_files: int
    live: int
    equal: float
    right_from_files: float
    right_live: float
    unknown_from_files: float
    latency_p50_ms: float
    latency_p95_ms: float
    latency_max_ms: float
    models_p95_ms: float
    cpu_percent: float
    resident_mib: float

    @property
    def passes(self) -> bool:
        """Whether what the project promises holds."""
        return self.equal >= LEAST_EQUAL and self.latency_p95_ms < longest_ms(self.models_p95_ms)


def longest_ms(models_ms: float) -> float:
    """How late decisions may be where the models alone are so late: a machine may be slow after each rest."""
    return min(max(LONGEST_P95_MS, TIMES_MODELS * models_ms), CEILING_MS)


def check(scenario: Scenario, folder: Path, *, imu: str = "witmotion") -> Report:
    """Play the scenario to its end, live and from files. It takes as long as the scenario. Raises MmgError."""
    wearable = VirtualWearable(scenario, folder, imu=imu)
    with wearable, RestedModels() as models, AttachedRun(wearable.urls, wearable.environment) as run:
        # Nothing is awaited but the scenario's end.
        _wait(scenario.seconds + TAIL_S)
        cpu_s, resident_mib, _ = run.usage()
        models_ms = models.stop()
        run.stop()
        if not run.decisions:
            raise MmgError("the live run decided nothing: " + "; ".join(run.notes))
        live = list(run.decisions)
        # The live grid of hops in scenario time; its first hop that the files have whole begins at cut_s.
        origin_s = (run.origin_ns - wearable.start_ns) / 1e9
    cut_s = origin_s - HOP_S * math.floor(origin_s / HOP_S)
    files = decide_from_files(scenario, folder, cut_s)
    of_live = {round((d.t_s + origin_s - cut_s) / HOP_S): str(d.line["label"]) for d in live}
    of_files = {round(float(str(line["t"])) / HOP_S): str(line["label"]) for line in files}
    truth = {hop: scenario.label_at(max(hop * HOP_S + cut_s - HOP_S / 2, 0)) for hop in {*of_live, *of_files}}
    ended = scenario.seconds - cut_s
    latency_ms = np.array([d.latency_ms for d in live if d.t_s + origin_s - cut_s <= ended])
    return Report(
        seconds=scenario.seconds,
        activities=len(set(scenario.labels)),
        from_files=len(of_files),
        live=sum(hop in of_files for hop in of_live),
        equal=sum(of_live.get(hop) == label for hop, label in of_files.items()) / len(of_files),
        right_from_files=sum(truth[hop] == label for hop, label in of_files.items()) / len(of_files),
        right_live=sum(truth[hop] == label for hop, label in of_live.items() if hop in of_files) / len(of_files),
        unknown_from_files=list(of_files.values()).count(UNKNOWN) / len(of_files),
        latency_p50_ms=round(float(np.percentile(latency_ms, 50)), 1),
        latency_p95_ms=round(float(np.percentile(latency_ms, 95)), 1),
        latency_max_ms=round(float(latency_ms.max()), 1),
        models_p95_ms=round(float(np.percentile(models_ms, 95)), 1),
        cpu_percent=round(cpu_s / (scenario.seconds + TAIL_S) * 100, 1),
        resident_mib=round(resident_mib, 1),
    )


def _wait(seconds: float) -> None:
    with Progress(_report, "played", seconds, "s") as progress:
        begin_s = time.monotonic()
        while (gone_s := time.monotonic() - begin_s) < seconds:
            progress.at(gone_s, seconds)
            threading.Event().wait(min(LOOK_S, seconds - gone_s))


def decide_from_files(scenario: Scenario, folder: Path, cut_s: float) -> list[dict[str, object]]:
    """What mmg-run decides from the scenario's samples as files, its grid of hops beginning at ``cut_s``."""
    first_imu, first_sound = math.ceil(cut_s * IMU_HZ), round(cut_s * SOUND_HZ)
    write_imu(scenario.imu[first_imu:], folder / "imu.csv")
    write_sound(scenario.sound[first_sound:], folder / "audio.wav", SOUND_HZ)
    urls = [
        "--imu",
        f"{folder}/imu.csv?start={first_imu / IMU_HZ - cut_s:.9f}",
        "--audio",
        f"{folder}/audio.wav?start=0",
    ]
    done = subprocess.run([*COMMAND, *urls, "--format", "jsonl"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise MmgError(f"mmg-run on the files: {done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 1 where the promise does not hold."""
    parser = argparse.ArgumentParser(prog="python -m mmg_tools.live_check", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="how long the scenario is (default: 300)")
    parser.add_argument("--subject", type=int, default=SUBJECT, help="which virtual wearer")
    parser.add_argument("--seed", type=int, default=SEED, help="which session")
    parser.add_argument("--imu", default="witmotion", metavar="PROTOCOL", help="the IMU's protocol")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args(arguments)
    return run_command(lambda: _run(chosen), _report)


def _run(chosen: argparse.Namespace) -> int:
    _report(f"playing {chosen.seconds:g} s on virtual ports ...")
    with tempfile.TemporaryDirectory(prefix="mmg-live-") as folder:
        report = check(render(chosen.subject, chosen.seed, chosen.seconds), Path(folder), imu=chosen.imu)
    as_json = json.dumps(asdict(report) | {"passes": report.passes})
    sys.stdout.write((as_json if chosen.json else "\n".join(describe(report))) + "\n")
    return 0 if report.passes else 1


def describe(report: Report) -> list[str]:
    """The lines that the docs quote."""
    return [
        f"scenario: {report.seconds:g} s, {report.activities} activities, simulated, on virtual ports",
        f"decisions: {report.from_files} from files, {report.live} of these hops live",
        f"equal to those from files: {report.equal:.1%} (at least {LEAST_EQUAL:.0%})",
        f"equal to the truth: {report.right_from_files:.1%} from files, {report.right_live:.1%} live",
        f"called {UNKNOWN}, which no part of it is: {report.unknown_from_files:.1%} from files",
        f"hop's end to decision: p50 {report.latency_p50_ms} ms, p95 {report.latency_p95_ms} ms "
        f"(under {longest_ms(report.models_p95_ms):g}), max {report.latency_max_ms} ms",
        f"the models alone, run beside it once a hop: p95 {report.models_p95_ms} ms",
        f"mmg-run: {report.cpu_percent} % of one core, {report.resident_mib} MiB resident",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
