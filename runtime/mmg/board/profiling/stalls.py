"""When the machine itself ran nobody: a thread that asks to be woken every few milliseconds notes how late it was.

And how long a thread that could run waited, as other programs had the processors.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

TICK_S = 0.02
LATE_S = 0.005
"""How late a wake must be to count as a stall."""


def waited_s() -> float:
    """How long the calling thread has waited for a processor so far, in seconds; 0 where the kernel does not say.

    The second number of ``schedstat`` in proc_pid_schedstat(5), which also counts what a limit of the control group
    keeps from it.
    """
    try:
        return int(Path("/proc/thread-self/schedstat").read_bytes().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


class StallWatch:
    """Watches from when it is made until it is closed. stalls: ``(from, to)`` in host monotonic seconds."""

    def __init__(self) -> None:
        self.stalls: list[tuple[float, float]] = []
        self.cpu_s = 0.0
        """Processor time of the watching."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="mmg stalls", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._ended.set()
        self._thread.join()

    def stalled_s(self, begin_s: float, end_s: float) -> float:
        """How long the machine stalled between these two."""
        return sum(max(min(to_s, end_s) - max(from_s, begin_s), 0.0) for from_s, to_s in self.stalls)

    def _watch(self) -> None:
        while not self._ended.is_set():
            due_s = time.monotonic() + TICK_S
            self._ended.wait(TICK_S)
            now_s = time.monotonic()
            if now_s - due_s > LATE_S:
                self.stalls.append((due_s, now_s))
            self.cpu_s = time.thread_time()
