"""One process that has imported what converters need, and forks a child for each job.

A child that crashes, or fills memory, takes nothing else with it, and does not import torch anew, which takes longer
than most conversions. ``serve`` is the process; ``ForkServer`` starts it and hands it jobs.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from mmg.own_process import command_of

from mmg_export import job

COMMAND = command_of("mmg_export.fork_server", "serve")
LOG, SERVER_LOG = "log.txt", "server.txt"
REAP_EVERY_S = 0.02


class ForkServer:
    """A context: the process starts with the first job, and ends with all its jobs at the end of the block."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._running: set[Path] = set()
        self._heard = b""

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, work: Path) -> None:
        """Begin the job in this folder; see ``mmg_export.job``. What it prints goes to its ``log.txt``."""
        if self._process is None:
            self._process = _spawn(work)
        assert self._process.stdin is not None
        self._running.add(work)
        with suppress(BrokenPipeError):  # it has crashed, as ``poll`` tells
            self._process.stdin.write(os.fsencode(work) + b"\0")
            self._process.stdin.flush()

    def poll(self) -> dict[Path, int]:
        """The jobs that ended since the last call: folder -> exit code, minus the signal's number where one ended it.

        Where the server itself has crashed, that is every job that ran.
        """
        process = self._process
        if process is None or process.stdout is None:
            return {}
        ended: dict[Path, int] = {}
        while (data := process.stdout.read(65536)) is not None:
            if not data:
                process.communicate()
                ended |= dict.fromkeys(self._running - ended.keys(), process.returncode or 1)
                self._process, self._heard = None, b""  # the next job has another
                break
            *lines, self._heard = (self._heard + data).split(b"\0")
            for line in lines:
                code_word, _, folder = line.partition(b" ")
                ended[Path(os.fsdecode(folder))] = int(code_word)
        self._running -= ended.keys()
        return ended

    def close(self) -> None:
        """End the server and every job that still runs. Twice is fine."""
        process, self._process = self._process, None
        self._running, self._heard = set(), b""
        if process is None or os.getpid() != self._owner:  # a fork of the caller has not started it
            return
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _spawn(work: Path) -> subprocess.Popen[bytes]:
    # No threads, which a fork would lose.
    settings = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with (work / SERVER_LOG).open("wb") as log:
        process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, **settings},
            start_new_session=True,  # Ctrl-C is the caller's, who then closes the server
            bufsize=0,
        )
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    return process


def serve() -> None:
    """Fork a child for each folder that comes on standard input, and write its exit code and folder when it has ended.

    When standard input closes, this process ends and all children with it.
    """
    with suppress(PermissionError):
        os.setsid()  # where that was not done: ending all ends this group
    results = os.dup(1)
    os.dup2(2, 1)  # what an import prints is no result
    lifeline, held = os.pipe()  # the children see it close when this process ends, however it does
    children: dict[int, Path] = {}
    pending = b""
    while True:
        if select.select([0], [], [], REAP_EVERY_S if children else None)[0]:
            data = os.read(0, 65536)
            if not data:
                os.killpg(0, signal.SIGKILL)
            *folders, pending = (pending + data).split(b"\0")
            for work in (Path(os.fsdecode(folder)) for folder in folders):
                job.preload(work)
                sys.stdout.flush()
                sys.stderr.flush()
                try:
                    child = os.fork()
                except OSError as error:
                    with suppress(OSError):
                        (work / LOG).write_text(f"cannot start a process: {error.strerror}\n")
                    _send(results, 1, work)
                    continue
                if child == 0:
                    os.close(held)
                    _run_job(work, lifeline)
                children[child] = work
        while children and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended_work := children.pop(ended[0], None):
                _send(results, os.waitstatus_to_exitcode(ended[1]), ended_work)


def _send(results: int, code: int, work: Path) -> None:
    data = f"{code} ".encode() + os.fsencode(work) + b"\0"
    while data:
        data = data[os.write(results, data) :]


def _run_job(work: Path, lifeline: int) -> None:
    """In the child, which ends here."""
    code = 1
    try:
        log = os.open(work / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for descriptor, place in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(descriptor, place)
        # What a converter leaves behind goes with the folder.
        os.environ["TMPDIR"] = tempfile.tempdir = str(work)
        threading.Thread(target=_end_with_server, args=(lifeline,), daemon=True).start()
        job.run(work)
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # what the server has imported need not be ended in each child


def _end_with_server(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(1)
