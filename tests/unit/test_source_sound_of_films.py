"""The sound of films and of containers that libsndfile does not read replays as a microphone, through PyAV."""

from __future__ import annotations

import random
from pathlib import Path

import av
import numpy as np
import pytest
from fakes import UNUSED_ENCODER
from films import FRAMES_HZ, noise, write_film
from mmg.bundle.manifest import Channel, Modality
from mmg.errors import ConfigError, SourceError
from mmg.sources import Recording, open_source
from mmg.sources.files.av_container import open_container
from mmg.types import Chunk
from numpy.typing import NDArray

AUDIO = Modality(
    name="audio", kind="audio", rate_hz=16000, channels=(Channel(name="mic", unit=""),), encoder=UNUSED_ENCODER
)
VIDEO = Modality(name="video", kind="video", rate_hz=15, channels=(), encoder=UNUSED_ENCODER, frame=(24, 32))


def whole(recording: Recording, every_ns: int = 100_000_000) -> tuple[list[Chunk], NDArray[np.float32]]:
    chunks = list(recording.chunks(0, every_ns))
    return chunks, np.concatenate([chunk.samples[:, 0] for chunk in chunks])


def times(chunks: list[Chunk]) -> NDArray[np.int64]:
    return np.concatenate([chunk.times_ns for chunk in chunks])


