"""A GoPro's film replays as an IMU, on the clock of its pictures and its sound."""

from __future__ import annotations

import contextlib
import random
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import UNUSED_ENCODER
from films import klv, nest, noise, stamp, stream, telemetry_film, text, tick, write_film
from mmg.bundle.manifest import Channel, Modality
from mmg.errors import ConfigError, MmgError, SourceError
from mmg.sources import Recording, open_source
from mmg.types import Chunk
from numpy.typing import NDArray
from recordings import real

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
VIDEO = Modality(name="video", kind="video", rate_hz=15, channels=(), encoder=UNUSED_ENCODER, frame=(24, 32))
ORDER = text("ORIN", "XYZ")


def truth(times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Acceleration and angular rate ``(T, 6)`` of a device that swings twice a second."""
    angle = 4 * np.pi * times_s[:, None]
    return np.concatenate([9.8 * np.sin(angle + np.arange(3)), 3 * np.cos(angle + np.arange(3))], axis=1)


def payload(begin_s: float, hz: tuple[float, float], late_s: float = 0, *, stamps: str = "STMP") -> bytes:
    """A second of the true samples from ``begin_s`` on; the camera's clock reads 70 s when the film begins."""
    devices = [text("DVNM", "Hero9 Black")]
    for key, rate, columns in (("ACCL", hz[0], slice(3)), ("GYRO", hz[1], slice(3, 6))):
        first = np.ceil((begin_s - late_s) * rate - 1e-9)
        times_s = late_s + np.arange(first, np.ceil((begin_s + 1 - late_s) * rate - 1e-9)) / rate
        at_us = round((70 + times_s[0]) * 1e6)
        stamped = {"STMP": [stamp(at_us)], "TICK": [tick(at_us // 1000)], "": []}[stamps]
        devices.append(stream(key, truth(times_s)[:, columns], *stamped, ORDER))
    at_us = round((70 + begin_s) * 1e6)
    stamped = {"STMP": [stamp(at_us)], "TICK": [tick(at_us // 1000)], "": []}[stamps]
    return nest("DEVC", *devices, nest("STRM", *stamped, klv("SHUT", "f", 4, bytes(120))))


def farthest(times: NDArray[np.int64], samples: NDArray[np.float32]) -> float:
    """How far the samples are from the truth, as a share of its swing. Where one sensor ends, its last value is held
    for up to 5 ms, in which the truth turns by 0.06."""
    return float((np.abs(samples - truth(times / 1e9)) / ([9.8] * 3 + [3] * 3)).max())


def recorded(path: Path, payloads: list[bytes], **film: Any) -> Path:
    path.write_bytes(telemetry_film(payloads, **film))
    return path


def opened(path: Path, modality: Modality = IMU) -> tuple[Recording, list[Chunk]]:
    recording = open_source(f"file://{path}", modality)
    return recording, list(recording.chunks(0))


def joined(chunks: list[Chunk]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    return np.concatenate([one.times_ns for one in chunks]), np.concatenate([one.samples for one in chunks])


@pytest.mark.parametrize("hz", [(200, 200), (200, 400), (198.7, 3200), (400, 200.3)])
@pytest.mark.parametrize(("stamps", "off_s"), [("STMP", 1e-4), ("TICK", 2e-3)])
def test_two_rates_become_one_time_line(tmp_path: Path, hz: tuple[float, float], stamps: str, off_s: float) -> None:
    payloads = [payload(begin, hz, 0.013, stamps=stamps) for begin in range(6)]
    recording, chunks = opened(recorded(tmp_path / "a.mp4", payloads))
    times, samples = joined(chunks)
    assert recording.start_ns is None
    assert recording.duration_s == pytest.approx(6, abs=0.02)
    assert len(times) == pytest.approx(6 * max(hz), abs=10)
    assert 0 <= times[0] < 6e6
    steps = np.diff(times)
    assert steps.min() > 0
    assert steps == pytest.approx(1e9 / max(hz), rel=0.02)
    assert samples.dtype == np.float32
    assert farthest(times, samples) < 0.07
    assert farthest(times[20:-20], samples[20:-20]) < 0.01 + 12.6 * off_s
    assert (dict(recording.losses), recording.notes) == ({}, [])


def test_without_stamps_a_payload_begins_when_the_film_has_it(tmp_path: Path) -> None:
    payloads = [payload(begin, (200, 400), stamps="") for begin in range(4)]
    times, samples = joined(opened(recorded(tmp_path / "a.mp4", payloads))[1])
    assert farthest(times, samples) < 0.07


def test_the_last_payload_goes_on_at_the_pace_of_the_others_however_long_the_film_has_it(tmp_path: Path) -> None:
    short = nest("DEVC", stream("ACCL", truth(3 + np.arange(20) / 200)[:, :3], stamp(73_000_000), ORDER))
    acceleration = Modality(name="imu", kind="signal", rate_hz=50, channels=IMU.channels[:3], encoder=UNUSED_ENCODER)
    payloads = [*(payload(begin, (200, 400)) for begin in range(3)), short]
    recording, chunks = opened(recorded(tmp_path / "a.mp4", payloads), acceleration)
    times, samples = joined(chunks)
    assert recording.duration_s == pytest.approx(3.1, abs=0.01)
    assert times[-1] == pytest.approx(3.095e9, abs=1e6)
    assert np.abs(samples - truth(times / 1e9)[:, :3]).max() < 0.2


def test_a_track_that_begins_later_than_the_film_is_later(tmp_path: Path) -> None:
    payloads = [payload(begin, (200, 200), stamps="") for begin in range(3)]
    times, _ = joined(opened(recorded(tmp_path / "a.mp4", payloads, delay_ms=500))[1])
    assert times[0] == pytest.approx(0.5e9, abs=1e6)


@pytest.mark.parametrize("every_ns", [50_000_000, 100_000_000, 500_000_000])
def test_the_length_of_chunks_changes_nothing_else(tmp_path: Path, every_ns: int) -> None:
    path = recorded(tmp_path / "a.mp4", [payload(begin, (200, 400)) for begin in range(4)])
    recording, chunks = opened(path)
    other = list(recording.chunks(0, every_ns))
    assert np.array_equal(joined(chunks)[1], joined(other)[1])
    assert max(int(one.times_ns[-1] - one.times_ns[0]) for one in other) < every_ns


def test_a_payload_that_is_damaged_is_a_counted_hole_and_the_rest_keeps_its_time(tmp_path: Path) -> None:
    payloads = [payload(begin, (200, 400)) for begin in range(8)]
    payloads[3] = bytes(len(payloads[3]))
    payloads[5] = payloads[5][:40]
    recording, chunks = opened(recorded(tmp_path / "a.mp4", payloads))
    times, samples = joined(chunks)
    assert recording.losses["missing"] == pytest.approx(800, abs=4)
    assert sum(one.dropped for one in chunks) == recording.losses["missing"]
    assert len(times) == pytest.approx(6 * 400, abs=8)
    assert farthest(times, samples) < 0.07
    assert np.sort(np.diff(times))[-2:] == pytest.approx(1.0025e9, rel=0.02)


def test_the_end_that_is_cut_off_is_counted(tmp_path: Path) -> None:
    whole = telemetry_film([payload(begin, (200, 400)) for begin in range(8)])
    path = tmp_path / "a.mp4"
    # The index of a real film stands behind its samples: here two of these are out of reach.
    place = whole.index(b"stco") + 8
    far = struct.pack(">I", len(whole) + 10)
    path.write_bytes(whole[: place + 8 * 4 - 8 + 4] + far + far + whole[place + 8 * 4 + 4 :])
    recording, chunks = opened(path)
    assert recording.duration_s == pytest.approx(6, abs=0.01)
    assert len(joined(chunks)[0]) + recording.losses["missing"] == pytest.approx(8 * 400, abs=8)


def test_a_sensor_alone_is_counted_where_the_other_is_lost(tmp_path: Path) -> None:
    payloads = [payload(begin, (200, 400)) for begin in range(5)]
    payloads[2] = payloads[2].replace(b"ACCL", b"XXXX")
    recording, chunks = opened(recorded(tmp_path / "a.mp4", payloads))
    assert recording.losses["alone"] == pytest.approx(400, abs=8)
    assert farthest(*joined(chunks)) < 0.07


def test_what_came_before_a_long_loss_is_not_lost_with_it(tmp_path: Path) -> None:
    payloads = [payload(begin, (400, 200)) for begin in range(10)]
    payloads[3:8] = [one.replace(b"GYRO", b"XXXX") for one in payloads[3:8]]
    recording, chunks = opened(recorded(tmp_path / "a.mp4", payloads))
    assert recording.losses["alone"] == pytest.approx(5 * 400, abs=8)
    assert farthest(*joined(chunks)) < 0.07


@pytest.mark.parametrize("part", [b"SCAL", b"ORIN"])
def test_a_payload_that_contradicts_the_others_is_not_believed(tmp_path: Path, part: bytes) -> None:
    payloads = [payload(begin, (200, 400)) for begin in range(5)]
    for number in (0, 3):
        place = payloads[number].index(part) + 8
        changed = b"zYX" if part == b"ORIN" else struct.pack(">h", 40)
        payloads[number] = payloads[number][:place] + changed + payloads[number][place + len(changed) :]
    recording, chunks = opened(recorded(tmp_path / "a.mp4", payloads))
    times, samples = joined(chunks)
    assert len(times) == pytest.approx(3 * 400, abs=8)
    assert farthest(times, samples) < 0.07
    assert sum(recording.losses.values()) >= 400


def test_a_wrong_stamp_is_not_believed(tmp_path: Path) -> None:
    payloads = [payload(begin, (200, 200)) for begin in range(6)]
    place = payloads[3].index(b"STMP") + 8
    payloads[3] = payloads[3][:place] + b"\x7f" * 8 + payloads[3][place + 8 :]
    times, samples = joined(opened(recorded(tmp_path / "a.mp4", payloads))[1])
    assert len(times) == pytest.approx(6 * 200, abs=6)
    assert farthest(times, samples) < 0.07


def test_a_time_lapse_is_refused(tmp_path: Path) -> None:
    payloads = [payload(begin, (200, 200)) for begin in range(6)]
    with pytest.raises(SourceError, match=r"0\.1 times as long as what it shows: the IMU of a time lapse"):
        opened(recorded(tmp_path / "a.mp4", payloads, durations_ms=[100] * 6))


def test_channels_are_matched_by_name_and_unit_and_what_is_lacking_is_told(tmp_path: Path) -> None:
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
    path = recorded(tmp_path / "a.mp4", [payload(begin, (200, 200)) for begin in range(3)])
    recording, chunks = opened(path, turned)
    times, samples = joined(chunks)
    expected = truth(times / 1e9)[:, [5, 0, 0]] * [180 / np.pi, 0, 1 / 9.80665]
    assert samples == pytest.approx(expected, abs=0.3)
    assert recording.notes == ["a.mp4 has no ppg: filled with zeros"]
    pulse = Modality(
        name="ppg", kind="signal", rate_hz=50, channels=(Channel(name="ppg", unit=""),), encoder=UNUSED_ENCODER
    )
    with pytest.raises(SourceError, match=r"a\.mp4 has no ppg"):
        opened(path, pulse)


def test_a_camera_without_a_gyroscope_gives_its_accelerometer(tmp_path: Path) -> None:
    payloads = [payload(begin, (200, 200)).replace(b"GYRO", b"XXXX") for begin in range(3)]
    recording, chunks = opened(recorded(tmp_path / "a.mp4", payloads))
    assert recording.notes == ["a.mp4 has no gx, gy, gz: filled with zeros"]
    assert (joined(chunks)[1][:, 3:] == 0).all()
    required = Modality(
        name="imu",
        kind="signal",
        rate_hz=50,
        channels=tuple(Channel(name=name, unit="rad/s") for name in ("gx", "gy", "gz")),
        encoder=UNUSED_ENCODER,
    )
    with pytest.raises(SourceError, match="has no gx, gy, gz"):
        opened(tmp_path / "a.mp4", required)


def test_start_closing_and_options(tmp_path: Path) -> None:
    path = recorded(tmp_path / "a.360", [payload(begin, (200, 200)) for begin in range(3)])
    recording = open_source(f"{path}?start=5&offset=0.5", IMU)
    assert recording.start_ns == 5_500_000_000
    chunks = recording.chunks(recording.start_ns)
    assert next(chunks).times_ns[0] == pytest.approx(5_500_000_000, abs=1e6)
    recording.close()
    assert list(chunks) == []
    with pytest.raises(ConfigError, match="unknown option 'rate'"):
        open_source(f"{path}?rate=200", IMU)


def test_a_film_without_telemetry_is_refused_and_says_what_it_holds(tmp_path: Path) -> None:
    write_film(tmp_path / "phone.mp4", sound=noise(1), seconds=1)
    with pytest.raises(SourceError, match=r"holds no IMU: it has pictures and sound, but no GoPro telemetry"):
        opened(tmp_path / "phone.mp4")
    write_film(tmp_path / "screen.mkv", sound=noise(1))
    with pytest.raises(SourceError, match="holds no IMU"):
        opened(tmp_path / "screen.mkv")


@pytest.mark.parametrize(
    ("payloads", "why"),
    [
        ([nest("DEVC", nest("STRM", klv("GPS5", "l", 20, bytes(40))))] * 3, "no accelerometer or gyroscope in its"),
        ([bytes(200)] * 3, "no accelerometer or gyroscope in its telemetry"),
        ([nest("DEVC", nest("STRM", klv("ACCL", "#", 6, bytes(60))))], "cannot be used: ACCL is of type '#'"),
        ([nest("DEVC", nest("STRM", text("SIUN", "ft/s"), klv("ACCL", "s", 6, bytes(60))))], "is in 'ft/s'"),
    ],
)
def test_telemetry_without_an_imu_that_can_be_read_is_refused(tmp_path: Path, payloads: list[bytes], why: str) -> None:
    with pytest.raises(SourceError, match=why):
        opened(recorded(tmp_path / "a.mp4", payloads))


def test_a_film_without_its_index_is_refused(tmp_path: Path) -> None:
    whole = telemetry_film([payload(begin, (200, 200)) for begin in range(3)])
    (tmp_path / "a.mp4").write_bytes(whole[: whole.index(b"moov") - 4])
    with pytest.raises(SourceError, match="has no index"):
        opened(tmp_path / "a.mp4")


@pytest.mark.parametrize(
    "tables",
    [
        {"stsz": struct.pack(">III", 0, 1 << 30, 0xFFFFFFFF)},
        {"stsz": struct.pack(">III", 0, 0, 0xFFFFFFFF)},
        {"stts": struct.pack(">IIII", 0, 1, 0xFFFFFFFF, 1000)},
        {"stsc": struct.pack(">IIIII", 0, 1, 1, 0xFFFFFFFF, 1)},
        {"stsc": struct.pack(">IIIII", 0, 1, 7, 1, 1)},
        {"stco": struct.pack(">III", 0, 1, 0xFFFFFFFF)},
        {"stsz": b"", "stts": b"", "stsc": b"", "stco": b""},
    ],
    ids=["huge samples", "no sizes", "endless", "all in one", "late", "far", "empty"],
)
def test_tables_that_promise_what_is_not_there_cost_nothing(tmp_path: Path, tables: dict[str, bytes]) -> None:
    path = recorded(tmp_path / "a.mp4", [payload(begin, (200, 200)) for begin in range(3)], tables=tables)
    tracemalloc.start()
    with contextlib.suppress(MmgError):
        opened(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 100 << 20


def test_any_damage_raises_nothing_but_our_errors(tmp_path: Path) -> None:
    rng = random.Random(0)
    whole = telemetry_film([payload(begin, (200, 200)) for begin in range(3)])
    index = whole.index(b"moov")
    path = tmp_path / "a.mp4"
    for number in range(400):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(index if number % 2 else 0, len(data))] = rng.randrange(256)
        path.write_bytes(data[: rng.randint(1, len(data)) if number % 5 == 0 else None])
        try:
            recording, chunks = opened(path)
        except MmgError:
            continue
        if chunks:
            assert (np.diff(joined(chunks)[0]) > 0).all()
        assert recording.duration_s >= 0


@pytest.mark.parametrize(
    ("name", "rate_hz", "rows", "seconds"),
    [("karma.mp4", 397.5, 4787, 12.04), ("max-heromode.mp4", 197.5, 2081, 10.54)],
)
def test_a_real_gopro_gives_imu_sound_and_pictures_on_one_clock(
    name: str, rate_hz: float, rows: int, seconds: float
) -> None:
    path = real(f"gopro/{name}")
    recording, chunks = opened(path)
    times, samples = joined(chunks)
    assert len(times) == rows
    assert recording.duration_s == pytest.approx(seconds, abs=0.01)
    assert 1e9 / np.median(np.diff(times)) == pytest.approx(rate_hz, rel=0.002)
    assert (np.diff(times) > 0).all()
    assert 0 <= times[0] < 6_000_000
    # It lies upright, or nearly: gravity is along the camera's z.
    assert np.linalg.norm(samples[:, :3], axis=1).mean() == pytest.approx(9.81, abs=0.1)
    assert samples[:, 2].mean() > 9.6
    assert dict(recording.losses) == {}
    assert len(recording.notes) == (name == "karma.mp4")
    sound = open_source(f"file://{path}", AUDIO)
    pictures = open_source(f"file://{path}", VIDEO, allow_video=True)
    assert sound.start_ns is pictures.start_ns is recording.start_ns is None
    heard, seen = list(sound.chunks(0)), list(pictures.chunks(0))
    assert heard[0].times_ns[0] == seen[0].times_ns[0] == 0
    for last_ns in (heard[-1].times_ns[-1], seen[-1].times_ns[-1]):
        assert last_ns == pytest.approx(times[-1], abs=60_000_000)
