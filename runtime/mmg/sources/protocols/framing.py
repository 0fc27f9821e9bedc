"""What the parsers share: finding frames in a stream, gathering samples, unwrapping counters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeAlias

import numpy as np

from mmg.sources.protocols.parser import UNTIMED, VALID_FRAMES, Counters, Finding, Samples, join

Vector: TypeAlias = tuple[float, ...]

# More than 10,000 g or 100,000 rad/s in sum is no measurement; the comparison also refuses NaN and infinity.
IMPOSSIBLE = 1e5
# Acceleration that comes so many times in a row without a gyro is taken to come from a device that has none.
GYROLESS_AFTER = 8
UNKNOWN_LENGTH = -1
MANY_BYTES = 128
"""A read of fewer is quicker frame by frame."""
_NO_GYRO = (0.0, 0.0, 0.0)


class Unwrapped:
    """A counter of ``bits`` bits made endless.

    restarts: a step of more than half the range means that the device began anew, so the value goes back.
    Without it every step is forward, which is right for a counter so short that a real loss can span half of
    it.
    """

    def __init__(self, bits: int, *, restarts: bool = True) -> None:
        self.value = 0
        self._range = 1 << bits
        self._restarts = restarts
        self._started = False

    def step(self, raw: int) -> int:
        """Moves ``value`` to the counter's new reading and returns by how much; 1 for the first reading."""
        if not self._started:
            self._started = True
            self.value = raw
            return 1
        step = (raw - self.value) % self._range
        if self._restarts and step > self._range // 2:
            step -= self._range
        self.value += step
        return step


class SampleCollector:
    """Gathers the samples of one feed, and finds out whether the device has a gyro at all."""

    def __init__(self, name: str, *, has_gyro: bool = True) -> None:
        self._name = name
        self._counters = Counters()
        self._has_gyro = has_gyro
        self._rows: list[tuple[Vector, int, int]] = []
        self._gyroless: list[tuple[Vector, int, int]] = []
        self._many: list[Samples] = []

    @property
    def name(self) -> str:
        return self._name

    @property
    def counters(self) -> Counters:
        return self._counters

    def _add(self, acceleration: Vector, gyro: Vector | None, time_ns: int, last_byte: int) -> None:
        """One sample in m/s^2 and rad/s; without a gyro it waits until the device is known to have none."""
        values = (*acceleration, *(_NO_GYRO if gyro is None else gyro))
        if not sum(map(abs, values)) < IMPOSSIBLE:
            self._counters.malformed += 1
            return
        row = (values, time_ns, last_byte)
        if gyro is not None:
            self._gyro_seen()
            self._rows.append(row)
        elif not self._has_gyro:
            self._rows.append(row)
        else:
            self._gyroless.append(row)
            if len(self._gyroless) == GYROLESS_AFTER:
                self._has_gyro = False
                self._rows += self._gyroless
                self._gyroless.clear()

    def _add_many(self, samples: Samples) -> None:
        """Samples with a gyro, whose values are possible."""
        if self._rows:
            self._many.append(self._one_by_one())
        self._many.append(samples)

    def _gyro_seen(self) -> None:
        self._has_gyro = True
        self._counters.incomplete += len(self._gyroless)
        self._gyroless.clear()

    def _take(self) -> Samples:
        parts, self._many = self._many, []
        if self._rows or not parts:
            parts.append(self._one_by_one())
        samples = join(parts)
        self._counters.samples += len(samples)
        return samples

    def _one_by_one(self) -> Samples:
        """What ``_add`` was given."""
        rows, self._rows = self._rows, []
        times = [row[1] for row in rows]
        return Samples(
            np.array([row[0] for row in rows], np.float32).reshape(-1, 6),
            np.array(times, np.int64) if times.count(UNTIMED) < len(times) else None,
            np.array([row[2] for row in rows], np.int64),
            self._has_gyro,
        )


class FrameParser(SampleCollector, ABC):
    """Finds frames that begin with the byte ``MARK`` and know their length.

    A place that looks like a frame and fails its checksum costs one byte: the search goes on at the next
    byte, so a good frame behind garbage is never lost. At most the longest possible frame is kept between
    feeds.
    """

    MARK: bytes

    def __init__(self, name: str, *, has_gyro: bool = True) -> None:
        super().__init__(name, has_gyro=has_gyro)
        self._pending = b""

    @abstractmethod
    def _frame_length(self, buffer: bytes, start: int) -> int:
        """The length of the frame at ``start``, 0 where there is none, or UNKNOWN_LENGTH while bytes lack."""

    @abstractmethod
    def _parse(self, frame: bytes, last_byte: int) -> bool:
        """Adds the samples of a whole frame; False where its checksum or structure is wrong."""

    def _parse_many(self, _buffer: bytes, _start: int, _last_byte: int) -> int:
        """As ``_parse``, of all that are in order from ``start`` on: how many bytes were taken. They may be left to it.

        last_byte: where in the stream the buffer's byte before ``start`` was.
        """
        return 0

    @property
    def finding(self) -> Finding | None:
        """See ``Parser.finding``."""
        if self._counters.frames < VALID_FRAMES or self._counters.samples:
            return None
        return Finding(self.name, "valid frames, but none with acceleration: is that output switched on?")

    def feed(self, data: bytes) -> Samples:
        """See ``Parser.feed``."""
        counters = self._counters
        buffer = self._pending + data
        origin = counters.bytes_fed - len(self._pending)  # stream offset of the buffer's first byte
        counters.bytes_fed += len(data)
        at = 0
        if len(buffer) >= MANY_BYTES:
            at = max(buffer.find(self.MARK), 0)
            counters.skipped_bytes += at
            at += self._parse_many(buffer, at, origin + at - 1)
        while True:
            start = buffer.find(self.MARK, at)
            if start < 0:
                start = len(buffer)
            counters.skipped_bytes += start - at
            at = start
            if at == len(buffer):
                break
            length = self._frame_length(buffer, at)
            if length == UNKNOWN_LENGTH or at + length > len(buffer):
                break
            if length and self._parse(buffer[at : at + length], origin + at + length - 1):
                counters.frames += 1
                at += length
                continue
            counters.checksum_errors += length > 0
            counters.skipped_bytes += 1
            at += 1
        self._pending = buffer[at:]
        return self._take()
