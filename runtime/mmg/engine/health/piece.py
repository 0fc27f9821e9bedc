"""A piece of an IMU's signal, and the motion in it.

For accelerations ``a_i`` and rates of turn ``w_i``, in the sensor's own frame, gravity obeys ``dg/dt = -w x g``. So
with ``m``, the mean of ``a_i``, and the angle ``theta_i = sum(w) dt``, less its own mean, gravity moved by
``-theta_i x m`` within the piece. The acceleration, ``a_i - m``, moved by that and by what the wearer did besides.

A call of numpy on so few rows costs as much as a hundred sums in it. So all is computed from the sums of products of
``a``, ``w`` and ``theta`` as they are, and the means' part is taken off these: three products of whole arrays.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Vector = tuple[float, float, float]
AXES = 3


class Motion(NamedTuple):
    """One piece's motion.

    mean: of the acceleration, in m/s^2; length: its length. rms: the acceleration's, in m/s^2.
    moved, turned: how far gravity's direction moved within the piece as the acceleration and as the gyroscope tell,
        in rad, root mean square. path: at most so much did the gyroscope turn in all, in rad.
    """

    mean: Vector
    length: float
    rms: float
    moved: float
    turned: float
    path: float


class Piece(NamedTuple):
    """About half a second of samples at an even rate.

    samples: ``(T, 3)`` m/s^2, or ``(T, 6)`` with rad/s behind. steps: ``(T - 1, 3)`` or ``(T - 1, 6)``, from each row
        to the next; repeats: whether any of these is zero. has_gyro: whether rad/s are there, and not all zeros.
    lowest, highest, spans: of each axis, the last from the one to the other.
    input_rows: of how many of the sensor's own samples these were made.
    """

    samples: NDArray[np.float64]
    steps: NDArray[np.float64]
    repeats: bool
    has_gyro: bool
    lowest: list[float]
    highest: list[float]
    spans: list[float]
    input_rows: float
    motion: Motion

    @property
    def acceleration(self) -> NDArray[np.float64]:
        """``(T, 3)`` m/s^2."""
        return self.samples[:, :AXES]

    @property
    def rotation(self) -> NDArray[np.float64]:
        """``(T, 3)`` rad/s; ``(T, 0)`` where the model takes none."""
        return self.samples[:, AXES:]


def make_piece(
    samples: NDArray[np.float64], lowest: list[float], highest: list[float], rate_hz: float, input_rows: float
) -> Piece:
    """See Piece for what it takes."""
    has_gyro = any(highest[AXES:]) or any(lowest[AXES:])
    motion = _measure(samples, rate_hz, has_gyro)
    spans = [high - low for high, low in zip(highest, lowest, strict=True)]
    steps = samples[1:] - samples[:-1]
    repeats = bool(np.count_nonzero(steps) < steps.size)
    return Piece(samples, steps, repeats, has_gyro, lowest, highest, spans, input_rows, motion)


def _measure(samples: NDArray[np.float64], rate_hz: float, has_gyro: bool) -> Motion:
    count = len(samples)
    sums, angle_sums = _weights(count).dot(samples).tolist()
    products = samples.T.dot(samples).tolist()
    x, y, z = mean = (sums[0] / count, sums[1] / count, sums[2] / count)
    length = math.sqrt(x * x + y * y + z * z)
    square = (products[0][0] + products[1][1] + products[2][2]) / count
    rms = math.sqrt(square)
    if not length:
        return Motion(mean, length, rms, 0.0, 0.0, 0.0)
    direction = (x / length, y / length, z / length)
    # Along the mean gravity does not move; across it, the mean is nothing that would have to be taken off.
    moved = math.sqrt(max(square - _along(products, direction) / count, 0.0)) / length
    if not has_gyro:
        return Motion(mean, length, rms, moved, 0.0, 0.0)
    turned = _turned(samples[:, AXES:], angle_sums[AXES:], direction) / rate_hz
    path = math.sqrt(count * (products[3][3] + products[4][4] + products[5][5])) / rate_hz
    return Motion(mean, length, rms, moved, turned, path)


def _turned(rates: NDArray[np.float64], sums: list[float], direction: Vector) -> float:
    """How far the angle moves gravity of this direction: |theta x m|^2 is |theta|^2 |m|^2 - (theta m)^2.

    sums: of the angle, over the rows.
    """
    count = len(rates)
    angle = np.add.accumulate(rates)
    products = angle.T.dot(angle).tolist()
    squares = products[0][0] + products[1][1] + products[2][2] - _along(products, direction)
    (x, y, z), (a, b, c) = direction, sums
    squares -= (a * a + b * b + c * c - (a * x + b * y + c * z) ** 2) / count
    return math.sqrt(max(squares / count, 0.0))


@functools.lru_cache(maxsize=4)
def _weights(count: int) -> NDArray[np.float64]:
    """What makes the sums of so many rows, and the sums of their running sums, in which the first row is in all."""
    return np.stack((np.ones(count), np.arange(count, 0.0, -1.0)))


def _along(products: list[list[float]], direction: Vector) -> float:
    """The sum of squares of what the first three columns have in this direction."""
    x, y, z = direction
    one, two, three = products[0], products[1], products[2]
    squares = one[0] * x * x + two[1] * y * y + three[2] * z * z
    return squares + 2 * (one[1] * x * y + one[2] * x * z + two[2] * y * z)
