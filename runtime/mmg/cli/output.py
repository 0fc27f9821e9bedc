"""Where a command writes: streams that wait for their reader, and whether it wants colours."""

from __future__ import annotations

import io
import os
import select
import sys
from typing import Any, TextIO


class WaitingWriter(io.BufferedWriter):
    """A descriptor that is written to until all is written, and each byte once, whatever interrupts it.

    Whoever shares it may have set it not to block, as a terminal's other programs do: then a full pipe refuses a write,
    which goes on here when the reader has read. The file beneath is Python's own: what that has written, this knows.
    """

    def __init__(self, stream: TextIO) -> None:
        """stream: whose descriptor it is; it stays open for as long as this lives. Raises OSError where it has none."""
        super().__init__(io.FileIO(stream.fileno(), "w", closefd=False))
        self._stream = stream

    def write(self, data: Any) -> int:
        """All of it, into the buffer. Raises OSError."""
        rest = memoryview(data).cast("B")
        while rest:
            try:
                rest = rest[super().write(rest) :]
            except BlockingIOError as error:
                rest = rest[error.characters_written :]
                self._wait()
        return memoryview(data).nbytes

    def flush(self) -> None:
        """All that is in the buffer. Raises OSError."""
        while True:
            try:
                return super().flush()
            except BlockingIOError:
                self._wait()

    def _wait(self) -> None:
        ready = select.poll()
        ready.register(self.fileno(), select.POLLOUT)
        ready.poll()


def let_output_wait() -> None:
    """Make standard output and standard error wait for their readers. Twice is fine."""
    sys.stdout, sys.stderr = _waiting(sys.stdout), _waiting(sys.stderr)


def wants_colours(stream: TextIO) -> bool:
    """Whether it is a terminal that shows colours to someone who has not declined them (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and not is_dumb()


def is_dumb() -> bool:
    """Whether the terminal, if there is one, shows escape sequences as rubbish."""
    return os.environ.get("TERM") == "dumb"


def _waiting(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper) or isinstance(stream.buffer, WaitingWriter):
        return stream
    try:
        stream.flush()
        writer = WaitingWriter(stream)
    except (OSError, ValueError):  # closed, full, or no file: a write says so
        return stream
    return io.TextIOWrapper(
        writer,
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
