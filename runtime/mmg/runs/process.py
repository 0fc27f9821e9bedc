"""What a process that runs the engine does first, so that it is a light one on a small board."""

from __future__ import annotations

import os
import sys

SWITCH_S = 1e-4


def set_up_process() -> None:
    """To be called before numpy is loaded."""
    # It would keep a thread a core for products of large matrices, of which there are none.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # A port's thread that is busy holds the engine up for so long: by default 5 ms.
    sys.setswitchinterval(SWITCH_S)
