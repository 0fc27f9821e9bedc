"""What a command tells beside its output: lines on standard error, on which nothing depends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

from mmg.cli.last_line import LAST_LINE
from mmg.cli.output import drop
from mmg.printable import as_line

Reporter: TypeAlias = Callable[[str], None]
"""Called with a line that is worth reading."""


class StderrReporter:
    """Called with a line, tells it on standard error with the command's name before it, and above a bar of progress."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __call__(self, line: str) -> None:
        """Tell the line. It stays one, does nothing to a terminal, and is bounded, whatever a file put into it."""
        write_stderr(as_line(f"{self.command}: {line}") + "\n")


def stderr_reporter(command: str) -> StderrReporter:
    """What tells a command's lines."""
    return StderrReporter(command)


def write_stderr(text: str) -> None:
    """Whole lines, to standard error. Where it is closed or takes nothing, as on a full disk, the text is lost, and
    nothing else."""
    stream = sys.stderr
    if stream is not None:
        with suppress(OSError, ValueError), LAST_LINE.above():
            stream.write(text)
            stream.flush()


def hurry_stderr() -> None:
    """The process was asked to end: from now on what nobody reads for ``LAST_WAIT_S`` is lost."""
    LAST_LINE.hurries = True


def calm_stderr() -> None:
    """A command begins: its messages wait for their reader."""
    LAST_LINE.hurries = LAST_LINE.is_unread = False


def release_stderr() -> None:
    """At a command's end. What it still holds and cannot write Python would try once more, and end with 120."""
    if sys.stderr is not None:
        hurry_stderr()
        LAST_LINE.clear()
        try:
            if LAST_LINE.is_read():
                sys.stderr.flush()
        except (OSError, ValueError):
            drop(sys.stderr)
            sys.stderr = None


def silence_libraries() -> None:
    """Let nothing but our own lines reach standard error: LiteRT writes one of its own there."""
    keep_stderr()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def keep_stderr() -> None:
    """Write to a descriptor of our own: sounddevice turns number 2 off while PortAudio starts, which can take long."""
    try:
        descriptor = os.dup(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):
        return  # closed, or no file
    sys.stderr = open(descriptor, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")  # noqa: SIM115, PTH123
