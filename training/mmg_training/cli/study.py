"""``mmg-study``: many trainings that differ by settings, fold and seed in, the tables that compare them out."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mmg.cli.exit_codes import handle_signals, raise_interrupt, run_command
from mmg.cli.parsing import parse
from mmg.cli.privacy import close_sensors
from mmg.cli.reporting import stderr_reporter, write_stderr
from mmg.cli.version import PrintVersion
from mmg.errors import ConfigError
from mmg.folder_lock import folder_lock
from mmg.own_process import command_of

from mmg_training.config import parse_setting
from mmg_training.evaluation import plots, study
from mmg_training.evaluation.study_pool import run_all
from mmg_training.evaluation.study_tables import (
    Outcome,
    ablation_table,
    all_tables,
    difference,
    mean_accuracy,
    missing_curves,
)
from mmg_training.evaluation.tables import as_json, markdown

EXAMPLES = """\
examples:
  mmg-study training/configs/studies/utd_mhad.toml --out runs/study
  mmg-study training/configs/studies/utd_mhad.toml --out runs/study --jobs 4    again: continues where it stopped
  mmg-study training/configs/studies/utd_mhad.toml --out runs/study --report    tables of what is done so far
  mmg-study training/configs/studies/utd_mhad.toml --out runs/try --set steps=20    a quick look that all works

A study names its base settings, its seeds, its folds and its variants, each a table of settings that differ:
  base = "../utd_mhad.toml"
  seeds = [1, 2, 3]
  full = "all"
  ablations = ["no-dropout"]
  folds."data.leave_out" = [1, 3, 5, 7]
  variants.all = {}
  variants.no-dropout."dropout.modality" = 0.0

