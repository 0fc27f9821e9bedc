"""What a command tells beside its output: lines on standard error, on which nothing depends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress


def stderr_reporter(command: str) -> Callable[[str], None]:
    """A call that tells a line, with the command's name before it."""
    return lambda line: write_stderr(f"{command}: {line}\n")


def write_stderr(text: str) -> None:
    """To standard error. Where it is closed or takes nothing, as on a full disk, the text is lost, and nothing else."""
    stream = sys.stderr
    if stream is not None:
        with suppress(OSError, ValueError):
            stream.write(text)
            stream.flush()


def release_stderr() -> None:
    """At a command's end. What it still holds and cannot write Python would try once more, and end with 120."""
    if sys.stderr is not None:
        try:
            sys.stderr.flush()
        except (OSError, ValueError):
            sys.stderr = None


def keep_stderr() -> None:
    """Write to a descriptor of our own: sounddevice turns number 2 off while PortAudio starts, which can take long."""
    try:
        descriptor = os.dup(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):
        return  # closed, or no file
    sys.stderr = open(descriptor, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")  # noqa: SIM115, PTH123
