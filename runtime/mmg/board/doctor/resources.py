"""What a run needs besides libraries and devices: Python, memory, time of the processors, space for its logs."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from mmg_device_profiles.regular_file import read_text

from mmg.board.doctor.finding import Finding
from mmg.board.machine.condition import Condition
from mmg.board.machine.kernel_files import read_table
from mmg.counts import count_of

PYTHONS = ((3, 10), (3, 13))
LOW_MEMORY_MIB, SWAPPED_MIB, LOW_SPACE_MB = 100, 16, 50
"""A few MiB of swap are pages that nobody asks for again; more are asked for in the middle of a hop."""


def check_python(version: tuple[int, int] | None = None, largest: int = sys.maxsize) -> list[Finding]:
    """version: ``(3, 11)``. largest: ``sys.maxsize`` of the Python that is judged."""
    version = version or sys.version_info[:2]
    name = ".".join(map(str, version))
    oldest, newest = (".".join(map(str, bound)) for bound in PYTHONS)
    fits = PYTHONS[0] <= version <= PYTHONS[1]
    do = "" if fits else f"make a virtual environment of Python {oldest} to {newest}"
    python = Finding("Python", "ok" if fits else "problem", name if fits else f"{name} is not supported", do)
    if largest > 2**32:
        return [python, Finding("userland", "ok", "64 bit")]
    found = "32 bit: onnxruntime and LiteRT have no wheels for it"
    return [python, Finding("userland", "problem", found, "install the 64-bit image of the system")]


def check_resources(root: Path, condition: Condition, folder: Path, may_write: bool | None = None) -> list[Finding]:
    """folder: where logs will be written. may_write: whether they can be; without it the folder is asked now."""
    return [
        _judge_memory(condition.free_mib),
        *_judge_swap(root),
        _judge_load(root, condition.load),
        _judge_space(folder, os.access(folder, os.W_OK) if may_write is None else may_write),
    ]


def _judge_memory(free_mib: int) -> Finding:
    if not free_mib:
        return Finding("memory", "unknown", "the kernel does not say how much is free")
    if free_mib >= LOW_MEMORY_MIB:
        return Finding("memory", "ok", f"{free_mib} MiB free")
    return Finding("memory", "warning", f"{free_mib} MiB free", "stop other programs:\nps aux --sort=-rss | head")


def _judge_swap(root: Path) -> list[Finding]:
    table = read_table(root / "proc/meminfo")
    # On newer images of a Raspberry Pi swap is packed memory, in front of the disk: proc_swaps(5), in KiB.
    packed = re.findall(r"^/dev/zram\S*\s+\S+\s+\d+\s+(\d+)", read_text(root / "proc/swaps"), re.MULTILINE)
    used_mib = (table.get("SwapTotal", 0) - table.get("SwapFree", 0) - sum(map(int, packed))) // 1024
    if used_mib < SWAPPED_MIB:
        return [Finding("swap", "ok", "none on a disk is in use" if packed else "not in use")]
    do = "stop other programs:\nps aux --sort=-rss | head"
    return [Finding("swap", "warning", f"{used_mib} MiB in use: a hop may wait for the disk", do)]


def _judge_load(root: Path, load: float) -> Finding:
    # All cores, not only those that this process may use: the load is of all of them.
    cores = sum(line.startswith("processor") for line in read_text(root / "proc/cpuinfo").splitlines()) or 1
    found = f"{load:g} on {count_of(cores, 'core')}"
    if load <= cores:
        return Finding("load", "ok", found)
    return Finding(
        "load", "warning", f"{found}: other programs want the processors too", "stop other programs:\ntop -o %CPU"
    )


def _judge_space(folder: Path, may_write: bool) -> Finding:
    try:
        free_mb = shutil.disk_usage(folder).free // 1_000_000
    except OSError as error:
        return Finding("disk", "unknown", f"{folder}: {error.strerror}")
    if not may_write:
        return Finding("disk", "warning", f"{folder} cannot be written: logs need another folder", "cd ~")
    if free_mb >= LOW_SPACE_MB:
        return Finding("disk", "ok", f"{free_mb} MB free here")
    return Finding("disk", "warning", f"{free_mb} MB free here: logs will fill it", f"df -h {folder}")
