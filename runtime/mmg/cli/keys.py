"""Single keys of a terminal, read beside a run."""

from __future__ import annotations

import os
import select
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

WAIT_S = 0.2
"""How long after the end of a run the thread that reads may go on."""


@contextmanager
def keys(press: Callable[[str], None]) -> Iterator[bool]:
    """Call ``press`` with each key, from a thread, until the block ends; whether there is a terminal to read from.

    The terminal is as it was afterwards, however the block ends. Ctrl-C stays what it is.
    """
    try:
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
    except (AttributeError, ValueError, OSError, termios.error):  # closed, no file, or no terminal
        yield False
        return
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            ready, _, _ = select.select([descriptor], [], [], WAIT_S)
            if ready:
                data = os.read(descriptor, 64)
                if not data:
                    return
                for key in data.decode(errors="replace"):
                    press(key)

    thread = threading.Thread(target=read, name="mmg keys", daemon=True)
    try:
        tty.setcbreak(descriptor, termios.TCSANOW)
        thread.start()
        yield True
    finally:
        ended.set()
        thread.join()
        with suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSANOW, before)
