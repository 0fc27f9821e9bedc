"""``mmg-data``: what a folder of your own sessions holds, and what is wrong with it. Needs no torch."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from mmg.cli.exit_codes import run_printing_command
from mmg.cli.parsing import parse
from mmg.cli.privacy import close_sensors
from mmg.cli.reporting import stderr_reporter
from mmg.cli.version import PrintVersion
from mmg.printable import as_lines

EXAMPLES = """\
examples:
  mmg-data sessions/                     hours by label, person and sensor, what is wrong, and how it would be split
  mmg-data sessions/ --hold-out cat      as it would be split with cat held out
  mmg-data sessions/ --json

A session is a folder of whatever files mmg-run reads, or one recording, with labels beside it (mmg-label), and a line
on who and where: session.toml with person = "ann", or a sessions.csv with session,person,place.
See docs/your-own-data.md.

exit codes: 0 there is something to train on, 1 no session has both a sensor and labels, or there is only one label,
2 usage, or a folder that holds no session, 4 not enough memory, 130 stopped by Ctrl-C
"""

report = stderr_reporter("mmg-data")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="mmg-data",
        description="Say what a folder of your own sessions holds.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("folder", type=Path, help="the folder that holds your sessions")
    add_data_flags(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--version", action=PrintVersion)
    chosen = parse(parser, arguments)
    close_sensors(chosen)
    return run_printing_command(lambda: _run(chosen), report)


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that choose among what a folder holds."""
    parser.add_argument("--sensors", metavar="LIST", default="", help="which sensors (default: imu,audio)")
    parser.add_argument(
        "--allow-video", action="store_true", help="allow video to be opened; --sensors must name it too"
    )
    parser.add_argument(
        "--hold-out", metavar="LIST", default="", help="people, or else sessions, to measure on (default: mmg chooses)"
    )


def names_in(text: str) -> tuple[str, ...]:
    """A list with commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _run(chosen: argparse.Namespace) -> int:
    from mmg_training.data.folder.survey import as_text, survey

    told = survey(
        chosen.folder,
        names_in(chosen.sensors),
        chosen.allow_video,
        names_in(chosen.hold_out),
        report,
    )
    if chosen.json:
        sys.stdout.write(json.dumps(told.as_json(), indent=2) + "\n")
    else:
        sys.stdout.write(as_lines(as_text(told), sys.stdout.encoding))
    sys.stdout.flush()
    return 0 if told.usable else 1


if __name__ == "__main__":
    raise SystemExit(main())
