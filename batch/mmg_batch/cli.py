"""``mmg-batch``: many recordings in, one table of decisions and one of recordings out."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mmg.cli.exit_codes import handle_signals, raise_interrupt, run_command
from mmg.cli.parsing import parse
from mmg.cli.privacy import close_sensors
from mmg.cli.profile_flags import add_profile_flags, board_settings, load_board
from mmg.cli.progress import Progress
from mmg.cli.reporting import stderr_reporter
from mmg.cli.sensors import names_in, seconds
from mmg.cli.unknown_flag import add_unknown_flag
from mmg.cli.version import PrintVersion
from mmg.counts import count_of
from mmg.errors import BackendUnavailable, ConfigError
from mmg.runs.process import set_up_process

if TYPE_CHECKING:
    from mmg_batch.batch import Engine, Tally
    from mmg_batch.recording import Entry
    from mmg_batch.results import Results
    from mmg_batch.task import Setup

_report = stderr_reporter("mmg-batch")
MOST_TOLD = 20
"""Recordings that failed; the table has all."""
EXAMPLES = """\
examples:
  mmg-batch day1/ day2/ -o results                       every recording in these folders
  mmg-batch 'walks/**/*.zip' -o results --subsets all    each with every subset of its sensors
  mmg-batch list.csv -o results --bundles starter,mine   a list that tells who wore what; two bundles
  mmg-batch s3://bucket/day1/ -o results                 what fsspec reads
  mmg-batch day1/ -o results --ray auto                  on a Ray cluster
  mmg-report results                                     one page of the results

The same command again goes on where it stopped.

exit codes: 0 done, 2 usage, configuration or a folder that cannot be used, 3 no recording could be decided, or the
cluster went away, 4 bundle, model, package or memory, 130 stopped by Ctrl-C
"""


def build_parser() -> argparse.ArgumentParser:
    """The flags of mmg-batch, which other programs rely on."""
    parser = argparse.ArgumentParser(
        prog="mmg-batch",
        description="Decide many recordings, on all cores or on a Ray cluster, into Parquet tables.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "recordings",
        metavar="RECORDINGS",
        nargs="+",
        help="files, folders, globs, URLs, or a CSV or Parquet list with a column called recording",
    )
    add("-o", "--output", metavar="DIR", type=Path, required=True, help="the folder of the results")
    add("--subsets", default="whole", help="all, or a list such as imu,imu+audio (default: whole, all sensors at once)")
    add("--bundles", metavar="LIST", default="starter", help="bundles, separated by commas (default: starter)")
    add("--trust", metavar="KEY.pub", help="refuse bundles that this key did not sign; see mmg-bundle --help")
    add("--allow-video", action="store_true", help="decide from films too")
    add("--backend", choices=("auto", "onnx", "litert"), help="which runtime runs the models")
    add("--precision", choices=("fp32", "int8"), help="which of the bundle's files (default: the profile's, or fp32)")
    add_unknown_flag(parser)
    add_profile_flags(parser)
    add("--workers", metavar="N", type=_count, help="processes on this machine (default: its cores)")
    add("--ray", metavar="ADDRESS|local|auto", help="run on a Ray cluster instead: one task a recording")
    add(
        "--patience",
        metavar="S",
        type=seconds,
        default=600.0,
        help="give up a recording of which nothing was decided for so long (default: 600)",
    )
    add("--retry", action="store_true", help="try again the recordings that failed")
    add("--json", action="store_true", help="print what it came to as a JSON object")
    add("--version", action=PrintVersion)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Decide, and return the exit code."""
    options = parse(build_parser(), arguments)
    handle_signals(raise_interrupt)
    return run_command(lambda: _run(options), _report, stopped=130)


