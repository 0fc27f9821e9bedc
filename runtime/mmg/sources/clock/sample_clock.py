"""Host capture times of an IMU's samples, from the reads of the port that brought them. No I/O, reads no clock."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from mmg.sources.clock.clock_map import ClockMap, ClockQuality
from mmg.sources.clock.device_time import DeviceTime
from mmg.sources.protocols import UNTIMED, Samples

BITS_PER_BYTE = 10
KEPT_READS = 1024
"""Parsers hold samples back for a dozen frames at most, while they find out what the device is."""
UNTIMED_SAMPLES = 50
"""So many samples in a row may lack the device's time before it is taken for switched off."""

FEW = 16
"""Up to so many samples are quicker one by one than as arrays."""
KNOWN_AFTER = 10
"""Samples after which the rate is known well enough to count by it."""
FARTHEST_NS = 1 << 61
"""From a sample whose time is known: further on 64 bits would not hold it."""
PLAIN_READS = 4
"""Without any other sign samples are missed where so many reads in a row were overdue: one alone was only late."""

Times = NDArray[np.int64]


class Arrivals:
    """When each byte of a stream came, as far as the reads tell."""

    def __init__(self) -> None:
        self._reads: deque[tuple[int, int, float]] = deque(maxlen=KEPT_READS)

    def note(self, end_byte: int, arrival_ns: int, baud: int) -> None:
        """A read that ended before stream offset ``end_byte``, at host time ``arrival_ns``."""
        self._reads.append((end_byte, arrival_ns, BITS_PER_BYTE * 1e9 / baud))

    def of(self, last_byte: Times) -> Times:
        """Host times ``(T,)`` ns for the stream offsets ``(T,)`` of samples' last bytes; one for each read.

        It is that of the read's newest sample. A byte that came after it in the same read left the device later, by the
        time that it takes on the wire. Samples come in order: what was read before these is forgotten.
        """
        while len(self._reads) > 1 and self._reads[0][0] <= last_byte[0]:
            self._reads.popleft()
        end, arrival_ns, byte_ns = self._reads[0]
        if end > last_byte[-1] or len(self._reads) == 1:  # all in one read, as nearly always
            return np.full(len(last_byte), arrival_ns - max(round((end - 1 - int(last_byte[-1])) * byte_ns), 0))
        ends, arrived_ns, bytes_ns = (np.array(column) for column in zip(*self._reads, strict=True))
        which = np.minimum(np.searchsorted(ends, last_byte, "right"), len(ends) - 1)
        newest = np.searchsorted(which, which, "right") - 1
        after_ns = np.round((ends[which] - 1 - last_byte[newest]) * bytes_ns[which]).astype(np.int64)
        times_ns: Times = arrived_ns[which] - np.maximum(after_ns, 0)
        return times_ns


