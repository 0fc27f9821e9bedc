"""A piece of an IMU's signal, and the motion in it.

For accelerations ``a_i`` and rates of turn ``w_i``, in the sensor's own frame, gravity obeys ``dg/dt = -w x g``. So
with ``m``, the mean of ``a_i``, and the angle ``theta_i = sum(w) dt``, less its own mean, gravity moved by
``-theta_i x m`` within the piece. The acceleration, ``a_i - m``, moved by that and by what the wearer did besides.
"""

from __future__ import annotations

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

    samples: ``(T, 3)`` m/s^2, or ``(T, 6)`` with rad/s behind. has_gyro: whether these are there, and not all zeros.
    lowest, highest, spans: of each axis, the last from the one to the other.
    input_rows: of how many of the sensor's own samples these were made.
    """

    samples: NDArray[np.float64]
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
    motion = _measure(samples if has_gyro else samples[:, :AXES], rate_hz)
    spans = [high - low for high, low in zip(highest, lowest, strict=True)]
    return Piece(samples, has_gyro, lowest, highest, spans, input_rows, motion)


def _measure(samples: NDArray[np.float64], rate_hz: float) -> Motion:
    count = len(samples)
    mean = np.add.reduce(samples)
    mean /= count
    x, y, z = mean[:AXES].tolist()
    square = x * x + y * y + z * z
    length = math.sqrt(square)
    aside = samples - mean
    has_gyro = samples.shape[1] > AXES
    if has_gyro:
        angle = np.add.accumulate(samples[:, AXES:])
        angle -= np.add.reduce(angle) / count
        aside[:, AXES:] = angle
    # Of the acceleration's deviation and of the angle, each its sums of products, all in one.
    sums = (aside.T @ aside).tolist()
    variance = (sums[0][0] + sums[1][1] + sums[2][2]) / count
    rms = math.sqrt(square + variance)
    if not square:
        return Motion((x, y, z), length, rms, 0.0, 0.0, 0.0)
    direction = (x / length, y / length, z / length)
    moved = math.sqrt(max(variance - _along(sums, 0, direction) / count, 0.0)) / length
    if not has_gyro:
        return Motion((x, y, z), length, rms, moved, 0.0, 0.0)
    # |theta x m|^2 is |theta|^2 |m|^2 - (theta m)^2.
    across = (sums[3][3] + sums[4][4] + sums[5][5] - _along(sums, AXES, direction)) / count
    flat = samples.ravel()
    path = math.sqrt(count * max(float(flat @ flat) - count * rms * rms, 0.0)) / rate_hz
    return Motion((x, y, z), length, rms, moved, math.sqrt(max(across, 0.0)) / rate_hz, path)


def _along(sums: list[list[float]], at: int, direction: Vector) -> float:
    """The sum of squares of what the three columns from ``at`` on have in this direction."""
    x, y, z = direction
    one, two, three = sums[at], sums[at + 1], sums[at + 2]
    squares = one[at] * x * x + two[at + 1] * y * y + three[at + 2] * z * z
    return squares + 2 * (one[at + 1] * x * y + one[at + 2] * x * z + two[at + 2] * y * z)
