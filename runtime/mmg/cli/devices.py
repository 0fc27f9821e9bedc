"""``mmg-devices``: what is plugged in, and the URL to give mmg-run for it."""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmg.cli.exit_codes import run_printing_command
from mmg.cli.output import wants_colours
from mmg.cli.parsing import parse
from mmg.cli.privacy import SHARED_MEMORY, asked_for, close_but, may_be_terminal
from mmg.cli.profile_flags import add_profile_flags, load_board
from mmg.cli.progress import Progress
from mmg.cli.reporting import stderr_reporter
from mmg.cli.version import PrintVersion
from mmg.printable import as_lines, printable

if TYPE_CHECKING:
    from mmg.sources.ports.discovery import Found

_report = stderr_reporter("mmg-devices")
KINDS = ("imu", "audio", "video")
WANTED = ("imu", "audio")
EXAMPLES = """\
examples:
  mmg-devices                            what is plugged in, and the mmg-run command that uses it
  mmg-devices --sensors imu --seconds 8  IMUs only; longer, for one that starts or samples slowly
  mmg-devices --serial /dev/ttyAMA0      a board's own UART, which the system may not list; may be repeated
  MMG_SERIAL='/dev/ttyAMA*:/tmp/imu' mmg-devices
  mmg-devices --json | jq -r '.[] | select(.problem == "") | .url'

Serial ports are opened and listened to, and nothing is written to them: that can restart a board, and takes the port
for these seconds. Sound is not recorded. Cameras are listed by their names and never opened; without
--sensors video they count for nothing.

exit codes: 0 something usable was found, 2 usage, 3 nothing usable, 4 not enough memory,
130 stopped by Ctrl-C
"""


def build_parser() -> argparse.ArgumentParser:
    """The flags of mmg-devices, which other programs rely on."""
    parser = argparse.ArgumentParser(
        prog="mmg-devices",
        description="Say what is plugged in, which protocol answers, at which rate, and the URL to use.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--version", action=PrintVersion)
    add("--sensors", metavar="LIST", type=_kinds, help="what to look for (default: imu,audio,video)")
    add("--serial", metavar="PATH", action="append", default=[], help="listen to this port too; may be repeated")
    add("--seconds", metavar="S", type=_seconds, default=3.0, help="how long to listen to a serial port (default: 3)")
    add("--json", action="store_true", help="an array of objects: modality, url, device, detail, rate_hz, ...")
    add_profile_flags(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Look, tell, and return the exit code."""
    options = parse(build_parser(), arguments)
    return run_printing_command(lambda: _run(options), _report)


def _run(options: argparse.Namespace) -> int:
    from mmg.sources.ports.discovery import choose, find_devices

    kinds, wanted = options.sensors or KINDS, options.sensors or WANTED
    terminals = "imu" in kinds and any(map(may_be_terminal, (*options.serial, *asked_for())))
    close_but(options, SHARED_MEMORY, sound="audio" in kinds, serial="imu" in kinds, terminals=terminals)
    profile = load_board(options)
    with Progress(_report, "looking for devices", lines=False):
        found = find_devices(kinds=kinds, serial_paths=options.serial, seconds=options.seconds, report=_report)
    if profile.privacy.video == "never":
        never = f"stays off: privacy.video of profile {profile.name} is never"
        found = [replace(one, problem=never) if one.modality == "video" else one for one in found]
    chosen = choose(found, wanted)
    if options.json:
        import json

        print(json.dumps([asdict(one) for one in found], indent=2), flush=True)
    else:
        _print_table(found)
        if chosen:
            print(f"\n{_command(chosen)}", flush=True)
    missing = [name for name in wanted if name not in chosen]
    if missing:
        hint = "" if found else ": plug one in, or see mmg at work without: mmg-run --demo"
        _report(f"no usable {' and no usable '.join(missing)} device{hint}")
    return 0 if chosen else 3


def _print_table(found: list[Found]) -> None:
    colours = wants_colours(sys.stdout)
    rows = [
        (one.modality, one.device, "-" if one.problem else one.url, one.problem or _description(one)) for one in found
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for one, row in zip(found, rows, strict=True):
        line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        # A device names itself: what its name would do to the terminal, or the terminal cannot show, is not printed.
        line = as_lines(printable(line), sys.stdout.encoding)
        print(f"\x1b[{'31' if one.problem else '32'}m{line}\x1b[0m" if colours else line)
    sys.stdout.flush()


def _description(found: Found) -> str:
    rate = f"{round(found.rate_hz, 1):g} Hz" if found.rate_hz else ""
    return ", ".join(filter(None, (found.detail, rate)))


def _command(chosen: dict[str, Found]) -> str:
    """The mmg-run command that uses these."""
    flags = [part for name, one in chosen.items() for part in (f"--{name}", one.url)]
    allowed = ["--allow-video"] if "video" in chosen else []
    return shlex.join([str(_beside("mmg-run")), "--sensors", ",".join(chosen), *flags, *allowed])


def _beside(command: str) -> str | Path:
    """How to type the other command: by its path, where the shell would not find it by its name."""
    path = Path(sys.argv[0]).with_name(command)
    return path if path.exists() and shutil.which(command) is None else command


def _kinds(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in KINDS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"{text!r}: choose from {', '.join(KINDS)}")
    return names


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 600 at most")
    return value


if __name__ == "__main__":
    sys.exit(main())
