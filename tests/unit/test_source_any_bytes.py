"""Whatever bytes a file holds, opening and replaying it raises nothing but our own errors."""

from __future__ import annotations

import io
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from fakes import UNUSED_ENCODER
from films import nest, noise, stream, telemetry_film, write_film
from fuzzing import times
from hypothesis import given, settings
from hypothesis import strategies as st
from mmg.bundle.manifest import Channel, Modality
from mmg.errors import MmgError
from mmg.sources import open_source

IMU = Modality(
    name="imu",
    kind="signal",
    rate_hz=50,
    channels=tuple(Channel(name=name, unit="m/s^2") for name in ("ax", "ay", "az")),
    encoder=UNUSED_ENCODER,
)
AUDIO = Modality(
    name="audio", kind="audio", rate_hz=16000, channels=(Channel(name="mic", unit=""),), encoder=UNUSED_ENCODER
)
VIDEO = Modality(name="video", kind="video", rate_hz=10, channels=(), encoder=UNUSED_ENCODER, frame=(6, 8))
QUIET = settings(max_examples=times(40), deadline=None)
MOST_SAMPLES = 1_000_000


def csv_bytes() -> bytes:
    rows = "".join(f"{1657533977810 + 10 * index},{index % 7},2.5,-9.81\r\n" for index in range(200))
    return f"\ufefft_ms,ax,ay,az\r\n{rows}".encode()


def sound_bytes(kind: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32), 8000, format=kind)
    return file.getvalue()


def video_bytes() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_video(path)
        return path.read_bytes()


def write_video(path: Path) -> None:
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for seed in range(15):
            image = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def film_bytes() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.m4a"
        write_film(path, sound=noise(1.5, 16000), codec="alac", rate_hz=16000)
        return path.read_bytes()


def gopro_bytes() -> bytes:
    values = np.random.default_rng(0).normal(0, 5, (100, 3))
    return telemetry_film([nest("DEVC", stream("ACCL", values)), nest("DEVC", stream("ACCL", values))])


KINDS: dict[str, tuple[Modality, Callable[[], bytes]]] = {
    "walk.csv": (IMU, csv_bytes),
    "walk.wav": (AUDIO, lambda: sound_bytes("WAV")),
    "walk.flac": (AUDIO, lambda: sound_bytes("FLAC")),
    "walk.ogg": (AUDIO, lambda: sound_bytes("OGG")),
    "walk.mp4": (VIDEO, video_bytes),
    "walk.m4a": (AUDIO, film_bytes),
    "gopro.mp4": (IMU, gopro_bytes),
}


@pytest.fixture(params=KINDS, scope="module")
def sample(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Modality, bytes]:
    modality, make = KINDS[request.param]
    return tmp_path_factory.mktemp("any") / request.param, modality, make()


def samples_of(path: Path, modality: Modality, data: bytes) -> int:
    """How many samples come out, 0 where the file is refused."""
    path.write_bytes(data)
    count, last_ns = 0, -1
    try:
        recording = open_source(f"file://{path}", modality, allow_video=True)
        for chunk in recording.chunks(0):
            assert len(chunk.samples) == len(chunk.times_ns) > 0
            if modality.kind != "audio":
                assert chunk.times_ns[0] > last_ns
                assert (np.diff(chunk.times_ns) > 0).all()
            last_ns = int(chunk.times_ns[-1])
            count += len(chunk.samples)
            if count > MOST_SAMPLES:
                break
        recording.close()
    except MmgError as error:
        refusal = str(error)
    else:
        return count
    assert str(path) in refusal
    return 0


def test_the_whole_file_is_read(sample: tuple[Path, Modality, bytes]) -> None:
    path, modality, data = sample
    assert samples_of(path, modality, data) == {"signal": 200, "audio": 24_000, "video": 15}[modality.kind]


@QUIET
@given(data=st.binary(min_size=1, max_size=3000))
def test_random_bytes(sample: tuple[Path, Modality, bytes], data: bytes) -> None:
    path, modality, _ = sample
    samples_of(path, modality, data)


@QUIET
@given(kept=st.floats(0, 1, exclude_min=True))
def test_a_file_cut_anywhere(sample: tuple[Path, Modality, bytes], kept: float) -> None:
    path, modality, data = sample
    there = samples_of(path, modality, data[: max(1, round(len(data) * kept))])
    assert there <= {"signal": 200, "audio": 24_000, "video": 15}[modality.kind]


@QUIET
@given(place=st.floats(0, 1), length=st.integers(1, 400), seed=st.integers(0, 1000))
def test_a_file_damaged_anywhere(sample: tuple[Path, Modality, bytes], place: float, length: int, seed: int) -> None:
    path, modality, data = sample
    begin = round(len(data) * place)
    samples_of(path, modality, data[:begin] + random.Random(seed).randbytes(length) + data[begin + length :])


@QUIET
@given(place=st.integers(0, 120), byte=st.integers(0, 255))
def test_one_wrong_byte_in_the_header(sample: tuple[Path, Modality, bytes], place: int, byte: int) -> None:
    path, modality, data = sample
    samples_of(path, modality, data[:place] + bytes([byte]) + data[place + 1 :])


@pytest.mark.parametrize(("place", "byte"), [(23, 4), (34, 57)], ids=["unknown codec", "64 bits"])
def test_a_header_that_names_what_no_library_gives_is_refused(tmp_path: Path, place: int, byte: int) -> None:
    data = sound_bytes("WAV")
    assert samples_of(tmp_path / "walk.wav", AUDIO, data[:place] + bytes([byte]) + data[place + 1 :]) == 0


@settings(max_examples=times(150), deadline=None)
@given(text=st.text(alphabet='tax,yz_ms0123456789.-+e\n\r";\t# nulif\0é', max_size=400))
@pytest.mark.parametrize("options", ["", "?rate=50", "?time=0&columns=1,2,3", "?rate=5&delimiter=;&columns=0,1,2"])
def test_text_that_is_almost_a_table(tmp_path_factory: pytest.TempPathFactory, options: str, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "almost.csv"
    path.write_text(f"t_ms,ax,ay,az\n{text}", newline="", encoding="utf-8")
    try:
        recording = open_source(f"file://{path}{options}", IMU)
    except MmgError:
        return
    assert sum(len(chunk.samples) for chunk in recording.chunks(0)) >= 2
