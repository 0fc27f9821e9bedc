"""What a recording holds, read by other people's tools and by mmg, whole or damaged, and what may be in it."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import stat
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from full_disk import file_limit
from hostile import peak_bytes
from hypothesis import example, given
from hypothesis import strategies as st
from mcap.reader import NonSeekingReader, SeekingReader, make_reader
from mcap_ros2.decoder import DecoderFactory
from mmg.cli.record import Heard
from mmg.cli.recording import path_in
from mmg.engine.health import ReadAs
from mmg.errors import ConfigError, SourceError, SourceNotFound
from mmg.labels import Label
from mmg.look.decided import collect, read_live
from mmg.recording import schemas, times
from mmg.recording.marks import Marker, spans
from mmg.recording.messages import START, MarkMessage
from mmg.recording.part import Part
from mmg.recording.reader import is_later_part, open_recording
from mmg.recording.recorder import NO_LIMITS, Limits, Recorder, part_path
from mmg.recording.sensors import Packer, Sensor, unpack
from mmg.runs.step import Step
from mmg.sources.ports.port import PortStatus
from mmg.types import Chunk

S_NS = 1_000_000_000
EPOCH_NS = 1_795_000_000 * S_NS + 123
IMU = Sensor("imu", "signal", ("ax", "ay", "az", "gx", "gy", "gz"), "serial:///dev/ttyUSB0")
AUDIO = Sensor("audio", "audio", ("mono",), "mic://default")
VIDEO = Sensor("video", "video", (), "camera:///dev/video0")
PPG = Sensor("ppg", "signal", ("green", "red"), "serial:///dev/ttyUSB1")
STATUS = PortStatus(connected=True, reason="", device="made up")


def imu_chunk(second: float, rows: int = 25) -> Chunk:
    samples = np.random.default_rng(int(second * 100)).normal(size=(rows, 6)).astype(np.float32)
    return Chunk("imu", samples, np.int64(second * S_NS) + np.arange(rows, dtype=np.int64) * 10_000_000)


def sound_chunk(second: float, *, bits: int = 16, rate_hz: float = 16_000.0) -> Chunk:
    count = round(rate_hz / 4)
    values = np.random.default_rng(int(second * 100)).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (count, 1))
    stamps = np.int64(second * S_NS) + np.rint(np.arange(count) * (1e9 / rate_hz)).astype(np.int64)
    return Chunk("audio", (values / 2.0 ** (bits - 1)).astype(np.float32), stamps, rate_hz)


def step_at(second: float) -> Step:
    chunks = imu_chunk(second), sound_chunk(second)
    return Step(round((second + 0.26) * S_NS), chunks, {"imu": STATUS, "audio": STATUS})


def write(path: Path, seconds: int, sensors: Sequence[Sensor] = (IMU, AUDIO), **metadata: str) -> list[Step]:
    """A file of so many seconds, synced at each."""
    part = Part(path, sensors, {"origin_ns": "0", **metadata}, EPOCH_NS)
    steps = [step_at(quarter / 4) for quarter in range(4 * seconds)]
    for number, step in enumerate(steps, 1):
        part.step(step)
        if number % 4 == 0:
            part.decision('{"t":1}', step.now_ns)
            part.sync()
    part.finish()
    return steps


def same(one: Step, other: Step) -> bool:
    pairs = list(zip(one.chunks, other.chunks, strict=True))
    return (one.now_ns, one.statuses) == (other.now_ns, other.statuses) and all(
        (a.modality, a.rate_hz, a.dropped) == (b.modality, b.rate_hz, b.dropped)
        and a.samples.dtype == b.samples.dtype
        and np.array_equal(a.samples, b.samples)
        and np.array_equal(a.times_ns, b.times_ns)
        for a, b in pairs
    )


def test_other_tools_read_what_sensors_gave(tmp_path: Path) -> None:
    write(tmp_path / "day.mcap", 2)
    with (tmp_path / "day.mcap").open("rb") as file:
        reader = make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
        decoded = reader.iter_decoded_messages(["/imu", "/audio"])
        found = [(one.channel.topic, one.schema.name, one.decoded_message) for one in decoded if one.schema]
    imu = [message for topic, _, message in found if topic == "/imu"]
    sound = [message for topic, _, message in found if topic == "/audio"]
    assert {(topic, name) for topic, name, _ in found} == {
        ("/imu", "sensor_msgs/msg/Imu"),
        ("/audio", "foxglove_msgs/msg/RawAudio"),
    }
    assert len(imu) == 8 * 25
    first = imu_chunk(0).samples[0]
    assert [imu[0].linear_acceleration.x, imu[0].angular_velocity.z] == [first[0], first[5]]
    assert (imu[0].header.frame_id, imu[0].orientation_covariance[0]) == ("imu", -1)
    assert imu[1].header.stamp.sec * S_NS + imu[1].header.stamp.nanosec == EPOCH_NS + 10_000_000
    assert (sound[0].format, sound[0].sample_rate, sound[0].number_of_channels) == ("pcm-s16", 16_000, 1)
    told = np.frombuffer(bytes(sound[0].data), "<i2") / np.float32(32768)
    assert np.array_equal(told, sound_chunk(0).samples[:, 0])


@pytest.mark.parametrize("name", ["imu", "left_wrist", "a", "abc", "abcd"])
def test_the_name_of_a_sensor_moves_no_number(name: str) -> None:
    sensor = Sensor(name, "signal", IMU.channels, "")
    chunk = Chunk(name, imu_chunk(3).samples, imu_chunk(3).times_ns)
    messages, note = Packer(sensor, EPOCH_NS).pack(chunk, 4 * S_NS)
    again = unpack(sensor, note, messages, 4 * S_NS, EPOCH_NS)
    assert np.array_equal(again.samples, chunk.samples)
    assert np.array_equal(again.times_ns, chunk.times_ns)


@pytest.mark.parametrize("bits", [8, 16, 20, 24])
@pytest.mark.parametrize("rate_hz", [8000.0, 16_000.0, 44_100.0, 48_000.0, 11_025.5])
def test_sound_is_kept_as_it_came(bits: int, rate_hz: float) -> None:
    chunk = sound_chunk(7.25, bits=bits, rate_hz=rate_hz)
    [(stamp_ns, data)], note = Packer(AUDIO, EPOCH_NS).pack(chunk, 8 * S_NS)
    again = unpack(AUDIO, note, [(stamp_ns, data)], 8 * S_NS, EPOCH_NS)
    assert np.array_equal(again.samples, chunk.samples)
    assert np.array_equal(again.times_ns, chunk.times_ns)
    assert (b"pcm-s16" in data) == (bits <= 16)


def test_pictures_and_signals_of_any_kind_are_kept(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 6, 8, 3)).astype(np.uint8)
    film = Chunk("video", frames, np.array([5, 250_000_005], np.int64))
    light = Chunk("ppg", np.array([[0.1, np.nan], [1e9, -3]], np.float32), np.array([1, 2], np.int64), 25.0, 4)
    part = Part(tmp_path / "day.mcap", (VIDEO, PPG), {"origin_ns": "0"}, EPOCH_NS)
    part.step(Step(S_NS, (film, light), {"video": STATUS, "ppg": STATUS}))
    part.finish()
    [step] = open_recording(tmp_path / "day.mcap").steps()
    assert np.array_equal(step.chunks[0].samples, frames)
    assert np.array_equal(step.chunks[1].samples, light.samples, equal_nan=True)
    assert (step.chunks[1].rate_hz, step.chunks[1].dropped) == (25.0, 4)


@given(
    blocks=st.lists(st.tuples(st.integers(1, 400), st.integers(0, 10**9)), min_size=1, max_size=8),
    rate_hz=st.sampled_from([8000.0, 16_000.0, 44_100.0, 96_000.0]),
)
@example(blocks=[(96, 0), (1, 0)], rate_hz=96_000.0)
def test_capture_times_of_sound_are_exact(blocks: list[tuple[int, int]], rate_hz: float) -> None:
    stamps, last_ns = [], 0
    for count, pause_ns in blocks:
        last_ns += pause_ns + round(count * 1e9 / rate_hz)
        stamps.append(last_ns - np.rint(np.arange(count - 1, -1, -1) * (1e9 / rate_hz)).astype(np.int64))
    whole = np.concatenate(stamps)
    runs = times.to_runs(whole, rate_hz, last_ns + 77)
    if all(pause_ns > 2 for _, pause_ns in blocks[1:]):
        assert runs is not None
        assert len(runs) == len(blocks)
    # Blocks that follow each other within the rounding may be more runs than are kept: then the text tells them.
    assert runs is None or np.array_equal(times.from_runs(runs, rate_hz, last_ns + 77), whole)
    assert np.array_equal(times.from_text(times.to_text(whole)), whole)


def test_a_file_cut_anywhere_gives_the_steps_of_its_whole_seconds(tmp_path: Path) -> None:
    steps = write(tmp_path / "day.mcap", 6)
    data, chance = (tmp_path / "day.mcap").read_bytes(), random.Random(0)
    for at in [*(chance.randrange(9, len(data) - 8) for _ in range(40)), len(data) - 9]:
        (tmp_path / "cut.mcap").write_bytes(data[:at])
        try:
            recording = open_recording(tmp_path / "cut.mcap")
        except SourceError:
            assert at < 4000, "all that describes it is at its beginning"
            continue
        found = list(recording.steps())
        assert len(found) % 4 == 0
        assert all(same(one, other) for one, other in zip(found, steps, strict=False))
        assert recording.notes == ["cut.mcap is cut: it was not finished, and ends with what was on the disk"]


def test_a_damaged_second_is_left_out_and_told_and_no_sample_goes_to_another_step(tmp_path: Path) -> None:
    steps = write(tmp_path / "day.mcap", 8)
    data, chance = bytearray((tmp_path / "day.mcap").read_bytes()), random.Random(1)
    whole = {step.now_ns: step for step in steps}
    damaged = 0
    for _ in range(60):
        broken = bytearray(data)
        broken[chance.randrange(5000, len(data) - 3000)] ^= 1 << chance.randrange(8)
        (tmp_path / "broken.mcap").write_bytes(broken)
        recording = open_recording(tmp_path / "broken.mcap")
        found = list(recording.steps())
        assert all(same(step, whole[step.now_ns]) for step in found)
        damaged += len(found) < len(steps)
        assert (len(found) == len(steps)) or recording.notes
    assert damaged > 30


def test_the_first_chunk_is_worth_no_more_than_another(tmp_path: Path) -> None:
    steps = write(tmp_path / "day.mcap", 8)
    data = bytearray((tmp_path / "day.mcap").read_bytes())
    data[data.index(b"\x04\0\0\0zstd") + 100] ^= 1
    (tmp_path / "broken.mcap").write_bytes(data)
    found = list(open_recording(tmp_path / "broken.mcap").steps())
    assert [step.now_ns for step in found] == [step.now_ns for step in steps[4:]]


@pytest.mark.parametrize("fill", [b"\0", b"\xff", b"\x06"])
def test_a_bad_block_costs_seconds_and_never_the_rest_of_the_day(tmp_path: Path, fill: bytes) -> None:
    steps = write(tmp_path / "day.mcap", 12)
    data, chance = (tmp_path / "day.mcap").read_bytes(), random.Random(2)
    whole = {step.now_ns: step for step in steps}
    for _ in range(25):
        at = chance.randrange(2000, len(data) - 60_000)
        (tmp_path / "broken.mcap").write_bytes(data[:at] + 4096 * fill + data[at + 4096 :])
        recording = open_recording(tmp_path / "broken.mcap")
        found = list(recording.steps())
        assert all(same(step, whole[step.now_ns]) for step in found)
        assert len(steps) - len(found) <= 8
        assert found[-1].now_ns == steps[-1].now_ns
        assert recording.notes
        assert "cut" not in recording.notes[0]


@pytest.mark.parametrize("place", [-36, 8], ids=["of a chunk", "of its data"])
def test_a_length_that_is_damaged_costs_its_second_at_most(tmp_path: Path, place: int) -> None:
    steps = write(tmp_path / "day.mcap", 6)
    data = (tmp_path / "day.mcap").read_bytes()
    at = data.index(b"\x04\0\0\0zstd", len(data) // 2) + place
    for bit in range(64):
        broken = bytearray(data)
        broken[at + bit // 8] ^= 1 << bit % 8
        (tmp_path / "broken.mcap").write_bytes(broken)
        found = {step.now_ns: step for step in open_recording(tmp_path / "broken.mcap").steps()}
        assert len(found) in (len(steps) - 4, len(steps)), bit
        assert all(same(found[step.now_ns], step) for step in steps if step.now_ns in found), bit


def test_where_too_much_waits_for_its_step_no_sample_goes_to_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmg.recording.reader.MOST_WAITING", 200_000)
    part = Part(tmp_path / "day.mcap", (IMU, AUDIO), {"origin_ns": "0"}, EPOCH_NS)
    steps = [step_at(quarter / 4) for quarter in range(60)]
    for number, step in enumerate(steps):
        part.step(step)
        if not 4 <= number < 53:  # else more and more waits for the disk
            part.sync()
    part.finish()
    recording = open_recording(tmp_path / "day.mcap")
    found = list(recording.steps())
    assert [step.now_ns for step in found] == [step.now_ns for step in steps[:4] + steps[54:]]
    assert all(same(one, other) for one, other in zip(found, steps[:4] + steps[54:], strict=True))
    assert recording.notes == ["day.mcap is damaged: some of its steps cannot be read and are left out"]


def test_want_of_memory_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "day.mcap", 2)
    recording = open_recording(tmp_path / "day.mcap")

    def unpack_without_memory(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr("zstandard.decompress", unpack_without_memory)
    with pytest.raises(MemoryError):
        list(recording.steps())


def test_what_is_no_recording_is_refused_in_a_line(tmp_path: Path) -> None:
    from mcap.writer import Writer

    path = tmp_path / "foreign.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        schema = writer.register_schema("x", "jsonschema", b"{}")
        writer.add_message(writer.register_channel("/x", "json", schema), 1, b"{}", 1)
        writer.finish()  # type: ignore[no-untyped-call]
    with pytest.raises(SourceError, match="is MCAP, and no recording of mmg"):
        open_recording(path)
    (tmp_path / "empty.mcap").write_bytes(b"")
    with pytest.raises(SourceError, match="no recording of mmg"):
        open_recording(tmp_path / "empty.mcap")
    with pytest.raises(SourceNotFound):
        open_recording(tmp_path / "none.mcap")
    write(tmp_path / "later.mcap", 1, schema="mmg-recording/2")
    with pytest.raises(SourceError, match="of another mmg \\(mmg-recording/2\\): this one reads mmg-recording/1"):
        open_recording(tmp_path / "later.mcap")


class Clock:
    """The time of a recorder that a test moves, and its syncs as fast as they can."""

    def __init__(self) -> None:
        self.now_ns = 0

    def recorder(self, path: Path, limits: Limits = NO_LIMITS, sync_s: float = 0.001) -> tuple[Recorder, list[str]]:
        told: list[str] = []
        recorder = Recorder(
            path,
            (IMU, AUDIO),
            origin_ns=0,
            metadata={},
            limits=limits,
            sync_s=sync_s,
            report=told.append,
            monotonic_ns=lambda: self.now_ns,
            wall_ns=lambda: self.now_ns + EPOCH_NS,
        )
        return recorder, told

    def record(self, recorder: Recorder, until_s: int) -> None:
        """A step a second from 0 on, each on the disk before the next."""
        for second in range(until_s):
            self.now_ns = second * S_NS
            recorder.step(step_at(second))
            recorder.flush()


def test_a_second_recorder_on_a_file_is_refused(tmp_path: Path) -> None:
    recorder, _ = Clock().recorder(tmp_path / "day.mcap")
    with pytest.raises(ConfigError, match=r"day\.mcap is there already: choose another name"):
        Clock().recorder(tmp_path / "day.mcap")
    recorder.close()
    with pytest.raises(ConfigError, match="cannot be recorded to: No such file or directory"):
        Clock().recorder(tmp_path / "nowhere" / "day.mcap")


def test_a_recording_that_is_given_up_leaves_what_another_put_in_its_way(tmp_path: Path) -> None:
    clock = Clock()
    recorder, told = clock.recorder(tmp_path / "day.mcap", Limits(split_s=2))
    (tmp_path / "day-0001.mcap").write_bytes(b"another's")
    clock.record(recorder, 4)
    recorder.discard()
    assert len(told) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["day-0001.mcap"]


def test_in_a_folder_each_run_makes_a_recording_of_its_own_also_after_a_power_cut(tmp_path: Path) -> None:
    assert path_in(tmp_path) == tmp_path / "run-0001.mcap"
    for name in ("run-0001.mcap", "run-0007-0002.mcap", "run-0003.labels", "day-0099.mcap"):
        (tmp_path / name).touch()
    assert path_in(tmp_path) == tmp_path / "run-0008.mcap"
    recorder, _ = Clock().recorder(path_in(tmp_path))
    recorder.close()
    assert path_in(tmp_path) == tmp_path / "run-0009.mcap"


def test_a_full_disk_ends_the_recording_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, told = Clock().recorder(tmp_path / "day.mcap")

    def full(_: Part) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Part, "sync", full)
    for quarter in range(40):
        recorder.step(step_at(quarter / 4))
    recorder.close()
    assert len(told) == 1
    assert told[0].startswith("recording stops:")
    assert "No space left on device" in told[0]
    recorder.step(step_at(11))
    recorder.flush()
    open_recording(tmp_path / "day.mcap")


def test_a_recording_is_readable_by_its_owner_alone_and_on_any_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def of_files_alone(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", of_files_alone)
    write(tmp_path / "day.mcap", 1)
    assert stat.S_IMODE((tmp_path / "day.mcap").stat().st_mode) == 0o600


def test_mcaps_readers_agree_in_the_order_of_time(tmp_path: Path) -> None:
    write(tmp_path / "day.mcap", 3)
    found = []
    with (tmp_path / "day.mcap").open("rb") as file:
        for reader in (SeekingReader(file, validate_crcs=True), NonSeekingReader(file, validate_crcs=True)):
            file.seek(0)
            messages = reader.iter_messages(log_time_order=True)
            found.append([(channel.topic, message.log_time, message.data) for _, channel, message in messages])
    assert sorted(found[0]) == sorted(found[1])
    assert len(found[0]) == 3 * 4 * (25 + 1 + 1) + 3
    assert [stamp for _, stamp, _ in found[0]] == sorted(stamp for _, stamp, _ in found[0])


def test_a_recorder_that_is_closed_makes_nobody_wait(tmp_path: Path) -> None:
    recorder, _ = Clock().recorder(tmp_path / "day.mcap")
    recorder.close()
    recorder.step(step_at(1))
    recorder.flush()
    recorder.close()


def test_impatience_does_not_cut_a_file_that_is_nearly_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, pressed, finish = threading.Event(), threading.Event(), Part.finish
    recorder, _ = Clock().recorder(tmp_path / "day.mcap")
    recorder.step(step_at(0))
    wait = recorder._wait

    def tell_and_wait(seconds: float | None = None) -> None:
        waits.set()
        wait(seconds)

    def press_and_finish(part: Part) -> None:
        waits.wait(10)
        os.kill(os.getpid(), signal.SIGINT)
        pressed.wait(10)
        finish(part)

    def interrupt(_number: int, _frame: object) -> None:
        pressed.set()
        raise KeyboardInterrupt

    monkeypatch.setattr(recorder, "_wait", tell_and_wait)
    monkeypatch.setattr(Part, "finish", press_and_finish)
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            recorder.close()
    finally:
        signal.signal(signal.SIGINT, before)
    assert pressed.is_set()
    assert recorder.is_whole
    recording = open_recording(tmp_path / "day.mcap")
    assert len(list(recording.steps())) == 1
    assert recording.notes == []


def test_what_cannot_be_kept_costs_its_step_alone_and_is_told(tmp_path: Path) -> None:
    recorder, told = Clock().recorder(tmp_path / "day.mcap")
    odd = replace(sound_chunk(1), times_ns=sound_chunk(1).times_ns - 2**62)
    steps = [step_at(0), replace(step_at(1), chunks=(imu_chunk(1), odd)), step_at(2)]
    for step in steps:
        recorder.step(step)
    recorder.close()
    assert [line.partition(": ")[2] for line in told] == [
        "a step is not recorded: ValueError: audio: samples without a time since 1970",
        "some could not be written: 1 steps, decisions or marks are not recorded",
    ]
    recording = open_recording(tmp_path / "day.mcap")
    assert all(same(one, other) for one, other in zip(recording.steps(), [steps[0], steps[2]], strict=True))
    assert recording.notes[0].startswith("day.mcap: 1 steps, decisions or marks could not be recorded")


def test_samples_from_the_far_future_are_kept_as_they_came(tmp_path: Path) -> None:
    ahead_ns = 10**9 * S_NS
    chunks = [replace(one, times_ns=one.times_ns + ahead_ns) for one in (imu_chunk(1), sound_chunk(1))]
    step = replace(step_at(1), chunks=tuple(chunks))
    recorder, told = Clock().recorder(tmp_path / "day.mcap")
    recorder.step(step)
    recorder.close()
    assert told == []
    [again] = open_recording(tmp_path / "day.mcap").steps()
    assert same(again, step)


def test_a_disk_that_hangs_is_told_at_once_and_the_gap_is_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmg.recording.recorder.MOST_WAITING", 3)
    goes_on, sync = threading.Event(), Part.sync
    monkeypatch.setattr(Part, "sync", lambda part: goes_on.wait(10) and sync(part))
    recorder, told = Clock().recorder(tmp_path / "day.mcap")
    for quarter in range(40):
        recorder.step(step_at(quarter / 4))
    assert told == [f"{tmp_path / 'day.mcap'}: the disk is too slow: what comes now is not recorded"]
    goes_on.set()
    recorder.flush()
    recorder.step(step_at(11))
    recorder.close()
    recording = open_recording(tmp_path / "day.mcap")
    kept = len(list(recording.steps()))
    assert recording.notes[0].startswith(f"day.mcap: {41 - kept} steps, decisions or marks could not be recorded")


def test_a_split_recording_keeps_its_newest_files_and_is_read_from_any_of_them(tmp_path: Path) -> None:
    clock = Clock()
    recorder, _ = clock.recorder(tmp_path / "day.mcap", Limits(split_s=10, keep_s=25))
    clock.record(recorder, 60)
    recorder.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"day-{number:04d}.mcap" for number in range(3, 6)]
    recording = open_recording(part_path(tmp_path / "day.mcap", 4))
    assert next(step.now_ns for step in recording.steps()) > 39 * S_NS
    assert len(recording.parts) == 2
    assert next(iter(recording.steps())).statuses == {"imu": STATUS, "audio": STATUS}


def test_decisions_of_hours_are_looked_at_without_being_held(tmp_path: Path) -> None:
    part = Part(tmp_path / "day.mcap", (IMU,), {"origin_ns": "0", "bundle": "starter"}, EPOCH_NS)
    scores = {f"label {place}": 0.05 for place in range(20)}
    for hop in range(1, 5001):
        told = {"t": hop / 2, "label": "label 0", "confidence": 0.05, "scores": scores}
        part.decision(json.dumps(told), hop * S_NS // 2)
        if hop % 10 == 0:
            part.sync()
    part.finish()

    def look() -> None:
        lines, bundle = read_live(tmp_path / "day.mcap")
        assert (len(collect(lines, ()).times_s), bundle) == (5000, "starter")

    assert peak_bytes(look) < 4 << 20


def test_where_the_file_is_removed_that_is_written_to_another_goes_on(tmp_path: Path) -> None:
    clock = Clock()
    recorder, told = clock.recorder(tmp_path / "day.mcap")
    clock.record(recorder, 3)
    (tmp_path / "day.mcap").unlink()
    clock.record(recorder, 5)
    recorder.close()
    assert told == [f"{tmp_path / 'day.mcap'}: was removed while it was recorded: day-0001.mcap goes on from here"]
    steps = list(open_recording(tmp_path / "day-0001.mcap").steps())
    assert [step.now_ns for step in steps] == [step_at(second).now_ns for second in range(5)]


def test_where_its_folder_was_removed_nothing_is_said_to_go_on(tmp_path: Path) -> None:
    clock, folder = Clock(), tmp_path / "days"
    folder.mkdir()
    recorder, told = clock.recorder(folder / "day.mcap")
    (folder / "day.mcap").unlink()
    folder.rmdir()
    clock.record(recorder, 3)
    recorder.close()
    assert [line.partition(";")[0] for line in told] == [
        f"recording stops: {folder / 'day-0001.mcap'}: No such file or directory"
    ]


def test_a_recording_that_is_given_up_leaves_none_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "night.mcap").touch()
    clock = Clock()
    recorder, _ = clock.recorder(tmp_path / "day.mcap", Limits(split_s=10))
    clock.record(recorder, 35)
    assert len(list(tmp_path.iterdir())) == 5
    recorder.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["night.mcap"]


def test_what_an_earlier_ring_kept_is_told_at_the_start_and_not_hours_later(tmp_path: Path) -> None:
    (tmp_path / "day-0003.mcap").write_bytes(b"of yesterday")
    for limits in (NO_LIMITS, Limits(split_s=10, keep_s=25)):
        with pytest.raises(ConfigError, match=r"day-0003\.mcap is there already: choose another name"):
            Clock().recorder(tmp_path / "day.mcap", limits)
    assert [path.name for path in tmp_path.iterdir()] == ["day-0003.mcap"]


@pytest.mark.parametrize("name", ["day", "day-2026", "day-0000"])
def test_a_week_in_one_recording_has_several_files_and_is_read_from_its_name(tmp_path: Path, name: str) -> None:
    clock = Clock()
    recorder, _ = clock.recorder(tmp_path / f"{name}.mcap")
    for hour in range(7 * 24):
        clock.now_ns = hour * 3600 * S_NS
        recorder.step(step_at(hour * 3600))
        recorder.flush()
    recorder.close()
    assert len(list(tmp_path.iterdir())) == 7 * 24 / 4
    assert (tmp_path / f"{name}-0041.mcap").is_file()
    assert len(list(open_recording(tmp_path / f"{name}.mcap").steps())) == 7 * 24


def test_a_part_that_says_nothing_of_itself_costs_no_other(tmp_path: Path) -> None:
    paths = [part_path(tmp_path / "day.mcap", number) for number in range(4)]
    for path in paths:
        write(path, 1, session="a")
    paths[2].write_bytes(b"")
    recording = open_recording(paths[0])
    assert recording.parts == (paths[0], paths[1], paths[3])
    assert len(recording.notes) == 1
    assert recording.notes[0].startswith(f"left out: {paths[2]}: ")


def test_a_recording_in_parts_is_called_after_its_first(tmp_path: Path) -> None:
    for number, session in enumerate("aab"):
        write(part_path(tmp_path / "day.mcap", number), 1, session=session)
    (tmp_path / "day-0004.mcap").write_bytes(b"broken")
    later = [path.name for path in sorted(tmp_path.iterdir()) if is_later_part(path)]
    assert later == ["day-0001.mcap"], "day-0002 is of another session, and only called alike"


def test_an_old_part_that_cannot_be_removed_is_told_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, **_: bool) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    clock = Clock()
    recorder, told = clock.recorder(tmp_path / "day.mcap", Limits(split_s=10, keep_s=25))
    monkeypatch.setattr(Path, "unlink", refuse)
    clock.record(recorder, 50)
    recorder.close()
    names = ("day-0000.mcap", "day-0001.mcap")
    assert told == [f"{tmp_path / name}: cannot be removed: Permission denied" for name in names]
    assert not recorder.problem
    assert len(list(open_recording(tmp_path / "day-0000.mcap").steps())) == 50


@pytest.mark.parametrize("wall_ns", [-1, 2**61, 7 * 10**18, 2**63])
def test_a_clock_that_is_centuries_wrong_costs_the_date_and_nothing_else(tmp_path: Path, wall_ns: int) -> None:
    told: list[str] = []
    recorder = Recorder(
        tmp_path / "day.mcap",
        (IMU, AUDIO),
        origin_ns=0,
        metadata={},
        report=told.append,
        monotonic_ns=lambda: 0,
        wall_ns=lambda: wall_ns,
    )
    recorder.step(step_at(1))
    recorder.close()
    assert "have no date" in told[0]
    assert len(list(open_recording(tmp_path / "day.mcap").steps())) == 1


def test_what_waited_for_a_slow_disk_is_brought_to_it_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held, sync = list[int](), Part.sync

    def note_and_sync(part: Part) -> None:
        held.append(part.held)
        sync(part)

    monkeypatch.setattr("mmg.recording.recorder.MOST_HELD", 100_000)
    monkeypatch.setattr(Part, "sync", note_and_sync)
    recorder, _ = Clock().recorder(tmp_path / "day.mcap", NO_LIMITS, sync_s=60.0)
    for second in range(40):
        recorder.step(step_at(second))
    recorder.close()
    assert len(held) > 5
    assert max(held) < 150_000
    assert len(list(open_recording(tmp_path / "day.mcap").steps())) == 40


def test_a_disk_that_is_full_at_the_start_leaves_no_file(tmp_path: Path) -> None:
    with file_limit(100), pytest.raises(ConfigError, match="cannot be recorded to: File too large"):
        Clock().recorder(tmp_path / "day.mcap", NO_LIMITS)
    assert list(tmp_path.iterdir()) == []


def test_what_is_kept_for_a_while_goes_in_time_though_the_disk_ended_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(_part: Part) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    clock = Clock()
    recorder, told = clock.recorder(tmp_path / "day.mcap", Limits(split_s=10, keep_s=25))
    clock.record(recorder, 30)
    monkeypatch.setattr(Part, "sync", fill)
    recorder.step(step_at(30))
    recorder.flush()
    assert recorder.problem
    assert len(list(tmp_path.iterdir())) == 3
    clock.now_ns = 40 * S_NS
    recorder.flush()
    assert len(list(tmp_path.iterdir())) == 2
    clock.now_ns = 60 * S_NS
    recorder.flush()
    assert list(tmp_path.iterdir()) == []
    recorder.close()
    assert len(told) == 1


def test_every_part_tells_how_the_values_of_a_device_were_taken(tmp_path: Path) -> None:
    clock = Clock()
    recorder, _ = clock.recorder(tmp_path / "day.mcap", Limits(split_s=10, keep_s=25))
    for second in range(60):
        clock.now_ns = second * S_NS
        step = step_at(second)
        recorder.step(step if second else replace(step, read_as={"imu": ReadAs()}))
        recorder.flush()
    recorder.close()
    assert next(iter(open_recording(part_path(tmp_path / "day.mcap", 3)).steps())).read_as == {"imu": ReadAs()}


def test_marks_become_labels() -> None:
    set_marks: list[tuple[str, str, int]] = []
    marker = Marker(("walk", "knead"), lambda *mark: set_marks.append(mark))
    for second, key in enumerate("1 x22129"):
        marker.press(key, second * S_NS)
    told = [MarkMessage(now_ns / 1e9, label, event) for label, event, now_ns in set_marks]
    assert spans(told, 20.0) == [
        Label(0.0, 1.0, "walk"),
        Label(3.0, 4.0, "knead"),
        Label(5.0, 6.0, "walk"),
        Label(6.0, 20.0, "knead"),
    ]
    for odd in ("walk", "", "x" * 81, "two\nlines", "\x1b[2J", "\ud800"):
        with pytest.raises(ConfigError, match="up to 9 different labels"):
            Marker(("walk", odd), lambda *_: None)


def test_a_label_that_another_interrupts_ends_there() -> None:
    events = [(1, "a", "start"), (2, "b", "start"), (3, "a", "end"), (4, "b", "end")]
    told = [MarkMessage(*event) for event in events]
    assert spans(told, 9) == [Label(1, 2, "a"), Label(2, 4, "b")]


def test_mcaps_own_index_finds_every_message(tmp_path: Path) -> None:
    write(tmp_path / "day.mcap", 3)
    with (tmp_path / "day.mcap").open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        counted = sum(1 for _ in reader.iter_messages())
    assert summary is not None
    assert summary.statistics is not None
    assert counted == summary.statistics.message_count == 3 * 4 * (25 + 1 + 1) + 3
    assert schemas.SCHEMA in open_recording(tmp_path / "day.mcap").metadata["schema"]


def understood(schema: dict[str, Any], value: object) -> bool:
    """As Foxglove reads JSON Schema: every object has properties, every array one type of items."""
    kinds: dict[str, tuple[type, ...]] = {
        "object": (dict,),
        "array": (list,),
        "string": (str,),
        "number": (int, float),
        "integer": (int,),
    }
    if not isinstance(value, kinds[schema["type"]]):
        return False
    if isinstance(value, dict):
        known = schema["properties"]
        return all(understood(known[key], one) for key, one in value.items() if key in known)
    return not isinstance(value, list) or all(understood(schema["items"], one) for one in value)


def test_foxglove_understands_what_mmg_writes_as_json(tmp_path: Path) -> None:
    decided = {"t": 1.5, "label": "walk", "confidence": 0.5, "scores": {"walk": 0.5}, "modalities": ["imu"]}
    light = Chunk("ppg", np.zeros((2, 2), np.float32), np.array([1, 2], np.int64), 25.0)
    part = Part(tmp_path / "day.mcap", (AUDIO, PPG), {"origin_ns": "0"}, EPOCH_NS)
    part.step(Step(S_NS, (sound_chunk(0), light), {"audio": STATUS, "ppg": STATUS}))
    part.decision(json.dumps({**decided, "sensors": {"imu": {}}}), S_NS)
    part.mark(MarkMessage(0.5, "walk", "start"), S_NS)
    part.finish()
    with (tmp_path / "day.mcap").open("rb") as file:
        found = [
            (schema.name, understood(json.loads(schema.data), json.loads(message.data)))
            for schema, _, message in make_reader(file).iter_messages()
            if schema and schema.encoding == "jsonschema"
        ]
    assert {name for name, _ in found} == {"mmg.Signal", "mmg.Step", "mmg.Decision", "mmg.Mark"}
    assert all(is_right for _, is_right in found)


def test_a_file_says_what_it_is_before_anything_is_recorded(tmp_path: Path) -> None:
    part = Part(tmp_path / "day.mcap", (IMU, AUDIO), {"origin_ns": "0"}, EPOCH_NS)
    recording = open_recording(tmp_path / "day.mcap")
    assert [sensor.modality for sensor in recording.sensors] == ["imu", "audio"]
    assert list(recording.steps()) == []
    part.finish()


def test_a_part_that_is_missing_is_told(tmp_path: Path) -> None:
    for number in (0, 1, 3, 4):
        write(part_path(tmp_path / "day.mcap", number), 1, session="a")
    recording = open_recording(part_path(tmp_path / "day.mcap", 0))
    assert len(recording.parts) == 2
    assert recording.notes == ["day-0002.mcap is missing: day-0003.mcap and what comes after it is left out"]


def test_damage_is_told_by_who_stops_before_the_end(tmp_path: Path) -> None:
    write(tmp_path / "day.mcap", 6)
    data = bytearray((tmp_path / "day.mcap").read_bytes())
    data[len(data) // 3] ^= 1
    (tmp_path / "day.mcap").write_bytes(data)
    recording = open_recording(tmp_path / "day.mcap")
    for step in recording.steps():
        if step.now_ns > 5 * S_NS:
            break
    assert [note for note in recording.notes if "is damaged" in note]
    assert not [note for note in recording.notes if "is cut" in note]


def test_a_part_knows_the_label_that_holds_at_its_beginning(tmp_path: Path) -> None:
    clock = Clock()
    recorder, _ = clock.recorder(tmp_path / "day.mcap", Limits(split_s=10))
    marker = Marker(("walk",), recorder.mark)
    for second in range(35):
        clock.now_ns = second * S_NS
        if second in (2, 31):
            marker.press("1", clock.now_ns)
        recorder.step(step_at(second))
        recorder.flush()
    recorder.close()
    [span] = spans(open_recording(part_path(tmp_path / "day.mcap", 2)).marks(), 35.0)
    assert span.label == "walk"
    assert 19 <= span.start_s <= 22
    assert span.end_s == 31


def test_a_mark_that_cannot_be_written_costs_itself_alone_and_no_part(tmp_path: Path) -> None:
    clock = Clock()
    recorder, told = clock.recorder(tmp_path / "day.mcap", Limits(split_s=10))
    recorder.mark("walk", START, 0)
    recorder.mark("\ud800", START, S_NS)
    for second in range(25):
        clock.now_ns = second * S_NS
        recorder.step(step_at(second))
        recorder.flush()
    recorder.close()
    assert recorder.problem == ""
    assert "UnicodeEncodeError" in told[0]
    assert not [line for line in told if "recording stops" in line]
    marks = list(open_recording(part_path(tmp_path / "day.mcap", 2)).marks())
    assert [(mark.label, mark.event) for mark in marks] == [("walk", START)]


def test_what_is_left_out_over_the_end_of_a_part_is_told_in_the_next_one(tmp_path: Path) -> None:
    clock = Clock()
    recorder, _ = clock.recorder(tmp_path / "day.mcap", Limits(split_s=10))
    for second in range(20):
        clock.now_ns = second * S_NS
        if second in (8, 16):
            recorder.switch(on=second == 16)
        recorder.step(step_at(second))
        recorder.flush()
    recorder.close()
    recording = open_recording(part_path(tmp_path / "day.mcap", 0))
    assert len(list(recording.steps())) == 12
    assert recording.notes[0].startswith("day-0001.mcap: 8 steps, decisions or marks could not be recorded")


def test_the_rates_that_are_shown_are_those_of_now() -> None:
    heard = Heard()
    assert not heard.anything
    for quarter in range(12, 40):  # it was plugged in after three seconds
        heard.take(Step(0, (imu_chunk(quarter / 4),), {}))
    newest_ns = int(imu_chunk(39 / 4).times_ns[-1])
    assert heard.rates(newest_ns) == {"imu": pytest.approx(100.0)}
    assert heard.anything
    assert heard.rates(newest_ns + 6 * 10**9) == {"imu": 0.0}, "unplugged"
