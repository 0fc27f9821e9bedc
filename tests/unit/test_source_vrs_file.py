"""A recording of Aria glasses replays as an IMU, a microphone or a camera, on the glasses' clock."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fakes import UNUSED_ENCODER
from mmg.bundle.manifest import Channel, Modality
from mmg.errors import ConfigError, MmgError, SourceError
from mmg.sources import open_source
from mmg.sources.files.vrs import upright
from mmg.sources.frames import shrink

pytest.importorskip("projectaria_tools")
RECORDING = Path(os.environ.get("MMG_DATA", Path(__file__).parents[3] / "shared" / "data")) / "aria/aea_recording.vrs"
pytestmark = pytest.mark.skipif(not RECORDING.exists(), reason=f"{RECORDING} is not there: set MMG_DATA")

IMU = Modality(
    name="imu",
    kind="signal",
    rate_hz=50,
    channels=(
        *(Channel(name=name, unit="m/s^2") for name in ("ax", "ay", "az")),
        *(Channel(name=name, unit="rad/s", optional=True) for name in ("gx", "gy", "gz")),
    ),
    encoder=UNUSED_ENCODER,
)
AUDIO = Modality(
    name="audio", kind="audio", rate_hz=16000, channels=(Channel(name="mic", unit=""),), encoder=UNUSED_ENCODER
)
VIDEO = Modality(name="video", kind="video", rate_hz=30, channels=(), encoder=UNUSED_ENCODER, frame=(44, 32))


@pytest.mark.parametrize(
    ("stream", "count", "start_ns", "first"),
    [
        ("", 400, 86347942362, [-7.893683, 2.1428106, 2.6599582, 0.77405465, -0.171953, -0.32633802]),
        ("?stream=imu-right", 400, 86347942362, [-7.893683, 2.1428106, 2.6599582, 0.77405465, -0.171953, -0.32633802]),
        ("?stream=imu-left", 319, 86348264162, None),
    ],
)
def test_the_imu_is_read_with_device_times(stream: str, count: int, start_ns: int, first: list[float] | None) -> None:
    recording = open_source(f"file://{RECORDING}{stream}", IMU)
    assert recording.start_ns == start_ns
    chunks = list(recording.chunks(recording.start_ns))
    times = np.concatenate([chunk.times_ns for chunk in chunks])
    samples = np.concatenate([chunk.samples for chunk in chunks])
    assert samples.shape == (count, 6)
    assert samples.dtype == np.float32
    assert times.dtype == np.int64
    assert times[0] == start_ns
    assert (np.diff(times) > 0).all()
    assert recording.duration_s == (times[-1] - times[0]) / 1e9
    assert 4 <= len(chunks) <= 5
    assert dict(recording.losses) == {}
    if first:
        assert samples[0] == pytest.approx(first)


def test_channels_are_matched_by_name_and_unit() -> None:
    turned = Modality(
        name="imu",
        kind="signal",
        rate_hz=50,
        channels=(
            Channel(name="gyro_z", unit="deg/s"),
            Channel(name="ppg", unit="", optional=True),
            Channel(name="ax", unit="g"),
        ),
        encoder=UNUSED_ENCODER,
    )
    recording = open_source(str(RECORDING), turned)
    assert next(recording.chunks(0)).samples[0] == pytest.approx([np.degrees(-0.32633802), 0, -7.893683 / 9.80665])
    assert recording.notes == ["aea_recording.vrs has no ppg: filled with zeros"]
    required = Modality(
        name="ppg", kind="signal", rate_hz=50, channels=(Channel(name="ppg", unit=""),), encoder=UNUSED_ENCODER
    )
    with pytest.raises(SourceError, match="has no ppg"):
        open_source(str(RECORDING), required)


def test_the_microphones_are_seven_channels_each_sample_with_its_time() -> None:
    recording = open_source(str(RECORDING), AUDIO)
    assert recording.start_ns == 86408734764
    chunks = list(recording.chunks(5))
    samples = np.concatenate([chunk.samples for chunk in chunks])
    times = np.concatenate([chunk.times_ns for chunk in chunks])
    assert samples.shape == (16384, 7)
    assert samples.dtype == np.float32
    assert samples[0, 0] == pytest.approx(-2013952 / 2**31)
    assert times[0] == 5
    assert np.diff(times) == pytest.approx(1e9 / 48000, abs=2)
    assert {(chunk.rate_hz, chunk.dropped) for chunk in chunks} == {(48000, 0)}


@pytest.mark.parametrize(("stream", "grey"), [("", False), ("?stream=camera-slam-left", True)])
def test_the_cameras_give_rgb_of_the_models_size(stream: str, grey: bool) -> None:
    with pytest.raises(ConfigError, match="--allow-video"):
        open_source(f"file://{RECORDING}{stream}", VIDEO)
    recording = open_source(f"file://{RECORDING}{stream}", VIDEO, allow_video=True)
    chunks = list(recording.chunks(recording.start_ns or 0))
    assert {(chunk.samples.shape, chunk.samples.dtype.name) for chunk in chunks} == {((1, 44, 32, 3), "uint8")}
    assert len(chunks) == (4 if grey else 8)
    assert chunks[0].times_ns[0] == recording.start_ns
    image = chunks[0].samples[0]
    assert (np.ptp(image, axis=-1).max() == 0) == grey
    assert np.ptp(image) > 20


@pytest.mark.parametrize("stream", ["camera-rgb", "camera-slam-left", "camera-slam-right"])
def test_pictures_are_upright_as_the_calibration_says_the_cameras_are_mounted(stream: str) -> None:
    from projectaria_tools.core import data_provider

    provider = data_provider.create_vrs_data_provider(str(RECORDING))
    stored = provider.get_image_data_by_index(provider.get_stream_id_from_label(stream), 0)[0].to_numpy_array()
    stored = stored if stored.ndim == 3 else np.stack([stored] * 3, axis=-1)
    recording = open_source(f"file://{RECORDING}?stream={stream}", VIDEO, allow_video=True)
    image = next(recording.chunks(0)).samples[0].astype(float)
    # Sides are cut into pixels from the left: turned, they are cut a little otherwise.
    assert np.abs(image - shrink(np.rot90(stored, -1), (44, 32))).mean() < 4
    assert np.abs(image - shrink(stored, (44, 32))).mean() > 10
    assert recording.notes == []


@pytest.mark.parametrize(("right", "down", "turns"), [(0, -1, 0), (1, 0, 1), (0, 1, 2), (-1, 0, 3)])
def test_what_is_up_in_a_picture_comes_to_its_top(right: float, down: float, turns: int) -> None:
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    assert np.array_equal(upright(right, down).apply(picture), np.rot90(picture, turns))


def test_all_three_are_on_the_glasses_clock() -> None:
    starts, ends = [], []
    for modality in (IMU, AUDIO, VIDEO):
        recording = open_source(str(RECORDING), modality, allow_video=True)
        assert recording.start_ns is not None
        chunks = list(recording.chunks(recording.start_ns))
        assert chunks[0].times_ns[0] == recording.start_ns
        starts.append(recording.start_ns)
        ends.append(int(chunks[-1].times_ns[-1]))
    assert np.ptp(starts) < 100_000_000
    assert np.ptp(ends) < 150_000_000


def test_a_recording_of_another_name_is_known_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "day.bin").symlink_to(RECORDING)
    assert open_source(str(tmp_path / "day.bin"), IMU).start_ns == 86347942362


def test_a_recording_whose_name_is_no_utf_8_is_read(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.vrs")
    path.symlink_to(RECORDING)
    assert open_source(str(path), IMU).start_ns == 86347942362


def test_start_and_offset_move_the_glasses_clock() -> None:
    assert open_source(f"{RECORDING}?offset=1", IMU).start_ns == 87347942362
    assert open_source(f"{RECORDING}?start=1", IMU).start_ns == 10**9


@pytest.mark.parametrize("modality", [IMU, AUDIO, VIDEO], ids=["imu", "audio", "video"])
def test_closing_ends_whoever_iterates(modality: Modality) -> None:
    recording = open_source(str(RECORDING), modality, allow_video=True)
    chunks = recording.chunks(0)
    next(chunks)
    recording.close()
    assert list(chunks) == []


def test_unknown_streams_and_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="must be one of imu-right, imu-left"):
        open_source(f"{RECORDING}?stream=mic", IMU)
    with pytest.raises(ConfigError, match="unknown option 'rate'"):
        open_source(f"{RECORDING}?rate=1", IMU)


def test_standard_output_stays_clean_even_for_a_damaged_file(tmp_path: Path) -> None:
    data = bytearray(RECORDING.read_bytes())
    data[360:2360] = random.Random(2).randbytes(2000)
    (tmp_path / "damaged.vrs").write_bytes(data)
    code = (
        "import sys; sys.path[:0] = {tests!r}; import test_source_vrs_file as t\n"
        "for path in ({whole!r}, {damaged!r}):\n"
        "    try: list(t.open_source(path, t.IMU).chunks(0))\n"
        "    except t.SourceError: sys.stderr.write('refused')\n"
    ).format(
        tests=[str(folder) for folder in Path(__file__).parents[:2]],
        whole=str(RECORDING),
        damaged=str(tmp_path / "damaged.vrs"),
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "refused")


@pytest.mark.parametrize("kept", [0.3, 0.5, 0.9, 0.99])
def test_a_cut_recording_gives_its_whole_records(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "cut.vrs"
    path.write_bytes(RECORDING.read_bytes()[: round(RECORDING.stat().st_size * kept)])
    cut = np.concatenate([chunk.samples for chunk in open_source(str(path), IMU).chunks(0)])
    complete = np.concatenate([chunk.samples for chunk in open_source(str(RECORDING), IMU).chunks(0)])
    assert len(cut) > 400 * kept - 100
    assert np.array_equal(cut, complete[: len(cut)])


@pytest.mark.parametrize("size", [1, 20, 300, 5_000, 50_000])
def test_too_little_of_a_recording_and_random_bytes_are_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "stub.vrs"
    for data in (RECORDING.read_bytes()[:size], random.Random(size).randbytes(size)):
        path.write_bytes(data)
        for modality in (IMU, AUDIO, VIDEO):
            with pytest.raises(SourceError, match=r"is not a readable Aria recording|records, but two are needed"):
                open_source(str(path), modality, allow_video=True)


@pytest.mark.parametrize("place", [400, 3_000, 5_000, 12_000, 20_000, 40_000, 1_000_000])
def test_damage_anywhere_raises_nothing_but_our_errors(tmp_path: Path, place: int) -> None:
    path = tmp_path / "damaged.vrs"
    data = bytearray(RECORDING.read_bytes())
    data[place : place + 300] = random.Random(place).randbytes(300)
    path.write_bytes(data)
    for modality in (IMU, AUDIO):
        with contextlib.suppress(MmgError):
            assert sum(len(chunk.samples) for chunk in open_source(str(path), modality).chunks(0)) > 300
