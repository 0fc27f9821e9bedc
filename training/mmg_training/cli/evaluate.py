"""``mmg-eval``: a run or a bundle in, the tables of the protocol out."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from mmg.cli.exit_codes import run_command
from mmg.cli.parsing import parse
from mmg.cli.privacy import close_sensors
from mmg.cli.progress import Progress
from mmg.cli.reporting import stderr_reporter
from mmg.cli.version import PrintVersion
from mmg.errors import ConfigError

from mmg_training.evaluation import plots
from mmg_training.evaluation.candidate import open_candidate
from mmg_training.evaluation.fewshot import SCORES, FewshotConfig
from mmg_training.evaluation.gate import gate_table, learn, plot_learnt, write_gated
from mmg_training.evaluation.report import TABLES, Candidate, report
from mmg_training.evaluation.tables import Table, as_json, markdown

EXAMPLES = """\
examples:
  mmg-eval runs/utd-5                                    every table that the run's data set allows
  mmg-eval runs/utd-5 --tables subsets,missing --plots plots
  mmg-eval runs/split-0 --tables fewshot --shots 1,5 --fewshot-score sequence
  mmg-eval utd.mmg --data set=utd-mhad --data leave_out=5    through the engine of the device
  mmg-eval runs/odd --data 'test_people=[2, 4]'          other people of the run's data set
  mmg-eval runs/mine --config other.toml                 another data set, by the labels of both
  mmg-eval starter --config training/configs/starter.toml --json scores.json
  mmg-eval mine.mmg --config mine.toml --gate --write-gate gated.mmg    learn when its sensors may sleep

exit codes: 0 done, 2 usage, settings, data or a package, or a place that cannot be written, 4 bundle, model or memory,
130 stopped by Ctrl-C
"""

progress = stderr_reporter("mmg-eval")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="mmg-eval",
        description="Measure a run of mmg-train, or an exported bundle through the engine that the device runs: every "
        "subset of its sensors, missing data, new activities from a few examples, sensors without labels.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=PrintVersion)
    parser.add_argument("what", help="a run of mmg-train, a bundle (folder or .mmg), or starter")
    parser.add_argument("--config", type=Path, help="settings with the data set, TOML; a run knows its own")
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a setting of the data, as in leave_out=5",
    )
    parser.add_argument(
        "--tables", default="", metavar="LIST", help=f"some of {','.join(TABLES)} (default: all it can)"
    )
    parser.add_argument("--ways", type=int, default=5, help="labels of a few-shot episode (default 5)")
    parser.add_argument("--shots", default="1,5", metavar="LIST", help="examples of each label (default 1,5)")
    parser.add_argument("--episodes", type=int, default=600, help="few-shot episodes (default 600)")
    parser.add_argument(
        "--fewshot-score",
        choices=SCORES,
        help="compare clips by embedding, by the sequence of their tokens, or both (default; a bundle: embedding)",
    )
    parser.add_argument(
        "--gate",
        action="store_true",
        help="what it saves to let sensors sleep: learn thresholds and print the curve; alone, or with --tables",
    )
    parser.add_argument(
        "--write-gate",
        type=Path,
        metavar="PATH",
        help="with --gate: write the policy, as the [gate] of a device profile (.toml), or the bundle with it",
    )
    parser.add_argument(
        "--json", metavar="FILE", help="also write the tables as JSON; - prints JSON instead of the tables"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the tables as Markdown")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw subsets.png, missing.png and gate.png there")
    chosen = parse(parser, given)
    chosen.is_own_process = arguments is None
    close_sensors(chosen)
    return run_command(lambda: run(chosen, shlex.join(["mmg-eval", *given])), progress, stopped=130)


def run(chosen: argparse.Namespace, command: str) -> int:
    """Measure and write. Raises MmgError."""
    wanted = [name for name in chosen.tables.split(",") if name]
    for name in wanted:
        if name not in TABLES:
            raise ConfigError(f"--tables {name}: is not one of {', '.join(TABLES)}")
    for flag, path in (("--markdown", chosen.markdown), ("--json", chosen.json if chosen.json != "-" else None)):
        if path is not None and not Path(path).absolute().parent.is_dir():
            raise ConfigError(f"{flag} {path}: there is no such folder")
    if chosen.write_gate is not None and not chosen.gate:
        raise ConfigError(f"--write-gate {chosen.write_gate}: needs --gate")
    if chosen.plots is not None:
        plots.require()
        chosen.plots.mkdir(parents=True, exist_ok=True)
    with (
        Progress(progress, "measuring"),
        open_candidate(chosen.what, chosen.config, chosen.data, progress) as candidate,
    ):
        score = chosen.fewshot_score or ("both" if candidate.model else "embedding")
        fewshot = fewshot_config(chosen.ways, chosen.shots, chosen.episodes, score)
        tables = report(candidate, wanted, fewshot, progress, chosen.plots) if wanted or not chosen.gate else []
        if chosen.gate:
            tables.append(_gate(candidate, chosen.write_gate, chosen.plots))
    sys.stdout.write(as_json(tables, command) if chosen.json == "-" else markdown(tables, command))
    sys.stdout.flush()
    if chosen.markdown is not None:
        chosen.markdown.write_text(markdown(tables, command), encoding="utf-8")
    if chosen.json is not None and chosen.json != "-":
        Path(chosen.json).write_text(as_json(tables, command), encoding="utf-8")
    return 0


def _gate(candidate: Candidate, path: Path | None, pictures: Path | None) -> Table:
    """Raises ConfigError for what is no bundle, or is measured on labels that are not its own."""
    if candidate.bundle is None:
        raise ConfigError("--gate: needs a bundle, which the engine of the device runs: mmg-export makes one of a run")
    if candidate.other:
        raise ConfigError("--gate: needs the data set that the bundle was trained for")
    learnt = learn(candidate.bundle, candidate.dataset, progress)
    if path is not None:
        write_gated(path, candidate.bundle, learnt, candidate.dataset.task)
    if pictures is not None:
        plot_learnt(pictures / "gate.png", candidate.bundle.manifest, learnt, candidate.dataset.task.name)
    return gate_table(candidate.bundle, candidate.dataset, learnt, (*candidate.notes, *candidate.measured))


def fewshot_config(ways: int, shots: str, episodes: int, score: str) -> FewshotConfig:
    """Raises ConfigError where one of ``shots`` is no number, or a number is too small."""
    try:
        numbers = tuple(int(number) for number in shots.split(","))
    except ValueError as error:
        raise ConfigError(f"--shots {shots}: is not a list of numbers, as in 1,5") from error
    return FewshotConfig(ways=ways, shots=numbers, episodes=episodes, score=score)


if __name__ == "__main__":
    raise SystemExit(main())
