"""What holds the processor's clock down: the firmware, a cooling device, or a limit that somebody set."""

from __future__ import annotations

import re
from pathlib import Path

from mmg_device_profiles.regular_file import read_text

from mmg.board.machine.kernel_files import read_number, read_numbers
from mmg.board.machine.tools import Tool

CPUS = "sys/devices/system/cpu"
FIRMWARE_BITS = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")
"""Bits 0 to 3 of what ``vcgencmd get_throttled`` prints: now. Bits 16 to 19: it has happened.
https://www.raspberrypi.com/documentation/computers/os.html#get_throttled"""
UNDER_VOLTAGE, HEAT = FIRMWARE_BITS[0], FIRMWARE_BITS[2:]
CLOCK_LIMIT = "clock limited"
"""How a reason begins that is a setting: a power mode, or a limit in cpufreq."""
CPU_COOLING = re.compile(r"(thermal-)?cpufreq-.*|.*cpu.*-(throttle-alert|balanced)|processor", re.IGNORECASE)
"""Types of cooling devices that slow the CPU: ``thermal-cpufreq-0`` (to Linux 5.12) or ``cpufreq-cpu0`` of
drivers/thermal/cpufreq_cooling.c; ``cpu-throttle-alert`` (Orin), ``bcpu-throttle-alert`` and ``CPU-balanced`` (TX2) of
NVIDIA's device trees; ``Processor`` of drivers/acpi/processor_thermal.c. ``hot-surface-alert`` slows nothing."""


def read_firmware(root: Path, tool: Tool) -> int | None:
    """What a Raspberry Pi's firmware says of voltage, clock and heat, as FIRMWARE_BITS; None on another board.

    The command comes first: the kernel's file (drivers/firmware/raspberrypi.c of raspberrypi/linux) is up to two
    seconds old, whoever reads it gets a warning of a deprecated file into the kernel's log, and on a Pi 5, where the
    folder is ``soc@107c000000``, it may be missing. The alarm of drivers/hwmon/raspberrypi-hwmon.c
    knows under-voltage only.
    """
    printed = re.match(r"throttled=0x([0-9a-f]+)", tool(["vcgencmd", "get_throttled"]) or "", re.IGNORECASE)
    if printed is not None:
        return int(printed[1], 16)
    for path in (root / "sys/devices/platform").glob("soc*/soc*:firmware/get_throttled"):
        text = read_text(path)
        if re.fullmatch(r"[0-9a-f]+", text):
            return int(text, 16)
    for folder in (root / "sys/class/hwmon").glob("hwmon*"):
        if read_text(folder / "name") == "rpi_volt":
            return read_number(folder / "in0_lcrit_alarm")
    return None


def reasons_of(bits: int) -> tuple[str, ...]:
    """The names of the firmware's bits that are set."""
    return tuple(name for place, name in enumerate(FIRMWARE_BITS) if bits >> place & 1)


def find_cooling(root: Path) -> tuple[str, ...]:
    """The cooling devices that slow the CPU now, each type once: ``cpufreq-cpu0 at 3 of 48``."""
    active: dict[str, str] = {}
    for folder in sorted((root / "sys/class/thermal").glob("cooling_device*")):
        kind, state = read_text(folder / "type"), read_number(folder / "cur_state") or 0
        if state > 0 and CPU_COOLING.fullmatch(kind):
            highest = read_number(folder / "max_state")
            active.setdefault(kind, f"{kind} at {state}" if highest is None else f"{kind} at {state} of {highest}")
    return tuple(active.values())


def find_clock_limits(root: Path) -> tuple[str, ...]:
    """Where cpufreq's limit is below what the core can do; the kernel's cooling sets it too.

    Documentation/admin-guide/pm/cpufreq.rst: ``scaling_max_freq`` and ``cpuinfo_max_freq``, in kHz.
    """
    limits: dict[str, None] = {}
    for folder in sorted((root / CPUS).glob("cpu[0-9]*/cpufreq")):
        limit, highest = read_number(folder / "scaling_max_freq"), read_number(folder / "cpuinfo_max_freq")
        if limit is not None and highest is not None and limit < highest:
            limits[f"{CLOCK_LIMIT} to {limit // 1000} of {highest // 1000} MHz"] = None
    return tuple(limits)


def count_throttling(root: Path) -> int | None:
    """How often the cores of an x86 were too hot since boot, all together; None where nothing counts.

    ``thermal_throttle/core_throttle_count`` of each, of drivers/thermal/intel/therm_throt.c.
    """
    counts = read_numbers(root / CPUS, "cpu[0-9]*/thermal_throttle/core_throttle_count")
    return sum(counts) if counts else None
