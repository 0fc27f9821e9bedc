"""``mmg-report``: one page of the results of ``mmg-batch``."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmg.cli.exit_codes import handle_signals, raise_interrupt, run_command
from mmg.cli.parsing import parse
from mmg.cli.privacy import close_sensors
from mmg.cli.progress import counted
from mmg.cli.reporting import stderr_reporter
from mmg.cli.version import PrintVersion
from mmg.counts import count_of
from mmg.errors import BackendUnavailable, ConfigError
from mmg.own_process import command_of

if TYPE_CHECKING:
    from mmg_batch.report import Report, Worst

_report = stderr_reporter("mmg-report")
PAGE, LOOKS = "report.html", "look"
EXAMPLES = """\
examples:
  mmg-report results                 results/report.html
  mmg-report results --look 5        with mmg-look's pages of the five worst recordings
  mmg-report results --json          the same figures for a program

exit codes: 0 done, 2 usage or a folder that cannot be used, 4 a package is missing, or not enough memory,
130 stopped by Ctrl-C
"""


def build_parser() -> argparse.ArgumentParser:
    """The flags of mmg-report, which other programs rely on."""
    parser = argparse.ArgumentParser(
        prog="mmg-report",
        description="Write one page of what mmg-batch decided: accuracy by sensors, person, board and bundle, faults, "
        "the worst recordings, and bundles compared.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("results", metavar="RESULTS", type=Path, help="the folder that mmg-batch wrote")
    add("-o", "--output", metavar="PATH", type=Path, help=f"the page (default: {PAGE} in that folder)")
    add("--look", metavar="N", type=_count, default=0, help="write mmg-look's pages of the N worst recordings too")
    add("--json", action="store_true", help="print the figures as JSON, and write no page")
    add("--version", action=PrintVersion)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Write the page, and return the exit code."""
    options = parse(build_parser(), arguments)
    handle_signals(raise_interrupt)
    return run_command(lambda: _run(options), _report, stopped=130)


def _run(options: argparse.Namespace) -> int:
    close_sensors(options)
    try:
        from mmg_batch.results import damaged_in, described_in, read_recordings, write
    except ImportError as error:
        raise BackendUnavailable("pyarrow, which tables need,", "pyarrow") from error
    from mmg_batch.page import format_page
    from mmg_batch.report import make_report
    from mmg_batch.shared import Shared

    rows = read_recordings(options.results).to_pylist()
    if damaged := damaged_in(options.results):
        files = f"{count_of(len(damaged), 'file')} {'is' if len(damaged) == 1 else 'are'} damaged or missing"
        _report(
            f"{options.results}: {files}, such as {damaged[0]}: the same mmg-batch again decides anew what they held"
        )
    report = make_report(rows, Shared(options.results))
    if options.json:
        print(json.dumps(asdict(report), indent=2))
        sys.stdout.flush()
        return 0
    output: Path = options.output or options.results / PAGE
    commands = _commands(report.worst, described_in(options.results))
    pages = _look(report.worst[: options.look], output.parent, commands)
    page = format_page(report, options.results.absolute().name, pages, commands)
    output.parent.mkdir(parents=True, exist_ok=True)
    write(output, page.encode())
    _report(f"wrote {output}: {_summary(report)}")
    return 0


def _summary(report: Report) -> str:
    failed = f", {report.failed} failed" if report.failed else ""
    return f"{count_of(report.recordings, 'recording')}{failed}, {count_of(report.decisions, 'decision')}"


def _commands(worst: Sequence[Worst], described: dict[str, Any]) -> dict[Worst, list[str]]:
    """The words for mmg-look, of the recordings that are here by their names: not those whose sensors a list names one
    by one, nor those on a server. Raises ConfigError."""
    from mmg.sources.url import parse_url

    from mmg_batch.recording import is_remote

    paths = described.get("paths", {})
    if not isinstance(paths, dict):
        raise ConfigError("batch.json: paths: must be an object of bundles and where they are")
    return {
        one: [one.recording, *(["--bundle", str(paths[one.bundle])] if one.bundle in paths else [])]
        for one in worst
        if not is_remote(one.recording) and Path(parse_url(one.recording).path).exists()
    }


def _look(worst: Sequence[Worst], folder: Path, commands: dict[Worst, list[str]]) -> dict[Worst, str]:
    """The pages of those that mmg-look can make one of."""
    pages: dict[Worst, str] = {}
    if worst:
        (folder / LOOKS).mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(counted(_report, "pages", worst, len(worst), "recordings"), 1):
        if one not in commands:
            _report(f"{one.recording}: no page: nothing is here by this name, as where a list names each sensor's file")
            continue
        place = f"{LOOKS}/{number:02d}.html"
        words = [*commands[one], "-o", str(folder / place), "--overwrite"]
        done = subprocess.run([*command_of("mmg.cli.look"), *words], capture_output=True, text=True, check=False)
        if done.returncode:
            *_, why = ["mmg-look failed", *done.stderr.strip().splitlines()]
            _report(f"{one.recording}: no page: {why.removeprefix('mmg-look: ')}")
        else:
            pages[one] = place
    return pages


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of recordings")
    return int(text)


if __name__ == "__main__":
    raise SystemExit(main())
