"""What goes wrong, and when: a schedule of faults, and the one who applies it to devices. No clock and no I/O here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmg.errors import ConfigError

SHORTEST_S, LONGEST_S = 0.02, 86_400.0


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to fail. sensors: whose it is. begin, end: what is done to the device; no end where it passes by itself.

    lasts: whether it has a length. unit, lowest, highest, default: of its amount; no unit where it has none.
    """

    sensors: tuple[str, ...]
    begin: Callable[[Any, Fault], None]
    end: Callable[[Any], None] | None
    lasts: bool = True
    unit: str = ""
    lowest: float = 0.0
    highest: float = 0.0
    default: float = 0.0


@dataclass(frozen=True, slots=True)
class Fault:
    """at_s: when it begins, in scenario time. seconds: how long it lasts, 0 for a clock jump. amount: in its kind's
    unit, 0 where it has none."""

    at_s: float
    sensor: str
    kind: str
    seconds: float = 0.0
    amount: float = 0.0

    def overlaps(self, other: Fault) -> bool:
        """Whether the two are of one sensor, and of one time."""
        one_time = self.at_s <= other.at_s + other.seconds and other.at_s <= self.at_s + self.seconds
        return self.sensor == other.sensor and one_time

    def __str__(self) -> str:
        kind = KINDS[self.kind]
        how_much = f" {self.amount:g} {kind.unit}" if kind.unit else ""
        return f"{self.sensor} {self.kind}{how_much}" + (f" for {self.seconds:g} s" if kind.lasts else "")


KINDS = {
    "unplug": Kind(("imu", "audio", "video"), lambda device, _: device.unplug(), lambda device: device.plug()),
    "stall": Kind(("imu", "audio"), lambda device, _: device.stall(), lambda device: device.resume()),
    "corrupt": Kind(
        ("imu",),
        lambda device, fault: device.corrupt(fault.amount),
        lambda device: device.corrupt(0),
        unit="of the bytes",
        highest=1.0,
        default=0.02,
    ),
    "jitter": Kind(
        ("imu",),
        lambda device, fault: device.set_jitter(fault.amount),
        lambda device: device.set_jitter(0),
        unit="ms",
        highest=10_000.0,
        default=20.0,
    ),
    "drift": Kind(
        ("imu",),
        lambda device, fault: device.set_drift(fault.amount),
        lambda device: device.set_drift(0),
        unit="ppm",
        lowest=-100_000.0,
        highest=100_000.0,
        default=500.0,
    ),
    "clock_jump": Kind(
        ("imu",),
        lambda device, fault: device.jump_clock(fault.amount),
        None,
        lasts=False,
        unit="s",
        lowest=-3600.0,
        highest=3600.0,
        default=5.0,
    ),
    "overrun": Kind(("audio",), lambda device, fault: device.overrun(fault.seconds), None),
    "clip": Kind(
        ("audio",),
        lambda device, fault: device.clip(fault.amount),
        lambda device: device.clip(1),
        unit="times as loud",
        highest=10_000.0,
        default=30.0,
    ),
}
RANDOM_S = {"unplug": (1.0, 6.0), "stall": (0.5, 4.0), "overrun": (0.1, 1.0)}
RANDOM_OTHERS_S = (2.0, 10.0)
SENSORS = ("imu", "audio", "video")


def kinds_of(sensor: str) -> tuple[str, ...]:
    """The faults that a sensor can have."""
    return tuple(name for name, kind in KINDS.items() if sensor in kind.sensors)


