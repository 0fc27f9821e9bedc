"""What a process that runs the engine does first, so that it is a light one on a small board."""

from __future__ import annotations

import mmap
import os
import sys
import warnings
from functools import cache

from mmg.errors import OutOfMemory, wants_memory

SWITCH_S = 1e-4
NUMPY_MIB = 160
"""Of address space: numpy takes 84 with its OpenBLAS, and another 32 for the first product of two matrices; the rest is
for what a run loads before that. OpenBLAS ends the process itself where it gets no memory."""
BUFFER_MIB = 34
"""Of these, for that product: 32 and what it is aligned to."""
SIZE = 200
"""Of matrices whose product needs that."""


def set_up_process() -> None:
    """To be called before numpy is loaded. Raises OutOfMemory where that would end the process."""
    # It would keep a thread a core for products of large matrices, of which there are none.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # A foreign file may hold what numbers cannot: what comes of it is judged, and numpy need not say so.
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="numpy")
    # Where a processor has Arm's SME, each product of float32 matrices looks like a fault (numpy issue 28687).
    warnings.filterwarnings("ignore", r".* encountered in (matmul|dot)", RuntimeWarning)
    # A port's thread that is busy holds the engine up for so long: by default 5 ms.
    sys.setswitchinterval(SWITCH_S)
    check_memory()


def check_memory(mib: int = NUMPY_MIB) -> None:
    """Raises OutOfMemory where numpy cannot have so many MiB of address space."""
    try:
        mmap.mmap(-1, mib << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError as error:
        raise OutOfMemory(f"numpy needs {mib} MiB") from error


@cache
def take_buffer() -> None:
    """Let OpenBLAS have the buffer of its products while there is room for it: before the models are loaded.

    Raises OutOfMemory where there is no room.
    """
    import numpy as np

    check_memory(BUFFER_MIB)
    ones = np.ones((SIZE, SIZE), np.float32)
    np.matmul(ones, ones)


@cache
def prepare_for_threads() -> None:
    """Take what libraries would end the process for once they lack it: before its first thread, whose first allocation
    may keep 64 MiB of addresses (glibc, arena.c).

    Raises OutOfMemory where there is no room.
    """
    take_buffer()
    import ctypes

    # glibc loads it when a daemon thread meets the interpreter's end, up to Python 3.13: ``pthread_exit``.
    try:
        ctypes.CDLL("libgcc_s.so.1")
    except OSError as error:  # musl has none, and needs none
        if wants_memory(error):
            raise OutOfMemory(str(error)) from error
