"""Faults of an IMU that decide on happily where nobody looks: wrong scales, swapped units, channels that are stuck."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from mmg.sources.units import STANDARD_GRAVITY as G
from numpy.typing import NDArray

Samples = NDArray[np.float32]
DEGREE = np.pi / 180
FULL_SCALE = (16 * G, 2000 * DEGREE)
AXES = ("ax", "ay", "az", "gx", "gy", "gz")
SCALES: dict[str, tuple[float, float]] = {
    "gravity reads a third": (1 / 3, 1),
    "gravity reads half": (1 / 2, 1),
    "gravity reads twice": (2, 1),
    "g taken for m/s^2": (1 / G, 1),
    "mg taken for m/s^2": (1000 / G, 1),
    "m/s^2 taken for g": (G, 1),
    "1/64 g taken for m/s^2": (64 / G, 1),
    "counts of 16384 to 1 g": (16384 / G, 1),
    "deg/s taken for rad/s": (1, 1 / DEGREE),
    "rad/s taken for deg/s": (1, DEGREE),
    "counts of 131 to 1 deg/s": (1, 131 / DEGREE),
    "g and deg/s taken for m/s^2 and rad/s": (1 / G, 1 / DEGREE),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and how it changes ``(T, 6)`` samples."""

    name: str
    kind: str
    apply: Callable[[Samples], Samples]


def choose(random: np.random.Generator) -> Fault:
    """One of the kinds, and one of that kind."""
    kind = str(random.choice(("scale", "scale", "stuck", "swapped")))
    if kind == "scale":
        name = str(random.choice(list(SCALES)))
        return Fault(name, kind, scaled(*SCALES[name]))
    if kind == "swapped":
        return _swapped(random)
    sensors = {"its accelerometer": slice(0, 3), "its gyroscope": slice(3, 6)}
    whole = random.random() < 1 / 4
    which = str(random.choice(list(sensors))) if whole else str(random.choice(AXES))
    place = sensors[which] if whole else slice(AXES.index(which), AXES.index(which) + 1)
    how = str(random.choice(("its first value", "full scale", "zero")))
    if how == "zero" and which == "its gyroscope":
        how = "full scale"  # a gyroscope of zeros is one that is not there
    return Fault(f"{which} stuck at {how}", kind, _stuck(place, how))


def scaled(acceleration: float, gyro: float) -> Callable[[Samples], Samples]:
    """As another unit of each would have it."""
    factors = np.array([acceleration] * 3 + [gyro] * 3, np.float32)
    return lambda samples: samples * factors


def _swapped(random: np.random.Generator) -> Fault:
    """The accelerometer's columns for the gyroscope's, in any of their units, or gravity taken out."""
    name = str(random.choice(("accelerometer and gyroscope swapped", "and in g and deg/s", "gravity taken out")))
    if name == "gravity taken out":
        return Fault(name, "swapped", _without_gravity)
    units = (1 / DEGREE, 1 / G) if "deg/s" in name else (1.0, 1.0)
    in_units = scaled(units[1], units[0])
    return Fault(name, "swapped", lambda samples: in_units(samples)[:, [3, 4, 5, 0, 1, 2]])


def _without_gravity(samples: Samples) -> Samples:
    """Less its own mean over about two seconds, which is what an app does that takes gravity out."""
    window = np.ones(min(201, len(samples))) / min(201, len(samples))
    linear = samples.copy()
    for axis in range(3):
        padded = np.pad(samples[:, axis].astype(np.float64), len(window) // 2, mode="edge")
        linear[:, axis] -= np.convolve(padded, window, "valid")[: len(samples)].astype(np.float32)
    return linear


def _stuck(place: slice, how: str) -> Callable[[Samples], Samples]:
    def apply(samples: Samples) -> Samples:
        stuck = samples.copy()
        if how == "its first value":
            stuck[:, place] = samples[0, place]
        else:
            stuck[:, place] = 0.0 if how == "zero" else FULL_SCALE[place.start // 3]
        return stuck

    return apply
