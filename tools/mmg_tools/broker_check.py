"""A broker is away for a minute while a live run decides: what does it cost, and is all right again by itself?

``python -m mmg_tools.broker_check`` plays a scenario in a loop on virtual ports (a pty and an ALSA device), lets
``mmg-run`` tell its decisions to a mosquitto, kills that in the middle and starts it again, without memory.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from mmg.cli.exit_codes import run_command
from mmg.errors import MmgError

from mmg_tools.attached import AttachedRun, StampedDecision
from mmg_tools.broker import Broker, Listener
from mmg_tools.live_check import HOP_S
from mmg_tools.virtual.scenario import render
from mmg_tools.virtual.wearable import VirtualWearable

SCENARIO_S, START_S = 120.0, 30.0
LONGEST_RETRY_S, SLACK_S = 60.0, 2.0
MOST_LATER_MS = 5.0
"""A broker that is away may cost a decision no more, at the 95th percentile."""
LOST = re.compile(r": (\d+) of (\d+) lines lost")


@dataclass(frozen=True, slots=True)
class Report:
    """made: decisions before, while the broker was away and after. p95_ms: of each, from the hop's end to the decision.
    missed: hops between the first decision and the last that were not decided. heard: decisions that the broker told
    on. lost: the lines that the run counted as lost. right_again_s: from the broker's start until it had the state of
    the newest decision."""

    made: tuple[int, int, int]
    p95_ms: tuple[float, float, float]
    missed: int
    heard: int
    lost: int
    right_again_s: float
    exit_code: int
    stop_s: float

    @property
    def problems(self) -> list[str]:
        """What was not as it must be, in words."""
        before, away, after = self.p95_ms
        found = []
        if self.exit_code:
            found.append(f"mmg-run ended with exit code {self.exit_code}")
        if self.missed:
            found.append(f"{self.missed} hops were not decided")
        if max(away, after) - before > MOST_LATER_MS:
            found.append(f"decisions came up to {max(away, after) - before:.1f} ms later than before")
        if self.heard + self.lost < sum(self.made):
            found.append(f"{sum(self.made) - self.heard - self.lost} lines were lost and not counted")
        if self.right_again_s > LONGEST_RETRY_S + SLACK_S:
            found.append("the state was not right again within the longest wait between two attempts")
        return found


def check(around_s: float, away_s: float, folder: Path) -> Report:
    """Let it happen; minutes. Raises MmgError where mmg-run never decides, or the broker cannot be run."""
    pause = threading.Event()  # of nobody: only time passes
    wearable = VirtualWearable(render(seconds=SCENARIO_S), folder, loop=True)
    with Broker(folder) as broker, wearable:
        to = ("--to", f"mqtt://127.0.0.1:{broker.port}/wrist")
        with AttachedRun(wearable.urls, wearable.environment, to) as run:
            if not run.wait_for(lambda: bool(run.decisions), START_S):
                raise MmgError("mmg-run decided nothing: " + "; ".join(run.notes[-5:]))
            with Listener(broker.port) as listener:
                pause.wait(around_s)
                heard = _decisions(listener)
                killed_ns = time.monotonic_ns()
                broker.kill()
            pause.wait(away_s)
            broker.start()
            started_ns = time.monotonic_ns()
            with Listener(broker.port) as listener:
                right_again_s = _seconds_until_right(listener, run, started_ns)
                pause.wait(around_s)
                code, stop_s = run.stop()
                listener.wait_for(lambda message: message.text == "offline")
                heard += _decisions(listener)
        return _report(run, killed_ns, started_ns, heard, right_again_s, code, stop_s)


def _decisions(listener: Listener) -> int:
    return len(listener.of("wrist/decision"))


def _seconds_until_right(listener: Listener, run: AttachedRun, started_ns: int) -> float:
    state = listener.wait_for(lambda message: message.topic == "wrist/state", LONGEST_RETRY_S + START_S)
    right_again_s = (time.monotonic_ns() - started_ns) / 1e9
    newest = run.decisions[-1].line
    # The next decision may have been read between.
    if state.values["label"] not in {newest["label"], run.decisions[-2].line["label"]}:
        raise MmgError(f"the state says {state.text}, and mmg-run {newest['label']}")
    return right_again_s


def _report(
    run: AttachedRun, killed_ns: int, started_ns: int, heard: int, right_again_s: float, code: int, stop_s: float
) -> Report:
    back_ns = started_ns + round(right_again_s * 1e9)
    phases: tuple[list[StampedDecision], ...] = ([], [], [])
    for one in run.decisions[1:]:  # the first came before anything was listened to
        phases[0 if one.read_ns < killed_ns else 1 if one.read_ns < back_ns else 2].append(one)
    before, away, after = phases
    hops = {round(one.t_s / HOP_S) for one in run.decisions}
    told = [match for note in run.notes if (match := LOST.search(note))]
    return Report(
        made=(len(before), len(away), len(after)),
        p95_ms=(_p95(before), _p95(away), _p95(after)),
        missed=max(hops) - min(hops) + 1 - len(hops),
        heard=heard,
        lost=int(told[-1][1]) if told else 0,
        right_again_s=round(right_again_s, 2),
        exit_code=code,
        stop_s=round(stop_s, 2),
    )


def _p95(decisions: Sequence[StampedDecision]) -> float:
    return round(float(np.percentile([one.latency_ms for one in decisions], 95)), 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 1 where something was not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m mmg_tools.broker_check", description=__doc__)
    parser.add_argument(
        "--around", type=float, default=30.0, metavar="S", help="seconds before and after (default: 30)"
    )
    parser.add_argument("--away", type=float, default=60.0, metavar="S", help="seconds without a broker (default: 60)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args(arguments)
    return run_command(lambda: _run(chosen), lambda line: print(f"broker_check: {line}", file=sys.stderr))


def _run(chosen: argparse.Namespace) -> int:
    sys.stderr.write(f"broker_check: {2 * chosen.around + chosen.away:g} s and more on virtual ports ...\n")
    with tempfile.TemporaryDirectory(prefix="mmg-broker-") as folder:
        report = check(chosen.around, chosen.away, Path(folder))
    as_json = json.dumps(asdict(report) | {"problems": report.problems})
    sys.stdout.write((as_json if chosen.json else "\n".join(describe(report))) + "\n")
    return 1 if report.problems else 0


def describe(report: Report) -> list[str]:
    """The lines that the docs quote."""
    before, away, after = report.made
    return [
        f"decisions: {before} before, {away} while the broker was away, {after} after; {report.missed} hops missed",
        "hop's end to decision, p95: {} ms before, {} ms while it was away, {} ms after".format(*report.p95_ms),
        f"lines: {report.heard} decisions heard, {report.lost} lines counted as lost",
        f"state right again {report.right_again_s:.2f} s after the broker was",
        f"stopped with exit code {report.exit_code} in {report.stop_s:.2f} s",
        *(f"PROBLEM: {problem}" for problem in report.problems),
    ]


if __name__ == "__main__":
    raise SystemExit(main())
