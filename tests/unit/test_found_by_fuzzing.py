"""What fuzzing found, each as the smallest file that shows it. Before, each of these ended in a traceback or took all
memory."""

from __future__ import annotations

import json
import os
import struct
import tracemalloc
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import UNUSED_ENCODER, audio_modality
from films import klv, nest
from hostile import peak_bytes
from mcap.writer import CompressionType, Writer
from mmg.bundle.manifest import Channel, Modality
from mmg.errors import ConfigError, SourceError
from mmg.look.decided import read_live
from mmg.recording import cdr, schemas
from mmg.recording.reader import RecordingFile, open_recording
from mmg.runs.compare import lines_until
from mmg.sources import open_source
from mmg.sources.clock.sample_clock import SampleClock
from mmg.sources.files.gpmf import read_payload
from mmg.sources.files.sound.lengths import find_length
from mmg.sources.protocols import UNTIMED, Samples
from mmg.sources.url import joined, parse_url

GUID_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
ACCELERATION = tuple(Channel(name=name, unit="m/s^2") for name in ("ax", "ay", "az"))
IMU = Modality(name="imu", kind="signal", rate_hz=50, channels=ACCELERATION, encoder=UNUSED_ENCODER)
MICROPHONE = {"modality": "audio", "kind": "audio", "channels": ["mono"], "url": "mic://default"}
ARM = {"modality": "imu", "kind": "signal", "channels": ["ax", "ay", "az"], "url": "serial:///dev/ttyUSB0"}
Messages = Sequence[tuple[str, bytes]]


def recorded(path: Path, sensor: dict[str, Any], messages: Messages, **metadata: str) -> RecordingFile:
    """A whole recording of one sensor with these messages, as another program may write one."""
    with path.open("wb") as file:
        writer: Any = Writer(file, compression=CompressionType.NONE)
        writer.start()
        schema = writer.register_schema("any", "jsonschema", b"{}")
        channels = {topic: writer.register_channel(topic, "json", schema) for topic, _ in messages}
        known = {"schema": schemas.SCHEMA, "sensors": json.dumps([sensor]), "origin_ns": "0", "epoch_ns": "0"}
        writer.add_metadata(schemas.METADATA, known | metadata)
        for topic, data in messages:
            writer.add_message(channels[topic], 0, data, 0)
        writer.finish()
    return open_recording(path)


def step(**chunk: Any) -> tuple[str, bytes]:
    """The message of a step with one chunk."""
    return schemas.STEPS, json.dumps({"now_ns": 10**9, "chunks": [chunk], "ports": {chunk["modality"]: {}}}).encode()


def sound_recorded(path: Path, rate_hz: float, runs: list[tuple[int, int]]) -> RecordingFile:
    """Two samples of sound whose times are told by these runs."""
    sound = "/audio", cdr.audio_message(np.zeros((2, 1), np.float32), 0, 16_000.0)
    return recorded(
        path, MICROPHONE, [sound, step(modality="audio", samples=2, messages=1, rate_hz=rate_hz, runs=runs)]
    )


def is_left_out(recording: RecordingFile) -> bool:
    """Whether its one step cannot be read, and is told of."""
    return list(recording.steps()) == [] and any("is damaged" in note for note in recording.notes)


def test_a_recording_at_no_rate_is_damaged_and_nothing_more(tmp_path: Path) -> None:
    assert len(list(sound_recorded(tmp_path / "good.mcap", 16_000.0, [(2, 0)]).steps())) == 1
    for rate_hz in (0.0, -16_000.0, 1e-300, 99.0, 1e300):
        assert is_left_out(sound_recorded(tmp_path / "day.mcap", rate_hz, [(2, 0)]))


@pytest.mark.parametrize("runs", [[(1 << 40, 0)], [(1 << 40, 0), (2 - (1 << 40), 0)], [(2, 1 << 64)]])
def test_runs_of_more_samples_than_there_are_take_no_memory(tmp_path: Path, runs: list[tuple[int, int]]) -> None:
    assert is_left_out(sound_recorded(tmp_path / "day.mcap", 16_000.0, runs))


