"""Sound: any rate and channel count comes out at the model's, in time with its stamps."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
from fakes import HOP_S, audio_chunk, audio_modality, cut, times_ns
from fuzzing import times
from hypothesis import given, settings
from hypothesis import strategies as st
from mmg.errors import ConfigError
from mmg.streams import Hop, HopGrid, Stream, open_stream
from mmg.streams.audio import AudioStream
from mmg.types import Chunk
from numpy.typing import NDArray

HOP_NS = round(HOP_S * 1e9)
RATES_HZ = [8000, 11025, 16000, 22050, 44100, 48000, 96000]
TEN_YEARS_NS = 10 * 365 * 86_400 * 10**9


def stream(model_hz: float = 8000.0, origin_ns: int = 0) -> Stream:
    return open_stream(audio_modality(model_hz), HopGrid(origin_ns, HOP_NS))


def sound_of(times: NDArray[np.int64], values: NDArray[np.float64] | float, rate_hz: float, dropped: int = 0) -> Chunk:
    column = np.broadcast_to(np.asarray(values, np.float64), times.shape)
    return Chunk("audio", column[:, None].astype(np.float32), times, rate_hz, dropped)


def push_all(sound: Stream, chunks: Iterable[Chunk]) -> list[Hop]:
    return [hop for chunk in chunks for hop in sound.push(chunk)]


def joined(hops: Sequence[Hop]) -> NDArray[np.float32]:
    """The samples of hops that are all whole and follow one another."""
    assert [hop.index for hop in hops] == list(range(hops[0].index, hops[0].index + len(hops)))
    samples = [hop.samples for hop in hops if hop.samples is not None]
    assert len(samples) == len(hops)
    return np.concatenate(samples)[:, 0]


def wholes(hops: Sequence[Hop]) -> dict[int, bool]:
    return {hop.index: hop.samples is not None for hop in hops}


def fitted(sound: NDArray[np.float32], seconds: NDArray[np.float64], tone_hz: float) -> tuple[float, float, float]:
    """Amplitude, delay in seconds, and what is left over (root mean square), of the tone that fits best."""
    angle = 2 * np.pi * tone_hz * seconds
    basis = np.stack((np.sin(angle), np.cos(angle)), axis=1)
    (sine, cosine), *_ = np.linalg.lstsq(basis, sound.astype(np.float64), rcond=None)
    rest = sound - basis @ (sine, cosine)
    return float(np.hypot(sine, cosine)), float(-np.arctan2(cosine, sine) / (2 * np.pi * tone_hz)), float(rest.std())


# --- values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", range(1, 8))
@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("begin_s", [0.0, 0.0312])
def test_a_tone_keeps_its_pitch_its_loudness_and_its_time(rate_hz: float, channels: int, begin_s: float) -> None:
    mono = audio_chunk(begin_s, 1.7, rate_hz)
    # The channels differ, and their mean is the tone.
    shares = np.arange(1, channels + 1) / np.arange(1, channels + 1).mean()
    chunk = replace(mono, samples=mono.samples * shares.astype(np.float32))
    hops = push_all(stream(16000), cut(chunk, range(0, len(chunk.times_ns), round(rate_hz / 50))))
    # The first hop of a sensor that starts within it begins with silence.
    sound = joined(hops[1:])
    seconds = HOP_S + np.arange(len(sound)) / 16000
    amplitude, delay_s, rest = fitted(sound, seconds, 440.0)
    assert len(sound) == 16000
    assert amplitude == pytest.approx(0.5, rel=0.01)
    assert abs(delay_s) < 0.0001
    assert rest < 0.002


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_click_comes_out_where_it_was(rate_hz: float) -> None:
    # A tone's time is known but for whole periods; a click's is not.
    seconds = np.arange(round(2 * rate_hz)) / rate_hz
    click = np.exp(-(((seconds - 0.75) / 0.001) ** 2))
    sound = joined(stream(16000).push(sound_of(times_ns(0, len(seconds), rate_hz), click, rate_hz)))
    assert int(sound.argmax()) / 16000 == pytest.approx(0.75, abs=0.0002)
    assert float(sound.max()) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_constant_stays_that_constant(rate_hz: float) -> None:
    chunk = sound_of(times_ns(0, round(2 * rate_hz), rate_hz), 0.25, rate_hz)
    sound = joined(stream(16000).push(chunk)[1:])
    np.testing.assert_allclose(sound, 0.25, atol=0.001)


def test_what_the_model_cannot_hear_does_not_come_back_lower() -> None:
    # 7 kHz has no place in 8000 samples a second; picking samples would make 1 kHz of it.
    sound = joined(stream(8000).push(audio_chunk(0, 2, 48000, tone_hz=7000.0))[1:])
    assert float(sound.std()) < 0.005


def test_the_models_own_rate_goes_through_bit_for_bit() -> None:
    chunk = audio_chunk(0, 2)
    assert joined(stream().push(chunk)).tobytes() == chunk.samples[:, 0].tobytes()


def test_an_array_may_be_used_again_once_it_was_pushed() -> None:
    chunk, sound = audio_chunk(0, 2), stream()
    hops: list[Hop] = []
    for piece in cut(replace(chunk, samples=chunk.samples.copy()), range(0, 16000, 160)):
        hops += sound.push(piece)
        piece.samples[:] = 9
    assert joined(hops).tobytes() == chunk.samples[:, 0].tobytes()


def test_integers_are_taken_as_they_are() -> None:
    chunk = Chunk("audio", np.full((8000, 2), 3, np.int16), times_ns(0, 8000, 8000), 8000.0)
    assert set(joined(stream().push(chunk)).tolist()) == {3.0}


@pytest.mark.parametrize(("rate_hz", "seconds"), [(100.0, 50), (1e6, 1.2)])
def test_the_slowest_and_the_fastest_sound_are_taken_with_their_slips(rate_hz: float, seconds: float) -> None:
    times = times_ns(0, round(seconds * rate_hz), rate_hz)
    times[len(times) // 2 :] += 30_000_000
    sound = stream()
    hops = sound.push(sound_of(times, 0.25, rate_hz))
    assert sound.dropped == round(0.03 * rate_hz)
    np.testing.assert_allclose(joined(hops[1:]), 0.25, atol=0.002)


# --- where it begins -----------------------------------------------------------------------------------------------


def numbered(begin_s: float, seconds: float, rate_hz: float = 8000.0) -> Chunk:
    """A sound whose samples tell their own time, in units of ten seconds."""
    times = times_ns(begin_s, round(seconds * rate_hz), rate_hz)
    return sound_of(times, times / 1e10, rate_hz)


@pytest.mark.parametrize("origin_ns", [0, 123_456_000, 1_700_000_000 * 10**9, -5 * 10**9])
def test_the_grid_may_begin_anywhere(origin_ns: int) -> None:
    chunk = numbered(0, 2)
    hops = stream(origin_ns=origin_ns).push(replace(chunk, times_ns=chunk.times_ns + origin_ns))
    assert [hop.index for hop in hops] == [0, 1, 2, 3]
    assert joined(hops).tobytes() == chunk.samples[:, 0].tobytes()


def test_a_microphone_that_starts_just_after_the_hop_has_that_hop() -> None:
    hops = stream().push(numbered(0.05, 2))
    assert wholes(hops) == dict.fromkeys(range(4), True)
    times_are_right(hops, from_s=0.05)


def test_a_microphone_that_starts_later_has_the_hop_after() -> None:
    hops = stream().push(numbered(0.06, 2))
    assert wholes(hops) == {0: False, 1: True, 2: True, 3: True}
    times_are_right(hops)


def times_are_right(hops: Sequence[Hop], within_s: float = 0.0002, from_s: float = 0.0) -> None:
    """Every sample of a numbered sound is at its place."""
    for hop in hops:
        if hop.samples is not None:
            due_s = hop.index * HOP_S + np.arange(len(hop.samples)) / len(hop.samples) * HOP_S
            heard_s = hop.samples[:, 0].astype(np.float64) * 10
            late = np.abs(heard_s - due_s)[due_s >= from_s]
            assert float(late.max(initial=0)) <= within_s


# --- clocks --------------------------------------------------------------------------------------------------------


def drifting(ppm: float, seconds: float, rate_hz: float, chunk_s: float) -> Iterator[Chunk]:
    """A sound whose device's clock is slower (ppm > 0: samples come further apart) or faster than its stamps."""
    total, size = round(seconds * rate_hz), round(chunk_s * rate_hz)
    for begin in range(0, total, size):
        times = np.round((begin + np.arange(size)) * (1 + ppm * 1e-6) * 1e9 / rate_hz).astype(np.int64)
        yield sound_of(times, times / 1e12, rate_hz)