def likeness(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    length = min(len(one), len(other))
    return float(np.corrcoef(one[:length], other[:length])[0, 1])


@pytest.mark.parametrize(
    ("name", "codec", "rate_hz"),
    [
        ("a.m4a", "aac", 44100),
        ("a.mp4", "aac", 48000),
        ("a.mov", "aac", 16000),
        ("a.mov", "pcm_s24le", 48000),
        ("a.m4a", "alac", 44100),
        ("a.webm", "libopus", 48000),
        ("a.mka", "pcm_s16le", 22050),
        ("a.avi", "pcm_u8", 8000),
        ("a.ogg", "flac", 16000),
    ],
)
def test_every_container_gives_its_sound_at_its_own_rate(tmp_path: Path, name: str, codec: str, rate_hz: int) -> None:
    path = tmp_path / name
    write_film(path, sound=noise(3, rate_hz), codec=codec, rate_hz=rate_hz)
    recording = open_source(str(path), AUDIO)
    chunks, samples = whole(recording)
    assert recording.start_ns is None
    assert recording.duration_s == pytest.approx(3, abs=0.12)
    assert {(chunk.rate_hz, chunk.samples.dtype.name, chunk.dropped) for chunk in chunks} == {(rate_hz, "float32", 0)}
    assert {len(chunk.samples) for chunk in chunks[:-1]} == {rate_hz // 10}
    # A lossy coder keeps little of noise, and sample against sample only if nothing is shifted.
    assert likeness(samples, noise(3, rate_hz)) > 0.5
    assert len(samples) == pytest.approx(3 * rate_hz, abs=2048)
    expected = [number * 10**9 // rate_hz for number in range(len(samples))]
    assert np.abs(times(chunks) - expected).max() <= 7_000_000
    assert dict(recording.losses) == {}
    assert len(recording.notes) == (rate_hz < 16000)
    recording.close()
    recording.close()


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mov", "pcm_s16le"), ("a.avi", "pcm_u8"), ("a.mov", "pcm_f32le"), ("a.m4a", "alac"), ("a.mka", "flac")],
)
@pytest.mark.parametrize("channels", [2, 6])
def test_every_channel_is_kept_as_it_is(tmp_path: Path, name: str, codec: str, channels: int) -> None:
    written = np.stack([noise(1) * np.float32((index + 1) / channels) for index in range(channels)], axis=1)
    write_film(tmp_path / name, sound=written, codec=codec)
    recording = open_source(str(tmp_path / name), AUDIO)
    samples = np.concatenate([chunk.samples for chunk in recording.chunks(0)])
    assert samples.shape == written.shape
    # ALAC puts the channels of 5.1 in an order of its own, and FFmpeg puts them back.
    np.testing.assert_allclose(samples, written, rtol=0, atol=0.01 if codec == "pcm_u8" else 1e-4)


def test_of_several_tracks_the_first_is_read_and_that_is_told(tmp_path: Path) -> None:
    path = tmp_path / "both.mov"
    with av.open(str(path), "w") as film:
        tracks = [film.add_stream("pcm_s16le", rate=rate_hz) for rate_hz in (48000, 16000)]
        for track in tracks:
            track.layout = "mono"
        for track in tracks:
            frame = av.AudioFrame.from_ndarray(np.full((1, 2 * track.rate), 1000, np.int16), "s16", "mono")
            frame.sample_rate, frame.pts = track.rate, 0
            film.mux(track.encode(frame))
    recording = open_source(str(path), AUDIO)
    chunks, samples = whole(recording)
    assert (len(samples), chunks[0].rate_hz) == (2 * 48000, 48000)
    assert recording.notes == ["both.mov has 2 tracks of sound: the first is read"]


def test_a_recording_in_fragments_is_as_long_as_it_is(tmp_path: Path) -> None:
    write_film(tmp_path / "a.mp4", sound=noise(3), seconds=3, options={"movflags": "frag_keyframe+empty_moov"})
    recording = open_source(str(tmp_path / "a.mp4"), AUDIO)
    assert len(whole(recording)[1]) == pytest.approx(3 * 48000, abs=2048)
    assert recording.duration_s == pytest.approx(3, abs=0.03)
    assert (dict(recording.losses), recording.notes) == ({}, [])


@pytest.mark.parametrize("quiet_first", [True, False])
def test_a_length_that_could_only_be_guessed_is_measured(tmp_path: Path, quiet_first: bool) -> None:
    parts = [noise(5), np.zeros(5 * 48000, np.float32)]
    write_film(tmp_path / "a.aac", sound=np.concatenate(parts[::-1] if quiet_first else parts))
    recording = open_source(str(tmp_path / "a.aac"), AUDIO)
    assert recording.duration_s == pytest.approx(10, abs=0.05)
    assert len(whole(recording)[1]) == pytest.approx(10 * 48000, abs=2048)
    assert (dict(recording.losses), recording.notes) == ({}, [])


def test_aac_without_a_container_has_its_priming_and_no_other_fault(tmp_path: Path) -> None:
    write_film(tmp_path / "a.aac", sound=noise(3))
    recording = open_source(str(tmp_path / "a.aac"), AUDIO)
    assert len(whole(recording)[1]) == pytest.approx(3 * 48000, abs=2048)
    assert (dict(recording.losses), recording.notes) == ({}, [])


@pytest.mark.skipif("libopencore_amrnb" not in av.codecs_available, reason="this PyAV cannot write AMR")
def test_amr_of_a_phone_is_read_and_its_low_rate_is_told(tmp_path: Path) -> None:
    path = tmp_path / "call.3gp"
    write_film(path, sound=noise(3, 8000), codec="libopencore_amrnb", rate_hz=8000)
    recording = open_source(str(path), AUDIO)
    assert len(whole(recording)[1]) == pytest.approx(3 * 8000, abs=400)
    slow = "call.3gp has 8000 samples a second, the model 16000: it contains nothing above 4000 Hz"
    assert (dict(recording.losses), recording.notes) == ({}, [slow])


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.mov", "film.ts"])
@pytest.mark.parametrize("sound_begins_s", [0, 0.7])
def test_sound_and_pictures_of_one_film_are_on_one_clock(tmp_path: Path, name: str, sound_begins_s: float) -> None:
    path = tmp_path / name
    write_film(path, sound=noise(3), seconds=3, sound_begins_s=sound_begins_s)
    sound = open_source(str(path), AUDIO)
    pictures = open_source(str(path), VIDEO, allow_video=True)
    first_sound = next(sound.chunks(5)).times_ns[0] - 5
    first_picture = next(pictures.chunks(5)).times_ns[0] - 5
    with av.open(str(path)) as container:
        starts = {one.type: float((one.start_time or 0) * (one.time_base or 1)) for one in container.streams}
    # An encoder's priming, 1024 samples, is not shown; where the container cannot say so, it is.
    assert (first_sound - first_picture) / 1e9 == pytest.approx(starts["audio"] - starts["video"], abs=0.022)
    assert (first_sound - first_picture) / 1e9 == pytest.approx(sound_begins_s, abs=0.06)
    assert min(first_sound, first_picture) < 22_000_000


def test_sound_needs_no_permission_for_pictures_and_decodes_none(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    write_film(path, sound=noise(2), seconds=2)
    with pytest.raises(ConfigError, match="--allow-video"):
        open_source(str(path), VIDEO)
    assert len(whole(open_source(str(path), AUDIO))[1]) == pytest.approx(2 * 48000, abs=2048)
    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture() as lines:
            open_container("", path, "audio", "").close()
    finally:
        av.logging.set_level(level)
    assert any("mpeg4" in line and "not on whitelist" in line for _, _, line in lines)


@pytest.mark.parametrize("every_ns", [20_000_000, 77_000_000, 500_000_000, 10_000_000_000])
def test_the_length_of_chunks_changes_nothing_else(tmp_path: Path, every_ns: int) -> None:
    path = tmp_path / "a.m4a"
    write_film(path, sound=noise(2))
    recording = open_source(str(path), AUDIO)
    chunks, samples = whole(recording, every_ns)
    assert np.array_equal(samples, whole(recording)[1])
    assert times(chunks).tolist() == [number * 10**9 // 48000 for number in range(len(samples))]
    assert {len(chunk.samples) for chunk in chunks[:-1]} <= {48 * every_ns // 1_000_000}


def damaged(path: Path, begin: float, size: int) -> None:
    data = bytearray(path.read_bytes())
    place = round(len(data) * begin)
    data[place : place + size] = random.Random(0).randbytes(size)
    path.write_bytes(data)


def test_what_is_damaged_in_the_middle_is_a_counted_hole_and_the_rest_keeps_its_time(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_film(path, sound=noise(10), codec="flac")
    complete = whole(open_source(str(path), AUDIO))[1]
    damaged(path, 0.5, 60_000)
    recording = open_source(str(path), AUDIO)
    chunks, samples = whole(recording)
    lost = recording.losses["missing"]
    assert lost > 10_000
    assert sum(chunk.dropped for chunk in chunks) == lost
    assert len(samples) + lost == pytest.approx(len(complete), abs=500)
    assert times(chunks)[-1] == pytest.approx(10e9, abs=2e6)
    assert samples[-4000:] == pytest.approx(complete[-4000:], abs=1e-4)


def test_a_film_cut_midway_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    write_film(path, sound=noise(10))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    recording = open_source(str(path), AUDIO)
    samples = whole(recording)[1]
    assert len(samples) == pytest.approx(5 * 48000, rel=0.1)
    assert len(samples) + recording.losses["missing"] == pytest.approx(10 * 48000, abs=3000)
    assert "a.mkv is truncated or damaged: its header promises 10.0 s" in recording.notes[0]


def test_a_recording_whose_header_leaves_its_length_open_is_measured(tmp_path: Path) -> None:
    whole_file, path = tmp_path / "a.webm", tmp_path / "live.webm"
    write_film(whole_file, sound=noise(3), codec="libopus")
    with av.open(str(whole_file)) as source, av.open(str(path), "w", format="webm", options={"live": "1"}) as copy:
        stream = copy.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    recording = open_source(str(path), AUDIO)
    assert recording.duration_s == pytest.approx(3, abs=0.03)
    assert len(whole(recording)[1]) == pytest.approx(3 * 48000, abs=1000)
    assert (dict(recording.losses), recording.notes) == ({}, [])


def test_start_closing_and_options(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    write_film(path, sound=noise(2))
    recording = open_source(f"{path}?start=5&offset=0.5", AUDIO)
    assert recording.start_ns == 5_500_000_000
    chunks = recording.chunks(recording.start_ns)
    assert next(chunks).times_ns[0] == 5_500_000_000
    recording.close()
    assert list(chunks) == []
    with pytest.raises(ConfigError, match="unknown option 'rate'"):
        open_source(f"{path}?rate=8000", AUDIO)


def test_a_film_without_sound_and_a_cover_without_film_are_refused(tmp_path: Path) -> None:
    write_film(tmp_path / "mute.mp4", seconds=1)
    with pytest.raises(SourceError, match="contains no sound"):
        open_source(str(tmp_path / "mute.mp4"), AUDIO)
    write_film(tmp_path / "song.m4a", sound=noise(1))
    with pytest.raises(SourceError, match="contains no video"):
        open_source(str(tmp_path / "song.m4a"), VIDEO, allow_video=True)


def test_a_playlist_opens_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(SourceError, match="is not a readable sound file"):
        open_source(str(path), AUDIO)


@pytest.mark.parametrize("content", [b"t_ms,ax\n0,1\n" * 100, bytes(4096), b"\0\0\0\x18ftypmp42" + bytes(4000)])
def test_without_pyav_the_message_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    (tmp_path / "a.m4a").write_bytes(content)
    with pytest.raises(SourceError, match=r"need.? PyAV: .*pip install av"):
        open_source(str(tmp_path / "a.m4a"), AUDIO)


def test_frames_of_a_film_are_many(tmp_path: Path) -> None:
    """What the tests above rest on: the film has its pictures."""
    write_film(tmp_path / "film.mp4", sound=noise(1), seconds=1)
    with av.open(str(tmp_path / "film.mp4")) as container:
        assert container.streams.video[0].frames == FRAMES_HZ
