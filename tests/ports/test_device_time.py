"""A device's own time that is coarse, stands still, steps back or is in another unit: counted, bridged, and told."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from mmg.sources.clock.device_time import DeviceTime
from mmg.sources.clock.sample_clock import SampleClock
from mmg.sources.protocols import UNTIMED, Samples
from numpy.typing import NDArray

Times = NDArray[np.int64]
SECOND, MS = 10**9, 10**6
BOOT_NS = 7_000 * SECOND
EPOCH_NS = 1_795_430_645 * SECOND
SHARED = "many samples share one time of its clock: they are counted instead"
GAP_MS = 250
"""Half a hop: with a longer one in its samples a hop is not whole."""


def capture_of(seconds: float, hz: float = 100) -> Times:
    return BOOT_NS + np.round(np.arange(round(seconds * hz)) * 1e9 / hz).astype(np.int64)


def jittered(capture: Times, jitter_ms: float = 2.0) -> Times:
    return capture + np.abs(np.random.default_rng(0).normal(0, jitter_ms * MS, capture.size)).astype(np.int64)


def samples_at(ticks: Times) -> Samples:
    count = len(ticks)
    return Samples(np.zeros((count, 6), np.float32), ticks, np.arange(count, dtype=np.int64), True)


def stamp(ticks: Times, arrivals: Times, *, batch: int = 1) -> tuple[Times, SampleClock, list[str]]:
    """The stamps, the clock, and what it told, each note once."""
    clock, stamped = SampleClock(), []
    notes: list[str] = []
    for at in range(0, len(ticks), batch):
        part = slice(at, at + batch)
        arrival = np.full(len(ticks[part]), arrivals[part][-1])
        stamped.append(clock.stamp(samples_at(ticks[part]), arrival, 0))
        if clock.note not in notes[-1:]:
            notes.append(clock.note)
    return np.concatenate(stamped), clock, notes


def errors_ms(stamped: Times, capture: Times) -> NDArray[np.float64]:
    assert (np.diff(stamped) > 0).all()
    errors: NDArray[np.float64] = np.abs(stamped - capture) / MS
    return errors


def longest_gap_ms(stamped: Times) -> float:
    return float(np.diff(stamped).max() / MS)


COARSE: dict[str, Callable[[Times], Times]] = {
    "whole seconds": lambda since: EPOCH_NS + since // SECOND * SECOND,
    "tenths of a second": lambda since: since // (SECOND // 10) * (SECOND // 10),
    "standing still": lambda since: np.full(since.size, EPOCH_NS),
    "zeros": np.zeros_like,
    "one time for every eight": lambda since: since[np.arange(since.size) // 8 * 8],
    "one time for every two": lambda since: since[np.arange(since.size) // 2 * 2],
}


@pytest.mark.parametrize("kind", COARSE)
@pytest.mark.parametrize("hz", [25.0, 100.0, 200.0])
def test_samples_that_share_times_are_counted_at_the_rate_at_which_they_arrive(kind: str, hz: float) -> None:
    capture = capture_of(20, hz)
    stamped, clock, notes = stamp(COARSE[kind](capture - BOOT_NS), jittered(capture))
    assert notes[-1] == clock.note == SHARED
    errors = errors_ms(stamped, capture)
    assert errors[round(2 * hz) :].max() < 15
    assert errors[round(10 * hz) :].max() < 4
    assert longest_gap_ms(stamped) < GAP_MS


@pytest.mark.parametrize("batch", [10, 50])
def test_in_batches_they_are_spread_over_their_true_times(batch: int) -> None:
    capture = capture_of(20)
    stamped, _, notes = stamp(COARSE["whole seconds"](capture - BOOT_NS), jittered(capture), batch=batch)
    assert notes == [SHARED]
    assert errors_ms(stamped, capture)[300:].max() < 10


def test_a_fine_clock_is_followed_and_nothing_is_told() -> None:
    capture = capture_of(60)
    stamped, clock, notes = stamp(EPOCH_NS + (capture - BOOT_NS) // MS * MS, jittered(capture))
    assert notes == [""]
    assert clock.is_timed
    assert errors_ms(stamped, capture)[1000:].max() < 4


def test_a_clock_that_stops_is_left_and_taken_up_again_once_it_runs() -> None:
    capture = capture_of(40)
    since = capture - BOOT_NS
    ticks = np.where((since < 10 * SECOND) | (since > 20 * SECOND), since, 10 * SECOND)
    stamped, clock, notes = stamp(ticks, jittered(capture))
    assert notes == ["", SHARED, ""]
    assert clock.is_timed
    assert errors_ms(stamped, capture).max() < 60
    assert longest_gap_ms(stamped) < GAP_MS


@pytest.mark.parametrize("step_ms", [20, 300, 5000, 7_200_000])
@pytest.mark.parametrize("batch", [1, 50])
def test_a_clock_that_is_set_back_again_and_again_is_bridged(step_ms: int, batch: int) -> None:
    capture = capture_of(30)
    since = capture - BOOT_NS
    ticks = EPOCH_NS + since - since // (5 * SECOND) * step_ms * MS
    stamped, clock, notes = stamp(ticks, jittered(capture), batch=batch)
    assert clock.is_timed
    assert notes == ["", f"its clock was set back by {step_ms / 1e3:.3g} s: bridged"]
    assert errors_ms(stamped, capture)[batch * 2 :].max() < 15
    assert longest_gap_ms(stamped[batch * 2 :]) < 40


@pytest.mark.parametrize("step_ms", [100, 300, 5000])
def test_a_clock_that_is_set_ahead_again_and_again_costs_no_hop(step_ms: int) -> None:
    capture = capture_of(30)
    since = capture - BOOT_NS
    stamped, _, _ = stamp(EPOCH_NS + since + since // (5 * SECOND) * step_ms * MS, jittered(capture))
    assert errors_ms(stamped, capture)[200:].max() < 60
    assert longest_gap_ms(stamped[200:]) < 100


@pytest.mark.parametrize("batch", [1, 50])
def test_single_garbled_times_move_nothing(batch: int) -> None:
    capture = capture_of(30)
    ticks = capture - BOOT_NS
    for at, garbled in ((700, 0), (900, 923_456 * SECOND), (1300, 1), (1700, -5 * SECOND), (2100, 1 << 60)):
        ticks[at] = garbled
    stamped, _, notes = stamp(ticks, jittered(capture), batch=batch)
    assert notes == [""]
    errors = errors_ms(stamped, capture)
    assert np.delete(errors, [700, 900, 1300, 1700, 2100])[200:].max() < 15


def test_a_restart_after_a_pause_is_placed_where_it_arrived() -> None:
    capture = capture_of(30)
    capture[1500:] += 3 * SECOND
    ticks = capture - BOOT_NS
    ticks[1500:] -= ticks[1500]
    stamped, _, notes = stamp(ticks, jittered(capture))
    assert notes[-1].startswith("its clock was set back by 18")
    assert errors_ms(stamped, capture)[200:].max() < 15


@pytest.mark.parametrize("pace", [0.001, 0.1, 0.4, 3.0, 1000.0])
def test_a_time_in_another_unit_than_was_said_is_left_within_two_seconds_and_told(pace: float) -> None:
    capture = capture_of(20)
    stamped, clock, notes = stamp(((capture - BOOT_NS) * pace).astype(np.int64), jittered(capture))
    assert notes == ["", f"its clock runs at {pace:.2g} times the host's pace: samples are counted instead"]
    assert not clock.is_timed
    errors = errors_ms(stamped, capture)
    assert errors[200:].max() < 15


@pytest.mark.parametrize("pace", [0.5, 2.0])
def test_a_clock_that_is_off_by_just_two_is_not_left_and_taken_up_in_turns(pace: float) -> None:
    capture = capture_of(120)
    _, clock, notes = stamp(((capture - BOOT_NS) * pace).astype(np.int64), jittered(capture))
    assert notes == ["", f"its clock runs at {pace:.2g} times the host's pace: samples are counted instead"]
    assert not clock.is_timed


def test_two_devices_on_one_line_are_told() -> None:
    capture = capture_of(10)
    since = capture - BOOT_NS
    ticks = np.where(np.arange(since.size) % 2, since + 500 * SECOND, since)
    _, _, notes = stamp(ticks, jittered(capture))
    assert notes[-1] == "its clock goes back again and again: samples are counted instead"


@pytest.mark.parametrize("stall_s", [0.4, 0.9, 2.0])
def test_a_port_that_is_read_late_is_no_reason_to_leave_a_good_clock(stall_s: float) -> None:
    capture = capture_of(30)
    end_ns = BOOT_NS + round((10 + stall_s) * SECOND)
    arrivals = np.where((capture > BOOT_NS + 10 * SECOND) & (capture < end_ns), end_ns, jittered(capture))
    stamped, clock, notes = stamp(capture - BOOT_NS, np.maximum.accumulate(arrivals))
    assert notes == [""]
    assert clock.is_timed
    assert errors_ms(stamped, capture)[200:].max() < 5


def test_what_is_missing_is_known_by_the_times() -> None:
    device = DeviceTime()
    assert device.missing([0]) is None
    for n in range(20):
        device.take([n * 10 * MS], BOOT_NS + n * 10 * MS)
    assert device.missing([200 * MS]) == 0
    assert device.missing([200 * MS, 210 * MS]) == 0
    assert device.missing([203 * MS]) == 0
    assert device.missing([230 * MS]) == 3
    assert device.missing([200 * MS, 240 * MS]) == 3
    assert device.missing([200 * MS, UNTIMED]) == 0
    assert device.missing([UNTIMED]) is None
    assert device.missing([0]) == 0


def test_the_times_of_a_jump_beyond_64_bits_do_no_harm() -> None:
    clock, far = SampleClock(), (1 << 62) - 1
    for n, tick in enumerate([0, far, -far, far, -far, 10 * MS, 20 * MS, far, 30 * MS]):
        clock.stamp(samples_at(np.array([tick, UNTIMED])), np.full(2, BOOT_NS + n * 10 * MS), 0)
