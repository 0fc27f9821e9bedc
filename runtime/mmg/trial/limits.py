"""What the child that tries models takes from itself before it sees the first one."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import time
from pathlib import Path

FILES_LIMIT = 16
"""Descriptors: it has four, and the libraries read what the processor can do."""
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4


def die_with_parent(parent: int) -> None:
    """End at once when the process with this number does; now, if it has already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def close_process(memory_bytes: int, seconds: float) -> None:
    """No file is written, no process or thread begins, nothing is dumped, and memory has an end.

    memory_bytes: what may be asked for from now on. seconds: processor time that is left, a backstop to ``limit_file``.
    """
    lower = {
        resource.RLIMIT_DATA: _data_bytes() + memory_bytes,
        resource.RLIMIT_CPU: int(time.process_time() + seconds) + 2,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: FILES_LIMIT,
        resource.RLIMIT_NPROC: 0,  # one thread is all that a session has
    }
    for kind, limit in lower.items():
        hard = resource.getrlimit(kind)[1]
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(kind, (limit, hard if kind == resource.RLIMIT_CPU else limit))  # at a hard one it is SIGKILL
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0)  # a program that the kernel pipes dumps to asks for no limit


def limit_file(seconds: float) -> None:
    """From now on so much processor time, whatever Python does: the kernel ends the process with SIGPROF."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _data_bytes() -> int:
    """What RLIMIT_DATA counts: private memory that can be written."""
    for line in Path("/proc/self/status").read_bytes().splitlines():
        if line.startswith(b"VmData:"):
            return int(line.split()[1]) * 1024
    return 1 << 28  # no /proc: more than the libraries take
