"""A video file replays as a camera: resized, thinned out, on its own time stamps."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from fakes import UNUSED_ENCODER
from mmg.bundle.manifest import Modality
from mmg.errors import ConfigError, SourceError
from mmg.sources import Recording, open_source
from mmg.sources.frames import FrameChooser, shrink
from mmg.types import Chunk
from numpy.typing import NDArray


def camera(rate_hz: float) -> Modality:
    return Modality(name="video", kind="video", rate_hz=rate_hz, channels=(), encoder=UNUSED_ENCODER, frame=(24, 32))


def write_video(path: Path, frames: int = 90, rate_hz: int = 30) -> None:
    """Left half red, right half grey that brightens by 2 a frame, with noise so that packets have some size."""
    random = np.random.default_rng(0)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mpeg4", rate=rate_hz)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 160, 120, "yuv420p", 4_000_000
        for index in range(frames):
            image = random.integers(0, 8, (120, 160, 3), dtype=np.uint8)
            image[:, :80, 0] += 200
            image[:, 80:] += np.uint8(2 * index)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    write_video(path)
    return path


CORNERS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}


def write_corners(path: Path, matrix: list[int] | None) -> None:
    """Red, green, blue and white, line by line, with this display matrix: a MOV's tkhd, written over FFmpeg's."""
    image = np.zeros((96, 128, 3), np.uint8)
    for colour, (row, column) in zip(CORNERS.values(), ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True):
        image[48 * row : 48 * row + 48, 64 * column : 64 * column + 64] = colour
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 128, 96, "yuv420p", 4_000_000
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    a, b, c, d = matrix or (1, 0, 0, 1)
    data[place : place + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def corners(image: NDArray[np.uint8]) -> list[str]:
    """The colours of the four quarters of an image, line by line."""
    height, width = image.shape[:2]
    places = [(row * height // 4, column * width // 4) for row in (1, 3) for column in (1, 3)]
    seen = [image[place].astype(int) for place in places]
    return [min(CORNERS, key=lambda name: float(np.abs(one - CORNERS[name]).sum())) for one in seen]


def opened(path: Path, rate_hz: float = 15, options: str = "") -> Recording:
    return open_source(f"file://{path}{options}", camera(rate_hz), allow_video=True)


def times_of(chunks: list[Chunk]) -> list[int]:
    return [int(chunk.times_ns[0]) for chunk in chunks]


def test_frames_are_rgb_of_the_models_size_at_their_own_times(clip: Path) -> None:
    recording = opened(clip)
    chunks = list(recording.chunks(1000))
    assert recording.start_ns is None
    assert recording.duration_s == pytest.approx(3)
    assert len(chunks) == 90
    assert {(chunk.samples.shape, chunk.samples.dtype.name) for chunk in chunks} == {((1, 24, 32, 3), "uint8")}
    assert times_of(chunks) == [1000 + index * 10**9 // 30 for index in range(90)]
    image = chunks[60].samples[0].astype(int)
    assert image[12, 4] == pytest.approx([204, 3, 3], abs=12)
    assert image[12, 28] == pytest.approx([124, 124, 124], abs=12)
    assert (recording.losses, recording.notes) == ({}, [])
    recording.close()
    recording.close()


@pytest.mark.parametrize(("rate_hz", "kept_hz"), [(1, 2), (5, 10), (10, 20), (30, 30)])
def test_at_most_two_frames_a_frame_of_the_model_are_kept(clip: Path, rate_hz: float, kept_hz: float) -> None:
    recording = opened(clip, rate_hz)
    assert len(list(recording.chunks(0))) == pytest.approx(3 * kept_hz, abs=1)
    recording.close()


def test_reading_again_begins_anew(clip: Path) -> None:
    recording = opened(clip)
    first = next(recording.chunks(0))
    assert np.array_equal(first.samples, next(recording.chunks(0)).samples)
    recording.close()


def test_closing_ends_whoever_iterates(clip: Path) -> None:
    recording = opened(clip)
    chunks = recording.chunks(0)
    next(chunks)
    recording.close()
    assert list(chunks) == []
    assert recording.losses == {}


def test_a_video_whose_header_leaves_its_length_open_is_measured(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "live.mkv"
    with av.open(str(clip)) as source, av.open(str(path), "w", format="matroska", options={"live": "1"}) as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    recording = opened(path)
    assert recording.duration_s == pytest.approx(89 / 30, abs=0.002)
    assert len(list(recording.chunks(0))) == 90
    assert (recording.losses, recording.notes) == ({}, [])


@pytest.mark.parametrize(
    ("matrix", "seen"),
    [
        ((1, 0, 0, 1), ["red", "green", "blue", "white"]),
        # By 90, 180 and 270 degrees clockwise, as a phone that is held upright, upside down, or on its other side.
        ((0, 1, -1, 0), ["blue", "red", "white", "green"]),
        ((-1, 0, 0, -1), ["white", "blue", "green", "red"]),
        ((0, -1, 1, 0), ["green", "white", "red", "blue"]),
        # Mirrored left to right, up to down, and with a quarter turn, as a selfie.
        ((-1, 0, 0, 1), ["green", "red", "white", "blue"]),
        ((1, 0, 0, -1), ["blue", "white", "red", "green"]),
        ((0, 1, 1, 0), ["red", "blue", "green", "white"]),
        ((0, -1, -1, 0), ["white", "green", "blue", "red"]),
    ],
)
@pytest.mark.parametrize("frame", [(24, 32), (40, 20)])
def test_frames_are_turned_and_mirrored_as_the_file_says(
    tmp_path: Path, frame: tuple[int, int], matrix: list[int], seen: list[str]
) -> None:
    write_corners(tmp_path / "phone.mov", matrix)
    modality = Modality(name="video", kind="video", rate_hz=10, channels=(), encoder=UNUSED_ENCODER, frame=frame)
    recording = open_source(str(tmp_path / "phone.mov"), modality, allow_video=True)
    chunks = list(recording.chunks(0))
    assert [chunk.samples.shape for chunk in chunks] == [(1, *frame, 3)] * 3
    assert [corners(chunk.samples[0]) for chunk in chunks] == [seen] * 3
    assert (recording.losses, recording.notes) == ({}, [])


def test_a_picture_is_turned_before_it_is_resized(tmp_path: Path) -> None:
    write_corners(tmp_path / "phone.mov", [0, 1, -1, 0])
    write_corners(tmp_path / "flat.mov", None)
    tall, wide = (
        open_source(
            str(tmp_path / name),
            Modality(name="video", kind="video", rate_hz=10, channels=(), encoder=UNUSED_ENCODER, frame=frame),
            allow_video=True,
        )
        for name, frame in (("phone.mov", (64, 20)), ("flat.mov", (20, 64)))
    )
    for turned, flat in zip(tall.chunks(0), wide.chunks(0), strict=True):
        assert np.array_equal(turned.samples[0], np.rot90(flat.samples[0], -1))


def test_a_turn_that_is_no_quarter_is_told_and_not_applied(tmp_path: Path) -> None:
    write_corners(tmp_path / "odd.mov", [1, 1, -1, 1])
    recording = opened(tmp_path / "odd.mov")
    assert [corners(chunk.samples[0]) for chunk in recording.chunks(0)] == [["red", "green", "blue", "white"]] * 3
    assert recording.notes == ["odd.mov is marked as turned by no quarter turn: it is left as stored"]


def test_start_gives_a_video_a_clock(clip: Path) -> None:
    recording = opened(clip, options="?start=5&offset=0.5")
    assert recording.start_ns == 5_500_000_000
    assert times_of(list(recording.chunks(5_500_000_000)))[0] == 5_500_000_000
    recording.close()


def test_a_video_cut_midway_gives_what_is_there_and_says_so(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    recording = opened(path)
    chunks = list(recording.chunks(0))
    assert 20 < len(chunks) < 60
    assert len(chunks) + sum(recording.losses.values()) == 90
    assert "cut.mp4 is truncated or damaged: its header promises 3.0 s" in recording.notes[0]
    recording.close()


def test_garbage_inside_a_video_is_counted_and_the_rest_goes_on(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "dirty.mp4"
    data = bytearray(clip.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20_000] = b"\x17\x99" * 10_000
    path.write_bytes(data)
    recording = opened(path)
    times = times_of(list(recording.chunks(0)))
    assert recording.losses["unreadable"] >= 1
    assert times[-1] > 2_900_000_000
    assert times == sorted(set(times))
    recording.close()


@pytest.mark.parametrize("kept", [slice(40), slice(300), slice(40_000, None)])
def test_a_video_without_its_whole_beginning_is_refused(clip: Path, tmp_path: Path, kept: slice) -> None:
    path = tmp_path / "stub.mp4"
    path.write_bytes(clip.read_bytes()[kept])
    with pytest.raises(SourceError):
        opened(path)


def test_text_sound_and_unknown_options_are_refused(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("t_ms,ax\n0,1\n" * 200)
    with pytest.raises(SourceError, match="is not a readable video"):
        opened(tmp_path / "a.mp4")
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(SourceError, match="contains no video"):
        opened(tmp_path / "sound.wav")
    with pytest.raises(ConfigError, match="unknown option 'stream'"):
        opened(clip, options="?stream=rgb")


def test_a_name_that_looks_like_a_protocol_is_a_file(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pipe:0.mp4").write_bytes(clip.read_bytes())
    recording = open_source("file://pipe:0.mp4", camera(15), allow_video=True)
    assert len(list(recording.chunks(0))) == 90
    recording.close()


def test_the_chooser_keeps_every_frame_of_exactly_twice_the_rate() -> None:
    chooser = FrameChooser(10)
    assert all(chooser.wants(index * 10**9 // 20) for index in range(1000))


def test_shrinking_takes_the_mean_and_growing_repeats() -> None:
    image = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3)
    assert np.array_equal(shrink(image, (6, 4)), image)
    expected = image.reshape(3, 2, 2, 2, 3).mean(axis=(1, 3))
    assert np.abs(shrink(image, (3, 2)) - expected).max() <= 0.5
    assert np.array_equal(shrink(image, (12, 8)), image.repeat(2, axis=0).repeat(2, axis=1))
    assert shrink(np.full((5, 7, 3), 255, np.uint8), (3, 4)).min() == 255
