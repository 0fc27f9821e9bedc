"""The one clock: captures are found from late, jittering, batched, stalled and broken arrivals."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from fuzzing import times
from hypothesis import given, settings
from hypothesis import strategies as st
from mmg.errors import ConfigError
from mmg.sources.clock.clock_map import ClockMap
from mmg.sources.protocols.framing import Unwrapped
from numpy.typing import NDArray

Times = NDArray[np.int64]
SECOND, MS = 10**9, 10**6
BOOT_NS = 7_000 * SECOND  # the host's clock at the first sample
fixed = settings(max_examples=times(100), derandomize=True, deadline=None)


@dataclass(frozen=True)
class Recording:
    """What a device did: ``(T,)`` ticks, true captures and arrivals, the latter two in host ns."""

    device: Times
    capture: Times
    arrival: Times


def record(seconds: float, *, hz: float = 100, drift_ppm: float = 0, jitter_ms: float = 5, seed: int = 0) -> Recording:
    """A device clock in ns from 0, and arrivals that scatter normally around the captures."""
    device = np.round(np.arange(round(seconds * hz)) * 1e9 / hz).astype(np.int64)
    capture = BOOT_NS + device + np.round(device * drift_ppm * 1e-6).astype(np.int64)
    jitter = np.random.default_rng(seed).normal(0, jitter_ms * MS, device.size)
    return Recording(device, capture, capture + jitter.astype(np.int64))


def indexed(recording: Recording) -> Recording:
    """The same from a device without a clock: its ticks only count the samples."""
    return replace(recording, device=np.arange(recording.device.size))


def stamp(clock: ClockMap, recording: Recording, batch: int = 20) -> Times:
    """In batches, each sample with its own arrival."""
    starts = range(0, recording.device.size, batch)
    return np.concatenate(
        [clock.stamp(recording.device[i : i + batch], recording.arrival[i : i + batch]) for i in starts]
    )


def stamp_reads(clock: ClockMap, recording: Recording, seed: int = 0) -> Times:
    """In reads of 1 to 50 samples that share the arrival of their last."""
    rng, stamped, start = np.random.default_rng(seed), [], 0
    while start < recording.device.size:
        device = recording.device[start : start + int(rng.integers(1, 51))]
        start += device.size
        stamped.append(clock.stamp(device, int(recording.arrival[start - 1])))
    return np.concatenate(stamped)


def unwrapped_us(counter: Times) -> Times:
    """What a parser makes of a 32-bit counter in us: ns that do not wrap."""
    endless, ticks = Unwrapped(32), np.empty_like(counter)
    for n, raw in enumerate(counter.tolist()):
        endless.step(raw)
        ticks[n] = endless.value
    return ticks * 1000


def error_ms(stamped: Times, recording: Recording) -> NDArray[np.float64]:
    return np.abs((stamped - recording.capture).astype(np.float64)) / MS


def p99(errors: NDArray[np.float64]) -> float:
    return float(np.percentile(errors, 99))


def is_increasing(stamped: Times) -> bool:
    return bool((np.diff(stamped) > 0).all())


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(times(1)))
def test_an_hour_with_drift_jitter_and_outliers_is_stamped_within_2_ms(seed: int) -> None:
    hour = record(3600, drift_ppm=100, seed=seed)
    is_outlier = np.random.default_rng(seed + 100).random(hour.device.size) < 0.01
    hour = replace(hour, arrival=hour.arrival + np.where(is_outlier, 200 * MS, 0))
    clock = ClockMap()
    stamped, drift_ppm = [], []
    for start in range(0, hour.device.size, 100):  # a second
        one = slice(start, start + 100)
        stamped.append(clock.stamp(hour.device[one], hour.arrival[one]))
        drift_ppm.append(clock.quality.drift_ppm)
    times = np.concatenate(stamped)
    assert is_increasing(times)
    assert p99(error_ms(times, hour)[3000:]) < 0.5  # 2 ms asked
    assert np.abs(np.diff(times)[3000:] / MS - 10).max() < 2
    assert np.abs(np.array(drift_ppm[150:]) - 100).max() < 3
    quality = clock.quality
    assert quality.offset_ms == pytest.approx(BOOT_NS / MS + 3600 * 0.1, abs=1)
    assert quality.jitter_ms == pytest.approx(5, rel=0.15)
    assert quality.uncertainty_ms < 0.1
    assert quality.outliers == pytest.approx(is_outlier.sum(), abs=60)
    assert quality.jumps == 0


def test_the_first_samples_are_usable() -> None:
    errors = np.stack([error_ms(stamp(ClockMap(), r), r) for r in (record(10, seed=s) for s in range(50))])
    assert p99(errors[:, 0]) < 15  # one arrival is all there is: three times its jitter
    assert p99(errors[:, 100:200]) < 4
    assert p99(errors[:, 900:]) < 2


def test_the_first_read_is_spread_over_its_nominal_period() -> None:
    stamped = ClockMap(10 * MS).stamp(np.arange(5), BOOT_NS)
    assert (BOOT_NS - stamped).tolist() == [40 * MS, 30 * MS, 20 * MS, 10 * MS, 0]


@pytest.mark.parametrize("restarts", [False, True], ids=["the host sleeps", "both sleep, the counter restarts"])
def test_a_wrap_and_a_suspend_leave_no_false_gap(restarts: bool) -> None:
    awake = record(1800, drift_ppm=100)
    slept = 135_000  # the first sample after it
    sleep_ns = np.where(np.arange(awake.device.size) < slept, 0, 10 * SECOND)
    counter = awake.device // 1000 + 2**32 - 900 * 10**6  # us; wraps after a quarter of an hour
    if restarts:
        counter[slept:] -= counter[slept]
    night = Recording(unwrapped_us(counter % 2**32), awake.capture + sleep_ns, awake.arrival + sleep_ns)
    clock = ClockMap()
    stamped = stamp(clock, night, batch=200)
    errors = error_ms(stamped, night)
    assert is_increasing(stamped)
    assert errors[3000:slept].max() < 2
    assert errors[slept + 100 :].max() < 2
    steps_ms = np.diff(stamped[3000:]) / MS
    gap = int(steps_ms.argmax())
    assert steps_ms[gap] == pytest.approx(10_010, abs=20)
    assert abs(gap - (slept - 3001)) < 100
    assert np.abs(np.delete(steps_ms, range(slept - 3001, slept - 2900)) - 10).max() < 2
    assert clock.quality.jumps == 1
    assert clock.quality.drift_ppm == pytest.approx(100, abs=3)


def test_two_sleeps_minutes_apart_are_not_taken_for_a_wrong_rate() -> None:
    awake = record(520, drift_ppm=100)
    slept_ns = np.digitize(awake.device, [200 * SECOND, 500 * SECOND]) * 10 * SECOND
    clock = ClockMap()
    stamp(clock, Recording(awake.device, awake.capture + slept_ns, awake.arrival + slept_ns))
    assert clock.quality.jumps == 2
    assert clock.quality.drift_ppm == pytest.approx(100, abs=3)


@pytest.mark.parametrize("uptime_s", [300, 3000], ids=["counted back", "taken for a wrap"])
def test_a_device_that_reboots_is_followed_from_its_first_sample(uptime_s: int) -> None:
    recording = record(600, drift_ppm=100)
    reboot = 30_000
    down_ns = np.where(np.arange(recording.device.size) < reboot, 0, 3 * SECOND)
    counter = recording.device // 1000 + (uptime_s - 300) * 10**6
    counter[reboot:] -= counter[reboot]
    rebooted = Recording(unwrapped_us(counter), recording.capture + down_ns, recording.arrival + down_ns)
    clock = ClockMap()
    stamped = stamp(clock, rebooted)
    errors = error_ms(stamped, rebooted)
    assert is_increasing(stamped)
    assert errors[reboot:].max() < 15
    assert errors[reboot + 100 :].max() < 2
    assert clock.quality.jumps == 1
    assert clock.quality.drift_ppm == pytest.approx(100, abs=3)


@pytest.mark.parametrize("drain_ns", [0, 100_000, 5 * MS], ids=["one read", "many reads", "at twice the rate"])
def test_samples_that_wait_for_a_stalled_port_get_their_true_times(drain_ns: int) -> None:
    recording = record(120, drift_ppm=100)
    stall_end = int(recording.capture[6000]) + 2 * SECOND
    waited = np.arange(6000, recording.device.size)
    arrival = recording.arrival.copy()
    arrival[waited] = np.maximum(arrival[waited], stall_end + (waited - 6000) * drain_ns)
    stalled = replace(recording, arrival=arrival)
    clock = ClockMap()
    stamped = stamp(clock, stalled, batch=200)
    assert error_ms(stamped, stalled)[3000:].max() < 2
    assert np.abs(np.diff(stamped[3000:]) / MS - 10).max() < 2
    assert clock.quality.jumps == 0


def test_reads_of_1_to_50_samples_are_spread_over_their_true_times() -> None:
    errors = []
    for seed in range(10):
        recording = record(300, drift_ppm=100, jitter_ms=2, seed=seed)
        stamped = stamp_reads(ClockMap(), recording, seed)
        assert is_increasing(stamped)
        errors.append(error_ms(stamped, recording)[3000:])
    assert p99(np.concatenate(errors)) < 1.5
    assert np.median(np.concatenate(errors)) < 0.3


@pytest.mark.parametrize("rate_error", [1e-3, 1e-2])
def test_a_nominal_rate_wrong_by_a_percent_is_found_out(rate_error: float) -> None:
    recording = indexed(record(300, hz=101))
    clock = ClockMap(1e9 / 100, rate_error=rate_error)
    stamped = stamp(clock, recording)
    assert p99(error_ms(stamped, recording)[3000:]) < 1
    assert 1e9 / clock.quality.tick_ns == pytest.approx(101, abs=1e-3)
    assert clock.quality.drift_ppm == pytest.approx((100 / 101 - 1) * 1e6, abs=10)
    batched = stamp_reads(ClockMap(1e9 / 100, rate_error=rate_error), recording)
    assert p99(error_ms(batched, recording)[6000:]) < 2


@pytest.mark.parametrize("hz", [50, 80, 125, 200])
def test_a_nominal_rate_that_is_plainly_wrong_is_replaced_within_half_a_minute(hz: int) -> None:
    recording = indexed(record(120, hz=hz))
    for stamped in (stamp(ClockMap(1e9 / 100), recording), stamp_reads(ClockMap(1e9 / 100), recording)):
        assert p99(error_ms(stamped, recording)[60 * hz :]) < 4


def test_a_device_without_clock_or_known_rate_is_stamped_by_its_count() -> None:
    recording = indexed(record(300, hz=97.3))
    clock = ClockMap(None)
    stamped = stamp(clock, recording)
    assert is_increasing(stamped)
    assert p99(error_ms(stamped, recording)[300:]) < 3
    assert p99(error_ms(stamped, recording)[3000:]) < 1
    assert 1e9 / clock.quality.tick_ns == pytest.approx(97.3, abs=1e-3)
    assert clock.quality.drift_ppm == 0
    batched = stamp_reads(ClockMap(None), recording)
    assert p99(error_ms(batched, recording)[6000:]) < 2


def test_two_reads_give_an_unknown_rate() -> None:
    clock = ClockMap(None)
    clock.stamp(np.arange(10), BOOT_NS)
    second = clock.stamp(np.arange(10, 20), BOOT_NS + 100 * MS)
    assert (second - BOOT_NS).tolist() == [10 * MS * i for i in range(1, 11)]


def test_audio_is_stamped_by_its_sample_count() -> None:
    hz, block, callbacks = 48_000, 960, 3000
    last = np.arange(1, callbacks + 1) * block - 1
    captured = BOOT_NS + np.round(last * 1e9 / hz * (1 - 80e-6)).astype(np.int64)
    called = captured + np.random.default_rng(0).normal(3 * MS, 0.3 * MS, callbacks).astype(np.int64)
    clock = ClockMap(1e9 / hz, latency_ms=3)
    stamped = np.concatenate(
        [clock.stamp(np.arange(n + 1 - block, n + 1), int(at)) for n, at in zip(last, called, strict=True)]
    )
    true = BOOT_NS + np.round(np.arange(stamped.size) * 1e9 / hz * (1 - 80e-6)).astype(np.int64)
    assert is_increasing(stamped)
    assert np.abs(stamped - true)[hz:].max() / MS < 0.3
    assert np.abs(stamped - true)[10 * hz :].max() / MS < 0.1
    assert clock.quality.drift_ppm == pytest.approx(-80, abs=3)
    assert clock.quality.jitter_ms == pytest.approx(0.3, rel=0.2)


@pytest.mark.parametrize("garble_ns", [3600 * SECOND, -3600 * SECOND, 2**62])
def test_one_garbled_tick_harms_no_other_sample(garble_ns: int) -> None:
    recording = record(120)
    device = recording.device.copy()
    device[6000] += garble_ns
    garbled = replace(recording, device=device)
    clock = ClockMap()
    stamped = stamp(clock, garbled, batch=1)
    assert np.abs(stamped[6000] - recording.capture[6000]) < 20 * MS
    assert np.delete(error_ms(stamped, recording), [6000, 6001])[3000:].max() < 2
    assert (clock.quality.outliers, clock.quality.jumps) == (1, 0)


def test_a_tick_garbled_ahead_within_a_read_holds_up_only_the_rest_of_the_read() -> None:
    clock = ClockMap(10 * MS)
    clock.stamp(np.arange(10), BOOT_NS)
    stamped = clock.stamp(np.array([10, 11, 10**9, 13, 14]), BOOT_NS + 50 * MS)
    assert (stamped[:2] - BOOT_NS).tolist() == [10 * MS, 20 * MS]
    assert (stamped[2:] - BOOT_NS).tolist() == [50 * MS, 50 * MS + 1, 50 * MS + 2]


def test_samples_lost_without_a_count_shift_the_clock_for_a_second_only() -> None:
    recording = record(120)
    kept = np.delete(np.arange(recording.device.size), [6000, 6001])
    lossy = Recording(np.arange(kept.size), recording.capture[kept], recording.arrival[kept])
    clock = ClockMap(10 * MS)
    errors = error_ms(stamp(clock, lossy), lossy)
    assert errors[6000] > 18
    assert errors[6100:].max() < 3
    assert clock.quality.drift_ppm == pytest.approx(0, abs=10)


def test_a_clock_is_in_doubt_while_reads_come_at_another_time_than_it_says() -> None:
    clock, doubts = ClockMap(10 * MS), []
    for number in range(600):
        late = 200 * MS if 200 <= number < 210 or number >= 220 else 0
        clock.stamp(np.array([number]), BOOT_NS + number * 10 * MS + late)
        doubts.append(clock.is_in_doubt)
    # A read is judged when the next one comes. The 200 ms of the last ones stay, and are believed after 3 s.
    assert [number for number in range(220) if doubts[number]] == [*range(201, 211)]
    assert doubts.index(False, 221) == pytest.approx(220 + 300, abs=2)
    assert not any(doubts[525:])


def test_spells_of_congestion_do_not_move_the_clock() -> None:
    recording = record(300, jitter_ms=1)
    second = recording.device // SECOND
    late = replace(recording, arrival=recording.arrival + np.where(second % 10 == 9, 60 * MS, 0))
    clock = ClockMap()
    assert error_ms(stamp(clock, late), late)[3000:].max() < 1
    assert clock.quality.jumps == 0


def test_a_rate_that_wanders_with_the_temperature_is_followed() -> None:
    recording = record(600)
    rate = 1 + np.linspace(100e-6, 120e-6, recording.device.size)
    capture = BOOT_NS + np.cumsum(10 * MS * rate).astype(np.int64)
    warming = Recording(recording.device, capture, recording.arrival - recording.capture + capture)
    assert error_ms(stamp(ClockMap(), warming), warming)[3000:].max() < 1


def test_a_clock_set_back_on_the_host_never_sends_the_captures_back() -> None:
    recording = record(120)
    set_back = np.where(np.arange(recording.device.size) < 6000, 0, -SECOND)
    moved = Recording(recording.device, recording.capture + set_back, recording.arrival + set_back)
    clock = ClockMap()
    stamped = stamp(clock, moved)
    assert is_increasing(stamped)
    assert error_ms(stamped, moved)[6150:].max() < 2  # after a second the host has caught up with what was given
    assert clock.quality.jumps == 1


@pytest.mark.parametrize("seconds_of_silence", [60, 36_000])
def test_a_long_silence_costs_no_accuracy_that_one_second_does_not_bring_back(seconds_of_silence: int) -> None:
    recording = record(600, drift_ppm=100)
    gap_ns = np.where(np.arange(recording.device.size) < 30_000, 0, seconds_of_silence * SECOND)
    silent = Recording(
        recording.device + gap_ns,
        recording.capture + gap_ns + gap_ns // 10_000,
        recording.arrival + gap_ns + gap_ns // 10_000,
    )
    clock = ClockMap()
    assert error_ms(stamp(clock, silent), silent)[30_100:].max() < 3
    assert clock.quality.jumps == 0


@pytest.mark.parametrize(("before_ms", "after_ms"), [(0.1, 3), (0.01, 1), (5, 0.1)])
def test_a_jitter_that_changes_is_learnt_anew(before_ms: float, after_ms: float) -> None:
    steady = record(300, jitter_ms=1, seed=3)
    scale = np.where(np.arange(steady.device.size) < 10_000, before_ms, after_ms)
    jitter = ((steady.arrival - steady.capture) * scale).astype(np.int64)
    changing = replace(steady, arrival=steady.capture + jitter)
    clock = ClockMap()
    assert error_ms(stamp(clock, changing), changing)[10_000:].max() < 2
    assert clock.quality.jitter_ms == pytest.approx(after_ms, rel=0.2)


def test_arrivals_that_never_jitter_do_not_promise_more_than_a_tenth_of_a_millisecond() -> None:
    clock = ClockMap()
    stamp(clock, record(60, jitter_ms=0))
    assert clock.quality.jitter_ms == 0.1
    assert 0 < clock.quality.uncertainty_ms < 0.1


def test_the_known_latency_is_taken_off() -> None:
    recording = record(10)
    plain, earlier = stamp(ClockMap(), recording), stamp(ClockMap(latency_ms=8), recording)
    assert np.unique(plain - earlier).tolist() == [8 * MS]


@settings(fixed, max_examples=times(40))
@given(seed=st.integers(0, 2**32 - 1), batches=st.lists(st.integers(1, 400), min_size=1, max_size=20))
def test_splitting_samples_otherwise_changes_nothing(seed: int, batches: list[int]) -> None:
    recording = record(20, drift_ppm=50, seed=seed)
    ends = np.cumsum(batches)
    cuts = ends[ends < recording.device.size]
    clock = ClockMap()
    parts = zip(np.split(recording.device, cuts), np.split(recording.arrival, cuts), strict=True)
    split = np.concatenate([clock.stamp(device, arrival) for device, arrival in parts])
    assert np.array_equal(split, stamp(ClockMap(), recording, batch=2000))


@fixed
@given(seed=st.integers(0, 2**32 - 1), tick_ns=st.sampled_from([None, 10.0 * MS]))
def test_splitting_a_read_changes_nothing_after_the_first_reads(seed: int, tick_ns: float | None) -> None:
    recording = indexed(record(20, seed=seed))
    rng = np.random.default_rng(seed)
    whole, split = ClockMap(tick_ns), ClockMap(tick_ns)
    start = 0
    for read in range(40):
        device = np.arange(start, start + int(rng.integers(1, 51)))
        arrival = int(recording.arrival[device[-1]])
        once = whole.stamp(device, arrival)
        cut = int(rng.integers(0, device.size + 1))
        twice = np.concatenate([split.stamp(device[:cut], arrival), split.stamp(device[cut:], arrival)])
        is_first = read < 2 or (tick_ns is None and arrival < BOOT_NS + 3 * SECOND)
        assert is_first or np.array_equal(once, twice)
        start += device.size


ticks = st.integers(-(2**61), 2**61) | st.integers(-1000, 1000)


@fixed
@given(
    reads=st.lists(st.tuples(st.lists(ticks, max_size=8), st.integers(0, 10**12)), max_size=40),
    tick_ns=st.sampled_from([None, 1.0, 10.0 * MS]),
)
def test_whatever_comes_the_captures_increase_and_stay_near_the_arrivals(
    reads: list[tuple[list[int], int]], tick_ns: float | None
) -> None:
    clock, last = ClockMap(tick_ns), None
    for device, arrival in reads:
        captures = clock.stamp(np.array(device, np.int64), arrival).tolist()
        for number, capture in enumerate(captures):
            assert last is None or capture > last
            assert capture <= max(arrival + SECOND // 2 + number + 1, (last or capture) + 1)
            last = capture


@pytest.mark.parametrize("tick_ns", [None, 1.0, 10.0 * MS])
def test_leaps_of_every_size_leave_the_clock_running(tick_ns: float | None) -> None:
    for seed in range(400):
        rng = np.random.default_rng(seed)
        leaps = (10.0 ** rng.uniform(0, 17, 30)).astype(np.int64) * rng.choice([1, 1, -1], 30)
        arrivals = np.cumsum((10.0 ** rng.uniform(0, 14, 30)).astype(np.int64))
        clock = ClockMap(tick_ns, rate_error=0.5)
        assert is_increasing(clock.stamp(np.cumsum(leaps), arrivals))
        assert np.isfinite([clock.quality.uncertainty_ms, clock.quality.drift_ppm]).all()


@settings(fixed, max_examples=times(25))
@given(seed=st.integers(0, 2**32 - 1), tick_ns=st.sampled_from([None, 1.0, 10.0 * MS]))
def test_after_any_garbage_a_good_device_is_stamped_well_again(seed: int, tick_ns: float | None) -> None:
    rng = np.random.default_rng(seed)
    garbage = int(rng.integers(1, 200))
    ticks = rng.normal(0, 10.0 ** rng.integers(0, 18), garbage).astype(np.int64)
    arrivals = np.cumsum(np.abs(rng.normal(0, 10.0 ** rng.integers(3, 10), garbage))).astype(np.int64)
    clock = ClockMap(tick_ns)
    clock.stamp(ticks, arrivals)
    good = record(60, seed=seed % 2**31)
    good = good if tick_ns == 1 else indexed(good)
    after_ns = max(int(arrivals[-1]) + SECOND - BOOT_NS, 0)
    good = Recording(good.device, good.capture + after_ns, good.arrival + after_ns)
    assert p99(error_ms(stamp(clock, good), good)[3000:]) < 2


def test_nothing_in_gives_nothing_out() -> None:
    clock = ClockMap()
    assert clock.stamp(np.empty(0, np.int64), BOOT_NS).tolist() == []
    assert clock.quality.drift_ppm == 0
    assert ClockMap(None).quality.tick_ns == 0


def test_the_samples_given_are_left_as_they_were() -> None:
    device, arrival = np.array([1, 2, 3]), np.array([10, 20, 30])
    ClockMap().stamp(device, arrival)
    assert (device.tolist(), arrival.tolist()) == ([1, 2, 3], [10, 20, 30])


def test_arrivals_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        ClockMap().stamp(np.arange(3), np.arange(2))


@pytest.mark.parametrize("tick_ns", [0, -1, float("nan"), float("inf")])
def test_a_period_that_cannot_be_is_refused(tick_ns: float) -> None:
    with pytest.raises(ConfigError, match="tick_ns"):
        ClockMap(tick_ns)


@pytest.mark.parametrize(("rate_error", "latency_ms"), [(0, 0), (1, 0), (1e-3, float("inf"))])
def test_a_rate_error_or_latency_that_cannot_be_is_refused(rate_error: float, latency_ms: float) -> None:
    with pytest.raises(ConfigError, match="rate_error"):
        ClockMap(rate_error=rate_error, latency_ms=latency_ms)


def test_few_samples_one_by_one_are_stamped_as_arrays_are() -> None:
    random = np.random.default_rng(5)
    few, arrays, tick, now_ns = ClockMap(None), ClockMap(None), 0, 10**12
    for _ in range(2000):
        count = int(random.integers(1, 6))
        ticks = list(range(tick, tick + count))
        tick += count + (random.random() < 0.01) * 7
        now_ns += count * 10_000_000 + int(random.normal(0, 2e6)) + (random.random() < 0.005) * 3 * 10**9
        stamped = arrays.stamp(np.array(ticks), np.full(count, now_ns))
        assert few.stamp_read(ticks, now_ns) == stamped.tolist()
    assert few.quality == arrays.quality


def split_batches(seconds: float, *, batch: int = 50, first: int = 37) -> tuple[Recording, list[slice]]:
    """At 100 Hz in batches of half a second, each of which comes in two reads 3 ms apart."""
    recording, arrival, reads = record(seconds, jitter_ms=0), [], []
    jitter = np.random.default_rng(1).normal(0, 2 * MS, recording.device.size).astype(np.int64)
    for begin in range(0, recording.device.size, batch):
        end = begin + batch
        sent_ns = int(recording.capture[end - 1] + jitter[begin])
        reads += [slice(begin, begin + first), slice(begin + first, end)]
        arrival += [sent_ns] * first + [sent_ns + 3 * MS] * (batch - first)
    return replace(recording, arrival=np.array(arrival)), reads


@pytest.mark.parametrize("tick_ns", [1.0, None], ids=["with a time", "counted"])
def test_a_batch_that_comes_in_several_reads_is_one(tick_ns: float | None) -> None:
    recording, reads = split_batches(60)
    ticks = recording.device if tick_ns else np.arange(recording.device.size)
    clock = ClockMap(tick_ns)
    stamped = np.concatenate([clock.stamp(ticks[read], int(recording.arrival[read][0])) for read in reads])
    assert is_increasing(stamped)
    errors = error_ms(stamped, recording)
    assert errors[200:].max() < 30
    assert errors[1000:].max() < 10
    assert np.abs(np.diff(stamped[200:]) / MS - 10).max() < 25
