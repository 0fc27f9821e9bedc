"""The state that a measurement was made in: clock, heat, throttling, memory, load."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mmg_device_profiles.regular_file import read_text

from mmg.board.machine.kernel_files import read_number, read_numbers, read_table
from mmg.board.machine.throttling import (
    CPUS,
    count_throttling,
    find_clock_limits,
    find_cooling,
    read_firmware,
    reasons_of,
)
from mmg.board.machine.tools import Tool, tool_under
from mmg.counts import count_of

CHIP_ZONE = re.compile(r"(tj|.*(cpu|soc|x86_pkg_temp)).*", re.IGNORECASE)
"""Thermal zones on the chip: ``cpu-thermal`` (Raspberry Pi, Orin), ``CPU-therm``, ``soc0-thermal``, ``tj-thermal``
(Jetson), ``x86_pkg_temp``. A zone of the case or of a radio says nothing of the processor."""
CHIP_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")
"""hwmon drivers that measure the processor, where the kernel makes no zone for it, as for AMD's."""


@dataclass(frozen=True, slots=True)
class Condition:
    """How the machine is now. What the kernel does not show is None.

    governor: cpufreq's; several kinds are joined by a comma.
    frequency_mhz: mean over the cores now.
    highest_mhz: what the fastest core can do.
    temperature_c: the hottest zone of the chip.
    throttled: what holds the clock down now; empty where nothing does or nothing is known.
    throttle_count: how often an x86's cores were too hot since boot.
    free_mib: what programs can still get; 0 where unknown.
    load: mean number of processes that run or want to, over the last minute.
    happened: what a Raspberry Pi's firmware says has held the clock down since boot.
    """

    governor: str | None
    frequency_mhz: float | None
    highest_mhz: float | None
    temperature_c: float | None
    throttled: tuple[str, ...]
    throttle_count: int | None
    free_mib: int
    load: float
    happened: tuple[str, ...] = ()


def read_condition(root: Path = Path("/"), *, tool: Tool | None = None) -> Condition:
    """Read it. root: where ``sys`` and ``proc`` lie. tool: runs vcgencmd; by default only for this machine."""
    firmware = read_firmware(root, tool or tool_under(root)) or 0
    governors = {read_text(path) for path in (root / CPUS).glob("cpu[0-9]*/cpufreq/scaling_governor")} - {""}
    highest_khz = read_numbers(root / CPUS, "cpu[0-9]*/cpufreq/cpuinfo_max_freq")
    load = read_text(root / "proc/loadavg").split()
    return Condition(
        governor=",".join(sorted(governors)) or None,
        frequency_mhz=_frequency_mhz(root),
        highest_mhz=max(highest_khz) / 1000 if highest_khz else None,
        temperature_c=read_temperature(root),
        throttled=(*reasons_of(firmware), *find_cooling(root), *find_clock_limits(root)),
        throttle_count=count_throttling(root),
        free_mib=read_table(root / "proc/meminfo").get("MemAvailable", 0) // 1024,
        load=float(load[0]) if load else 0.0,
        happened=reasons_of(firmware >> 16),
    )


def throttled_between(before: Condition, after: Condition) -> tuple[str, ...]:
    """What held the clock down at either end, and what is known to have done so in between.

    The firmware's memory counts only where it was clear before: what had happened once cannot be seen to happen again.
    """
    between = [reason for reason in after.happened if reason not in before.happened]
    if before.throttle_count is not None and after.throttle_count is not None:
        times = after.throttle_count - before.throttle_count
        between += [f"too hot {count_of(times, 'time')}"] if times > 0 else []
    return tuple(dict.fromkeys((*before.throttled, *after.throttled, *between)))


def _frequency_mhz(root: Path) -> float | None:
    """From cpufreq in kHz; an x86 without it tells in ``/proc/cpuinfo``."""
    now_khz = read_numbers(root / CPUS, "cpu[0-9]*/cpufreq/scaling_cur_freq")
    if now_khz:
        return sum(now_khz) / len(now_khz) / 1000
    now_mhz = [float(mhz) for mhz in re.findall(r"^cpu MHz\s*:\s*([\d.]+)", read_text(root / "proc/cpuinfo"), re.M)]
    return sum(now_mhz) / len(now_mhz) if now_mhz else None


def read_temperature(root: Path = Path("/")) -> float | None:
    """Of the chip's hottest zone, in degrees Celsius; None where the kernel does not show it."""
    found = [
        read_number(zone / "temp")
        for zone in (root / "sys/class/thermal").glob("thermal_zone*")
        if CHIP_ZONE.fullmatch(read_text(zone / "type"))
    ]
    if not any(found):
        for folder in (root / "sys/class/hwmon").glob("hwmon*"):
            if read_text(folder / "name") in CHIP_SENSORS:
                found += read_numbers(folder, "temp*_input")
    known = [number for number in found if number is not None]
    return max(known) / 1000 if known else None  # both kinds of file are in thousandths of a degree
