"""Ends a command whose main thread does not return from native code, when it is asked to end.

Python calls the handler of a signal between two instructions of the main thread, so a model or a driver that never
returns holds it off for ever. C's own handler writes the signal's number into a pipe at once, whatever the main thread
does (``signal.set_wakeup_fd``), and a thread that sleeps on the pipe sees it there.

That thread needs the interpreter, which onnxruntime and LiteRT let go of while they load or run a model; LiteRT alone
keeps it while it allocates a model's tensors. Around that the signals are as the kernel has them: they end the process
at once, with nothing said.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from mmg.cli.last_line import LAST_LINE, takes_more
from mmg.printable import printable

if TYPE_CHECKING:
    from mmg.engine import Engine
    from mmg.runs.slow_hops import SlowHops

HUNG = 5
"""The exit code of a process that was ended so."""
PATIENCE_S = 1.4
"""So long after a signal the main thread may still be in native code."""
CLEANING_S = 5.0
"""The same for another signal while it closes what it opened: a driver may be slow."""
AGAIN_S = 0.25
"""A signal that comes so long after one that was not heard yet is a second request. Sooner it is the same one: timeout
sends SIGTERM twice, and a service manager SIGHUP behind it."""
LAST_S = 0.1
"""A process that was stopped and goes on has so long to hear of what came meanwhile."""
LONGEST_LINE = 300


class Patience:
    """How long the main thread may take to hear of a signal. Times are seconds of any one clock."""

    def __init__(self) -> None:
        self._allowed_s = PATIENCE_S
        self._asked_s: float | None = None
        self.due_s: float | None = None
        """When it is over; None while nothing is asked."""

    def asked(self, now_s: float) -> None:
        """A signal came."""
        if self._asked_s is None:
            self._asked_s, self.due_s = now_s, now_s + self._allowed_s
        elif now_s - self._asked_s >= AGAIN_S:
            self.due_s = now_s

    def heard(self) -> None:
        """The main thread ran its handler."""
        self._asked_s = self.due_s = None
        self._allowed_s = CLEANING_S

    def taken(self) -> None:
        """Another handler than the command's ran."""
        self._asked_s = self.due_s = None

    def is_over(self, now_s: float) -> bool:
        """Whether the process must be ended, unless the main thread goes on."""
        return self.due_s is not None and now_s >= self.due_s


