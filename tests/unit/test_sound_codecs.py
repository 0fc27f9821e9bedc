"""Opus, MP3 and FLAC: what their headers count besides the sound is no damage, and damage is told."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import UNUSED_ENCODER
from films import noise, write_film
from mmg.bundle.manifest import Channel, Modality
from mmg.sources import Recording, open_source
from numpy.typing import NDArray

AUDIO = Modality(
    name="audio", kind="audio", rate_hz=8000, channels=(Channel(name="mic", unit=""),), encoder=UNUSED_ENCODER
)


BARE = {"write_xing": "0", "id3v2_version": "0"}


def opened(path: Path) -> tuple[Recording, NDArray[np.float32]]:
    recording = open_source(str(path), AUDIO)
    return recording, np.concatenate([chunk.samples[:, 0] for chunk in recording.chunks(0)])


@pytest.mark.parametrize("rate_hz", [8000, 16000, 24000, 48000])
@pytest.mark.parametrize("writer", ["libsndfile", "ffmpeg"])
def test_a_whole_opus_is_not_called_damaged(tmp_path: Path, writer: str, rate_hz: int) -> None:
    path = tmp_path / "a.opus"
    if writer == "ffmpeg":
        write_film(path, sound=noise(3, rate_hz), codec="libopus", rate_hz=rate_hz)
    else:
        soundfile.write(path, noise(3, rate_hz), rate_hz, format="OGG", subtype="OPUS")
    recording, samples = opened(path)
    assert len(samples) == pytest.approx(3 * rate_hz, abs=1)
    assert (recording.losses, recording.notes) == ({}, [])


@pytest.mark.parametrize("rate_hz", [16000, 48000])
def test_a_cut_opus_gives_its_whole_pages_and_says_so(tmp_path: Path, rate_hz: int) -> None:
    path = tmp_path / "a.opus"
    soundfile.write(path, noise(20, rate_hz), rate_hz, format="OGG", subtype="OPUS")
    complete, data = soundfile.read(path, dtype="float32")[0], path.read_bytes()
    for kept in (0.3, 0.5, 0.8, 0.99):
        path.write_bytes(data[: round(len(data) * kept)])
        recording, samples = opened(path)
        assert kept * 20 - 2.5 < len(samples) / rate_hz <= kept * 20 + 0.1
        assert np.abs(samples - complete[: len(samples)]).max() < 0.05
        assert "truncated or damaged" in recording.notes[0]


def test_what_an_opus_lost_inside_is_counted_at_its_own_rate(tmp_path: Path) -> None:
    path = tmp_path / "a.opus"
    soundfile.write(path, noise(20, 16000), 16000, format="OGG", subtype="OPUS")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 12_000] = bytes(range(240)) * 50
    path.write_bytes(data)
    recording, samples = opened(path)
    assert recording.losses["missing"] == pytest.approx(20 * 16000 - len(samples), abs=2)
    assert "its header promises 20.0 s" in recording.notes[0]


def test_what_follows_the_last_page_of_an_ogg_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    soundfile.write(path, noise(3, 16000), 16000)
    path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))
    recording, samples = opened(path)
    assert len(samples) == 3 * 16000
    assert (recording.losses, recording.notes) == ({}, [])


def test_a_second_recording_in_an_ogg_is_told_not_passed_over_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    soundfile.write(path, noise(3, 16000), 16000)
    soundfile.write(tmp_path / "b.ogg", noise(2, 16000), 16000)
    path.write_bytes(path.read_bytes() + (tmp_path / "b.ogg").read_bytes())
    recording, samples = opened(path)
    assert len(samples) == 3 * 16000
    assert recording.notes == ["a.ogg holds several recordings one after another: only the first, of 3.0 s, is read"]


def loud_and_quiet(quiet_first: bool) -> NDArray[np.float32]:
    parts = [noise(10, 44100), np.zeros(10 * 44100, np.float32)]
    return np.concatenate(parts[::-1] if quiet_first else parts)


@pytest.mark.parametrize("told", [True, False], ids=["counted", "not counted"])
@pytest.mark.parametrize("quiet_first", [True, False])
def test_an_mp3_of_changing_rate_is_read_to_its_end_however_its_length_is_told(
    tmp_path: Path, quiet_first: bool, told: bool
) -> None:
    path = tmp_path / "a.mp3"
    container = {} if told else {"write_xing": "0"}
    sound, coding = loud_and_quiet(quiet_first), {"q": "4", "flags": "+qscale"}
    write_film(path, sound=sound, codec="libmp3lame", rate_hz=44100, options=container, coding=coding)
    recording, samples = opened(path)
    assert recording.duration_s == pytest.approx(20, abs=0.05)
    assert len(samples) == pytest.approx(20 * 44100, abs=2000)
    loud = np.abs(samples.reshape(-1)[: 20 * 44100 // 2]).mean() > 0.01
    assert loud != quiet_first
    assert (recording.losses, recording.notes) == ({}, [])


@pytest.mark.parametrize("rate_hz", [8000, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("told", [True, False], ids=["counted", "not counted"])
def test_a_whole_mp3_is_not_called_damaged(tmp_path: Path, told: bool, rate_hz: int) -> None:
    path = tmp_path / "a.mp3"
    options = {} if told else {"write_xing": "0"}
    write_film(path, sound=noise(3, rate_hz), codec="libmp3lame", rate_hz=rate_hz, options=options)
    recording, samples = opened(path)
    assert len(samples) / rate_hz == pytest.approx(3, abs=0.2)
    assert (recording.losses, recording.notes) == ({}, [])


def test_tags_before_and_behind_an_mp3_are_no_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    write_film(path, sound=noise(3, 44100), codec="libmp3lame", rate_hz=44100, options=BARE)
    plain = opened(path)[1]
    picture = np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
    head = b"ID3\4\0\0" + bytes(len(picture) >> 7 * place & 127 for place in (3, 2, 1, 0)) + picture
    path.write_bytes(head + path.read_bytes() + b"APETAGEX" + picture + b"TAG" + bytes(125))
    recording, samples = opened(path)
    assert len(samples) == pytest.approx(len(plain), abs=3 * 1152)
    assert np.array_equal(samples[:100_000], plain[:100_000])
    assert (recording.losses, recording.notes) == ({}, [])


def test_a_cut_mp3_that_tells_its_length_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    write_film(path, sound=noise(6, 44100), codec="libmp3lame", rate_hz=44100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    recording, samples = opened(path)
    assert len(samples) == pytest.approx(3 * 44100, rel=0.05)
    assert recording.losses["missing"] == 6 * 44100 - len(samples)
    assert "its header promises 6.0 s, 3.0 s are there" in recording.notes[0]


@pytest.mark.parametrize("codec_frames", [1024, 4096, 65535])
@pytest.mark.parametrize("seconds", [0.01, 1, 7.3])
def test_a_flac_that_does_not_tell_its_length_is_measured(tmp_path: Path, seconds: float, codec_frames: int) -> None:
    path = tmp_path / "a.flac"
    sound = noise(seconds, 16000)
    write_film(path, sound=sound, codec="flac", rate_hz=16000, coding={"frame_size": str(codec_frames)})
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    path.write_bytes(data)
    recording, samples = opened(path)
    assert recording.duration_s == len(sound) / 16000
    np.testing.assert_allclose(samples, sound, rtol=0, atol=1e-4)
    assert (recording.losses, recording.notes) == ({}, [])
    if len(sound) > codec_frames:
        path.write_bytes(data[:-100])
        recording, samples = opened(path)
        assert recording.losses == {"missing": len(sound) - len(samples)}


def test_the_name_of_a_file_does_not_matter(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(1, 16000), 16000)
    for name in ("a.mp3", "a.raw", "a.m4a", "a.csv", "a"):
        path = tmp_path / name
        path.write_bytes((tmp_path / "a.wav").read_bytes())
        assert len(opened(path)[1]) == 16000


def test_an_empty_frame_header_of_an_mp3_is_counted_once(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    write_film(path, sound=noise(3, 44100), codec="libmp3lame", rate_hz=44100, options=BARE)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + struct.pack(">I", 0) * 50 + data[len(data) // 2 :])
    assert opened(path)[0].duration_s == pytest.approx(3, abs=0.1)
