"""``python -m mmg_tools.fuzz``: bytes that nobody meant to write, into every reader that mmg has.

Of each target nothing may come but what it documents, within a second of processor time and 200 MiB an input. What
breaks that is told at once, and its input kept. Exit codes: 0 without a fault, 1 with one, 2 usage, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from mmg.cli.exit_codes import handle_signals, raise_interrupt, run_command
from mmg.cli.reporting import stderr_reporter
from mmg.errors import BackendUnavailable, ConfigError, pip_install

from mmg_tools.fuzz.campaign import Campaign, Plan, Tally
from mmg_tools.fuzz.corpus import checkout_corpora, minimise
from mmg_tools.fuzz.target import TARGETS, Target
from mmg_tools.fuzz.worker import has_atheris

_report = stderr_reporter("fuzz")
KEPT = Path("build/fuzz")
SECONDS = 180.0
STOPPED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m mmg_tools.fuzz", description=__doc__)
    end = parser.add_mutually_exclusive_group()
    end.add_argument("--seconds", type=float, help=f"how long, all targets together (default: {SECONDS:g})")
    end.add_argument("--bytes", type=float, help="how many bytes, of all targets together: 1e8")
    parser.add_argument("--target", action="append", default=[], metavar="NAME", help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, default=1, help="what the mutations are drawn from (default: 1)")
    parser.add_argument("--engine", choices=("atheris", "plain"), help="default: atheris where it is installed")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="how many at once (default: cores)")
    parser.add_argument("--kept", type=Path, default=KEPT, metavar="FOLDER", help=f"of what is found (default: {KEPT})")
    parser.add_argument("--corpora", type=Path, metavar="FOLDER", help="of the seeds (default: the tree's)")
    parser.add_argument("--list", action="store_true", help="name the targets, and do nothing")
    parser.add_argument(
        "--minimise",
        action="store_true",
        help="in place of fuzzing put the smallest of what was found that reach the same lines into the corpora",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as one JSON object")
    chosen = parser.parse_args(arguments)
    if chosen.workers < 1 or not 1 <= (chosen.bytes or 1) < 1e15 or not 0 < (chosen.seconds or 1) < 1e9:
        parser.error("--workers, --bytes and --seconds: give more than 0")
    handle_signals(raise_interrupt)
    return run_command(lambda: _run(chosen), _report, stopped=STOPPED)


def _run(chosen: argparse.Namespace) -> int:
    targets = _chosen(chosen.target)
    corpora = chosen.corpora or checkout_corpora()
    if chosen.list:
        sys.stdout.write("".join(f"{target.name}\n" for target in targets))
        return 0
    if not corpora.is_dir():
        raise ConfigError(f"{corpora}: there are no corpora: run this in a checkout, or name them with --corpora")
    if chosen.minimise:
        return _minimise(targets, corpora, chosen.kept)
    engine = _engine(chosen.engine)
    seconds = 0.0 if chosen.bytes else (chosen.seconds or SECONDS) * min(chosen.workers, len(targets))
    plan = Plan(engine, chosen.seed, corpora, chosen.kept, seconds, round(chosen.bytes or 0), chosen.workers)
    campaign = Campaign(plan, targets, _report)
    begin_s = time.monotonic()
    try:
        campaign.run()
        stopped = False
    except KeyboardInterrupt:
        stopped = True
    _tell(campaign, time.monotonic() - begin_s, chosen.json)
    if stopped:
        raise KeyboardInterrupt
    return 1 if any(tally.faults for tally in campaign.tallies) else 0


def _engine(wanted: str | None) -> str:
    if has_atheris():
        return wanted or "atheris"
    if wanted == "atheris":
        raise BackendUnavailable("atheris", "atheris")
    if wanted is None:
        _report(f"atheris is not installed: the plain loop is not guided by edges; {pip_install('atheris')}")
    return "plain"


def _chosen(names: Sequence[str]) -> list[Target]:
    known = {target.name: target for target in TARGETS}
    for name in names:
        if name not in known:
            raise ConfigError(f"--target {name}: choose from {', '.join(known)}")
    return [target for target in TARGETS if not names or target.name in names]


def _minimise(targets: Sequence[Target], corpora: Path, kept: Path) -> int:
    from mmg_tools.fuzz.lines import of_mmg

    lines = of_mmg()
    for target in targets:
        folder = corpora / target.name
        count = minimise(target.load(), folder, kept / target.name, lines)
        size = sum(path.stat().st_size for path in folder.iterdir()) if count else 0
        sys.stdout.write(f"{target.name:<18}{count:5} inputs{size:10,} bytes\n")
    return 0


def _tell(campaign: Campaign, seconds: float, path: Path | None) -> None:
    sys.stdout.write("\n".join(table(campaign.tallies, seconds)) + "\n")
    if path:
        results = {
            "engine": campaign.plan.engine,
            "seed": campaign.plan.seed,
            "seconds": round(seconds, 1),
            "bytes": sum(tally.size for tally in campaign.tallies),
            "targets": [_as_json(tally) for tally in campaign.tallies],
        }
        path.write_text(json.dumps(results, indent=1) + "\n")


def _as_json(tally: Tally) -> dict[str, object]:
    faults = [{**asdict(fault), "input": data.hex()} for fault, data in tally.faults.items()]
    shown = {"inputs": tally.inputs, "bytes": tally.size, "seconds": round(tally.seconds, 2)}
    return {"target": tally.target, **shown, "coverage": tally.coverage, "faults": faults}


def table(tallies: Sequence[Tally], seconds: float) -> list[str]:
    """A line a target, and one of all."""
    unit = "edges" if tallies and tallies[0].engine == "atheris" else "lines"
    lines = [f"{'target':<18}{'inputs':>12}{'bytes':>15}{'inputs/s':>10}{unit:>8}{'faults':>8}"]
    whole = Tally("all", "")
    for tally in tallies:
        lines.append(_row(tally, f"{tally.coverage:8,}"))
        whole.inputs, whole.size = whole.inputs + tally.inputs, whole.size + tally.size
        whole.seconds += tally.seconds
    faults = sum(len(tally.faults) for tally in tallies)
    lines.append(_row(whole, " " * 8, faults))
    found = [f"{tally.target}: {fault.line()}" for tally in tallies for fault in tally.faults]
    engine = tallies[0].engine if tallies else ""
    return [*lines, *found, f"{whole.size:,} bytes in {seconds:.0f} s with {engine}: {faults or 'no'} faults"]


def _row(tally: Tally, coverage: str, faults: int | None = None) -> str:
    count = len(tally.faults) if faults is None else faults
    return f"{tally.target:<18}{tally.inputs:12,}{tally.size:15,}{tally.a_second:10,.0f}{coverage}{count:8}"


if __name__ == "__main__":
    raise SystemExit(main())
