"""What mmg-look keeps of signals and sound: outlines, spectrograms, and sound to be played."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmg.bundle.manifest import Channel, Encoder, Modality, Tensor
from mmg.look.adpcm import MOVES, STEPS, block_bytes, encode
from mmg.look.envelope import NARROWEST_NS, NOTHING, Envelope, quantised
from mmg.look.reading import read_signal, read_sound
from mmg.look.sound import KeptSound, room_for
from mmg.look.spectrogram import COLUMNS_A_HOP, LEVELS, Spectrogram
from mmg.streams import HopGrid
from mmg.types import Chunk
from numpy.typing import NDArray

HOP_NS = 500_000_000
RATE_HZ, HOP = 16_000, 8000
ENCODER = Encoder(
    kind="streaming",
    tokens_per_hop=1,
    input=Tensor(name="x", shape=(1,)),
    output=Tensor(name="y", shape=(1,)),
    files=(),
)
SOUND = Modality(
    name="audio", kind="audio", rate_hz=16_000, channels=(Channel(name="mono", unit="fs"),), encoder=ENCODER
)


def signal(seconds: float, rate_hz: float = 100, seed: int = 1) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    times = np.round(np.arange(int(seconds * rate_hz)) * (1e9 / rate_hz)).astype(np.int64)
    return times, np.random.default_rng(seed).normal(0, 3, (len(times), 2)).astype(np.float32)


def outlined(chunks: list[Chunk], most: int = 512) -> Envelope:
    envelope = Envelope(0, 2, most)
    for chunk in chunks:
        envelope.push(chunk)
    return envelope


def cut_at(
    places: list[int], times: NDArray[np.int64], samples: NDArray[np.float32], rate_hz: float = 0.0
) -> list[Chunk]:
    edges = [0, *sorted(place % (len(times) + 1) for place in places), len(times)]
    return [Chunk("imu", samples[begin:end], times[begin:end], rate_hz) for begin, end in pairwise(edges)]


@settings(deadline=None)
@given(st.lists(st.integers(0, 10_000), max_size=8), st.integers(1, 90))
def test_every_bin_keeps_the_least_and_the_greatest_however_the_signal_is_cut(places: list[int], seconds: int) -> None:
    times, samples = signal(seconds)
    envelope = outlined(cut_at(places, times, samples))
    low, high = envelope.bins()
    assert len(low) <= 512
    bins = times // envelope.bin_ns
    for number in range(len(low)):
        inside = samples[bins == number]
        if len(inside):
            assert np.array_equal(low[number], inside.min(axis=0))
            assert np.array_equal(high[number], inside.max(axis=0))
        else:
            assert np.isnan(low[number]).all()
            assert np.isnan(high[number]).all()


def test_bins_are_a_power_of_two_of_a_millisecond_and_no_wider_than_they_must_be() -> None:
    for seconds in (3, 5, 6, 60):
        times, samples = signal(seconds, 1000)
        envelope = outlined(cut_at([], times, samples))
        envelope.bins()
        assert envelope.bin_ns * 256 < seconds * 1e9 <= envelope.bin_ns * 512
        assert envelope.bin_ns % NARROWEST_NS == 0


def test_bins_are_not_narrower_than_the_samples_are_apart() -> None:
    times, samples = signal(2)
    envelope = outlined(cut_at([], times, samples), 65_536)
    low, _ = envelope.bins()
    assert envelope.bin_ns == 8_000_000
    assert np.isfinite(low).all(axis=1).sum() == len(times)
    assert envelope.samples_a_bin == 1


def test_a_pause_of_an_hour_does_not_widen_the_bins_of_what_is_there() -> None:
    times, samples = signal(2)
    later = Chunk("imu", samples, times + 40 * 10**9)
    envelope = outlined([Chunk("imu", samples, times), later], 65_536)
    low, _ = envelope.bins()
    assert envelope.bin_ns == 8_000_000
    assert np.isnan(low[300:4900]).all()


def test_what_is_not_finite_out_of_order_or_before_the_origin_is_no_harm() -> None:
    samples = np.array([[1, 1], [np.inf, 2], [np.nan, -3], [4, 4]], np.float32)
    times = np.array([-5, 30, 10, 20], np.int64) * 10**6
    low, high = outlined([Chunk("imu", samples, times)]).bins()
    known = np.isfinite(low)
    assert sorted(low[known]) == [-3, 2, 4, 4]
    assert np.array_equal(low[known], high[known])


def test_whole_numbers_are_within_half_a_step_and_say_where_nothing_was() -> None:
    values = np.array([-3.14, 0.004, np.nan, 2.5], np.float32)
    step, low, high = quantised(values, values + 1, 0.01)
    assert step == 0.01
    assert low[2] == high[2] == NOTHING
    assert np.abs(low[[0, 1, 3]] * step - values[[0, 1, 3]]).max() <= step / 2 + 1e-6
    step, low, _ = quantised(values * 1000, values * 1000, 0.01)
    assert step > 0.01
    assert abs(int(low[0])) == 32767


def test_a_channel_that_the_sensor_lacks_is_not_drawn_as_if_it_stood_still() -> None:
    channels = (Channel(name="ax", unit="m/s^2"), Channel(name="gx", unit="rad/s", optional=True))
    modality = Modality(name="imu", kind="signal", rate_hz=50, channels=channels, encoder=ENCODER)
    times, samples = signal(3)
    samples[:, 1] = 0
    [outline] = read_signal([Chunk("imu", samples, times)], modality, HopGrid(0, HOP_NS), 1000)
    assert outline.channels == ("ax",)


def tone(seconds: float, hertz: float, rate_hz: int = RATE_HZ) -> NDArray[np.float32]:
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate_hz)) / rate_hz).astype(np.float32)


def spectrogram_of(sound: NDArray[np.float32], most: int = 4096) -> Spectrogram:
    made = Spectrogram(RATE_HZ, HOP, most)
    for hop in range(len(sound) // HOP):
        made.push(hop, sound[hop * HOP : (hop + 1) * HOP])
    return made


@pytest.mark.parametrize("hertz", [200, 1000, 5000])
def test_a_tone_of_full_scale_is_in_its_band_with_0_db(hertz: float) -> None:
    made = spectrogram_of(tone(3, hertz))
    levels, _, highest = made.levels()
    loudest = int(np.median(levels.argmax(axis=1)))
    assert made.edges_hz[loudest] - 32 <= hertz <= made.edges_hz[loudest + 1] + 32
    assert highest == pytest.approx(0, abs=2.5)
    assert levels.max() == LEVELS


def test_columns_are_halved_in_number_until_they_fit_and_keep_the_mean_power() -> None:
    sound = np.random.default_rng(2).normal(0, 0.1, 16 * HOP).astype(np.float32)
    fine, coarse = spectrogram_of(sound), spectrogram_of(sound, 128)
    assert fine.columns_a_hop == COLUMNS_A_HOP
    assert coarse.columns_a_hop == COLUMNS_A_HOP / 4
    pooled = fine._power[: 16 * COLUMNS_A_HOP].reshape(128, 4, -1).sum(axis=1)
    assert np.allclose(pooled, coarse._power[:128], rtol=1e-5)


def test_where_no_sound_was_there_is_no_shade() -> None:
    made = Spectrogram(RATE_HZ, HOP, 4096)
    sound = tone(0.5, 440)
    for hop in (0, 1, 4):
        made.push(hop, sound)
    heard = (made.levels()[0] > 0).all(axis=1).reshape(-1, COLUMNS_A_HOP)
    assert [row.all() for row in heard] == [True, True, False, False, True]
    assert not heard[2:4].any()
    empty, lowest, highest = Spectrogram(RATE_HZ, HOP, 4096).levels()
    assert len(empty) == 0
    assert lowest < highest


def test_silence_is_a_picture_and_no_error() -> None:
    levels, lowest, highest = spectrogram_of(np.zeros(4 * HOP, np.float32)).levels()
    assert lowest < highest
    assert (levels > 0).all()


@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(0, 10**6), max_size=6))
def test_a_sound_gives_the_same_picture_and_pieces_however_it_is_cut(places: list[int]) -> None:
    sound = np.random.default_rng(3).normal(0, 0.1, (40_000, 1)).astype(np.float32)
    times = np.round(np.arange(40_000) * (1e9 / RATE_HZ)).astype(np.int64)

    def read(cuts: list[int]) -> tuple[bytes, bytes]:
        kept = KeptSound(frozenset({1, 2, 4}), 2)
        heard = read_sound(cut_at(cuts, times, sound, RATE_HZ), SOUND, HopGrid(0, HOP_NS), kept)
        return heard.spectrogram.levels()[0].tobytes(), kept.encoded()

    assert read(places) == read([])


@pytest.mark.parametrize("loud", [1e30, 3e38])
def test_samples_beyond_all_sound_leave_figures(loud: float) -> None:
    sound = np.random.default_rng(3).normal(0, 0.1, (40_000, 1)).astype(np.float32)
    sound[20_000:30_000:2], sound[20_001:30_000:2] = loud, -loud
    times = np.round(np.arange(40_000) * (1e9 / RATE_HZ)).astype(np.int64)
    heard = read_sound(
        [Chunk("audio", sound, times, RATE_HZ)], SOUND, HopGrid(0, HOP_NS), KeptSound(frozenset({2, 3}), 2)
    )
    levels, lowest, highest = heard.spectrogram.levels()
    assert np.isfinite([lowest, highest, heard.kept.louder_db]).all()
    assert levels.max() > levels[levels > 0].min()


def decode(data: bytes, samples: int) -> NDArray[np.float64]:
    """As the standard says, one sample after another."""
    size, blocks = block_bytes(samples), []
    for begin in range(0, len(data), size):
        block = data[begin : begin + size]
        value, index, values = int.from_bytes(block[:2], "little", signed=True), block[2], []
        for place in range(samples):
            code = block[4 + place // 2] >> (4 * (place % 2)) & 15
            change = int(STEPS[index]) * (2 * (code & 7) + 1) >> 3
            value = min(max(value + (-change if code & 8 else change), -32768), 32767)
            index = min(max(index + int(MOVES[code]), 0), 88)
            values.append(value / 32767)
        blocks.append(values)
    return np.array(blocks)


@pytest.mark.parametrize("samples", [4000, 4001])
@pytest.mark.parametrize("loudness", [0.001, 0.1, 1.0])
def test_four_bits_a_sample_keep_the_sound(samples: int, loudness: float) -> None:
    time_s = np.arange(3 * samples) / 8000
    sound = loudness * (np.sin(2 * np.pi * 300 * time_s) + 0.5 * np.sin(2 * np.pi * 1100 * time_s)) / 1.5
    blocks = sound.reshape(3, samples).astype(np.float32)
    data = encode(blocks)
    assert len(data) == 3 * block_bytes(samples)
    error = decode(data, samples) - blocks
    assert 10 * np.log10((blocks**2).mean() / (error**2).mean()) > (8 if loudness < 0.01 else 22)


def test_sound_beyond_full_scale_is_clipped_and_not_wrapped() -> None:
    block = np.linspace(-3, 3, 400, dtype=np.float32)[None]
    assert np.abs(decode(encode(block), 400)[0] - block[0].clip(-1, 1)).max() < 0.3


def test_a_short_sound_is_kept_at_its_rate_a_longer_one_at_half_and_a_long_one_in_part() -> None:
    assert room_for(1_650_000, 150, RATE_HZ, HOP) == room_for(10**9, 150, RATE_HZ, HOP)
    assert room_for(1_650_000, 150, RATE_HZ, HOP).divisor == 1
    minutes, day = room_for(1_650_000, 600, RATE_HZ, HOP), room_for(1_650_000, 57_600, RATE_HZ, HOP)
    assert (minutes.hops, minutes.divisor) == (600, 2)
    assert 700 < day.hops < 1000
    assert room_for(0, 100, RATE_HZ, HOP).hops == 0


def test_what_is_kept_at_half_the_rate_has_no_mirrored_tones() -> None:
    kept = {}
    for hertz in (1000, 7000):
        one = KeptSound(frozenset(range(4)), 2)
        sound = tone(2, hertz)
        for hop in range(4):
            one.push(hop, sound[hop * HOP : (hop + 1) * HOP])
        assert one.pieces() == [(0, 4)]
        assert one.block_samples == HOP // 2
        kept[hertz] = float(np.sqrt((np.stack(one._blocks)[1:] ** 2).mean()))
    assert kept[1000] == pytest.approx(np.sqrt(0.5), rel=0.02)
    assert kept[7000] < 0.005


def test_pieces_are_runs_of_hops_that_follow_one_another() -> None:
    kept = KeptSound(frozenset({1, 2, 5}), 1)
    for hop in range(8):
        kept.push(hop, np.full(HOP, 0.5, np.float32))
    assert kept.pieces() == [(1, 2), (5, 1)]
    assert len(kept.encoded()) == 3 * kept.block_bytes
    assert kept.louder_db == pytest.approx(20 * np.log10(0.97 / 0.5))
