"""What happens to sensors, how long it lasts, and by when a live run has to have noticed. No clock here."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Kind:
    """family: plug, stall, corrupt, lie or clock. lasts: whether it has a length. settles_s: so long after its end the
    sensor counts as well again; 0 where it is well all the time.

    told_s: by the end of a hop in which it has lasted for so long, the sensor's state is one of ``states`` and its
    reason has one of ``words``; 0 where nothing is promised.
    """

    family: str
    settles_s: float
    told_s: float = 0.0
    states: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    lasts: bool = True


GONE = ("stale", "absent", "warming")
UNWELL = ("faulty", "doubted")
KINDS: dict[str, dict[str, Kind]] = {
    "imu": {
        "unplug": Kind("plug", 2.0, 1.5, (*GONE, "faulty"), ("there is no such device",)),
        "stall": Kind("stall", 5.0, 2.5, (*GONE, "faulty"), ("stalled", "silent")),
        "hold": Kind("stall", 1.0),
        "flip": Kind("corrupt", 12.0),
        "eat": Kind("corrupt", 12.0),
        "unit": Kind("lie", 6.0, 4.6, UNWELL),
        "scale": Kind("lie", 6.0, 8.1, UNWELL),
        "gyro_unit": Kind("lie", 15.0),
        "stuck": Kind("lie", 12.0, 7.1, UNWELL),
        "flat": Kind("lie", 4.0, 2.1, UNWELL),
        "jump": Kind("clock", 3.0, lasts=False),
        "restart": Kind("clock", 3.0, lasts=False),
        "wrap": Kind("clock", 3.0, lasts=False),
        "drift": Kind("clock", 0.0),
    },
    "audio": {
        "unplug": Kind("plug", 1.0, 1.5, (*GONE, "faulty"), ("not plugged in",)),
        "stall": Kind("stall", 5.0, 2.0, (*GONE, "faulty"), ("stalled",)),
        "hold": Kind("stall", 1.0),
        "overrun": Kind("corrupt", 1.0),
        "skip": Kind("corrupt", 1.0),
        "nan": Kind("corrupt", 1.6),
        "silent": Kind("lie", 1.6, 2.6, UNWELL, ("silent",)),
        "flat": Kind("lie", 1.6, 1.6, UNWELL, ("flat line",)),
        "clipped": Kind("lie", 1.6, 1.6, UNWELL, ("clipped",)),
        "drift": Kind("clock", 0.0),
    },
    "video": {
        "unplug": Kind("plug", 1.6, 1.5, (*GONE, "faulty"), ("there is no",)),
        "stall": Kind("stall", 1.6, 1.5, (*GONE, "faulty")),
        "hold": Kind("stall", 1.6),
        "lose": Kind("corrupt", 1.6),
        "dark": Kind("lie", 1.6, 1.6, UNWELL, ("dark",)),
        "frozen": Kind("lie", 1.6, 5.6, UNWELL, ("frozen",)),
        "ahead": Kind("clock", 0.0),
        "behind": Kind("clock", 0.0),
    },
    "run": {"pause": Kind("clock", 0.0)},
}
"""Of the run itself: the process is not given the processor, or its output is not taken.

Why a sensor counts as well again only so long after a fault, where that is over the second of a whole hop:

- 1.6 s: two good hops lift what one hop showed (``health.GOOD_HOPS_TO_LIFT``); a camera's frames are 0.25 s apart.
- imu unplug, 2 s: looked for every half second, then a first second of reads tells its rate (``clock_map``).
- jump, restart, wrap, 3 s: five late or early reads, 160 ms apart, move the clock, and a whole hop must follow.
- stall, 5 s: for 3 s its lateness may be congestion (``clock_map``), in which samples keep their times; then two hops.
  Of the sound 2 s were too few: stamps 122 ms off.
- flat, 4 s: two good hops, and what jumps at its end may be a spike, which is held against the hop.
- unit, scale, 6 s: 2 s of right values lift it; of 400 of each on the wearer's motion the slowest took 3.0 s.
- gyro_unit, 15 s: ten half seconds in which it turns and agrees (``turning``: votes from 6 to -4); of 400 the slowest
  took 11.8 s.
- flip, eat, 12 s: a sensor is faulty while a quarter of the last 16 s have a spike.
- stuck, 12 s: half a second at 150 m/s^2 is in gravity's mean for 4 s, then 2 s must be right, which a runner's are
  not at once.
"""
LONGEST_S = {"hold": 1.5, "pause": 4.0}
MOST_S = 60.0


@dataclass(frozen=True, slots=True)
class Fault:
    """Times in ns since the beginning. amount: from 0 to 1, what the kind makes of it."""

    sensor: str
    name: str
    begin_ns: int
    end_ns: int
    amount: float

    @property
    def kind(self) -> Kind:
        return KINDS[self.sensor][self.name]


@dataclass(frozen=True, slots=True)
class Pace:
    """Of a sensor's faults: calm_s between two, length_s of one, each from the one to the other on a scale of
    logarithms; calms, lengths: how many of them are of the other span instead."""

    calm_s: tuple[float, float]
    length_s: tuple[float, float]
    calms: tuple[float, tuple[float, float]]
    lengths: tuple[float, tuple[float, float]]


WORN = Pace((10.0, 400.0), (0.05, 20.0), calms=(0.05, (400.0, 1200.0)), lengths=(0.05, (20.0, MOST_S)))
"""For days with a fault every half minute."""
DENSE = Pace((0.01, 0.25), (0.01, 0.12), calms=(0.004, (25.0, 60.0)), lengths=(0.01, (3.0, 10.0)))
"""For a million."""


def draw_faults(sensor: str, pace: Pace, seed: int, first_ns: int) -> Iterator[Fault]:
    """Without end, one after the other. The same numbers give the same faults."""
    random = np.random.default_rng((seed, sum(sensor.encode())))
    names, now_ns = list(KINDS[sensor]), first_ns
    while True:
        many = 256
        kinds, amounts = random.integers(len(names), size=many).tolist(), random.random(many).tolist()
        calms = _lengths(random, pace.calm_s, *pace.calms, many)
        lengths = _lengths(random, pace.length_s, *pace.lengths, many)
        for kind, amount, calm_s, length_s in zip(kinds, amounts, calms, lengths, strict=True):
            name = names[kind]
            begin_ns = now_ns + round(calm_s * 1e9)
            longest_s = min(length_s, LONGEST_S.get(name, MOST_S)) if KINDS[sensor][name].lasts else 0.0
            now_ns = begin_ns + round(longest_s * 1e9)
            yield Fault(sensor, name, begin_ns, now_ns, amount)


def _lengths(
    random: np.random.Generator, span: tuple[float, float], part: float, other: tuple[float, float], many: int
) -> list[float]:
    usual, others = (np.exp(random.uniform(math.log(low), math.log(high), many)) for low, high in (span, other))
    drawn: list[float] = np.where(random.random(many) < part, others, usual).tolist()
    return drawn
