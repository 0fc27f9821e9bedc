"""How much memory a model may ask for here."""

from __future__ import annotations

import os
from pathlib import Path

MOST_BYTES, BOARDS_SHARE = 2 << 30, 0.5
"""So much, or this share of the board's memory where that is less."""
OTHERS_BYTES, LEAST_BYTES = 192 << 20, 64 << 20
"""What the run and the child's libraries need of a service's memory, and what a model has in any case."""


def memory_bytes(own: Path = Path("/proc/self/cgroup"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """What a model may ask for on this board, in this service. own, groups: the kernel's files of control groups."""
    allowed = min(MOST_BYTES, int(_board_bytes() * BOARDS_SHARE))
    service = _service_bytes(own, groups)
    return allowed if service is None else min(allowed, max(LEAST_BYTES, service - OTHERS_BYTES))


def _board_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 2 * MOST_BYTES


def _service_bytes(own: Path, groups: Path) -> int | None:
    """``MemoryMax`` of the unit that this process is in; None where there is none."""
    try:
        [path] = [line[3:] for line in own.read_text("utf-8").splitlines() if line.startswith("0::")]
        return int((groups / path.lstrip("/") / "memory.max").read_text("ascii"))
    except (OSError, ValueError):  # also for "max"
        return None