def parse_fault(text: str) -> Fault:
    """``AT:SENSOR:KIND[:SECONDS[:AMOUNT]]``, such as ``12:imu:unplug:3``. Raises ConfigError."""
    fields = text.split(":")
    if not 3 <= len(fields) <= 5:
        raise ConfigError(f"fault {text}: write AT:SENSOR:KIND:SECONDS[:AMOUNT], such as 12:imu:unplug:3")
    at, sensor, kind_name, seconds, amount = (*fields, "", "")[:5]
    if sensor not in SENSORS:
        raise ConfigError(f"fault {text}: {sensor!r} is not a sensor: choose {', '.join(SENSORS)}")
    if kind_name not in kinds_of(sensor):
        raise ConfigError(f"fault {text}: {sensor} has no fault {kind_name!r}: choose {', '.join(kinds_of(sensor))}")
    kind = KINDS[kind_name]
    if kind.lasts:
        length_s = _number(text, "SECONDS", seconds, SHORTEST_S, LONGEST_S)
    else:
        length_s = _number(text, "SECONDS", seconds or "0", 0, 0)
    if amount and not kind.unit:
        raise ConfigError(f"fault {text}: {kind_name} has no AMOUNT")
    size = _number(text, f"AMOUNT ({kind.unit})", amount or str(kind.default), kind.lowest, kind.highest)
    return Fault(_number(text, "AT", at, 0, LONGEST_S), sensor, kind_name, length_s, size)


def random_faults(seed: int, sensors: Sequence[str], seconds: float, per_minute: float) -> tuple[Fault, ...]:
    """About so many faults a minute of any sensor, each over before the scenario's end; one at a time a sensor."""
    rng = np.random.default_rng(seed)
    faults: list[Fault] = []
    for _ in range(rng.poisson(per_minute * seconds / 60) if sensors else 0):
        sensor = sensors[int(rng.integers(len(sensors)))]
        name = str(rng.choice(kinds_of(sensor)))
        kind = KINDS[name]
        length_s = round(rng.uniform(*RANDOM_S.get(name, RANDOM_OTHERS_S)), 2) if kind.lasts else 0.0
        amount = round(kind.default * rng.uniform(0.3, 1.0), 4)
        at_s = round(rng.uniform(0, seconds), 2)
        fault = Fault(at_s, sensor, name, length_s, amount if kind.lowest == 0 or rng.random() < 0.5 else -amount)
        if at_s + length_s < seconds and not any(map(fault.overlaps, faults)):
            faults.append(fault)
    return tuple(sorted(faults, key=lambda fault: fault.at_s))


@dataclass(frozen=True, slots=True)
class FaultEvent:
    """A fault has begun or, where not ``begins``, ended."""

    fault: Fault
    begins: bool

    def __str__(self) -> str:
        return f"fault: {self.fault}" if self.begins else f"fault over: {self.fault.sensor} {self.fault.kind}"


class FaultPlayer:
    """Applies faults to devices as time goes on."""

    def __init__(self, faults: Iterable[Fault], devices: Mapping[str, Any]) -> None:
        """devices: by sensor. Raises ConfigError for a fault of a device that is not there, and for two faults of one
        kind that would undo each other."""
        self._devices = devices
        ordered = sorted(faults, key=lambda fault: fault.at_s)
        for number, fault in enumerate(ordered):
            if fault.sensor not in devices:
                raise ConfigError(f"fault {fault} at {fault.at_s:g} s: there is no {fault.sensor} in this run")
            for other in ordered[:number]:
                if other.kind == fault.kind and fault.overlaps(other):
                    raise ConfigError(
                        f"fault {fault} at {fault.at_s:g} s: the same fault from {other.at_s:g} s is not over by then"
                    )
        events = [(fault.at_s, FaultEvent(fault, True)) for fault in ordered]
        events += [(fault.at_s + fault.seconds, FaultEvent(fault, False)) for fault in ordered if KINDS[fault.kind].end]
        self._events = sorted(events, key=lambda event: event[0])
        self._next = 0

    def advance(self, now_s: float) -> list[FaultEvent]:
        """Apply all that is due by ``now_s`` of scenario time, in order, and say what it was."""
        applied = []
        while self._next < len(self._events) and self._events[self._next][0] <= now_s:
            _, event = self._events[self._next]
            kind, device = KINDS[event.fault.kind], self._devices[event.fault.sensor]
            if event.begins:
                kind.begin(device, event.fault)
            elif kind.end is not None:
                kind.end(device)
            applied.append(event)
            self._next += 1
        return applied


def _number(fault: str, field: str, text: str, lowest: float, highest: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not lowest <= value <= highest:
        raise ConfigError(f"fault {fault}: {field} must be a number from {lowest:g} to {highest:g}")
    return value
