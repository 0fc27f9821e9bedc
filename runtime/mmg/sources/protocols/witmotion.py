"""WitMotion: frames of 11 bytes, ``55 TT``, four little-endian int16 and the sum of the ten bytes before.

The device sends one frame a quantity in ascending order of type, cycle after cycle: 50 time, 51 acceleration,
52 angular rate, 53 angle and so on, each only where it is switched on (WitMotion standard protocol). Its Bluetooth
sensors send all in one frame instead: see ``witmotion_combined``.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import numpy as np

from mmg.sources.protocols.framing import UNKNOWN_LENGTH, FrameParser, Vector
from mmg.sources.protocols.parser import STANDARD_GRAVITY, UNTIMED, Samples
from mmg.sources.protocols.witmotion_combined import (
    COMBINED,
    FRAME_BYTES,
    ROW,
    encode_words,
    follows,
    is_plausible,
    words_of,
)

TIME, ACCELERATION, GYRO = 0x50, 0x51, 0x52
ACCELERATION_LSB = 16 * STANDARD_GRAVITY / 32768  # m/s^2
GYRO_LSB = math.radians(2000) / 32768  # rad/s
TEMPERATURE_LSB = 0.01  # degrees Celsius

MOST_KINDS = 16

_FRAME_BYTES = 11
_TYPES = frozenset(range(0x50, 0x60))  # 5F answers a register read
_WORDS = struct.Struct("<4h")
_CALENDAR = struct.Struct("<6BH")
_LSB = np.array([[ACCELERATION_LSB], [GYRO_LSB]])
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class WitMotion(FrameParser):
    """A sample is the acceleration and angular rate of one cycle; its time is the device's calendar."""

    MARK = b"\x55"

    def __init__(self) -> None:
        super().__init__("witmotion")
        self._time_ns = UNTIMED
        self._acceleration: tuple[Vector, int, int] | None = None
        self._is_combined = False

    def _frame_length(self, buffer: bytes, start: int) -> int:
        if start + 1 == len(buffer):
            return UNKNOWN_LENGTH
        if buffer[start + 1] == COMBINED:
            return self._combined_length(buffer, start)
        return _FRAME_BYTES if buffer[start + 1] in _TYPES else 0

    def _combined_length(self, buffer: bytes, start: int) -> int:
        """In a row that is believed the next frame tells, before that several."""
        good = follows(buffer, start, 1 if self._is_combined else ROW)
        if good is None:
            return UNKNOWN_LENGTH
        self._counters.checksum_errors += self._is_combined and not good
        self._is_combined = good and (self._is_combined or is_plausible(buffer[start : start + ROW * FRAME_BYTES]))
        return FRAME_BYTES if self._is_combined else 0

    def _parse(self, frame: bytes, last_byte: int) -> bool:
        if frame[1] == COMBINED:
            of_acceleration, of_gyro = words_of(frame)
            self._add(_scaled(of_acceleration, ACCELERATION_LSB), _scaled(of_gyro, GYRO_LSB), UNTIMED, last_byte)
            return True
        if sum(frame[:10]) & 0xFF != frame[10]:
            return False
        kind = frame[1]
        if kind == GYRO:
            self._gyro(frame, last_byte)
            return True
        self._unpaired()
        if kind == ACCELERATION:
            acceleration = _scaled(_WORDS.unpack_from(frame, 2)[:3], ACCELERATION_LSB)
            self._acceleration = (acceleration, self._time_ns, last_byte)
            self._time_ns = UNTIMED
            if not self._has_gyro:
                self._unpaired()
        elif kind == TIME:
            self._time_ns = self._calendar_ns(frame)
        return True

    def _parse_many(self, buffer: bytes, start: int, last_byte: int) -> int:
        """Cycles of acceleration, angular rate and what the first one has behind them, but for the time."""
        kinds = _kinds_of_cycle(buffer, start)
        if not kinds or not self._has_gyro or self._gyroless or self._acceleration or self._time_ns != UNTIMED:
            return 0
        size = len(kinds) * _FRAME_BYTES
        count = (len(buffer) - start) // size
        frames = np.frombuffer(buffer, np.uint8, count * size, start).reshape(count, len(kinds), _FRAME_BYTES)
        sums = np.add.reduce(frames[:, :, :10], axis=2, dtype=np.uint8)
        heads = np.array([0x55 | kind << 8 for kind in kinds], "<u2")
        good = (frames[:, :, :2].view("<u2")[:, :, 0] == heads) & (frames[:, :, 10] == sums)
        if not np.logical_and.reduce(good, axis=None):
            count = int(good.all(axis=1).argmin())
        if not count:
            return 0
        words = frames[:count, :2, 2:8].view("<i2")  # (T, 2, 3)
        values = (words * _LSB).astype(np.float32).reshape(count, 6)
        first = last_byte + 2 * _FRAME_BYTES
        ends = np.arange(first, first + count * size, size, dtype=np.int64)
        self._add_many(Samples(values, None, ends, True))
        self._counters.frames += count * len(kinds)
        return count * size

    def _gyro(self, frame: bytes, last_byte: int) -> None:
        """Angular rate comes right behind its acceleration: two frames further on it is of a later cycle."""
        held = self._acceleration
        if held is not None and last_byte - held[2] < 3 * _FRAME_BYTES:
            acceleration, time_ns, _ = held
            self._add(acceleration, _scaled(_WORDS.unpack_from(frame, 2)[:3], GYRO_LSB), time_ns, last_byte)
            self._acceleration = None
        else:
            self._unpaired()
            self._gyro_seen()
            self._counters.incomplete += 1
        self._time_ns = UNTIMED

    def _unpaired(self) -> None:
        if self._acceleration is not None:
            acceleration, time_ns, last_byte = self._acceleration
            self._acceleration = None
            self._add(acceleration, None, time_ns, last_byte)

    def _calendar_ns(self, frame: bytes) -> int:
        year, month, day, hour, minute, second, millisecond = _CALENDAR.unpack_from(frame, 2)
        try:
            moment = datetime(2000 + year, month, day, hour, minute, second, millisecond * 1000, tzinfo=timezone.utc)
        except ValueError:  # a calendar that was never set: the samples do without it, so nothing is lost
            return UNTIMED
        return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def _kinds_of_cycle(buffer: bytes, start: int) -> list[int]:
    """The types of the frames from here to the next acceleration; none where they are not those of a usual cycle."""
    kinds = list(buffer[start + 1 : start + 1 + MOST_KINDS * _FRAME_BYTES : _FRAME_BYTES])
    size = kinds.index(ACCELERATION, 1) if ACCELERATION in kinds[1:] else 0
    is_usual = kinds[:2] == [ACCELERATION, GYRO] and set(kinds[2:size]) <= _TYPES - {TIME, GYRO}
    return kinds[:size] if is_usual else []


