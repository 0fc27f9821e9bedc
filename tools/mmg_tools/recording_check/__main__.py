"""``python -m mmg_tools.recording_check``: a live run with faults, recorded, and everything that is promised of it.

It plays a virtual wearer on a pty and an ALSA device while faults happen at random, records ``mmg-run``, and replays
the file whole, split and cut at random bytes. Then it kills recorders at random moments. Ten minutes live by default,
and about as long again for the rest.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from mmg.cli.exit_codes import run_command
from mmg.cli.progress import Progress
from mmg.cli.reporting import stderr_reporter

from mmg_tools.recording_check.cost import measure
from mmg_tools.recording_check.cuts import check_cuts, check_split
from mmg_tools.recording_check.kills import check_kills
from mmg_tools.recording_check.live import record_live

_report = stderr_reporter("recording_check")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 1 where a promise does not hold."""
    parser = argparse.ArgumentParser(prog="python -m mmg_tools.recording_check", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long the live run is (default: 600)")
    parser.add_argument("--cuts", type=int, default=1000, help="at how many random bytes it is cut (default: 1000)")
    parser.add_argument("--kills", type=int, default=200, help="how many recorders are killed (default: 200)")
    parser.add_argument("--seed", type=int, default=1, help="of the faults, cuts and moments (default: 1)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    return run_command(lambda: _check(options), _report)


def _check(options: argparse.Namespace) -> int:
    with Progress(_report, "checking"), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _report(f"{options.seconds:.0f} s live, with faults")
        live = record_live(folder / "day.mcap", folder, options.seconds, options.seed)
        _report("recording it again, for its cost")
        cost = measure(live.path, folder / "again.mcap")
        split = check_split(live, folder)
        _report(f"cutting it {options.cuts} times")
        cuts = check_cuts(live, folder, options.cuts, options.seed, _report)
        _report(f"killing {options.kills} recorders")
        kills = check_kills(folder, options.kills, options.seed, _report)
        figures = {
            "live": live.figures(),
            "cost": asdict(cost),
            "split": split,
            "cuts": asdict(cuts),
            "kills": asdict(kills),
        }
    problems = [*live.problems, *cost.problems, *cuts.problems, *kills.problems]
    problems += [] if split["equal"] else ["the split recording decides otherwise"]
    if options.json:
        print(json.dumps(figures | {"problems": problems}))
    else:
        for what, values in figures.items():
            print(f"{what}: " + ", ".join(f"{key} {value}" for key, value in values.items()))
        print("\n".join(problems) or "all that is promised holds")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
