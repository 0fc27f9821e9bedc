"""Three sensors are worn for days, on a scripted clock: does the live run keep every promise for as long?

``python -m mmg_tools.days --hours 72 --seed 1`` lets an IMU, a microphone and a camera be worn, each with a fault now
and then; ``--events 1000000`` lets so many faults happen one upon the other. Ports, clocks, streams, health, engine and
the lines of decisions are the real ones; there are no threads and no devices, and the models are tiny ones whose
decisions tell of which samples they were made. The sound has 1 kHz; ``--starter`` runs the starter's models, at 16 kHz.

Exit codes: 0 every promise held, 1 one did not, 2 usage.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import mmg
from mmg.bundle import Bundle
from mmg.cli.exit_codes import run_printing_command
from mmg.cli.progress import Progress
from mmg.cli.reporting import stderr_reporter

from mmg_tools.days.bundle import write_days_bundle
from mmg_tools.days.faults import DENSE, WORN
from mmg_tools.days.report import Report, describe, make_report
from mmg_tools.days.run import Run

_report = stderr_reporter("days")
STARTER = Path(mmg.__file__).parent / "starter"
MOST_HOURS, MOST_EVENTS = 10_000.0, 100_000_000


def wear(seed: int, *, hours: float = 0.0, events: int = 0, starter: bool = False) -> Report:
    """For so long, or until so many faults have happened. Raises MmgError."""
    total, unit = (events, "faults") if events else (hours * 3600, "s")
    with tempfile.TemporaryDirectory(prefix="mmg-days-") as folder:
        path = STARTER if starter else Path(folder) / "days"
        if not starter:
            write_days_bundle(path)
        with Bundle.open(path) as bundle, Progress(_report, "worn", total, unit) as progress:
            run = Run(bundle, DENSE if events else WORN, seed, is_made=not starter)
            outcome = run.go(
                hours * 3600,
                events,
                progress=lambda at_s, count: progress.at(
                    count if events else at_s, total, note=f"{at_s / 3600:.1f} h" if events else f"{count} faults"
                ),
            )
    return make_report(outcome, seed)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m mmg_tools.days", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--hours", type=float, default=72.0, help="of the sensors' time (default: 72)")
    length.add_argument("--events", type=int, default=0, help="so many faults in place of hours")
    parser.add_argument("--seed", type=int, default=1, help="of the faults (default: 1)")
    parser.add_argument("--starter", action="store_true", help="with the starter's own models")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args(arguments)
    if not 0.01 <= chosen.hours <= MOST_HOURS:
        parser.error(f"--hours: give 0.01 to {MOST_HOURS:g}")
    if not 0 <= chosen.events <= MOST_EVENTS:
        parser.error(f"--events: give 1 to {MOST_EVENTS}")
    return run_printing_command(lambda: _run(chosen), _report)


def _run(chosen: argparse.Namespace) -> int:
    report = wear(chosen.seed, hours=chosen.hours, events=chosen.events, starter=chosen.starter)
    sys.stdout.write((json.dumps(asdict(report)) if chosen.json else "\n".join(describe(report))) + "\n")
    return 1 if report.problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