def _run(options: argparse.Namespace) -> int:
    set_up_process()
    close_sensors(options)
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise BackendUnavailable("pyarrow, which tables need,", "pyarrow") from error
    from mmg.bundle.reader import STARTER

    from mmg_batch.batch import check_subsets, described, open_setup
    from mmg_batch.lists import check_sensors
    from mmg_batch.results import Results

    if not 0 < options.patience < 1e6:
        raise ConfigError(f"--patience {options.patience:g}: must be above 0, and below a million seconds")
    profile = load_board(options)
    settings = board_settings(options, profile)
    if options.unknown is not None:
        from dataclasses import replace

        settings = replace(settings, unknown=options.unknown)
    setup, names = open_setup(
        names_in(options.bundles),
        settings,
        check_subsets(options.subsets),
        options.patience,
        trust=options.trust,
        tell=_report,
    )
    entries = _find(options.recordings)
    check_sensors(entries, setup.sensors)
    paths = {
        names[digest]: "starter" if path == str(STARTER) else str(Path(path).absolute())
        for digest, path in setup.bundles.items()
    }
    with Results(options.output, described(setup, names), {"paths": paths}) as results:
        tally = _decide(options, entries, setup, names, results)
        others = results.parts() // len(names) - tally.recordings
    _tell(options, tally, others)
    return 3 if tally.recordings and not tally.decided else 0


def _find(words: list[str]) -> list[Entry]:
    from mmg_batch.inputs import find

    with Progress(_report, "looking for recordings", unit="found") as progress:
        return find(words, progress.at, _report)


def _decide(
    options: argparse.Namespace, entries: list[Entry], setup: Setup, names: dict[str, str], results: Results
) -> Tally:
    from mmg_batch.batch import Tally, plan, run

    tally = Tally()
    with Progress(_report, "looking at what is done", len(entries), "recordings") as progress:
        tasks = []
        for task in plan(entries, setup, results, tally, is_retried=options.retry):
            tasks.append(task)
            progress.at(tally.recordings, len(entries))
    if tally.known:
        _report(f"{tally.known} of {tally.recordings} recordings are done already")
    try:
        with Progress(_report, "decided", tally.recordings, "recordings", first=tally.done) as progress:
            for _ in run(tasks, _engine(options, setup, names), results, tally, _told()):
                note = f"{tally.failed} failed" if tally.failed else ""
                progress.at(tally.done, tally.recordings, note=note)
    except KeyboardInterrupt:
        left = tally.recordings - tally.done
        _report(f"{tally.done} of {tally.recordings} recordings are done; the same command decides the other {left}")
        raise
    return tally


def _engine(options: argparse.Namespace, setup: Setup, names: dict[str, str]) -> Engine:
    if options.ray:
        from mmg_batch.on_ray import decide_on_ray

        return partial(decide_on_ray, setup=setup, names=names, address=options.ray)
    from mmg_batch.pool import decide

    workers = options.workers or len(os.sched_getaffinity(0))
    return partial(decide, setup=setup, names=names, workers=workers)


def _told() -> Callable[[str], None]:
    """What tells the first failures, each in a line."""
    count = 0

    def tell(line: str) -> None:
        nonlocal count
        count += 1
        if count <= MOST_TOLD:
            _report(line)
        elif count == MOST_TOLD + 1:
            _report("more recordings failed: their rows say why")

    return tell


def _tell(options: argparse.Namespace, tally: Tally, others: int) -> None:
    """others: recordings in the tables that this call did not name."""
    if options.json:
        names = ("recordings", "done", "known", "failed", "decisions", "judged", "right")
        print(json.dumps({"output": str(options.output), **{name: getattr(tally, name) for name in names}}))
        sys.stdout.flush()
    found, new = count_of(tally.recordings, "recording"), count_of(tally.decisions, "new decision")
    text = f"wrote {options.output}: {found} found, {new}"
    if tally.judged:
        text += f", {tally.right} of {tally.judged} equal to the truth ({tally.right / tally.judged:.0%})"
    if tally.failed:
        text += f"; {tally.failed} failed, and --retry tries them again"
    if others:
        text += f"; the tables hold {count_of(others, 'recording')} of other calls too"
    _report(text)


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not 1 <= value <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes from 1 to 1024")
    return value


if __name__ == "__main__":
    raise SystemExit(main())
