"""What makes runs slow or uneven: governor, throttling, heat, serial latency, clocks."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from mmg_device_profiles.regular_file import read_text

from mmg.board.doctor.finding import Finding
from mmg.board.machine.condition import Condition
from mmg.board.machine.kernel_files import read_number
from mmg.board.machine.throttling import CLOCK_LIMIT, UNDER_VOLTAGE

SLOW_GOVERNORS = {"powersave", "ondemand", "conservative", "schedutil"}
HOT_C = 80.0
"""From here a Raspberry Pi slows down, and a PC is not far from it."""
GOOD_CLOCKS = ("tsc", "arch_sys_counter", "kvm-clock", "hyperv", "xen")
"""Clock sources that are read without leaving the program, or nearly; hpet and acpi_pm take microseconds.
https://www.kernel.org/doc/html/latest/timers/timekeeping.html"""
RESOLUTION_NS = 1000
LATENCY_RULE = 'SUBSYSTEM=="usb-serial", DRIVER=="ftdi_sio", ATTR{latency_timer}="1"'
SUPPLY = "use the board's own power supply and a short, thick cable"


def check_timing(root: Path, condition: Condition, clock_ns: Callable[[], int] = time.monotonic_ns) -> list[Finding]:
    """clock_ns: what the pipeline stamps samples with."""
    return [
        _judge_governor(condition.governor),
        _judge_throttling(condition),
        *_judge_supply(condition),
        _judge_heat(condition.temperature_c),
        *_judge_latency(root),
        _judge_clock_source(root),
        _measure_clock(clock_ns),
    ]


def _judge_governor(governor: str | None) -> Finding:
    if governor is None:
        return Finding("governor", "unknown", "the kernel shows no cpufreq, as in a virtual machine")
    if not SLOW_GOVERNORS & set(governor.split(",")):
        return Finding("governor", "ok", governor)
    do = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
    return Finding("governor", "warning", f"{governor}: the clock follows the load, and each hop finds it low", do)


def _judge_throttling(condition: Condition) -> Finding:
    reasons = [reason for reason in condition.throttled if reason != UNDER_VOLTAGE]
    settings = [reason for reason in reasons if reason.startswith(CLOCK_LIMIT)]
    if not reasons:
        before = [reason for reason in condition.happened if reason != UNDER_VOLTAGE]
        if before:
            return Finding("throttling", "warning", f"not now, but since boot: {', '.join(before)}", "cool the board")
        return Finding("throttling", "ok", "nothing seems to hold the clock down")
    if reasons == settings:
        highest_khz = (condition.highest_mhz or 0.0) * 1000
        do = (
            "sudo nvpmodel -m 0\non a Jetson, its largest power mode; elsewhere\n"
            f"echo {highest_khz:.0f} | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_max_freq"
        )
        return Finding("throttling", "warning", "; ".join(settings), do)
    # Too little voltage throttles as heat does.
    do = SUPPLY if UNDER_VOLTAGE in condition.throttled else "cool the board: a heat sink or a fan"
    return Finding("throttling", "problem", "; ".join(reasons), do)


def _judge_supply(condition: Condition) -> list[Finding]:
    """Only a Raspberry Pi's firmware tells of it."""
    if UNDER_VOLTAGE in condition.throttled:
        return [Finding("power supply", "problem", "under-voltage now: the clock is held down", SUPPLY)]
    if UNDER_VOLTAGE in condition.happened:
        return [Finding("power supply", "warning", "under-voltage since boot, not now", SUPPLY)]
    return []


def _judge_heat(temperature_c: float | None) -> Finding:
    if temperature_c is None:
        return Finding("temperature", "unknown", "the kernel shows no temperature of the processor")
    if temperature_c < HOT_C:
        return Finding("temperature", "ok", f"{temperature_c:.0f} °C")
    return Finding("temperature", "warning", f"{temperature_c:.0f} °C", "cool the board: a heat sink or a fan")


def _judge_latency(root: Path) -> list[Finding]:
    """How long an FTDI adapter gathers bytes before it sends them, in ms: 16 unless it was set."""
    findings = []
    for path in sorted((root / "sys/bus/usb-serial/devices").glob("*/latency_timer")):
        name, latency_ms = path.parent.name, read_number(path)
        if latency_ms is None:
            continue
        if latency_ms <= 1:
            findings.append(Finding(f"latency {name}", "ok", f"{latency_ms} ms"))
            continue
        do = (
            f"echo 1 | sudo tee /sys/bus/usb-serial/devices/{name}/latency_timer\n"
            f"to keep it after a reboot, put into /etc/udev/rules.d/60-mmg.rules:\n{LATENCY_RULE}"
        )
        findings.append(Finding(f"latency {name}", "warning", f"bytes wait for {latency_ms} ms in the adapter", do))
    return findings


def _judge_clock_source(root: Path) -> Finding:
    folder = root / "sys/devices/system/clocksource/clocksource0"
    source = read_text(folder / "current_clocksource")
    if not source:
        return Finding("clock source", "unknown", "the kernel does not show it")
    if source.startswith(GOOD_CLOCKS):
        return Finding("clock source", "ok", source)
    better = [name for name in read_text(folder / "available_clocksource").split() if name.startswith(GOOD_CLOCKS)]
    do = (
        f"echo {better[0]} | sudo tee /sys/devices/system/clocksource/clocksource0/current_clocksource"
        if better
        else "sudo dmesg | grep -i clocksource\nsays why the kernel trusts no better one"
    )
    return Finding("clock source", "warning", f"{source} is slow to read", do)


def _measure_clock(clock_ns: Callable[[], int]) -> Finding:
    """The smallest step between two readings that differ."""
    readings = [clock_ns() for _ in range(1000)]
    steps = [after - before for before, after in pairwise(readings) if after > before]
    if not steps:
        return Finding("clock", "problem", "stands still for a thousand readings", "report the board and its kernel")
    if min(steps) < RESOLUTION_NS:
        return Finding("clock", "ok", f"resolves {min(steps)} ns")
    found = f"resolves {min(steps) / 1000:g} us only, and time stamps with it"
    return Finding("clock", "warning", found, "see the clock source")
