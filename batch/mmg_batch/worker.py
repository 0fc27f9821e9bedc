"""A process that decides one recording after another, and its parent's handle on it.

Beside ``concurrent.futures``, whose pool is broken for good once one of its processes dies: here a recording that
crashes or hangs its process costs itself.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from collections.abc import Mapping
from multiprocessing.connection import wait
from pathlib import Path

from mmg.errors import BundleError, ModelError

from mmg_batch.child import ONE_THREAD, Child, open_link
from mmg_batch.runner import Runner, failed_part
from mmg_batch.task import Failure, Part, Setup, Task

LOOK_S = 5.0
"""So often a process is looked at that says nothing."""
SPARE_S = 5.0
"""So much later than the process ends itself, its parent does."""
Message = Part | Failure | None
"""None: it is ready for a task, or another one."""


def main(descriptor: int) -> None:
    """The process: tasks from this socket, messages to it."""
    link = open_link(descriptor)
    setup: Setup = link.recv()

    def alive() -> None:
        # By default this signal ends a process, also one that a library holds and whose Python never runs again.
        signal.setitimer(signal.ITIMER_REAL, setup.patience_s)

    try:
        runner = Runner(setup, alive)
        while True:
            signal.setitimer(signal.ITIMER_REAL, 0)
            link.send(None)
            try:
                task: Task = link.recv()
            except EOFError:
                return
            for part in runner.parts(task):
                signal.setitimer(signal.ITIMER_REAL, 0)  # a parent that is slow to read costs no recording
                link.send(part)
                alive()
    except BundleError as error:
        link.send(Failure(str(error), error.exit_code))


class Worker:
    """One such process. ``task`` is what it works on, None before the first."""

    def __init__(self, setup: Setup, folder: Path) -> None:
        """folder: for temporary files; the worker's own, in it, goes with it. Raises ModelError."""
        self._setup = setup
        self.task: Task | None = None
        self._made: set[str] = set()
        self._worked, self._still_since_s = 0, time.monotonic()
        self._is_still = False
        self._folder = Path(tempfile.mkdtemp(prefix="worker-", dir=folder))
        self._child = Child("mmg_batch.worker", {**ONE_THREAD, "TMPDIR": str(self._folder)}, is_quiet=True)
        self._child.send(setup)

    @property
    def descriptor(self) -> int:
        """Can be read from when there is a message, or the process has ended."""
        return self._child.descriptor

    @property
    def process(self) -> int:
        """Its number."""
        return self._child.number

    def give(self, task: Task) -> None:
        """Let it work on this."""
        self.task, self._made = task, set()
        self._still_since_s = time.monotonic()
        self._child.send(task)

    def take(self) -> Message:
        """Its next message. Raises EOFError where it has ended."""
        message: Message = self._child.take()
        self._still_since_s = time.monotonic()
        if isinstance(message, Part):
            self._made.add(message.key)
        return message

    def await_message(self) -> Message:
        """Its next message, for who has one worker alone. Raises EOFError where it has ended, or stands still."""
        while not wait([self.descriptor], LOOK_S):
            if self.is_still():
                raise EOFError
        return self.take()

    def is_still(self) -> bool:
        """Whether it has had no processor for so long that it should have ended itself: it is stopped, or in a read
        that no signal ends. To be asked again and again, of one that has no message."""
        worked, now_s = self._child.worked(), time.monotonic()
        if worked != self._worked:
            self._worked, self._still_since_s = worked, now_s
        self._is_still = now_s - self._still_since_s > self._setup.patience_s + SPARE_S
        return self._is_still

    def missing(self, names: Mapping[str, str]) -> list[Part]:
        """In place of the parts that it did not make before it ended. names: bundle digest -> name.

        Raises ModelError where it ended before it was ready for a task.
        """
        task, why = self.task, self._why_ended()
        if task is None:
            raise ModelError(f"a worker ended before it began: {why}")
        return [
            failed_part(task, key, digest, names[digest], why)
            for digest, key in task.keys.items()
            if key not in self._made
        ]

    def _why_ended(self) -> str:
        """What a recording did to the process."""
        if self._is_still:
            return (
                f"given up: its process stood still for {self._setup.patience_s:g} s, stopped or in a read without end"
            )
        code = self._child.exit_code()
        if code == -signal.SIGALRM:
            return f"given up: nothing was decided for {self._setup.patience_s:g} s"
        if code == -signal.SIGKILL:
            return "its process was killed: there may not be the memory for it"
        return f"it crashed its process (signal {-code})" if code < 0 else f"it ended its process (exit code {code})"

    def close(self) -> None:
        """End it, whatever it does, and remove its temporary files."""
        self._child.close()
        shutil.rmtree(self._folder, ignore_errors=True)
