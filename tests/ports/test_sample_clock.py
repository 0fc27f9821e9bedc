"""Capture times of an IMU's samples from made reads: which clock, gaps, lost times, and what a wire delays."""

from __future__ import annotations

import numpy as np
import pytest
from mmg.sources.clock.sample_clock import UNTIMED_SAMPLES, Arrivals, SampleClock
from mmg.sources.protocols import UNTIMED, Samples, encode_sample, open_parser
from numpy.typing import NDArray

Times = NDArray[np.int64]
SECOND, MS = 10**9, 10**6
BOOT_NS = 7_000 * SECOND


def samples_at(ticks: list[int] | Times | None, count: int = 0) -> Samples:
    """Samples of which only the device's times matter."""
    count = count if ticks is None else len(ticks)
    times = None if ticks is None else np.array(ticks, np.int64)
    return Samples(np.zeros((count, 6), np.float32), times, np.arange(count, dtype=np.int64), True)


def stamp_one_by_one(ticks: Times | None, arrivals: Times, gaps: Times | None = None) -> Times:
    clock = SampleClock()
    return np.concatenate(
        [
            clock.stamp(
                samples_at(None if ticks is None else ticks[n : n + 1], 1),
                arrivals[n : n + 1],
                0 if gaps is None else int(gaps[n]),
            )
            for n in range(len(arrivals))
        ]
    )


def jittered(capture: Times, jitter_ms: float = 2.0) -> Times:
    return capture + np.abs(np.random.default_rng(0).normal(0, jitter_ms * MS, capture.size)).astype(np.int64)


def test_an_arrival_is_that_of_the_reads_newest_sample_less_its_time_on_the_wire() -> None:
    arrivals = Arrivals()
    arrivals.note(100, BOOT_NS, 10_000)  # a byte takes 1 ms
    arrivals.note(140, BOOT_NS + 50 * MS, 10_000)
    came = arrivals.of(np.array([29, 59, 94, 119, 139]))
    assert (came - BOOT_NS).tolist() == [-5 * MS, -5 * MS, -5 * MS, 50 * MS, 50 * MS]


def test_samples_that_a_parser_held_back_keep_their_own_arrivals() -> None:
    parser, arrivals = open_parser("auto"), Arrivals()
    for n in range(4):
        samples = parser.feed(encode_sample("witmotion", [1.0] * 6, n, 0))
        arrivals.note(parser.counters.bytes_fed, BOOT_NS + n * 10 * MS, 115200)
    assert (arrivals.of(samples.last_byte) - BOOT_NS).tolist() == [0, 10 * MS, 20 * MS, 30 * MS]


@pytest.mark.parametrize("hz", [97.0, 100.0, 103.0])
def test_the_index_of_a_bno08x_is_a_clock_whatever_its_true_rate(hz: float) -> None:
    capture = BOOT_NS + np.round(np.arange(round(30 * hz)) * 1e9 / hz).astype(np.int64)
    parser, clock, arrivals = open_parser("bno08x"), SampleClock(), Arrivals()
    stamped = []
    for n, arrival_ns in enumerate(jittered(capture).tolist()):
        samples = parser.feed(encode_sample("bno08x", [0.0, 0.0, 9.8], n, 0))
        arrivals.note(parser.counters.bytes_fed, arrival_ns, 115200)
        stamped.append(clock.stamp(samples, arrivals.of(samples.last_byte), 0))
    errors_ms = np.abs(np.concatenate(stamped) - capture)[round(15 * hz) :] / MS
    assert errors_ms.max() < 4
    assert clock.quality.drift_ppm == pytest.approx((100 / hz - 1) * 1e6, abs=200)


def test_a_device_without_a_clock_is_stamped_by_its_samples_numbers() -> None:
    capture = BOOT_NS + np.arange(3000) * 10 * MS
    errors_ms = np.abs(stamp_one_by_one(None, jittered(capture)) - capture) / MS
    assert errors_ms[1000:].max() < 3


def test_samples_that_the_device_counted_as_lost_move_the_numbers_on() -> None:
    kept = np.delete(np.arange(3000), range(2000, 2100))
    capture = BOOT_NS + kept * 10 * MS
    gaps = np.diff(kept, prepend=-1) - 1
    errors_ms = np.abs(stamp_one_by_one(None, jittered(capture), gaps) - capture) / MS
    assert errors_ms[1000:].max() < 3


