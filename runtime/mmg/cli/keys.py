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
    if not _is_ours(descriptor):
        yield False
        return
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            ready, _, _ = select.select([descriptor], [], [], WAIT_S)
            if not ready and not ended.is_set():
                with suppress(termios.error):
                    _give_single_keys(descriptor)
            elif ready:
                try:
                    if not _is_ours(descriptor):  # Ctrl-Z and bg, and what is typed is the shell's
                        ended.wait(WAIT_S)
                        continue
                    data = os.read(descriptor, 64)
                except OSError:  # the terminal is gone
                    return
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
        try:
            if thread.ident is not None:
                thread.join(2 * WAIT_S)
        finally:  # a second Ctrl-C changes nothing of this
            with suppress(termios.error):
                if _is_ours(descriptor):
                    termios.tcsetattr(descriptor, termios.TCSANOW, before)


def _give_single_keys(descriptor: int) -> None:
    """Once more after Ctrl-Z and fg, as a shell sets the terminal for its own lines. Raises termios.error."""
    if termios.tcgetattr(descriptor)[3] & termios.ICANON and _is_ours(descriptor):
        tty.setcbreak(descriptor, termios.TCSANOW)


def _is_ours(descriptor: int) -> bool:
    """Whether this process may touch the terminal: one in the background, as after &, would be stopped for it."""
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:  # the terminal of no session, and so without a background
        return True