@pytest.mark.parametrize("rate_hz", [2000.0, 3000.0])
@pytest.mark.parametrize(("ppm", "seconds", "chunk_s"), [(100, 230, 0.02), (100, 230, 1.0), (1000, 23, 0.004)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_slow_drift_is_followed_without_a_reset(
    sign: int, ppm: float, seconds: float, chunk_s: float, rate_hz: float
) -> None:
    sound = stream(2000.0)
    hops = push_all(sound, drifting(sign * ppm, seconds, rate_hz, chunk_s))
    assert [hop.index for hop in hops] == list(range(len(hops)))
    assert len(hops) >= seconds / HOP_S - 2
    # 100 ppm of 230 s are 23 ms: two slips of 10 ms.
    assert sound.dropped == pytest.approx(0.020 * rate_hz, abs=5)
    for hop in hops[1:]:
        assert hop.samples is not None
        due_s = hop.index * HOP_S + np.arange(1000) / 2000
        assert float(np.abs(hop.samples[:, 0].astype(np.float64) * 1000 - due_s).max()) < 0.0115


def test_stamps_that_jitter_by_less_than_a_slip_change_nothing() -> None:
    chunk = numbered(0, 3)
    jitter = np.random.default_rng(3).integers(-4_000_000, 4_000_000, len(chunk.times_ns))
    jitter[0] = 0
    sound = stream()
    hops = push_all(sound, cut(replace(chunk, times_ns=chunk.times_ns + jitter), range(0, 24000, 80)))
    assert joined(hops).tobytes() == chunk.samples[: len(hops) * 4000, 0].tobytes()
    assert sound.dropped == 0


def jumped(jump_s: float, at_s: float = 1.2, seconds: float = 3.0) -> list[Chunk]:
    """A numbered sound whose stamps, and what it tells, jump at one instant; 20 ms a chunk."""
    whole = numbered(0, seconds)
    late = whole.times_ns + np.where(whole.times_ns >= round(at_s * 1e9), round(jump_s * 1e9), 0)
    return list(cut(sound_of(late, late / 1e10, 8000), range(0, len(late), 160)))


@pytest.mark.parametrize("jump_s", [0.012, 0.03, 0.049])
def test_a_short_hole_is_filled_and_counted(jump_s: float) -> None:
    sound = stream()
    hops = push_all(sound, jumped(jump_s))
    assert wholes(hops) == dict.fromkeys(range(6), True)
    assert sound.dropped == round(jump_s * 8000)
    times_are_right(hops, within_s=jump_s + 0.0002)
    times_are_right(hops[3:])


def test_a_jump_of_60_ms_begins_anew() -> None:
    hops = push_all(stream(), jumped(0.060))
    assert wholes(hops) == {0: True, 1: True, 2: False, 3: True, 4: True, 5: True}
    times_are_right(hops)


def test_a_gap_takes_the_hops_that_it_touches_and_no_other() -> None:
    hops = push_all(stream(), jumped(2.0))
    assert {index for index, whole in wholes(hops).items() if whole} == {0, 1, 7, 8, 9}
    assert wholes(hops)[2] is False
    times_are_right(hops)


MISSING_S = (1.1, 1.12, 1.14, 1.16, 1.3, 1.32, 1.34, 1.36)


def test_two_gaps_in_one_hop_take_that_hop_only() -> None:
    whole = numbered(0, 3)
    chunks = cut(whole, range(0, 24000, 160))
    hops = push_all(stream(), [chunk for chunk in chunks if round(chunk.times_ns[0] / 1e7) / 100 not in MISSING_S])
    assert wholes(hops) == {0: True, 1: True, 2: False, 3: True, 4: True, 5: True}
    times_are_right(hops)


def test_stamps_that_jump_at_every_sample_do_not_use_up_the_hops_to_come() -> None:
    sound = stream()
    hops = sound.push(sound_of(times_ns(0, 50, 10), 0.0, 8000))
    assert all(hop.samples is None and hop.index < 10 for hop in hops)
    later = sound.push(numbered(5, 2))
    assert {index for index, whole in wholes(later).items() if whole} == {10, 11, 12, 13}
    times_are_right(later)


def test_a_clock_that_jumps_ten_years_costs_a_few_hops() -> None:
    sound = stream()
    hops = push_all(sound, jumped(TEN_YEARS_NS / 1e9))
    assert len(hops) <= 7
    assert sound.next_hop == (TEN_YEARS_NS + 3 * 10**9) // HOP_NS
    assert sound.dropped == 0


def test_a_short_step_back_is_left_out_and_counted() -> None:
    sound = stream()
    hops = push_all(sound, jumped(-0.03))
    assert sound.dropped == 240
    assert wholes(hops) == dict.fromkeys(range(5), True)
    times_are_right(hops)


def test_an_hour_backwards_is_counted_and_no_slower_than_the_normal_case() -> None:
    def seconds(jump_s: float) -> tuple[float, int]:
        chunks = jumped(jump_s, at_s=0.5, seconds=20.5)
        sound = stream()
        begin_s = time.thread_time()
        push_all(sound, chunks)
        return time.thread_time() - begin_s, sound.dropped

    normal_s = min(seconds(0.0)[0] for _ in range(3))
    runs = [seconds(-3600.0) for _ in range(3)]
    assert {dropped for _, dropped in runs} == {20 * 8000}
    assert min(run[0] for run in runs) < 6 * normal_s


def test_days_backwards_are_counted_in_no_more_memory_than_a_moment() -> None:
    sound = stream()
    push_all(sound, cut(audio_chunk(100, 1), range(0, 8000, 80)))
    push_all(sound, cut(audio_chunk(0, 20), range(0, 160_000, 80)))
    assert sound.dropped == 160_000
    assert len(cast(AudioStream, sound)._losses) == 1


def test_a_new_rate_begins_anew_and_stays_in_time() -> None:
    sound = stream()
    hops = sound.push(numbered(0, 1.2)) + sound.push(numbered(1.2, 1.9, 16000.0))
    assert wholes(hops) == {0: True, 1: True, 2: False, 3: True, 4: True, 5: True}
    times_are_right([hop for hop in hops if hop.index != 3], within_s=0.001)


def test_losses_told_with_a_new_rate_are_counted_in_its_first_hop() -> None:
    sound = stream()
    sound.push(numbered(0, 5))
    hops = sound.push(replace(numbered(5, 2, 16000.0), dropped=9))
    assert next(hop.dropped for hop in hops if hop.samples is not None) == 9


# --- losses --------------------------------------------------------------------------------------------------------


def test_samples_that_are_not_finite_become_silence_and_are_counted_where_they_were() -> None:
    chunk = numbered(0, 2)
    chunk.samples[[100, 5000, 5001, 13000]] = [[np.nan], [np.inf], [-np.inf], [np.nan]]
    sound = stream()
    hops = sound.push(replace(chunk, dropped=5))
    assert [hop.dropped for hop in hops] == [6, 8, 8, 9]
    assert sound.dropped == 9
    assert joined(hops)[[100, 5000, 5001, 13000]].tolist() == [0.0] * 4
    assert np.isfinite(joined(hops)).all()


def test_one_bad_channel_silences_the_sample() -> None:
    samples = np.ones((8000, 2), np.float32)
    samples[10, 1] = np.nan
    hops = stream().push(Chunk("audio", samples, times_ns(0, 8000, 8000), 8000.0))
    assert joined(hops)[[9, 10, 11]].tolist() == [1.0, 0.0, 1.0]


def test_what_no_float32_holds_is_lost_without_a_warning_of_numpys() -> None:
    samples = np.ones((8000, 2))
    samples[[10, 20, 30]] = [[1e300, 1], [np.inf, -np.inf], [3e38, 3e38]]
    sound = stream()
    heard = joined(sound.push(Chunk("audio", samples, times_ns(0, 8000, 8000), 8000.0)))
    assert heard[[10, 20, 30]].tolist() == [0.0] * 3
    assert sound.dropped == 3


@pytest.mark.parametrize("empty_hz", [8000.0, 44100.0])
def test_empty_chunks_are_harmless(empty_hz: float) -> None:
    chunk = numbered(0, 2)
    empty = Chunk("audio", np.empty((0, 1), np.float32), np.empty(0, np.int64), empty_hz)
    expected = described(stream().push(chunk))
    sound = stream()
    hops = sound.push(empty)
    for part in cut(chunk, range(0, 16000, 160)):
        hops += sound.push(part) + sound.push(empty)
    assert described(hops) == expected
    sound.push(replace(empty, dropped=3))
    assert sound.dropped == 3


@pytest.mark.parametrize(
    ("samples", "times", "rate_hz"),
    [
        (np.zeros((5, 1), np.float32), np.arange(4), 8000.0),
        (np.zeros(5, np.float32), np.arange(5), 8000.0),
        (np.zeros((5, 0), np.float32), np.arange(5), 8000.0),
        (np.zeros((5, 1, 1), np.float32), np.arange(5), 8000.0),
        (np.zeros((5, 1), np.float32), np.arange(5.0), 8000.0),
        (np.zeros((5, 1), np.float32), np.arange(5), 0.0),
        (np.zeros((5, 1), np.float32), np.arange(5), -8000.0),
        (np.zeros((5, 1), np.float32), np.arange(5), 50.0),
        (np.zeros((5, 1), np.float32), np.arange(5), 1e12),
        (np.zeros((5, 1), np.float32), np.arange(5), float("nan")),
        (np.zeros((5, 1), np.float32), np.arange(5), float("inf")),
    ],
)
def test_a_chunk_that_is_no_sound_is_refused(
    samples: NDArray[np.float32], times: NDArray[np.int64], rate_hz: float
) -> None:
    with pytest.raises(ConfigError, match="audio"):
        stream().push(Chunk("audio", samples, times, rate_hz))


# --- cuts ----------------------------------------------------------------------------------------------------------


def described(hops: Sequence[Hop]) -> list[tuple[object, ...]]:
    """Every bit of every hop."""
    return [
        (hop.index, None if hop.samples is None else hop.samples.tobytes(), hop.last_ns, hop.dropped, hop.input_hz)
        for hop in hops
    ]


def troubled_chunks(seed: int, rate_hz: float) -> list[Chunk]:
    """A sound with everything that goes wrong: drift, jitter, NaN, holes, steps back, jumps, another rate."""
    random = np.random.default_rng(seed)
    count = round(4 * rate_hz)
    times = times_ns(random.choice([0.0, 0.0300003, 0.26]), count, rate_hz * (1 + random.uniform(-0.01, 0.01)))
    times += random.integers(0, 3_000_000, count)
    values = random.normal(size=count)
    for _ in range(random.integers(0, 6)):
        values[random.integers(count)] = random.choice([np.nan, np.inf])
    # Losses at the border of a hop are the hardest to put in their place.
    values[round(0.5 * rate_hz) + random.integers(-2, 3)] = np.nan
    for _ in range(random.integers(0, 4)):
        times[random.integers(count) :] += random.integers(-80_000_000, 80_000_000)
    if random.random() < 0.2:
        times[random.integers(count) :] += random.choice([TEN_YEARS_NS, 3 * 10**9])
    if random.random() < 0.2:
        times[random.integers(count) :] -= 3600 * 10**9
    middle = int(random.integers(count))
    second_hz = rate_hz if random.random() < 0.7 else 1.5 * rate_hz
    return [
        sound_of(times[:middle], values[:middle], rate_hz),
        sound_of(times[middle:], values[middle:], second_hz, dropped=int(random.integers(0, 5))),
    ]


@settings(max_examples=times(60), deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rate_hz=st.sampled_from([1000.0, 1600.0, 2205.0]),
    places=st.lists(st.integers(0, 8800), max_size=40),
    step=st.integers(5, 60),
)
def test_where_the_chunks_are_cut_changes_nothing(seed: int, rate_hz: float, places: list[int], step: int) -> None:
    one, many, small = stream(1000.0), stream(1000.0), stream(1000.0)
    expected: list[Hop] = []
    hops: list[Hop] = []
    by_step: list[Hop] = []
    for chunk in troubled_chunks(seed, rate_hz):
        expected += one.push(chunk)
        hops += push_all(many, cut(chunk, places))
        by_step += push_all(small, cut(chunk, range(0, len(chunk.times_ns), step)))
    assert described(hops) == described(expected)
    assert described(by_step) == described(expected)
    for other in (many, small):
        assert (other.next_hop, other.first_ns, other.last_ns, other.dropped) == (
            one.next_hop,
            one.first_ns,
            one.last_ns,
            one.dropped,
        )


@given(
    rate_hz=st.sampled_from(RATES_HZ),
    begin_s=st.floats(0, 0.4),
    ahead_s=st.floats(-0.009, 0.009),
    block_s=st.sampled_from([0.001, 0.02, 0.033]),
)
@settings(max_examples=20, deadline=None)
def test_the_sample_that_ends_a_hop_is_stamped_so_much_later_than_the_hops_end(
    rate_hz: float, begin_s: float, ahead_s: float, block_s: float
) -> None:
    sound, grid, wanted_ns = stream(16000), HopGrid(0, HOP_NS), dict[int, int]()
    chunk = audio_chunk(begin_s, 4.0, rate_hz)
    off_ns = np.round(np.linspace(0, ahead_s, len(chunk.times_ns)) * 1e9).astype(np.int64)
    chunk = replace(chunk, times_ns=chunk.times_ns + off_ns)  # the count falls behind the stamps, or runs ahead
    for part in cut(chunk, range(0, len(chunk.times_ns), round(rate_hz * block_s))):
        sound.push(part)
        hop, newest_ns = sound.next_hop, int(part.times_ns[-1])
        if hop > 2:  # by then a resampler is known
            wanted_ns.setdefault(hop, grid.end_ns(hop) + sound.lag_ns)
        for earlier in [one for one, by_ns in wanted_ns.items() if newest_ns >= by_ns + 1_000_000]:
            assert hop > earlier
            del wanted_ns[earlier]
    assert abs(sound.lag_ns - ahead_s * 1e9) < (1e6 if rate_hz == 16000 else 65e6)


def test_one_sample_a_chunk_changes_nothing() -> None:
    one, single = stream(1000.0), stream(1000.0)
    for chunk in troubled_chunks(1, 1600.0):
        assert described(push_all(single, cut(chunk, range(len(chunk.times_ns))))) == described(one.push(chunk))


@settings(max_examples=times(30), deadline=None)
@given(
    channels=st.integers(1, 7),
    rate_hz=st.sampled_from([8000.0, 16000.0, 44100.0]),
    places=st.lists(st.integers(0, 50_000), max_size=40),
)
def test_where_many_channels_are_cut_changes_nothing(channels: int, rate_hz: float, places: list[int]) -> None:
    count = round(1.1 * rate_hz)
    samples = np.random.default_rng(channels).normal(size=(count, channels)).astype(np.float32)
    chunk = Chunk("audio", samples, times_ns(0, count, rate_hz), rate_hz)
    assert described(push_all(stream(), cut(chunk, places))) == described(stream().push(chunk))
