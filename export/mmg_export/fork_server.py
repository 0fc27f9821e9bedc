"""One process that has imported what converters need, and forks a child for each job.

A child that crashes, or fills memory, takes nothing else with it, and does not import torch anew, which takes longer
than most conversions. ``python -m mmg_export.fork_server`` is the process; ``ForkServer`` starts it and hands it jobs.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from mmg_export import job

COMMAND = ("-m", "mmg_export.fork_server")
LOG, CODE = "log.txt", "code.txt"
REAP_EVERY_S = 0.02


class ForkServer:
    """Started with the first job, and used until ``close`` or the end of this process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, work: Path) -> None:
        """Begin the job in this folder; see ``mmg_export.job``. What it prints goes to its ``log.txt``."""
        if self._process is None or self._process.poll() is not None:
            self.close()
            with (work / LOG).open("wb") as log:
                self._process = subprocess.Popen(
                    [sys.executable, *COMMAND],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    # Not to import from the caller's own folder, and without threads, which a fork would lose.
                    env={**os.environ, "PYTHONSAFEPATH": "1", "OPENBLAS_NUM_THREADS": "1"},
                    start_new_session=True,  # Ctrl-C is this process's, which then closes the server
                )
            atexit.register(self.close)
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has crashed: ``code`` says so
            self._process.stdin.write(os.fsencode(work) + b"\0")
            self._process.stdin.flush()

    def code(self, work: Path) -> int | None:
        """The exit code of the job in this folder, minus the signal's number where one ended it; None while it runs."""
        with suppress(FileNotFoundError):
            return int((work / CODE).read_text())
        return self._process.poll() if self._process else None

    def close(self) -> None:
        """End the server and every job that still runs."""
        process, self._process = self._process, None
        atexit.unregister(self.close)
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def serve() -> None:
    """Fork a child for each folder that comes on standard input; end, and all children with it, when that closes."""
    lifeline, held = os.pipe()  # the children see it close when this process ends, however it does
    os.set_inheritable(lifeline, False)
    children: dict[int, Path] = {}
    pending = b""
    while True:
        if select.select([0], [], [], REAP_EVERY_S if children else None)[0]:
            data = os.read(0, 65536)
            if not data:
                os.killpg(0, signal.SIGKILL)
            *folders, pending = (pending + data).split(b"\0")
            for folder in folders:
                work = Path(os.fsdecode(folder))
                job.preload(work)
                if child := os.fork():
                    children[child] = work
                else:
                    os.close(held)
                    _run_job(work, lifeline)
        while children and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            work = children.pop(ended[0])
            code = os.waitstatus_to_exitcode(ended[1])
            with suppress(OSError):  # the folder is gone: nobody waits for it any more
                (work / ".code").write_text(str(code))
                (work / ".code").rename(work / CODE)


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


if __name__ == "__main__":
    serve()
