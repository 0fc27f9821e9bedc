"""The last line of a terminal: it stays below whatever is told, until it is cleared."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mmg.cli.output import LAST_WAIT_S, drop, is_dumb

CLEAR = b"\r\x1b[K"


def shows_last_line() -> bool:
    """Whether standard error is a terminal on which a line can be written over."""
    stream = sys.stderr
    return stream is not None and not stream.closed and stream.isatty() and not is_dumb()


class LastLine:
    """A line at standard error's end. It is written to the descriptor, which no other thread then waits for, and only
    while that takes more: a terminal that was stopped (Ctrl-S) or a reader that hangs holds nothing up."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._shown = b""
        self.hurries = self.is_unread = False
        """Whether the process was asked to end: then nothing waits for long. Whether nobody read for so long then: from
        then on nothing waits at all."""

    def show(self, text: str) -> None:
        """In place of the one that is shown; nothing while the shell has put this job in the background."""
        encoding = sys.stderr.encoding or "ascii"
        with self._lock:
            if not is_in_foreground():
                return
            self._shown = text.encode(encoding, "replace")
            self._write(CLEAR + self._shown)

    @property
    def gone(self) -> bytes:
        """What clears it, for who must not wait for another thread."""
        return CLEAR if self._shown else b""

    def clear(self) -> None:
        """Leave an empty line where it was, at whose start the cursor stands."""
        with suppress(TimeoutError), self._held():
            if self._shown:
                self._write(CLEAR)
                self._shown = b""

    @contextmanager
    def above(self) -> Iterator[None]:
        """What the block writes to the same terminal, in whole lines, goes above the last one.

        Raises TimeoutError where the process was asked to end and nobody reads.
        """
        with self._held():
            if not self.is_read():
                raise TimeoutError
            if not self._shown:
                yield
                return
            self._write(CLEAR)
            try:
                yield
            finally:
                self._write(self._shown)

    def is_read(self) -> bool:
        """Whether to wait for the reader. Where the process was asked to end, not for one that takes nothing."""
        if self.hurries and not self.is_unread and not takes_more(LAST_WAIT_S):
            self._give_up()
        return not self.is_unread

    def _give_up(self) -> None:
        self.is_unread = True
        drop(sys.stderr)

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Raises TimeoutError where the process was asked to end and another thread waits for the terminal."""
        if self.is_unread or not self._lock.acquire(timeout=LAST_WAIT_S if self.hurries else -1):
            self._give_up()
            raise TimeoutError
        try:
            yield
        finally:
            self._lock.release()

    def _write(self, data: bytes) -> None:
        with suppress(OSError, ValueError, AttributeError):  # standard error was closed meanwhile
            if takes_more():
                os.write(sys.stderr.fileno(), data)


def is_in_foreground() -> bool:
    """Whether the terminal is this job's own. One that does not control it, as in a container, is."""
    try:
        return os.tcgetpgrp(sys.stderr.fileno()) == os.getpgrp()
    except OSError:
        return True


def takes_more(wait_s: float = 0.0) -> bool:
    """Whether a line can be written to standard error without waiting for its reader longer than this."""
    try:
        ready = select.poll()
        ready.register(sys.stderr.fileno(), select.POLLOUT)
        return bool(ready.poll(wait_s * 1000))
    except (OSError, ValueError, AttributeError):
        return True  # closed, or no file: a write says so


LAST_LINE = LastLine()
"""That of this process."""
