"""``mmg-doctor``: what may stand between this machine and a good run, and what mends it."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from mmg.cli.exit_codes import run_printing_command
from mmg.cli.output import wants_colours
from mmg.cli.parsing import parse
from mmg.cli.privacy import SHARED_MEMORY, close_but
from mmg.cli.profile_flags import folder
from mmg.cli.progress import Progress
from mmg.cli.reporting import stderr_reporter
from mmg.cli.version import PrintVersion
from mmg.counts import count_of
from mmg.printable import as_lines

if TYPE_CHECKING:
    from mmg.board.doctor import Examination, Finding

WIDTH = 80
_report = stderr_reporter("mmg-doctor")
COLOURS = {"warning": "33", "problem": "31", "unknown": "2"}
EXAMPLES = """\
examples:
  mmg-doctor                       what works, what does not, and the command that fixes it
  mmg-doctor --json > machine.json attach it to a report: board, condition, versions, findings
  mmg-doctor --json | jq -r '.findings[] | select(.verdict == "problem") | .do'
  mmg-doctor --root ./copy         check the sys, proc and dev of another board that were copied here;
                                   libraries, Python, clock and disk are still this machine's

Checked: whether each library can be imported, in a process of its own; PortAudio; whether this user may open the
devices that are plugged in; governor, throttling, power supply, heat, serial latency, clocks; memory, swap, load,
disk; the device profile and the energy meter. Nothing is written, and no port or camera is opened.

A warning is what makes runs late or uneven, or may; a problem is what does not work.

exit codes: 0 no problem (there may be warnings), 1 a problem, 2 usage, 130 stopped by Ctrl-C
"""


def build_parser() -> argparse.ArgumentParser:
    """The flags of mmg-doctor, which other programs rely on."""
    parser = argparse.ArgumentParser(
        prog="mmg-doctor",
        description="Check what may stand between this machine and a good run, and show what fixes it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--version", action=PrintVersion)
    add("--json", action="store_true", help="an object: board, condition, versions, findings")
    add("--root", metavar="DIR", type=folder, default=Path("/"), help="where sys, proc and dev are (default: /)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Look, tell, and return the exit code."""
    options = parse(build_parser(), arguments)
    return run_printing_command(lambda: _run(options), _report)


def _run(options: argparse.Namespace) -> int:
    from mmg.board.doctor import examine
    from mmg.board.doctor.libraries import IMPORTED
    from mmg.board.doctor.privacy import check_privacy

    privacy, may_write = check_privacy(options.root), os.access(Path(), os.W_OK)
    close_but(options, SHARED_MEMORY, sound=True, accelerator=True, firmware=True)
    with Progress(_report, IMPORTED) as progress:
        examination = examine(options.root, progress=progress.at, privacy=privacy, may_write=may_write)
    if options.json:
        import json

        print(json.dumps(asdict(examination), indent=2), flush=True)
    else:
        _print_table(examination)
    return 1 if any(one.verdict == "problem" for one in examination.findings) else 0


def _print_table(examination: Examination) -> None:
    colours = wants_colours(sys.stdout)
    width = max(len(one.check) for one in examination.findings)
    _print(_headline(examination))
    for group, findings in groupby(examination.findings, key=lambda one: one.group):
        _print(f"\n{group}")
        for one in findings:
            for line in _lines_of(one, width):
                _print(line, COLOURS.get(one.verdict, "") if colours else "")
    counts = {name: sum(one.verdict == name for one in examination.findings) for name in ("problem", "warning")}
    told = [count_of(count, name) for name, count in counts.items() if count]
    _print(f"\n{', '.join(told) or 'nothing to fix'}")
    sys.stdout.flush()


def _headline(examination: Examination) -> str:
    board = examination.board
    if board is None:
        return "board: unknown"
    cores = count_of(board.cores, "core")
    memory = f"{board.memory_mib} MiB" if board.memory_mib else ""
    facts = (board.model, board.cpu, cores, memory, board.machine)
    return textwrap.fill(", ".join(filter(None, facts)), WIDTH)


def _lines_of(finding: Finding, width: int) -> list[str]:
    """What was found, wrapped; what to do below it, a line a step, so that a command can be copied."""
    start = f"  {finding.verdict:<7}  {finding.check:<{width}}  "
    indent = " " * len(start)
    lines = textwrap.wrap(finding.found, WIDTH, initial_indent=start, subsequent_indent=indent, break_on_hyphens=False)
    for step in finding.do.splitlines():
        if len(step) + 6 > WIDTH:  # the shell reads on after a pipe
            step = step.replace(" | ", " |\n      ")
        lines += f"    > {step}".splitlines()
    return lines or [start.rstrip()]


def _print(text: str, colour: str = "") -> None:
    """A device names itself: what its name would do to the terminal, or the terminal cannot show, is not printed."""
    text = as_lines(text, sys.stdout.encoding)
    print(f"\x1b[{colour}m{text}\x1b[0m" if colour else text)


if __name__ == "__main__":
    sys.exit(main())