def _scaled(words: Sequence[int], lsb: float) -> Vector:
    x, y, z = words
    return x * lsb, y * lsb, z * lsb


def encode_frame(kind: int, content: bytes) -> bytes:
    """One frame of type ``kind`` around eight bytes."""
    body = bytes((0x55, kind)) + content
    return body + bytes((sum(body) & 0xFF,))


def encode_sample(sample: Sequence[float], *, temperature_c: float = 25.0) -> bytes:
    """The frames of one cycle: ``(3,)`` m/s^2, or ``(6,)`` with rad/s behind. Out of range is clipped."""
    temperature = round(temperature_c / TEMPERATURE_LSB)
    frames = b""
    for kind, scale, vector in ((ACCELERATION, ACCELERATION_LSB, sample[:3]), (GYRO, GYRO_LSB, sample[3:])):
        if len(vector):
            frames += encode_frame(kind, _WORDS.pack(*_counts(vector, scale), temperature))
    return frames


def encode_combined(sample: Sequence[float]) -> bytes:
    """The one frame of a Bluetooth sensor: ``(6,)`` m/s^2 and rad/s. Out of range is clipped."""
    return encode_words(_counts(sample[:3], ACCELERATION_LSB), _counts(sample[3:6], GYRO_LSB))


def _counts(vector: Sequence[float], lsb: float) -> list[int]:
    return [max(-32768, min(32767, round(value / lsb))) for value in vector]


def encode_time(time_ns: int) -> bytes:
    """The time frame that opens a cycle, from ns since 1970 (years 2000 to 2255), rounded down to 1 ms."""
    moment = _EPOCH + timedelta(milliseconds=time_ns // 1_000_000)
    calendar = (moment.year - 2000, moment.month, moment.day, moment.hour, moment.minute, moment.second)
    return encode_frame(TIME, _CALENDAR.pack(*calendar, moment.microsecond // 1000))
