"""Where a command writes: streams that wait for their reader, and whether it wants colours."""

from __future__ import annotations

import io
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

LAST_WAIT_S = 0.5
"""So long a process that was asked to end waits for readers."""


class _TimeIsUpError(Exception):
    """Nobody reads."""


class WaitingWriter(io.BufferedWriter):
    """A descriptor that is written to until all is written, and each byte once, whatever interrupts it.

    Whoever shares it may have set it not to block, as a terminal's other programs do: then a full pipe refuses a write,
    which goes on here when the reader has read. The file beneath is Python's own: what that has written, this knows.
    """

    def __init__(self, stream: TextIO) -> None:
        """stream: whose descriptor it is; it stays open for as long as this lives. Raises OSError where it has none."""
        super().__init__(io.FileIO(stream.fileno(), "w", closefd=False))
        self._stream = stream
        self._held = b""
        self._is_given_up = False

    def write(self, data: Any) -> int:
        """All of it, into the buffer; the rest of what an interrupt cuts goes there next. Raises OSError."""
        if not self._is_given_up:
            self._take(self._held)
            self._take(bytes(data))
        return memoryview(data).nbytes

    def flush(self) -> None:
        """All that is in the buffer. Raises OSError."""
        while not self._is_given_up:
            self._take(self._held)
            try:
                super().flush()
            except BlockingIOError:
                self._wait()
            else:
                return

    def give_up(self) -> None:
        """Write nothing more, neither what is held nor what comes: nobody reads."""
        self._is_given_up = True

    def _take(self, rest: bytes) -> None:
        self._held = b""
        while rest:
            try:
                rest = rest[super().write(rest) :]
            except BlockingIOError as error:
                self._held = rest = rest[error.characters_written :]
                self._wait()
                self._held = b""

    def _wait(self) -> None:
        ready = select.poll()
        ready.register(self.fileno(), select.POLLOUT)
        ready.poll()


def let_output_wait() -> None:
    """Make standard output and standard error wait for their readers. Twice is fine."""
    sys.stdout, sys.stderr = _waiting(sys.stdout), _waiting(sys.stderr)


def drop(stream: TextIO | None) -> None:
    """Let go of a stream that takes nothing more: what it holds is lost. From Python 3.13 on that would be told."""
    buffer = getattr(stream, "buffer", None)  # a program that calls a command may have put any stream in its place
    if isinstance(buffer, WaitingWriter):
        buffer.give_up()


def say_last(say: Callable[[], None]) -> None:
    """Say it, write what is left, and drop what nobody has read after ``LAST_WAIT_S``: for a process asked to end."""
    try:
        with _limited(LAST_WAIT_S):
            say()
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    if stream is not None:
                        stream.flush()
    except (_TimeIsUpError, KeyboardInterrupt):
        drop(sys.stdout)
        drop(sys.stderr)


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raises _TimeIsUpError in what takes longer, in the main thread; in another there are no signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_number: int, _frame: object) -> None:
        raise _TimeIsUpError

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


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