class SampleClock:
    """Capture times by the device's own clock where it has one that can be believed, else by the samples' numbers.

    Single samples whose time was lost are placed between those that have one.
    """

    def __init__(self) -> None:
        self._by_device, self._by_number = ClockMap(1), ClockMap(None)
        self._device = DeviceTime()
        self._count = 0
        self._overdue_ns: deque[int] = deque(maxlen=PLAIN_READS)  # of the newest reads, by the samples' numbers
        self._timed: tuple[int, int, float] | None = None  # number and tick of the newest with a time; ns a sample
        self._last_ns = int(np.iinfo(np.int64).min)

    @property
    def note(self) -> str:
        """What is odd about the device's own clock, and what is done instead; empty where nothing is."""
        return self._device.doubt or self._device.note

    @property
    def is_timed(self) -> bool:
        """Whether the newest samples were stamped by the device's own time."""
        return self._timed is not None

    @property
    def _in_use(self) -> ClockMap:
        return self._by_number if self._timed is None else self._by_device

    @property
    def is_in_doubt(self) -> bool:
        """Whether the newest samples do not come when the clock in use says: see ``ClockMap.is_in_doubt``."""
        return self._in_use.is_in_doubt

    @property
    def quality(self) -> ClockQuality:
        """Of the clock in use."""
        return self._in_use.quality

    @property
    def sample_ns(self) -> float:
        """The time from sample to sample, 0 while it is not known."""
        return self._by_number.quality.tick_ns if self._timed is None else self._timed[2]

    def stamp(self, samples: Samples, arrivals_ns: Times, gaps: int) -> Times:
        """Capture times ``(T,)`` in host ns, strictly increasing.

        arrivals_ns: ``(T,)`` host ns, one for each read. gaps: samples that are known to be missing before these.
        """
        told = self._believed(samples, int(arrivals_ns[-1]))
        is_one_read = bool(arrivals_ns[0] == arrivals_ns[-1])
        if len(samples) <= FEW and is_one_read:
            few = self._stamp_few(len(samples), told, int(arrivals_ns[0]), gaps)
            if few is not None:
                return np.array(few)
        numbers = self._count + gaps + np.arange(len(samples), dtype=np.int64)
        self._count = int(numbers[-1]) + 1
        arrivals = int(arrivals_ns[0]) if is_one_read else arrivals_ns
        ticks = self._ticks(None if told is None else np.array(told, np.int64), numbers)
        if ticks is None:
            self._timed = None
            times_ns = self._by_number.stamp(numbers, arrivals)
            self._overdue_ns.append(int(arrivals_ns[-1] - times_ns[-1]))
        else:
            times_ns = self._by_device.stamp(ticks, arrivals)
        # Each of the two clocks only increases; this holds where one follows the other.
        order = np.arange(len(times_ns), dtype=np.int64)
        times_ns = np.maximum(times_ns, self._last_ns + 1 + order)
        self._last_ns = int(times_ns[-1])
        return times_ns

    def _believed(self, samples: Samples, arrival_ns: int) -> list[int] | None:
        """The device's times where it tells any that can be believed. Where that changes, a clock begins anew."""
        if samples.device_time_ns is None:
            return None
        was_doubted = bool(self._device.doubt)
        ticks = self._device.take(samples.device_time_ns.tolist(), arrival_ns)
        if bool(self._device.doubt) != was_doubted:
            self._timed, self._by_device, self._by_number = None, ClockMap(1), ClockMap(None)
        return ticks

    def _stamp_few(self, count: int, ticks: list[int] | None, arrival_ns: int, gaps: int) -> list[int] | None:
        """The same for one read, where each sample has the device's time or none ever has; None for others."""
        first, end = self._count + gaps, self._count + gaps + count
        if ticks is None:
            if self._timed is not None:
                return None
            times_ns = self._by_number.stamp_read(range(first, end), arrival_ns)
            self._overdue_ns.append(arrival_ns - times_ns[-1])
        else:
            if UNTIMED in ticks:
                return None
            known = [(first - 1 + at, tick) for at, tick in enumerate(ticks, 1)]
            if self._timed is not None:
                known.insert(0, self._timed[:2])
            step_ns = 0.0
            if len(known) > 1:
                (before, early), (number, late) = known[-2:]
                step_ns = max((late - early) / (number - before), 0.0)
            self._timed = *known[-1], step_ns
            times_ns = self._by_device.stamp_read(ticks, arrival_ns)
        self._count = end
        for at, time_ns in enumerate(times_ns):
            self._last_ns = times_ns[at] = max(time_ns, self._last_ns + 1)
        return times_ns

    def missing(self, samples: Samples, arrival_ns: int, *, is_damage: bool) -> int | None:
        """How many samples are missing before or among these, the newest of which came at ``arrival_ns``.

        By the device's own time where it tells one, else by the rate: without that the numbers would fall behind the
        time. None while that is not known yet. To be asked before these are stamped.

        is_damage: whether something came damaged. Other things that a device sends between its samples are no sign of
        a loss: then it must last.
        """
        if samples.device_time_ns is not None and not self._device.doubt:
            return self._device.missing(samples.device_time_ns.tolist())
        quality = self._by_number.quality
        if self._timed is not None or self._count < KNOWN_AFTER or quality.tick_ns <= 0:
            return None
        overdue_ns = arrival_ns - self._last_ns - len(samples) * quality.tick_ns
        if not is_damage:
            known = len(self._overdue_ns) == PLAIN_READS
            overdue_ns = min(overdue_ns, *self._overdue_ns) if known else 0.0
        missing = max(round(overdue_ns / quality.tick_ns), 0)
        if missing:
            self._overdue_ns.clear()
        return missing

    def skip(self, silence_ns: int) -> None:
        """The device was silent for so long: samples without a time of their own did not just wait somewhere.

        Where they did after all, they come in a burst, too early for their numbers, which the clock soon believes.
        """
        tick_ns = self._by_number.quality.tick_ns
        if self._timed is None and tick_ns > 0:
            self._count += max(round(silence_ns / tick_ns) - 1, 0)

    def _ticks(self, device_ns: Times | None, numbers: Times) -> Times | None:
        """The device's time for each sample, None where it tells none."""
        if self._timed is None and device_ns is None:
            return None
        has_time = np.zeros(len(numbers), bool) if device_ns is None else device_ns != UNTIMED
        if self._timed is None and not has_time.any():
            return None
        known, ticks = numbers[has_time], np.empty(0, np.int64) if device_ns is None else device_ns[has_time]
        if self._timed is not None and not len(known) and numbers[0] - self._timed[0] > UNTIMED_SAMPLES:
            return None
        step_ns = 0.0
        if self._timed is not None:
            number, tick, step_ns = self._timed
            known, ticks = np.concatenate(([number], known)), np.concatenate(([tick], ticks))
        if len(known) > 1:
            step_ns = max((int(ticks[-1]) - int(ticks[-2])) / int(known[-1] - known[-2]), 0.0)
        self._timed = int(known[-1]), int(ticks[-1]), step_ns
        if has_time.all():
            return device_ns
        before, after = np.minimum(numbers - known[0], 0), np.maximum(numbers - known[-1], 0)
        # Relative to the newest, because floats hold no nanoseconds of the calendar.
        between = np.interp(numbers, known, (ticks - ticks[-1]).astype(np.float64))
        away = np.clip(between + (before + after) * step_ns, -FARTHEST_NS, FARTHEST_NS)
        placed: Times = ticks[-1] + np.rint(away).astype(np.int64)
        if device_ns is not None:
            placed[has_time] = device_ns[has_time]
        return placed
