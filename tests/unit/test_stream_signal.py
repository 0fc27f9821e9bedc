"""Signals: what comes out of a hop is the mean of the input's lines over each interval, at any input rate."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from fakes import HOP_S, cut, signal_modality, times_ns
from fuzzing import times
from hypothesis import given, settings
from hypothesis import strategies as st
from mmg.errors import ConfigError
from mmg.streams import Hop, HopGrid, Stream, open_stream
from mmg.types import Chunk
from msgspec.structs import replace
from numpy.typing import NDArray

HOP_NS = round(HOP_S * 1e9)
COUNT = 25
RATES_HZ = [5, 25, 50, 103.6, 200, 1000]
TEN_YEARS_NS = 10 * 365 * 86_400 * 10**9


def stream(origin_ns: int = 0) -> Stream:
    return open_stream(signal_modality(), HopGrid(origin_ns, HOP_NS))


def chunk_of(times: NDArray[np.int64], values: NDArray[np.floating[Any]] | float, dropped: int = 0) -> Chunk:
    """Six columns: the values, and multiples of them."""
    column = np.broadcast_to(np.asarray(values, np.float64), times.shape)
    return Chunk("imu", (column[:, None] * [1, -1, 2, 0.5, -0.5, 0.1]).astype(np.float32), times, 0.0, dropped)


def jittered_ns(rate_hz: float, seconds: float, jitter: float) -> NDArray[np.int64]:
    """Times that are off the even rate by up to so much of a period, in order, the first one at zero."""
    even = times_ns(0, round(seconds * rate_hz) + 1, rate_hz)
    offsets = np.random.default_rng(7).uniform(-jitter, jitter, len(even)) * 1e9 / rate_hz
    offsets[0] = 0
    return even + offsets.astype(np.int64)


def interval_middles_s(hop: Hop) -> NDArray[np.float64]:
    return np.asarray(hop.index * HOP_S + (np.arange(COUNT) + 0.5) / 50)


# --- values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_constant_stays_that_constant(rate_hz: float) -> None:
    hops = stream().push(chunk_of(jittered_ns(rate_hz, 5, 0.1), 9.81))
    assert [hop.index for hop in hops[:9]] == list(range(9))
    for hop in hops:
        assert hop.samples is not None
        assert hop.samples.shape == (COUNT, 6)
        assert hop.samples.dtype == np.float32
        np.testing.assert_allclose(hop.samples, np.tile([[9.81, -9.81, 19.62, 4.905, -4.905, 0.981]], (25, 1)), 1e-6)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_straight_line_comes_out_as_its_mean_over_each_interval(rate_hz: float) -> None:
    times = jittered_ns(rate_hz, 5, 0.1)
    hops = stream().push(chunk_of(times, 2.0 + 3.0 * times / 1e9))
    assert len(hops) >= 9
    for hop in hops:
        assert hop.samples is not None
        np.testing.assert_allclose(hop.samples[:, 0], 2.0 + 3.0 * interval_middles_s(hop), rtol=2e-6)


def test_a_fast_input_is_averaged_and_not_picked_from() -> None:
    # 1000 samples a second that alternate: each interval of 20 of them holds as many ups as downs.
    times = times_ns(0, 2001, 1000)
    hops = stream().push(chunk_of(times, np.where(np.arange(2001) % 2, 1.0, -1.0)))
    samples = np.concatenate([hop.samples for hop in hops if hop.samples is not None])
    assert len(samples) == 100
    assert float(np.abs(samples[:, 0]).max()) < 1e-6


@pytest.mark.parametrize(
    ("rate_hz", "hop_s"), [(110, 0.5), (220, 0.25), (220, 0.5), (220, 1.0), (55, 1.0), (52, 0.25), (104, 0.5)]
)
def test_samples_on_the_very_ends_of_hops_are_no_matter_at_any_rate_of_the_model(rate_hz: float, hop_s: float) -> None:
    modality = replace(signal_modality(), rate_hz=rate_hz)
    hops = open_stream(modality, HopGrid(0, round(hop_s * 1e9))).push(chunk_of(times_ns(0, 401, 100), 9.81))
    assert [hop.index for hop in hops] == list(range(round(4 / hop_s)))
    assert all(hop.samples is not None and np.allclose(hop.samples[:, 0], 9.81) for hop in hops)


@pytest.mark.parametrize("origin_ns", [0, 123_456_789, 1_700_000_000 * 10**9, -5 * 10**9])
def test_the_grid_may_begin_anywhere(origin_ns: int) -> None:
    times = times_ns(0, 251, 50)
    hops = stream(origin_ns).push(chunk_of(times + origin_ns, times / 1e9))
    assert [hop.index for hop in hops] == list(range(10))
    for hop in hops:
        assert hop.samples is not None
        np.testing.assert_allclose(hop.samples[:, 0], interval_middles_s(hop), atol=1e-6)


def test_a_hop_tells_its_newest_sample_and_its_input_rate() -> None:
    hops = stream().push(chunk_of(times_ns(0, 401, 200), 1.0))
    assert [hop.last_ns for hop in hops] == [(k + 1) * HOP_NS - 5_000_000 for k in range(4)]
    assert [hop.input_hz for hop in hops] == [200.0] * 4


# --- beginnings, gaps, jumps ---------------------------------------------------------------------------------------


def wholes(hops: Sequence[Hop]) -> dict[int, bool]:
    return {hop.index: hop.samples is not None for hop in hops}


def test_a_sensor_that_starts_just_after_the_hop_has_that_hop() -> None:
    hops = stream().push(chunk_of(times_ns(0.05, 100, 50), 4.0))
    assert wholes(hops) == dict.fromkeys(range(4), True)
    assert hops[0].samples is not None
    np.testing.assert_allclose(hops[0].samples[:, 0], 4.0, rtol=1e-6)


def test_a_sensor_that_starts_later_has_the_hop_after() -> None:
    hops = stream().push(chunk_of(times_ns(0.06, 100, 50), 4.0))
    assert wholes(hops) == {0: False, 1: True, 2: True, 3: True}


def without(times: NDArray[np.int64], begin_s: float, end_s: float) -> NDArray[np.int64]:
    return times[(times <= begin_s * 1e9) | (times >= end_s * 1e9)]


def line_is_right(hops: Sequence[Hop]) -> None:
    """Every whole hop of the input ``value = seconds`` holds the line, whatever was missing elsewhere."""
    for hop in hops:
        if hop.samples is not None:
            np.testing.assert_allclose(hop.samples[:, 0], interval_middles_s(hop), rtol=1e-5)


@pytest.mark.parametrize(("begin_s", "end_s"), [(1.1, 1.34), (1.4, 1.64), (1.0, 1.24)])
def test_a_gap_of_up_to_half_a_hop_is_bridged(begin_s: float, end_s: float) -> None:
    times = without(times_ns(0, 201, 50), begin_s, end_s)
    hops = stream().push(chunk_of(times, times / 1e9))
    assert wholes(hops) == dict.fromkeys(range(8), True)
    line_is_right(hops)


@pytest.mark.parametrize(
    ("begin_s", "end_s", "touched"),
    [(1.1, 1.4, {2}), (1.4, 1.7, {2, 3}), (1.0, 1.3, {2}), (1.2, 1.5, {2}), (1.4, 3.2, {2, 3, 4, 5, 6})],
)
def test_a_longer_gap_takes_the_hops_that_it_touches_and_no_other(
    begin_s: float, end_s: float, touched: set[int]
) -> None:
    times = without(times_ns(0, 251, 50), begin_s, end_s)
    hops = stream().push(chunk_of(times, times / 1e9))
    line_is_right(hops)
    assert {index for index, whole in wholes(hops).items() if whole} == set(range(10)) - touched


def test_large_values_are_values() -> None:
    hops = stream().push(chunk_of(times_ns(0, 101, 100), np.float64(1e30)))
    assert [hop.samples is not None for hop in hops] == [True, True]


def test_times_whose_differences_do_not_fit_are_refused_wherever_they_are() -> None:
    times = np.array([0, 2**63 - 1, -2, 1], np.int64)
    with pytest.raises(ConfigError, match="73 years"):
        stream().push(chunk_of(times, 9.81))


def test_a_clock_that_jumps_ten_years_costs_a_few_hops() -> None:
    times = times_ns(0, 101, 50)
    later = times + TEN_YEARS_NS
    signal = stream()
    hops = signal.push(chunk_of(np.concatenate((times, later)), 1.0))
    assert len(hops) <= 10
    assert sum(hop.samples is not None for hop in hops) >= 7
    assert signal.next_hop == TEN_YEARS_NS // HOP_NS + 4
    assert signal.dropped == 0


def test_an_hour_backwards_is_counted_and_no_slower_than_the_normal_case() -> None:
    forward = [chunk_of(times_ns(4000 + k * 0.1, 5, 50), 1.0) for k in range(500)]
    backward = [chunk_of(times_ns(4000 + k * 0.1 - 3600, 5, 50), 1.0) for k in range(500)]

    def seconds(chunks: list[Chunk]) -> tuple[float, int]:
        signal = stream()
        signal.push(chunk_of(times_ns(3999, 50, 50), 1.0))
        begin_s = time.thread_time()
        for chunk in chunks:
            signal.push(chunk)
        return time.thread_time() - begin_s, signal.dropped

    normal_s = min(seconds(forward)[0] for _ in range(3))
    runs = [seconds(backward) for _ in range(3)]
    assert {dropped for _, dropped in runs} == {2500}
    assert min(run[0] for run in runs) < 3 * normal_s


# --- losses --------------------------------------------------------------------------------------------------------


def test_rows_that_cannot_be_used_are_counted_and_leave_the_rest_right() -> None:
    times = times_ns(0, 101, 50)
    values = times / 1e9
    values[[10, 11, 40]] = [np.nan, np.inf, -np.inf]
    times[60], times[61] = times[59], times[30]
    signal = stream()
    hops = signal.push(chunk_of(times, values, dropped=7))
    assert signal.dropped == 7 + 3 + 2
    assert wholes(hops) == dict.fromkeys(range(4), True)
    assert [hop.dropped for hop in hops] == [9, 10, 12, 12]
    line_is_right(hops)


def test_a_row_with_one_bad_channel_is_left_out_whole() -> None:
    chunk = chunk_of(times_ns(0, 101, 50), 1.0)
    chunk.samples[20, 5] = np.nan
    signal = stream()
    hops = signal.push(chunk)
    assert signal.dropped == 1
    assert all(hop.samples is not None and np.isfinite(hop.samples).all() for hop in hops)


@pytest.mark.parametrize("channels", [6, 3], ids=["all zeros", "with a live gyroscope"])
@pytest.mark.parametrize("places", [[101], [3, 40, 101]])
@pytest.mark.parametrize(
    "value", [0.0, -9.80665 / 16384, 0.004 * 9.80665], ids=["zeros", "a step of 2 g in 16 bits", "a step of 4 mg"]
)
def test_rows_without_acceleration_are_left_out_up_to_ten_in_a_row(
    channels: int, places: list[int], value: float
) -> None:
    chunk = chunk_of(times_ns(0, 101, 50), 1.0)
    chunk.samples[[20, 39, 40, *range(60, 73)], :channels] = value
    signal = stream()
    hops = [hop for part in cut(chunk, places) for hop in signal.push(part)]
    assert signal.dropped == 3 + 10
    values = [hop.samples[:, 0] for hop in hops if hop.samples is not None]
    assert np.unique(np.concatenate(values[:2])).tolist() == [1.0]
    assert np.concatenate(values[2:]).min() == np.float32(min(value, 1.0))


def test_an_acceleration_that_is_short_and_not_the_same_on_each_axis_is_kept() -> None:
    chunk = chunk_of(times_ns(0, 101, 50), 1.0)
    chunk.samples[30:33, :3] = [[0.0, 0.01, 0.0], [0.01, 0.01, -0.02], [0.06, 0.06, 0.06]]
    signal = stream()
    signal.push(chunk)
    assert signal.dropped == 0


def test_zeros_of_a_sensor_that_never_gave_anything_else_and_of_what_is_no_imu_are_kept() -> None:
    signal = stream()
    assert len(signal.push(chunk_of(times_ns(0, 101, 50), 0.0))) == 4
    modality = signal_modality()
    other = replace(modality, channels=tuple(replace(channel, unit="") for channel in modality.channels))
    plain = open_stream(other, HopGrid(0, HOP_NS))
    values = np.ones(101)
    values[30] = 0.0
    plain.push(chunk_of(times_ns(0, 101, 50), values))
    assert (signal.dropped, plain.dropped) == (0, 0)


def test_nothing_but_bad_rows_gives_nothing() -> None:
    signal = stream()
    assert signal.push(chunk_of(times_ns(0, 101, 50), np.full(101, np.nan))) == []
    assert (signal.first_ns, signal.last_ns, signal.dropped) == (None, None, 101)


def test_empty_chunks_are_harmless() -> None:
    chunk, empty = chunk_of(times_ns(0, 101, 50), 1.0), chunk_of(np.empty(0, np.int64), 0.0)
    plain, mixed = stream(), stream()
    expected = described(plain.push(chunk))
    hops = mixed.push(empty)
    for part in cut(chunk, range(0, 101, 7)):
        hops += mixed.push(part) + mixed.push(empty)
    assert described(hops) == expected
    assert mixed.push(Chunk("imu", empty.samples, empty.times_ns, dropped=3)) == []
    assert mixed.dropped == 3


@pytest.mark.parametrize(
    ("samples", "times"),
    [
        (np.zeros((5, 3), np.float32), np.arange(5)),
        (np.zeros((5, 7), np.float32), np.arange(5)),
        (np.zeros((5, 6), np.float32), np.arange(4)),
        (np.zeros(5, np.float32), np.arange(5)),
        (np.zeros((5, 6, 1), np.float32), np.arange(5)),
        (np.zeros((5, 6), np.float32), np.arange(5.0)),
        (np.zeros((5, 6), np.float32), np.arange(5)[:, None]),
        (np.float32(0), np.arange(5)),
    ],
)
def test_a_chunk_of_another_shape_is_refused(samples: NDArray[np.float32], times: NDArray[np.int64]) -> None:
    with pytest.raises(ConfigError, match="imu"):
        stream().push(Chunk("imu", np.asarray(samples), times))


# --- cuts ----------------------------------------------------------------------------------------------------------


def described(hops: Sequence[Hop]) -> list[tuple[object, ...]]:
    """Every bit of every hop."""
    return [
        (hop.index, None if hop.samples is None else hop.samples.tobytes(), hop.last_ns, hop.dropped, hop.input_hz)
        for hop in hops
    ]


def troubled_chunks(seed: int, rate_hz: float) -> list[Chunk]:
    """A signal with everything that goes wrong: jitter, NaN, repeated and backward times, gaps, a jump."""
    random = np.random.default_rng(seed)
    times = jittered_ns(rate_hz, 6, 0.4)
    values = np.cumsum(random.normal(size=len(times)))
    for _ in range(random.integers(0, 6)):
        values[random.integers(len(times))] = random.choice([np.nan, np.inf])
    for _ in range(random.integers(0, 4)):
        place = int(random.integers(1, len(times)))
        times[place] = times[place - 1] if random.random() < 0.5 else times[place] - random.integers(0, 10**9)
    for _ in range(random.integers(0, 3)):
        times[random.integers(len(times)) :] += random.integers(0, 1_200_000_000)
    if random.random() < 0.2:
        times[random.integers(len(times)) :] += TEN_YEARS_NS
    if random.random() < 0.2:
        times[random.integers(len(times)) :] -= 3600 * 10**9
    if random.random() < 0.3:
        values[random.random(len(values)) < 0.3] = 0.0
    middle = int(random.integers(len(times)))
    return [
        chunk_of(times[:middle], values[:middle]),
        chunk_of(times[middle:], values[middle:], dropped=int(random.integers(0, 5))),
    ]


@settings(max_examples=times(150), deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rate_hz=st.sampled_from(RATES_HZ[:5]),
    places=st.lists(st.integers(0, 1300), max_size=40),
)
def test_where_the_chunks_are_cut_changes_nothing(seed: int, rate_hz: float, places: list[int]) -> None:
    one, many, single = stream(), stream(), stream()
    expected: list[Hop] = []
    hops: list[Hop] = []
    by_sample: list[Hop] = []
    for chunk in troubled_chunks(seed, rate_hz):
        expected += one.push(chunk)
        for part in cut(chunk, places):
            hops += many.push(part)
        for part in cut(chunk, range(len(chunk.times_ns))):
            by_sample += single.push(part)
    assert described(hops) == described(by_sample) == described(expected)
    for other in (many, single):
        assert (other.next_hop, other.first_ns, other.last_ns, other.dropped) == (
            one.next_hop,
            one.first_ns,
            one.last_ns,
            one.dropped,
        )
