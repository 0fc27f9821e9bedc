"""A wearer whose gyroscope and accelerometer feel the same motion: gravity turns in the sensor as the sensor turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from mmg.bundle import Modality
from mmg.engine.health import Health, ReadAs, Verdict
from mmg.sources.units import STANDARD_GRAVITY
from mmg.streams import Hop
from numpy.typing import NDArray

Samples = NDArray[Any]
RATE_HZ = 50.0
HOP_ROWS = 25


def wear(
    seconds: float, *, turn: float = 1.0, push: float = 2.0, noise: float = 1.0, seed: int = 0, rate_hz: float = RATE_HZ
) -> NDArray[np.float32]:
    """``(T, 6)`` m/s^2 and rad/s.

    turn: how fast the wearer turns, in rad/s, about all axes and back again. push: how strongly the wearer pushes, in
    m/s^2. noise: in units of what a phone's sensors have.
    """
    random = np.random.default_rng(seed)
    count = round(seconds * rate_hz)
    times = np.arange(count) / rate_hz
    rates, pushes = np.zeros((count, 3)), np.zeros((count, 3))
    for axis in range(3):
        for slow, strong in ((0.15, 0.6), (0.5, 0.5), (1.1, 0.4)):
            rates[:, axis] += strong * turn * np.sin(2 * np.pi * slow * times * random.uniform(0.8, 1.2) + axis)
        for quick in (1.7, 3.4):
            phase = random.uniform(0, 6)
            pushes[:, axis] += push * np.sin(2 * np.pi * quick * times * random.uniform(0.9, 1.1) + phase) / 2
    gravity = np.empty((count, 3))
    direction = np.array([0.3, -0.5, 0.8])
    direction *= STANDARD_GRAVITY / np.linalg.norm(direction)
    for row in range(count):
        gravity[row] = direction
        direction = _turned(direction, -rates[row] / rate_hz)
    acceleration = gravity + pushes + random.normal(0, 0.03 * noise, (count, 3))
    return np.hstack([acceleration, rates + random.normal(0, 0.003 * noise, (count, 3))]).astype(np.float32)


def _turned(vector: NDArray[np.float64], by: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turned by this angle about this axis (Rodrigues' formula)."""
    angle = float(np.linalg.norm(by))
    if angle == 0:
        return vector
    axis = by / angle
    along = axis * (axis @ vector) * (1 - np.cos(angle))
    turned: NDArray[np.float64] = vector * np.cos(angle) + np.cross(axis, vector) * np.sin(angle) + along
    return turned


def scaled(samples: Samples, acceleration: float = 1.0, gyro: float = 1.0) -> Samples:
    """As another unit would have it."""
    return samples * np.array([acceleration] * 3 + [gyro] * 3, np.float32)


def hops(samples: Samples, rows: int = HOP_ROWS) -> list[Samples]:
    """Whole hops."""
    return [samples[at : at + rows] for at in range(0, len(samples) - rows + 1, rows)]


def judge(
    modality: Modality, parts: Sequence[Samples], read_as: ReadAs | None = None, health: Health | None = None
) -> list[Verdict]:
    """The verdict after each hop."""
    health = health or Health(modality)
    health.read_as = read_as or ReadAs()
    return [health.judge(Hop(index, part, 0, 0, modality.rate_hz)) for index, part in enumerate(parts)]


def first(verdicts: Sequence[Verdict], is_so: Callable[[Verdict], bool]) -> int:
    """The number of the first hop of which it is so; the number of all where it is of none."""
    return next((number for number, verdict in enumerate(verdicts) if is_so(verdict)), len(verdicts))
