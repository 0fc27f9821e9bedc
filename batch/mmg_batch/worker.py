"""A process that decides one recording after another, and its parent's handle on it.

Beside ``concurrent.futures``, whose pool is broken for good once one of its processes dies: here a recording that
crashes or hangs its process costs itself.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from mmg.backends import TELEMETRY_OFF
from mmg.errors import BundleError, ModelError

from mmg_batch.runner import Runner, failed_part
from mmg_batch.task import Failure, Part, Setup, Task

CODE = (
    "import sys; sys.path[:] = sys.argv[2:]; from mmg.runs.process import set_up_process; set_up_process(); "
    "from mmg_batch.worker import main; main(int(sys.argv[1]))"
)
PR_SET_PDEATHSIG = 1
MOST_PATIENCE_S = 1e6
Message = Part | Failure | None
"""None: the task is done, and another one can come."""


def main(descriptor: int) -> None:
    """The process: tasks from this socket, messages to it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to act on
    link = Connection(descriptor)
    setup: Setup = link.recv()

    def alive() -> None:
        # By default this signal ends a process, also one that a library holds and whose Python never runs again.
        signal.setitimer(signal.ITIMER_REAL, setup.patience_s)

    alive()
    try:
        runner = Runner(setup, alive)
        while True:
            signal.setitimer(signal.ITIMER_REAL, 0)
            try:
                task: Task = link.recv()
            except EOFError:
                return
            for part in runner.parts(task):
                link.send(part)
            link.send(None)
    except BundleError as error:
        link.send(Failure(str(error), error.exit_code))


class Worker:
    """One such process. ``task`` is what it works on, None while it waits."""

    def __init__(self, setup: Setup, folder: Path) -> None:
        """folder: for temporary files; the worker's own, in it, goes with it. Raises ModelError."""
        self._setup = setup
        self.task: Task | None = None
        self._made: set[str] = set()
        self._folder = Path(tempfile.mkdtemp(prefix="worker-", dir=folder))
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = _start(theirs.fileno(), self._folder)
        self._link = Connection(ours.detach())
        self.descriptor = self._link.fileno()
        """Can be read from when there is a message, or the process has ended."""
        with suppress(OSError):  # it has ended, as ``take`` will tell
            self._link.send(setup)

    @property
    def process(self) -> int:
        """Its number."""
        return self._process.pid

    def give(self, task: Task) -> None:
        """Let it work on this."""
        self.task, self._made = task, set()
        with suppress(OSError):  # it has ended, as ``take`` will tell
            self._link.send(task)

    def take(self) -> Message:
        """Its next message. Raises EOFError where it has ended."""
        try:
            message: Message = self._link.recv()
        except OSError as error:
            raise EOFError from error
        if isinstance(message, Part):
            self._made.add(message.key)
        return message

    def missing(self, names: Mapping[str, str]) -> list[Part]:
        """In place of the parts that it did not make before it ended. names: bundle digest -> name."""
        assert self.task is not None
        task, why = self.task, self._why_ended()
        return [
            failed_part(task, key, digest, names[digest], why)
            for digest, key in task.keys.items()
            if key not in self._made
        ]

    def _why_ended(self) -> str:
        """What a recording did to the process that has ended over it."""
        code = self._process.wait()
        if code == -signal.SIGALRM:
            return f"given up: nothing was decided for {self._setup.patience_s:g} s"
        if code == -signal.SIGKILL:
            return "its process was killed: there may not be the memory for it"
        return f"it crashed its process (signal {-code})" if code < 0 else f"it ended its process (exit code {code})"

    def close(self) -> None:
        """End it, whatever it does, and remove its temporary files."""
        self._process.kill()
        self._process.wait()
        self._link.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _start(descriptor: int, folder: Path) -> subprocess.Popen[bytes]:
    paths = [os.path.abspath(path) for path in sys.path if path]  # noqa: PTH100 (as mmg.trial does)
    command = [sys.executable or "python3", "-c", CODE, str(descriptor), *paths]
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment = {**os.environ, **TELEMETRY_OFF, **one_thread, "TMPDIR": str(folder)}
    try:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, env=environment, pass_fds=[descriptor], start_new_session=True
        )
    except OSError as error:
        raise ModelError(f"{command[0]} cannot be started: {error.strerror}") from error