exit codes: 0 done, 1 the process on Ray was ended by a signal, 2 usage, settings, data or a package, a place that
cannot be written, or a run failed, 3 the Ray cluster went away, 4 not enough memory, or Ray is not installed,
130 stopped by Ctrl-C
"""

report = stderr_reporter("mmg-study")
*_, TRAIN_ON_RAY = command_of("mmg_training.cli.study", "train_on_ray")
RAY_LOG = re.compile(r"\[?\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|\*\*\* |\s*@ +0x|\s*$")
"""A line that Ray writes to standard error, or of the stack that it ends with."""
CLUSTER_LOST = re.compile(r"\bGCS\b|\braylet\b", re.IGNORECASE)
"""In such a line: what Ray names when its cluster does not answer, before it ends the process."""


def build_parser() -> argparse.ArgumentParser:
    """The flags of mmg-study."""
    parser = argparse.ArgumentParser(
        prog="mmg-study",
        description="Train every variant of a study in every fold with every seed, measure each, and print the tables: "
        "accuracy on each subset, ablations, zero-shot, few-shot. Runs that are done are not repeated.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=PrintVersion)
    parser.add_argument("study", type=Path, help="the study, TOML; training/configs/studies has some")
    parser.add_argument("--out", type=Path, required=True, help="the folder for its runs, tables and plots")
    parser.add_argument("--jobs", type=int, help="runs at a time (default: the cores)")
    parser.add_argument("--ray", metavar="ADDRESS|local|auto", help="train on a Ray cluster; --jobs is of the cluster")
    parser.add_argument("--any-code", action="store_true", help="count runs that another version of mmg made as done")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting of the base, as in steps=20"
    )
    parser.add_argument("--report", action="store_true", help="train nothing: print the tables of what is done")
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    chosen = parse(build_parser(), given)
    chosen.is_own_process = arguments is None
    close_sensors(chosen)
    handle_signals(raise_interrupt)
    return run_command(lambda: run(chosen, given), report, stopped=130)


def train_on_ray(arguments: Sequence[str] | None = None) -> int:
    """The part of the command that talks to Ray, in a process of its own; returns its exit code."""
    chosen = parse(build_parser(), arguments)
    handle_signals(raise_interrupt)
    return run_command(lambda: _train_on_ray(chosen), report, stopped=130)


def run(chosen: argparse.Namespace, given: Sequence[str]) -> int:
    """Do the runs and write ``tables.md``, ``tables.json`` and the plots. given: the words of the command.

    Raises MmgError.
    """
    command = shlex.join(["mmg-study", *given])
    if chosen.jobs is not None and chosen.jobs < 1:
        raise ConfigError(f"--jobs {chosen.jobs}: must be at least 1")
    plots.require()
    read, runs = _planned(chosen)
    if not chosen.report:
        with folder_lock(chosen.out, "mmg-study"):
            if chosen.ray:
                if code := in_process(TRAIN_ON_RAY, given):
                    return code
            else:
                jobs = chosen.jobs or os.cpu_count() or 1
                run_all(runs, read.config.evaluate, jobs, report, is_any_code=chosen.any_code)
    done = {one.name: found for one in runs if (found := study.results_of(one, read.config.evaluate)) is not None}
    if not done:
        raise ConfigError(f"{chosen.out}: no run of {chosen.study} is done with these settings yet")
    outcome = Outcome(read, runs, done)
    tables = all_tables(outcome)
    (chosen.out / "tables.md").write_text(markdown(tables, command), encoding="utf-8")
    (chosen.out / "tables.json").write_text(as_json(tables, command), encoding="utf-8")
    draw(outcome, chosen.out / "plots")
    sys.stdout.write(as_json(tables, command) if chosen.json else markdown(tables, command))
    sys.stdout.flush()
    report(f"wrote tables.md, tables.json and plots into {chosen.out}")
    return 0


def _planned(chosen: argparse.Namespace) -> tuple[study.Study, list[study.Run]]:
    read = study.read(chosen.study)
    return read, study.plan(read, chosen.out, dict(parse_setting(text, "--set") for text in chosen.set))


def _train_on_ray(chosen: argparse.Namespace) -> int:
    from mmg_training.evaluation.study_ray import RayCluster

    read, runs = _planned(chosen)
    with RayCluster(chosen.ray) as cluster:
        jobs = chosen.jobs or cluster.processors
        run_all(runs, read.config.evaluate, jobs, report, cluster.start, is_any_code=chosen.any_code)
    return 0


def in_process(code: str, words: Sequence[str]) -> int:
    """The exit code of Python code in a process of its own, without the lines that Ray logs; where Ray ended it, that
    is told: it ends a process whose cluster goes away. So is any other end that nobody meant."""
    command, is_lost = [sys.executable, "-c", code, *words], False
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if not RAY_LOG.match(line):
                    write_stderr(line)
                elif CLUSTER_LOST.search(line):
                    is_lost = True
            ended = process.wait()
        except KeyboardInterrupt:
            process.terminate()
            raise
    if is_lost and (ended == 1 or ended < 0):
        report("the Ray cluster went away: what is done stays done, and the same command does the rest")
        return 3
    if ended < 0:
        report(f"its process on Ray was ended (signal {-ended}): the same command does the rest")
        return 1
    return ended


def draw(outcome: Outcome, folder: Path) -> None:
    """``missing.png``, when all modalities miss independently, and ``ablations.png``, where there are such runs."""
    curves = {}
    for variant in outcome.study.variants:
        found = missing_curves(outcome, variant).get("all", [])
        if found and all(found):
            curves[variant] = [figure.mean for figure in found if figure is not None]
    kind = outcome.first.kind
    if curves:
        plots.plot_missing(
            folder / "missing.png", outcome.first.rates, curves, f"Each modality goes missing independently ({kind})"
        )
    if ablation_table(outcome).rows:
        full, measure = outcome.study.config.full, mean_accuracy(outcome)
        bars = {name: difference(outcome, name, full, measure) for name in outcome.study.config.ablations}
        shown = {name: bar for name, bar in bars.items() if bar is not None}
        label = f"difference to {full}, mean accuracy of all subsets"
        plots.plot_bars(folder / "ablations.png", shown, label, f"Ablations ({kind})")


if __name__ == "__main__":
    raise SystemExit(main())