@pytest.mark.parametrize("length", [0, 1 << 31, (1 << 32) - 1])
def test_a_sample_whose_name_is_longer_than_it_takes_no_memory(tmp_path: Path, length: int) -> None:
    layout = cdr.imu_layout("imu")
    sample = bytearray(
        cdr.imu_messages(layout, "imu", ("ax", "ay", "az"), np.ones((1, 3), np.float32), np.zeros(1, int))
    )
    sample[12:16] = struct.pack("<I", length)
    recording = recorded(
        tmp_path / "day.mcap", ARM, [("/imu", bytes(sample)), step(modality="imu", samples=1, messages=1)]
    )
    tracemalloc.start()
    try:
        assert is_left_out(recording)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "sample",
    [
        b"[1]",
        b"null",
        b"{}",
        b'{"values":5}',
        b'{"values":"a"}',
        b'{"values":[]}',
        b'{"values":[{}]}',
        b'{"values":[[1],[2]]}',
        b'{"values":[1,2]}',
        b'{"values":[1' + 70_000 * b" " + b"]}",
    ],
)
def test_a_sample_of_a_signal_that_is_not_its_numbers_is_left_out(tmp_path: Path, sample: bytes) -> None:
    light = {**ARM, "modality": "ppg", "channels": ["green"]}
    told = step(modality="ppg", samples=1, messages=1)
    [good] = recorded(tmp_path / "good.mcap", light, [("/ppg", b'{"values":[null]}'), told]).steps()
    assert np.isnan(good.chunks[0].samples).tolist() == [[True]]
    assert is_left_out(recorded(tmp_path / "day.mcap", light, [("/ppg", sample), told]))


def test_a_number_that_a_signal_cannot_hold_is_read_as_none_and_warns_nobody(tmp_path: Path) -> None:
    layout = cdr.imu_layout("imu")
    sample = cdr.imu_messages(layout, "imu", ("ax", "ay", "az"), np.full((1, 3), 1e300), np.zeros(1, int))
    arm = recorded(tmp_path / "arm.mcap", ARM, [("/imu", sample), step(modality="imu", samples=1, messages=1)])
    light = {**ARM, "modality": "ppg", "channels": ["green"]}
    told = step(modality="ppg", samples=1, messages=1)
    green = recorded(tmp_path / "green.mcap", light, [("/ppg", b'{"values":[-1e300]}'), told])
    for recording in (arm, green):
        [one] = recording.steps()
        assert np.isinf(one.chunks[0].samples).all()


@pytest.mark.parametrize("before_ns", [1 << 62, -(1 << 62), (1 << 63) - 1, 1 - (1 << 63)])
def test_samples_from_another_century_are_left_out(tmp_path: Path, before_ns: int) -> None:
    assert is_left_out(sound_recorded(tmp_path / "day.mcap", 16_000.0, [(2, before_ns)]))


@pytest.mark.parametrize("ports", [{}, {"nose": {}}])
def test_a_step_that_does_not_tell_of_its_sensor_is_left_out(tmp_path: Path, ports: dict[str, Any]) -> None:
    told = json.dumps({"now_ns": 10**9, "ports": ports}).encode()
    assert is_left_out(recorded(tmp_path / "day.mcap", ARM, [(schemas.STEPS, told)]))


def test_how_a_sensor_was_read_that_is_not_in_the_recording_is_left_out(tmp_path: Path) -> None:
    told = {"now_ns": 10**9, "ports": {"imu": {}}, "read_as": {"nose": {}, "imu": {}}}
    recording = recorded(tmp_path / "day.mcap", ARM, [(schemas.STEPS, json.dumps(told).encode())])
    assert [list(one.read_as) for one in recording.steps()] == [["imu"]]


@pytest.mark.parametrize("damaged", [b"{", b"\xff", b"[1]", b"[" * 100_000])
def test_a_decision_or_mark_that_is_none_is_left_out_and_told(tmp_path: Path, damaged: bytes) -> None:
    mark = b'{"t":1.0,"label":"walk","event":"start"}'
    messages = [
        (schemas.DECISIONS, damaged),
        (schemas.DECISIONS, b'{"t":1}'),
        (schemas.MARKS, damaged),
        (schemas.MARKS, mark),
    ]
    recording = recorded(tmp_path / "day.mcap", ARM, messages)
    assert list(recording.decisions()) == [{"t": 1}]
    assert [one.label for one in recording.marks()] == ["walk"]
    assert recording.notes == ["day.mcap: decisions or marks in it cannot be read, and are left out"]


@pytest.mark.parametrize("odd", ["{}", '{"t":"x","label":"walk","confidence":1}', '{"t":1,"confidence":[]}'])
def test_an_object_that_is_no_decision_is_told_in_a_line_that_names_the_recording(tmp_path: Path, odd: str) -> None:
    recorded(tmp_path / "day.mcap", ARM, [(schemas.DECISIONS, odd.encode())])
    with pytest.raises(ConfigError, match=r"--compare .*day\.mcap: has a decision in it that is none"):
        list(lines_until(tmp_path / "day.mcap", 1.0))
    with pytest.raises(ConfigError, match=r"day\.mcap: what was decided live is no decision"):
        list(read_live(tmp_path / "day.mcap")[0])


