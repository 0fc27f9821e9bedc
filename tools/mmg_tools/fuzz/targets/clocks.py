"""What a device says of its own time, and when its samples came."""

from __future__ import annotations

import numpy as np
from mmg.sources.clock.clock_map import ClockMap
from mmg.sources.clock.sample_clock import SampleClock
from mmg.sources.protocols import UNTIMED, Samples

from mmg_tools.fuzz.target import Broken
from mmg_tools.fuzz.targets.serial import numbers

TICKS_NS = (1, 10_000_000, None, 1e9 / 103.7)
BOOT_NS = 7_000 * 10**9
FARTHEST_NS = 10**9


def clock(data: bytes) -> None:
    """Rows of a tick (64 bits), a step in us to the next read, and how many samples are in it."""
    if not data:
        return
    reads = list(numbers(data[1:], "<qIB"))
    _map(data[0], reads)
    _sample_clock(reads)


def _map(kind: int, reads: list[tuple[int, ...]]) -> None:
    """Strictly increasing, and the same one by one as in arrays."""
    arrays, singles = ClockMap(TICKS_NS[kind % 4]), ClockMap(TICKS_NS[kind % 4])
    arrival_ns, last_ns = BOOT_NS, -(1 << 63)
    for tick, step_us, count in reads:
        arrival_ns += step_us * 1000
        ticks = [_within(tick + number * 10_000_000) for number in range(1 + count % 5)]
        stamped = arrays.stamp(np.array(ticks, np.int64), arrival_ns).tolist()
        if stamped != singles.stamp_read(ticks, arrival_ns):
            raise Broken("a read is stamped otherwise one by one")
        if any(late <= early for early, late in zip([last_ns, *stamped], stamped, strict=False)):
            raise Broken("stamps do not increase")
        last_ns = stamped[-1]
        if not all(np.isfinite(value) for value in vars_of(arrays)):
            raise Broken("a clock's quality is not finite")


def _sample_clock(reads: list[tuple[int, ...]]) -> None:
    """Strictly increasing, whatever the device's time does, and not far behind its arrival."""
    one = SampleClock()
    arrival_ns, last_ns = BOOT_NS, -(1 << 63)
    for tick, step_us, count in reads:
        arrival_ns += step_us * 1000
        times = [UNTIMED if count & 1 << number else _within(tick + number * 10_000_000) for number in range(count % 5)]
        rows = max(len(times), 1)
        device = np.array(times or [UNTIMED], np.int64) if count % 7 else None
        samples = Samples(np.zeros((rows, 6), np.float32), device, np.arange(rows, dtype=np.int64), True)
        stamped = one.stamp(samples, np.full(rows, arrival_ns, np.int64), count % 3).tolist()
        if any(late <= early for early, late in zip([last_ns, *stamped], stamped, strict=False)):
            raise Broken("a sample clock's stamps do not increase")
        last_ns = stamped[-1]
        if not one.note.isprintable():
            raise Broken("a clock's note cannot be printed")


def vars_of(clock_map: ClockMap) -> tuple[float, ...]:
    """The figures of its quality."""
    known = clock_map.quality
    return (known.offset_ms, known.drift_ppm, known.tick_ns, known.jitter_ms, known.uncertainty_ms)


def _within(tick: int) -> int:
    return max(min(tick, (1 << 63) - 1), -(1 << 63) + 1)
