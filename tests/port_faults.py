"""What a serial IMU says under the faults that ports have, made from one truth: bytes, and when each of them comes."""

from __future__ import annotations

import itertools
import json
import math
import struct
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from mmg.sources.protocols.witmotion import encode_frame
from mmg.sources.protocols.witmotion import encode_sample as encode_witmotion
from mmg.sources.units import STANDARD_GRAVITY as G
from numpy.typing import NDArray

Rows = NDArray[np.float64]
"""``(T, 7)``: ms since the start, m/s^2, rad/s."""
Said = Iterable[tuple[float, bytes]]
"""When it comes, in ms since the start, and what; in the order of time."""
Change = Callable[[Rows], Rows]
DEGREE = math.pi / 180
FULL_SCALE = (16 * G, 2000 * DEGREE)
NAMES = ("ax", "ay", "az", "gx", "gy", "gz")
HEADER = b"t_ms,ax,ay,az,gx,gy,gz\n"


# --- values --------------------------------------------------------------------------------------------------------


def scaled(acceleration: float = 1.0, gyro: float = 1.0) -> Change:
    """As another unit of each would have it."""
    factors = np.array([1.0, *[acceleration] * 3, *[gyro] * 3])
    return lambda rows: rows * factors


def stuck(*axes: int, at: float | None = None) -> Change:
    """These axes at a value, or at their first one."""

    def change(rows: Rows) -> Rows:
        rows = rows.copy()
        for axis in axes:
            rows[:, 1 + axis] = rows[0, 1 + axis] if at is None else at
        return rows

    return change


def held(every: int, count: int) -> Change:
    """Of so many rows so many repeat the one before them."""

    def change(rows: Rows) -> Rows:
        rows = rows.copy()
        for begin in range(0, len(rows), every):
            rows[begin : begin + count, 1:] = rows[begin, 1:]
        return rows

    return change


def spiked(part: float) -> Change:
    """An axis at full scale in so many of the rows."""

    def change(rows: Rows) -> Rows:
        rows, random = rows.copy(), np.random.default_rng(1)
        for row in np.flatnonzero(random.random(len(rows)) < part):
            axis = int(random.integers(6))
            rows[row, 1 + axis] = FULL_SCALE[axis // 3] * random.choice((-1, 1))
        return rows

    return change


def failed(part: float, *, gyro: bool = True) -> Change:
    """So many of the rows, scattered, are zeros, as a read that failed leaves them; gyro: its values too."""

    def change(rows: Rows) -> Rows:
        rows, random = rows.copy(), np.random.default_rng(3)
        rows[random.random(len(rows)) < part, 1 : 7 if gyro else 4] = 0.0
        return rows

    return change


def without_gravity(rows: Rows) -> Rows:
    """Less its own mean over two seconds, as an app does it."""
    rows = rows.copy()
    for axis in (1, 2, 3):
        padded = np.pad(rows[:, axis], 100, mode="edge")
        rows[:, axis] -= np.convolve(padded, np.full(201, 1 / 201), "valid")
    return rows


def swapped(rows: Rows) -> Rows:
    """The gyroscope's columns for the accelerometer's."""
    return rows[:, [0, 4, 5, 6, 1, 2, 3]]


def slow_gyroscope(rows: Rows) -> Rows:
    """The gyroscope gives ten values a second, in rows that come a hundred times."""
    rows = rows.copy()
    rows[:, 4:] = rows[np.arange(len(rows)) // 10 * 10, 4:]
    return rows


def since(begin_s: float, change: Change) -> Change:
    """All is well until then."""
    return lambda rows: np.where(rows[:, :1] < begin_s * 1000, rows, change(rows))


# --- lines and frames ----------------------------------------------------------------------------------------------


def lines(
    rows: Rows, time_of: Callable[[float], float] = float, header: bytes = HEADER
) -> Iterator[tuple[float, bytes]]:
    """Text under a header that is printed once; time_of: what the board's clock shows at that ms."""
    for number, (at, *values) in enumerate(rows.tolist()):
        yield at, (b"" if number else header) + b"%d" % time_of(at) + b",%.4f" * 6 % tuple(values) + b"\n"


def objects(rows: Rows) -> Iterator[tuple[float, bytes]]:
    """JSON without a time."""
    for at, *values in rows.tolist():
        yield at, json.dumps(dict(zip(NAMES, values, strict=True))).encode() + b"\n"


def frames(rows: Rows, time_of: Callable[[float], float] = float) -> Iterator[tuple[float, bytes]]:
    """WitMotion's, each with a checksum, under the board's calendar."""
    for at, *values in rows.tolist():
        seconds, rest_ms = divmod(int(time_of(at)), 1000)
        calendar = bytes((15, 1, 1, 0, seconds // 60 % 60, seconds % 60)) + struct.pack("<H", rest_ms)
        yield at, encode_frame(0x50, calendar) + encode_witmotion(values)


# --- on the way ----------------------------------------------------------------------------------------------------


def batched(said: Said, every_ms: int, first_ms: int) -> Said:
    """All of so many ms comes at once at their end."""
    return ((math.floor((at - first_ms) / every_ms + 1) * every_ms + first_ms, data) for at, data in said)


def beside(said: Said, every: int, other: Callable[[int], bytes]) -> Said:
    """Lines of another kind after each so many."""
    for number, (at, data) in enumerate(said):
        yield at, data + (other(number) if number % every == 0 else b"")


def flipped(said: Said, part: float) -> Said:
    """Single bits of so many of the bytes."""
    random = np.random.default_rng(0)
    for at, data in said:
        bits = np.where(random.random(len(data)) < part, 1 << random.integers(0, 8, len(data)), 0).tolist()
        yield at, bytes(byte ^ bit for byte, bit in zip(data, bits, strict=True))


def eaten(said: Said, part: float) -> Said:
    """So many of the bytes are lost, but none of the header."""
    random = np.random.default_rng(0)
    for number, (at, data) in enumerate(said):
        kept = (random.random(len(data)) >= part) | (number == 0)
        yield at, bytes(itertools.compress(data, kept))


def lost(said: Said, every_ms: int, count_ms: int) -> Said:
    """Nothing comes in the last part of each so many ms."""
    return ((at, data) for at, data in said if at % every_ms < every_ms - count_ms)


def without(said: Said, begin_s: float, end_s: float) -> Said:
    """Nothing comes for a while."""
    return ((at, data) for at, data in said if not begin_s <= at / 1000 < end_s)


def thinned(said: Said, begin_ms: int, every_ms: int) -> Said:
    """From then on one row in so many ms."""
    return ((at, data) for at, data in said if at < begin_ms or at % every_ms < 10)