def test_a_step_a_decision_or_a_mark_of_megabytes_is_left_out_before_it_takes_their_multiple(tmp_path: Path) -> None:
    lists = b"[" + b"[],".join([b""] * 3_000_000) + b"[]]"
    mark = b'{"t":1.0,"label":"walk","event":"start","more":' + lists + b"}"
    told = [(schemas.STEPS, lists), (schemas.DECISIONS, b'{"t":' + lists + b"}"), (schemas.MARKS, mark)]
    recording = recorded(tmp_path / "day.mcap", ARM, told)
    assert is_left_out(recording)
    assert peak_bytes(lambda: list(recording.decisions())) < 64 << 20
    assert list(recording.decisions()) == []
    assert recording.marks() == []


@pytest.mark.parametrize("name", ["origin_ns", "epoch_ns"])
def test_a_recording_whose_clock_is_beyond_64_bits_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match="its metadata is damaged"):
        recorded(tmp_path / "day.mcap", ARM, [], **{name: str(1 << 64)})


@pytest.mark.parametrize("size", [1 << 62, (1 << 63) - 200, (1 << 64) - 1])
@pytest.mark.parametrize("name", [b"data", b"junk"])
def test_a_chunk_that_ends_where_no_file_can_is_no_sound(tmp_path: Path, name: bytes, size: int) -> None:
    path = tmp_path / "walk.w64"
    path.write_bytes(b"riff" + bytes(36) + name + GUID_TAIL + struct.pack("<Q", size) + bytes(5000))
    find_length(path)
    with pytest.raises(SourceError):
        open_source(f"file://{path}", audio_modality())


@pytest.mark.parametrize("size", [1 << 62, (1 << 64) - 1])
def test_a_chunk_behind_the_sound_that_ends_where_no_file_can_is_none(tmp_path: Path, size: int) -> None:
    path = tmp_path / "walk.caf"
    sound = b"data" + struct.pack(">Q", 5004) + bytes(5004) + b"abcd" + struct.pack(">Q", size) + b"\1" * 3000
    path.write_bytes(b"caff" + bytes(4) + sound)
    found = find_length(path)
    assert found is not None
    assert not found.sure


@pytest.mark.parametrize("year", ["0101", "1890", "2116", "9999"])
def test_a_date_that_64_bits_of_nanoseconds_do_not_hold_is_a_row_that_cannot_be_read(tmp_path: Path, year: str) -> None:
    path = tmp_path / "walk.csv"
    rows = [f"2024-05-01 12:00:{second:02d}.000,1,2,9.8\n" for second in range(40)]
    rows[20] = f"{year}-05-01 12:00:20.000,1,2,9.8\n"
    path.write_text("time,ax,ay,az\n" + "".join(rows))
    recording = open_source(f"file://{path}", IMU)
    assert sum(len(chunk.samples) for chunk in recording.chunks(0)) == 39
    assert recording.losses == {"unreadable": 1}


def test_files_of_a_sensor_may_have_names_that_are_no_text() -> None:
    odd = os.fsdecode(b"gyro-\xe9.csv")
    assert parse_url(joined(["acc.csv", odd])).path == "acc.csv"
    with pytest.raises(ConfigError, match="cannot be a file name"):
        joined(["acc.csv", "gyro-\ud800.csv"])


@pytest.mark.parametrize("far", [(1 << 63) - 1, -(1 << 63) + 1, 1 << 62])
def test_a_device_time_centuries_away_is_none_and_the_samples_keep_theirs(far: int) -> None:
    clock, stamped = SampleClock(), []
    for read in range(60):
        usual = [read * 20_000_000, UNTIMED, read * 20_000_000 + 10_000_000]
        told = [far, UNTIMED, -far] if read == 30 else usual
        samples = Samples(np.zeros((3, 6), np.float32), np.array(told), np.arange(3), True)
        arrival_ns = 10**12 + read * 20_000_000
        stamped += clock.stamp(samples, np.full(3, arrival_ns), 0).tolist()
    assert all(early < late for early, late in pairwise(stamped))
    assert max(abs(stamp - 10**12 - number * 20_000_000 / 3) for number, stamp in enumerate(stamped)) < 50_000_000


@pytest.mark.parametrize("far", [float("nan"), float("inf"), 1e300])
@pytest.mark.parametrize("key", ["MTRX", "SCAL", "ACCL"])
def test_telemetry_whose_numbers_are_none_gives_no_sample_that_is_none(key: str, far: float) -> None:
    scale = klv("SCAL", "d", 8, struct.pack(">d", far if key == "SCAL" else 400.0))
    matrix = klv("MTRX", "d", 8, struct.pack(">9d", far, *range(8))) if key == "MTRX" else b""
    values = klv("ACCL", "d", 24, struct.pack(">6d", far if key == "ACCL" else 1.0, *range(5)))
    payload = read_payload(nest("DEVC", nest("STRM", scale, matrix, values)))
    assert list(payload.streams) == ["ACCL"] * (key == "MTRX")
    assert list(payload.faults) == ["ACCL"] * (key != "MTRX")
    assert all(np.isfinite(stream.values()).all() for stream in payload.streams.values())