class Watchdog:
    """The thread beside a command's main thread. It sleeps until a signal comes, or until hops are to be looked at."""

    def __init__(self) -> None:
        self._terminal: list[Any] | None = None
        self.handlers: dict[int, Callable[[int, object], object]] = {}
        """By signal that ``handle_signals`` has handled: what it put there last."""
        self._command = ""
        self._patience = Patience()
        self._is_heard = False
        self._asked_at: tuple[int, int] | None = None
        """Where the main thread was when it was asked."""
        self._pipe: tuple[int, int] | None = None
        self._hops: SlowHops | None = None

    def heard(self) -> None:
        """By the main thread: a signal's handler runs."""
        self._is_heard = True

    def start(self, command: str) -> None:
        """Watch from now on, for the command of this name. Does nothing where no signal is handled, or once it runs.

        The thread begins here: what must be done while a process has one thread only comes before. Raises OutOfMemory.
        """
        is_main = threading.current_thread() is threading.main_thread()
        if self._pipe is not None or not self.handlers or not is_main:
            return
        from mmg.backends.holding import HOLDING
        from mmg.runs.process import prepare_for_threads

        prepare_for_threads()
        with suppress(termios.error, OSError, ValueError):
            self._terminal = termios.tcgetattr(0)
        reader, writer = self._pipe = os.pipe()
        for descriptor in self._pipe:
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        # What a forked child is asked is none of this process's business.
        os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
        self._command = command
        HOLDING.around = self._as_the_kernel_has_them
        threading.Thread(target=self._watch, args=(reader,), name="mmg watchdog", daemon=True).start()

    def look_at(self, engine: Engine, report: Callable[[str], None]) -> None:
        """Tell of this engine's hops that take far too long. report: for what is told once they are over."""
        if self._pipe is None:
            return
        from mmg.runs.slow_hops import SlowHops

        self._hops = SlowHops(engine.hop_s, report, self.say)
        engine.at_work = self._hops.at_work
        os.write(self._pipe[1], b"\0")  # it sleeps without an end until now

    def say(self, line: str) -> None:
        """Write a line to standard error, if that takes it at once: nothing here waits for a reader."""
        with suppress(OSError, ValueError, AttributeError):
            if takes_more():
                shown = printable(line)
                shown = shown if len(shown) <= LONGEST_LINE else f"{shown[: LONGEST_LINE - 3]}..."
                data = f"{self._command}: {shown}\n".encode(sys.stderr.encoding or "ascii", "backslashreplace")
                os.write(sys.stderr.fileno(), LAST_LINE.gone + data)

    def _watch(self, reader: int) -> None:
        ready = select.poll()
        ready.register(reader, select.POLLIN)
        while True:
            wait_s = self._wait_s()
            ready.poll(None if wait_s is None else max(wait_s, 0.0) * 1e3 + 1)
            if self._has_asked(reader):
                self._asked_at = self._asked_at or _place_of_main_thread()
                self._patience.asked(time.monotonic())
            if self._is_heard:
                self._settle(reader)
            elif self._patience.is_over(time.monotonic()):
                time.sleep(LAST_S)
                if not self._is_heard:
                    if self._asked_at == _place_of_main_thread():
                        self._end()
                    # It went on: a program that called the command had a handler of its own for a moment.
                    self._asked_at = None
                    self._patience.taken()
            if self._hops:
                self._hops.look()

    def _wait_s(self) -> float | None:
        """Until something is to be looked at; None where only a signal can change that."""
        waits_s = [self._hops.wait_s()] if self._hops else []
        if self._patience.due_s is not None:
            waits_s.append(self._patience.due_s - time.monotonic())
        return min(waits_s, default=None)

    def _has_asked(self, reader: int) -> bool:
        with suppress(BlockingIOError):
            return any(self._is_ours(number) for number in os.read(reader, 4096))
        return False

    def _is_ours(self, number: int) -> bool:
        """Whether this signal asks the command to end: a program that called it may have put its own handler back."""
        ours = self.handlers.get(number)
        return ours is not None and signal.getsignal(number) is ours

    def _settle(self, reader: int) -> None:
        """Of a signal that came twice before its handler ran, it runs once: what is in the pipe by now was heard."""
        self._is_heard = False
        self._asked_at = None
        self._has_asked(reader)
        self._patience.heard()

    def _end(self) -> None:
        at_work = self._hops.at_work_on() if self._hops else ""
        what = at_work or "a library or a driver"
        self.say(f"asked to end, but {what} does not return: ended as it is, without closing anything")
        with suppress(termios.error, OSError, ValueError):
            if self._terminal and os.tcgetpgrp(0) == os.getpgrp():
                termios.tcsetattr(0, termios.TCSANOW, self._terminal)  # as it was before keys were read from it
        os._exit(HUNG)

    @contextmanager
    def _as_the_kernel_has_them(self) -> Iterator[None]:
        """Only the main thread may say what a signal does."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in self.handlers}
        try:
            _set(dict.fromkeys(before, signal.SIG_DFL))
            yield
        finally:
            _set(before)


def _place_of_main_thread() -> tuple[int, int]:
    """The call that it is in, and the instruction: both stay while native code does not return. The call itself is not
    kept: it would keep what is in it beyond the interpreter's end."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    return id(frame), frame.f_lasti if frame else -1


def _set(handlers: Mapping[int, object]) -> None:
    """All at once: a signal that comes meanwhile is heard by the new ones."""
    signal.pthread_sigmask(signal.SIG_BLOCK, handlers)
    try:
        for number, handler in handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handlers)


WATCHDOG = Watchdog()
"""That of this process."""


def watched(handle: Callable[[int, object], object], number: int) -> Callable[[int, object], object]:
    """A handler of this signal that does the same, and whose running the watchdog knows of."""

    def handled(number: int, frame: object) -> object:
        WATCHDOG.heard()
        return handle(number, frame)

    WATCHDOG.handlers[number] = handled
    return handled
