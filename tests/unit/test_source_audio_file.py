"""A sound file replays as a microphone, whole or damaged."""

from __future__ import annotations

import os
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import UNUSED_ENCODER
from mmg.bundle.manifest import Channel, Modality
from mmg.errors import ConfigError, SourceError
from mmg.sources import Recording, open_source
from mmg.sources.files.sound.rate import sample_times_ns
from mmg.types import Chunk
from numpy.typing import NDArray

AUDIO = Modality(
    name="audio", kind="audio", rate_hz=16000, channels=(Channel(name="mic", unit=""),), encoder=UNUSED_ENCODER
)
DATA = Path(os.environ.get("MMG_DATA", Path(__file__).parents[3] / "shared" / "data"))


def noise(seconds: float, rate_hz: int = 16000, channels: int = 1) -> NDArray[np.float32]:
    drawn = np.random.default_rng(0).normal(0, 0.1, (round(seconds * rate_hz), channels))
    return drawn.astype(np.float32)


def whole(recording: Recording) -> tuple[list[Chunk], NDArray[np.float32]]:
    chunks = list(recording.chunks(0))
    return chunks, np.concatenate([chunk.samples for chunk in chunks])


@pytest.mark.parametrize(
    ("name", "subtype"), [("a.wav", "FLOAT"), ("a.wav", "PCM_16"), ("a.flac", "PCM_24"), ("a.ogg", "VORBIS")]
)
@pytest.mark.parametrize(("rate_hz", "channels"), [(8000, 1), (44100, 2), (48000, 7)])
def test_every_rate_and_channel_count_streams_in_blocks_of_100_ms(
    tmp_path: Path, name: str, subtype: str, rate_hz: int, channels: int
) -> None:
    written = noise(0.95, rate_hz, channels)
    soundfile.write(tmp_path / name, written, rate_hz, subtype=subtype)
    recording = open_source(str(tmp_path / name), AUDIO)
    chunks, samples = whole(recording)
    assert recording.start_ns is None
    assert recording.duration_s == pytest.approx(0.95)
    assert samples.shape == written.shape
    assert samples.dtype == np.float32
    assert {len(chunk.samples) for chunk in chunks[:-1]} == {rate_hz // 10}
    assert {chunk.rate_hz for chunk in chunks} == {rate_hz}
    assert [len(chunk.samples) for chunk in recording.chunks(0, 500_000_000)][:-1] == [rate_hz // 2]
    largest_error = {"FLOAT": 0, "PCM_16": 1e-4, "PCM_24": 1e-6, "VORBIS": 0.5}[subtype]
    assert np.abs(samples - written).max() <= largest_error
    slow = [f"{name} has 8000 samples a second, the model 16000: it contains nothing above 4000 Hz"]
    assert (recording.losses, recording.notes) == ({}, slow if rate_hz == 8000 else [])
    recording.close()


@pytest.mark.parametrize("every_ns", [100_000_000, 500_000_000, 77_000_000])
@pytest.mark.parametrize("rate_hz", [11025, 16000, 44100])
def test_times_follow_the_sample_count_without_adding_up_errors(tmp_path: Path, rate_hz: int, every_ns: int) -> None:
    # Longer than what is read at once.
    soundfile.write(tmp_path / "a.wav", np.zeros(rate_hz * 7 + 5, np.float32), rate_hz)
    recording = open_source(f"{tmp_path}/a.wav?offset=1.5", AUDIO)
    assert recording.offset_ns == 1_500_000_000
    assert recording.duration_s == pytest.approx(7 + 5 / rate_hz)
    times = np.concatenate([chunk.times_ns for chunk in recording.chunks(500, every_ns)]) - 500
    assert times.dtype == np.int64
    assert times.tolist() == [number * 10**9 // rate_hz for number in range(rate_hz * 7 + 5)]
    recording.close()


def test_reading_again_begins_anew(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", noise(1), 16000)
    recording = open_source(str(tmp_path / "a.flac"), AUDIO)
    next(recording.chunks(0))
    assert np.array_equal(whole(recording)[1], whole(recording)[1])
    recording.close()
    recording.close()


def test_closing_ends_whoever_iterates(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", noise(3), 16000)
    recording = open_source(str(tmp_path / "a.flac"), AUDIO)
    chunks = recording.chunks(0)
    next(chunks)
    recording.close()
    assert list(chunks) == []
    assert recording.losses == {}


def test_start_gives_a_sound_file_a_clock(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(1), 16000)
    recording = open_source(f"{tmp_path}/a.wav?start=12&offset=0.5", AUDIO)
    assert recording.start_ns == 12_500_000_000
    assert next(iter(recording.chunks(recording.start_ns))).times_ns[0] == 12_500_000_000
    recording.close()


def test_a_wav_cut_in_half_gives_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    written = noise(10)
    soundfile.write(path, written, 16000, subtype="FLOAT")
    path.write_bytes(path.read_bytes()[: -written.nbytes // 2])
    recording = open_source(str(path), AUDIO)
    assert recording.notes == ["a.wav is truncated or damaged: its header promises 10.0 s, 5.0 s are there"]
    assert recording.duration_s == pytest.approx(5)
    assert np.array_equal(whole(recording)[1], written[:80000])
    assert recording.losses == {"missing": 80000}
    recording.close()


def test_a_wav_whose_writer_never_came_back_to_its_header_is_not_called_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(1), 16000, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    place = data.index(b"data") + 4
    data[place : place + 4] = struct.pack("<I", 0xFFFFFFFF)
    path.write_bytes(data)
    recording = open_source(str(path), AUDIO)
    assert len(whole(recording)[1]) == 16000
    assert (recording.losses, recording.notes) == ({}, [])
    recording.close()


def test_a_flac_cut_in_half_gives_what_can_be_decoded_and_counts_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    written = noise(4)
    soundfile.write(path, written, 16000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    recording = open_source(str(path), AUDIO)
    samples = whole(recording)[1]
    assert 24000 <= len(samples) <= 32000
    assert np.abs(samples - written[: len(samples)]).max() < 1e-4
    assert recording.losses == {"missing": 64000 - len(samples)}
    assert "header promises 4.0 s" in recording.notes[0]
    recording.close()


def test_garbage_inside_a_flac_is_passed_over_and_the_rest_keeps_its_time(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    written = noise(10)
    soundfile.write(path, written, 16000)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 5000] = bytes(range(250)) * 20
    path.write_bytes(data)
    recording = open_source(str(path), AUDIO)
    chunks, samples = whole(recording)
    assert len(samples) > 140_000
    assert sum(chunk.dropped for chunk in chunks) == recording.losses["missing"] == 160_000 - len(samples)
    last = chunks[-1]
    assert last.times_ns[-1] == round(159_999 * 1e9 / 16000)
    assert last.samples == pytest.approx(written[-len(last.samples) :], abs=1e-4)
    # Nor is more lost with longer chunks, and short ones stay as long as was asked for.
    assert sum(len(chunk.samples) for chunk in recording.chunks(0, 2_000_000_000)) == len(samples)
    short = list(recording.chunks(0, 77_000_000))
    assert {len(chunk.samples) for chunk, after in pairwise(short) if not after.dropped} == {16_000 * 77 // 1000}
    recording.close()


@pytest.mark.parametrize("kept", [0.3, 0.5, 0.8, 0.99])
def test_a_cut_ogg_gives_its_whole_pages(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "a.ogg"
    soundfile.write(path, noise(20), 16000)
    complete = soundfile.read(path, dtype="float32", always_2d=True)[0]
    path.write_bytes(path.read_bytes()[: round(path.stat().st_size * kept)])
    recording = open_source(str(path), AUDIO)
    samples = whole(recording)[1]
    assert kept * 20 - 2.5 < len(samples) / 16000 <= kept * 20 + 0.1
    assert np.array_equal(samples, complete[: len(samples)])
    assert "truncated or damaged" in recording.notes[0]
    assert recording.duration_s == len(samples) / 16000
    recording.close()


def test_garbage_inside_an_ogg_leaves_what_comes_before_it(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    soundfile.write(path, noise(20), 16000)
    complete = soundfile.read(path, dtype="float32", always_2d=True)[0]
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 12_000] = bytes(range(240)) * 50
    path.write_bytes(data)
    recording = open_source(str(path), AUDIO)
    samples = whole(recording)[1]
    assert len(samples) > 16000 * 6
    assert np.array_equal(samples[:64000], complete[:64000])
    assert recording.losses["missing"] == 320_000 - len(samples)
    recording.close()


def test_nan_samples_of_a_float_wav_are_passed_on(tmp_path: Path) -> None:
    written = noise(0.5)
    written[100:200] = np.nan
    written[300] = np.inf
    soundfile.write(tmp_path / "a.wav", written, 16000, subtype="FLOAT")
    recording = open_source(str(tmp_path / "a.wav"), AUDIO)
    assert np.array_equal(whole(recording)[1], written, equal_nan=True)
    recording.close()


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.raw", "a"])
def test_what_is_not_sound_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("t_ms,ax,ay,az\n0,1,2,3\n" * 100)
    with pytest.raises(SourceError, match="is not a readable sound file"):
        open_source(str(tmp_path / name), AUDIO)


def test_a_sound_file_without_a_sample_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(0, np.float32), 16000)
    with pytest.raises(SourceError, match="nothing to replay"):
        open_source(str(tmp_path / "a.wav"), AUDIO)


def test_the_options_of_a_table_are_not_those_of_a_sound(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(1), 16000)
    with pytest.raises(ConfigError, match="unknown option 'rate'"):
        open_source(f"{tmp_path}/a.wav?rate=50", AUDIO)


@pytest.mark.parametrize("pattern", ["esc10/rooster/*.ogg", "keystrokes/*.flac", "footsteps/*.ogg"])
def test_real_sounds_come_out_as_the_reference_decoder_reads_them(pattern: str) -> None:
    paths = sorted(DATA.glob(pattern))[:3]
    if not paths:
        pytest.skip(f"no {pattern} under {DATA}: set MMG_DATA")
    for path in paths:
        recording = open_source(f"file://{path}", AUDIO)
        samples = whole(recording)[1]
        assert np.array_equal(samples, soundfile.read(path, dtype="float32", always_2d=True)[0])
        assert (recording.losses, recording.notes) == ({}, [])
        recording.close()


@pytest.mark.parametrize("rate_hz", [100, 8000, 11025, 16000, 44100, 48000])
def test_each_sample_has_its_own_time_rounded_down(rate_hz: int) -> None:
    position = 3 * rate_hz * 86_400 + 7
    expected = [(position + number) * 1_000_000_000 // rate_hz for number in range(1000)]
    assert sample_times_ns(position, 1000, rate_hz).tolist() == expected
