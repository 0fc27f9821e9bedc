"""``mmg-study``: many trainings that differ by settings, fold and seed in, the tables that compare them out."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from mmg.cli.exit_codes import handle_signals, raise_interrupt, run_command
from mmg.cli.parsing import parse
from mmg.cli.privacy import close_sensors
from mmg.cli.reporting import stderr_reporter
from mmg.cli.version import PrintVersion
from mmg.errors import ConfigError

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
"""

report = stderr_reporter("mmg-study")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
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
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time (default: the cores)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting of the base, as in steps=20"
    )
    parser.add_argument("--report", action="store_true", help="train nothing: print the tables of what is done")
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    chosen = parse(parser, given)
    chosen.is_own_process = arguments is None
    close_sensors(chosen)
    handle_signals(raise_interrupt)
    return run_command(lambda: run(chosen, shlex.join(["mmg-study", *given])), report, stopped=130)


def run(chosen: argparse.Namespace, command: str) -> int:
    """Do the runs and write ``tables.md``, ``tables.json`` and the plots. Raises MmgError."""
    if chosen.jobs < 1:
        raise ConfigError(f"--jobs {chosen.jobs}: must be at least 1")
    plots.require()
    read = study.read(chosen.study)
    runs = study.plan(read, chosen.out, dict(parse_setting(text, "--set") for text in chosen.set))
    if not chosen.report:
        run_all(runs, read.config.evaluate, chosen.jobs, report)
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