@pytest.mark.parametrize("jitter_ms", [0.5, 2.0])
@pytest.mark.parametrize("lost_part", [0.1, 0.5, 0.9])
def test_damaged_samples_that_nobody_counts_do_not_shift_the_time_of_those_that_come(
    lost_part: float, jitter_ms: float
) -> None:
    capture = BOOT_NS + np.arange(2000, dtype=np.int64) * 10 * MS
    arrivals, random, clock = jittered(capture, jitter_ms), np.random.default_rng(1), SampleClock()
    errors_ms, before, lost = [], 0, 0
    for n in range(2000):
        if 500 <= n < 1500 and random.random() < lost_part:
            continue
        damaged, before = n - before > 1, n
        missing = clock.missing(samples_at(None, 1), int(arrivals[n]), is_damage=True) if damaged else 0
        assert missing is not None
        lost += missing
        errors_ms.append((int(clock.stamp(samples_at(None, 1), arrivals[n : n + 1], missing)[0]) - capture[n]) / MS)
    assert np.abs(errors_ms[50:]).max() < 25
    assert np.abs(errors_ms[-300:]).max() < 4 * jitter_ms
    assert lost == pytest.approx(2000 - len(errors_ms), rel=0.02)


def test_after_a_silence_samples_without_a_time_are_not_taken_for_late_ones() -> None:
    capture = BOOT_NS + np.arange(2000) * 10 * MS + np.where(np.arange(2000) < 1500, 0, 2 * SECOND)
    arrivals, clock, stamped = jittered(capture), SampleClock(), []
    for n in range(2000):
        if n == 1500:
            clock.skip(int(arrivals[n] - arrivals[n - 1]))
        stamped.append(clock.stamp(samples_at(None, 1), arrivals[n : n + 1], 0))
    errors_ms = np.abs(np.concatenate(stamped) - capture) / MS
    assert errors_ms[1000:].max() < 15


def test_a_sample_whose_time_was_lost_lies_between_its_neighbours() -> None:
    calendar = 1_795_430_645 * SECOND
    ticks = calendar + np.arange(3000) * 10 * MS
    capture = BOOT_NS + np.arange(3000) * 10 * MS
    with_losses = np.where(np.arange(3000) % 7 == 3, UNTIMED, ticks)
    arrivals = jittered(capture)
    one_by_one = stamp_one_by_one(with_losses, arrivals)
    np.testing.assert_allclose(one_by_one, stamp_one_by_one(ticks, arrivals), atol=1000)
    clock = SampleClock()
    at_once = clock.stamp(samples_at(with_losses[:10]), np.full(10, arrivals[9]), 0)
    assert np.diff(at_once).tolist() == [10 * MS] * 9


def test_a_first_sample_without_a_time_does_not_turn_the_devices_clock_off() -> None:
    clock = SampleClock()
    clock.stamp(samples_at([UNTIMED, 10 * MS, 20 * MS, 30 * MS]), np.full(4, BOOT_NS), 0)
    later = clock.stamp(samples_at([40 * MS, 50 * MS]), np.full(2, BOOT_NS + 27 * MS), 0)
    assert int(later[1] - later[0]) == pytest.approx(10 * MS, rel=0.01)


def test_a_second_clock_does_not_go_back_behind_the_first() -> None:
    clock = SampleClock()
    [by_number] = clock.stamp(samples_at(None, 1), np.array([BOOT_NS]), 0)
    by_device = clock.stamp(samples_at([0, 10 * MS, 20 * MS, 30 * MS]), np.full(4, BOOT_NS + MS), 0)
    assert (np.diff([by_number, *by_device]) > 0).all()


def test_a_clock_that_is_switched_off_or_on_is_followed() -> None:
    capture = BOOT_NS + np.arange(3000) * 10 * MS
    ticks = np.arange(3000) * 10 * MS
    ticks[1000 : 1000 + 500] = UNTIMED
    stamped = stamp_one_by_one(ticks, jittered(capture))
    assert (np.diff(stamped) > 0).all()
    errors_ms = np.abs(stamped - capture) / MS
    assert errors_ms[1000 + UNTIMED_SAMPLES + 20 :].max() < 15
    assert errors_ms[2000:].max() < 3


def test_a_device_whose_time_goes_back_is_followed() -> None:
    capture = BOOT_NS + np.arange(3000) * 10 * MS
    ticks = np.where(np.arange(3000) < 1500, 50 * SECOND, -15 * SECOND) + np.arange(3000) * 10 * MS
    stamped = stamp_one_by_one(ticks, jittered(capture))
    assert (np.diff(stamped) > 0).all()
    errors_ms = np.abs(stamped - capture) / MS
    assert errors_ms.max() < 15
    assert errors_ms[1600:].max() < 3
