"""A process of our own that is talked to by messages, and that never outlives us."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from mmg.backends import TELEMETRY_OFF
from mmg.errors import ModelError

CODE = (
    "import sys; sys.path[:] = sys.argv[3:]; "
    "from mmg.trial.limits import die_with_parent; die_with_parent(int(sys.argv[2])); "
    "from mmg.runs.process import set_up_process; set_up_process(); "
    "from {module} import main; main(int(sys.argv[1]))"
)
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
END_S = 10.0
"""So long one that was asked to end may take."""


def open_link(descriptor: int) -> Connection[Any, Any]:
    """In the process: the way to its parent; Ctrl-C is the parent's to act on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return Connection(descriptor)


class Child:
    """The parent's side. ``descriptor`` can be read from when there is a message, or the process has ended."""

    def __init__(self, module: str, environment: Mapping[str, str], *, is_quiet: bool = False) -> None:
        """module: whose ``main`` it calls, with the descriptor for ``open_link``. is_quiet: what it writes to standard
        output and error is dropped. Raises ModelError where it cannot be started."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = _start(module, theirs.fileno(), environment, is_quiet)
        self._link: Connection[Any, Any] = Connection(ours.detach())
        self.descriptor = self._link.fileno()
        self.number = self._process.pid

    def send(self, message: object) -> None:
        """To a process that has ended: nothing, as ``take`` will tell."""
        with suppress(OSError):
            self._link.send(message)

    def take(self) -> Any:
        """Its next message. Raises EOFError where it has ended."""
        try:
            return self._link.recv()
        except OSError as error:
            raise EOFError from error

    def exit_code(self) -> int:
        """Of a process that has ended; less than 0 is a signal."""
        return self._process.wait()

    def worked(self) -> int:
        """Ticks of a processor that it has had; see proc_pid_stat(5)."""
        words = Path(f"/proc/{self.number}/stat").read_bytes().rpartition(b")")[2].split()
        return int(words[11]) + int(words[12])

    def ask_to_end(self) -> None:
        """By SIGTERM; ``close`` is still to be called."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)

    def close(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):  # one in a read that no signal ends
            self._process.wait(END_S)
        self._link.close()


def _start(module: str, descriptor: int, environment: Mapping[str, str], is_quiet: bool) -> subprocess.Popen[bytes]:
    paths = [os.path.abspath(path) for path in sys.path if path]  # noqa: PTH100 (as mmg.trial does)
    command = [sys.executable or "python3", "-c", CODE.format(module=module), str(descriptor), str(os.getpid()), *paths]
    output = subprocess.DEVNULL if is_quiet else None
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **TELEMETRY_OFF, **environment},
            pass_fds=[descriptor],
            start_new_session=True,
        )
    except OSError as error:
        raise ModelError(f"{command[0]} cannot be started: {error.strerror}") from error
