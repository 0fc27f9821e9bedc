"""A recorded run decides again what was decided live, to the last bit, from a file that is whole, cut or split."""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import TOKEN_DIM, audio_modality, signal_modality
from mmg.bundle import Bundle
from mmg.cli.recording import open_recorder
from mmg.engine.encoded import Encoded, EncodedHop
from mmg.errors import SourceError
from mmg.recording.part import Part
from mmg.recording.reader import open_recording
from mmg.recording.recorder import NO_LIMITS, Limits, Recorder, part_path
from mmg.recording.sensors import sensor_of
from mmg.runs.live import LivePipeline
from mmg.runs.replay import Replay, as_recorded
from mmg.runs.settings import Settings
from mmg.runs.step import Step
from mmg.sinks.jsonl import line_of
from mmg.sources.ports.port import PortStatus
from mmg.teaching.scorer import Scorer
from mmg.teaching.taught import Taught
from mmg.types import Decision
from mmg_device_profiles import load_profile
from scripted import CHUNK_NS, CONNECTED, World
from unknowns import write_telling_bundle

NAMES = ("imu", "audio")
EPOCH_NS = 1_795_000_000_000_000_000


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    path = write_telling_bundle(
        tmp_path_factory.mktemp("replay") / "tiny",
        signal_modality(state_hops=4),
        audio_modality(),
        fitted=[("imu",), ("imu", "audio")],
    )
    with Bundle.open(path) as opened:
        yield opened


def record(
    bundle: Bundle,
    path: Path,
    seconds: int,
    *,
    seed: int = 0,
    limits: Limits = NO_LIMITS,
    as_tokens: tuple[str, ...] = (),
    **metadata: str,
) -> list[str]:
    """A live run in which sensors come, go and lose samples, recorded to ``path``; its lines without latencies."""
    world, chance = World(NAMES, seed), random.Random(seed)
    world.now_ns = 25_000 * CHUNK_NS
    sensors = [
        sensor_of(bundle.manifest.modality(port.modality), port.url, tokens=port.modality in as_tokens)
        for port in world.ports
    ]
    recorder = Recorder(
        path,
        sensors,
        origin_ns=world.now_ns,
        metadata=metadata,
        limits=limits,
        monotonic_ns=lambda: world.now_ns,
        wall_ns=lambda: world.now_ns + EPOCH_NS,
        sync_s=0.001,
    )
    pipeline = LivePipeline(bundle, world.ports, Settings(), record=recorder.step, monotonic_ns=lambda: world.now_ns)
    pipeline.keep_tokens(as_tokens)
    pipeline.start()
    lines = []
    for _ in range(seconds):
        sensor = world.sensors[chance.choice(NAMES)]
        sensor.talking, sensor.lost_part = chance.random() < 0.7, chance.choice((0.0, 0.0, 0.3))
        is_there = CONNECTED if sensor.talking else PortStatus(reason="unplugged", device="scripted")
        sensor.port.status = replace(is_there, jitter_ms=chance.random())
        for decision in world.run(pipeline, 1.0):
            recorder.decision(line_of(decision), world.now_ns)
            lines.append(without_latency(decision))
        recorder.flush()
    pipeline.close()
    recorder.close()
    assert not recorder.problem
    return lines


def silent(_: str) -> None:
    """What a run tells on the way is not looked at here."""


def without_latency(decision: Decision) -> str:
    return line_of(replace(decision, latency_ms={}))


def replayed(bundle: Bundle, path: Path, names: tuple[str, ...] = NAMES) -> list[str]:
    return [without_latency(decision) for decision in Replay(bundle, open_recording(path), names, Settings())]


def test_a_replay_decides_what_was_decided_live(bundle: Bundle, tmp_path: Path) -> None:
    live = record(bundle, tmp_path / "day.mcap", 60)
    assert len(live) > 80
    assert 0 < sum('"unknown":' in line for line in live) < len(live), "with the microphone alone nothing tells it"
    assert replayed(bundle, tmp_path / "day.mcap") == live


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("as_tokens", [("audio",), ("imu", "audio")])
def test_tokens_alone_decide_what_the_samples_did(
    bundle: Bundle, tmp_path: Path, as_tokens: tuple[str, ...], seed: int
) -> None:
    live = record(bundle, tmp_path / "day.mcap", 30, seed=seed, as_tokens=as_tokens)
    assert replayed(bundle, tmp_path / "day.mcap") == live
    steps = list(open_recording(tmp_path / "day.mcap").steps())
    assert {chunk.modality for step in steps for chunk in step.chunks} == set(NAMES) - set(as_tokens)
    assert sum(len(one.hops) for step in steps for one in step.encoded) > 20


@pytest.mark.parametrize(
    ("name", "tokens", "shape", "told"),
    [
        ("audio", (1, TOKEN_DIM + 1), None, f"tokens of 1 x {TOKEN_DIM + 1}, and bundle tiny gives 1 x {TOKEN_DIM}"),
        ("audio", (100_000, TOKEN_DIM), None, f"tokens of 100000 x {TOKEN_DIM}, and"),
        ("audio", (1, TOKEN_DIM), (5, 1), "a shape of 5 x 1, which"),
        ("imu", (1, TOKEN_DIM), (5, 7), "a shape of 5 x 7, which"),
        ("imu", (1, TOKEN_DIM), (4, 6), "a shape of 4 x 6, which"),
    ],
)
def test_tokens_that_no_encoder_of_the_bundle_gives_are_told(
    bundle: Bundle, tmp_path: Path, name: str, tokens: tuple[int, int], shape: tuple[int, int] | None, told: str
) -> None:
    sensor = sensor_of(bundle.manifest.modality(name), "", tokens=True)
    part = Part(tmp_path / "day.mcap", (sensor,), {"origin_ns": "0"}, EPOCH_NS)
    of_shape = None if shape is None else np.zeros(shape, np.float32)
    hop = EncodedHop(0, np.zeros(tokens, np.float32), "live", "", 499_999_999, 0, of_shape)
    part.step(Step(600_000_000, (), {name: CONNECTED}, encoded=(Encoded(name, (hop,), 1, 0, 499_999_999, 0),)))
    part.finish()
    replay = Replay(bundle, open_recording(tmp_path / "day.mcap"), (name,), Settings())
    with pytest.raises(SourceError, match=rf"day\.mcap: {name}: a hop has {told}"):
        list(replay)
    with pytest.raises(SourceError, match=told):
        list(replay.steps())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_tokens_that_are_not_finite_are_the_recordings_fault_and_not_the_models(
    bundle: Bundle, tmp_path: Path, value: float
) -> None:
    sensor = sensor_of(bundle.manifest.modality("audio"), "", tokens=True)
    part = Part(tmp_path / "day.mcap", (sensor,), {"origin_ns": "0"}, EPOCH_NS)
    hop = EncodedHop(0, np.full((1, TOKEN_DIM), value, np.float32), "live", "", 499_999_999, 0)
    part.step(Step(600_000_000, (), {"audio": CONNECTED}, encoded=(Encoded("audio", (hop,), 1, 0, 499_999_999, 0),)))
    part.finish()
    replay = Replay(bundle, open_recording(tmp_path / "day.mcap"), ("audio",), Settings())
    with pytest.raises(SourceError, match=r"day\.mcap: audio: a hop has tokens that are not finite"):
        list(replay)


@pytest.mark.parametrize("asked", [None, 0.01, 0.0])
def test_what_may_be_called_unknown_is_as_it_was_live_unless_asked_otherwise(
    bundle: Bundle, tmp_path: Path, asked: float | None
) -> None:
    world, path = World(NAMES, 0), tmp_path / "day.mcap"
    live = Settings(unknown=0.3, backend="onnx")
    options = argparse.Namespace(split=None, keep=None)
    recorder = open_recorder(options, path, bundle, world.ports, load_profile("generic-x86-64"), live, 0, silent)
    pipeline = LivePipeline(bundle, world.ports, live, record=recorder.step, monotonic_ns=lambda: world.now_ns)
    pipeline.start()
    decided = [without_latency(decision) for decision in world.run(pipeline, 5.0)]
    pipeline.close()
    recorder.close()
    recording = open_recording(path)
    again = as_recorded(recording, bundle, Settings(), silent, NAMES, grace=None, precision=None, unknown=asked)
    assert again.unknown == (0.3 if asked is None else asked)
    lines = [without_latency(decision) for decision in Replay(bundle, recording, NAMES, again)]
    assert len(lines) == len(decided) > 5
    assert (lines == decided) == (asked is None)


def test_a_run_with_taught_activities_is_recorded(bundle: Bundle, tmp_path: Path) -> None:
    world, path = World(NAMES, 0), tmp_path / "day.mcap"
    settings = Settings(taught=Scorer(Taught({})))
    options, board = argparse.Namespace(split=None, keep=None), load_profile("generic-x86-64")
    open_recorder(options, path, bundle, world.ports, board, settings, 0, silent).close()
    assert json.loads(open_recording(path).metadata["settings"])["taught"] is None


@pytest.mark.parametrize("told", ["0.41", "-1", "NaN", "x"])
def test_a_damaged_share_is_told(bundle: Bundle, tmp_path: Path, told: str) -> None:
    record(bundle, tmp_path / "day.mcap", 5, unknown=told)
    recording = open_recording(tmp_path / "day.mcap")
    with pytest.raises(SourceError, match="its metadata is damaged: unknown is"):
        as_recorded(recording, bundle, Settings(), silent, NAMES, grace=None, precision=None, unknown=None)


@pytest.mark.parametrize("key", ["deadline_s", "grace_s", "duration_s"])
@pytest.mark.parametrize("told", ["NaN", "inf", "-1", "1e300", "x"])
def test_a_damaged_time_is_told(bundle: Bundle, tmp_path: Path, key: str, told: str) -> None:
    record(bundle, tmp_path / "day.mcap", 1)
    recording = open_recording(tmp_path / "day.mcap")
    recording.metadata[key] = told
    with pytest.raises(SourceError, match=f"its metadata is damaged: {key} is"):
        as_recorded(recording, bundle, Settings(), silent, NAMES, grace=None, precision=None, unknown=None)


def test_fewer_sensors_decide_on_the_same_samples(bundle: Bundle, tmp_path: Path) -> None:
    record(bundle, tmp_path / "day.mcap", 20)
    lines = [json.loads(line) for line in replayed(bundle, tmp_path / "day.mcap", ("imu",))]
    assert lines
    assert all(list(line["sensors"]) == ["imu"] for line in lines)


@pytest.mark.parametrize("seed", range(3))
def test_a_recording_in_several_files_decides_as_one(bundle: Bundle, tmp_path: Path, seed: int) -> None:
    live = record(bundle, tmp_path / "day.mcap", 40, seed=seed, limits=Limits(split_s=7))
    assert len(list(tmp_path.glob("day-*.mcap"))) > 2
    assert replayed(bundle, part_path(tmp_path / "day.mcap", 0)) == live


def test_a_cut_recording_decides_as_the_live_run_until_then(bundle: Bundle, tmp_path: Path) -> None:
    live = record(bundle, tmp_path / "day.mcap", 30)
    data, chance = (tmp_path / "day.mcap").read_bytes(), random.Random(0)
    longest = 0
    for _ in range(8):
        (tmp_path / "cut.mcap").write_bytes(data[: chance.randrange(len(data) // 3, len(data))])
        lines = replayed(bundle, tmp_path / "cut.mcap")
        assert lines == live[: len(lines)]
        longest = max(longest, len(lines))
    assert longest > len(live) // 3


def test_at_its_own_pace_a_replay_waits_between_its_steps(bundle: Bundle, tmp_path: Path) -> None:
    live = record(bundle, tmp_path / "day.mcap", 5)
    slept: list[float] = []
    recording = open_recording(tmp_path / "day.mcap")
    paced = Replay(bundle, recording, NAMES, Settings(pace="realtime"), sleep=slept.append, monotonic_ns=lambda: 0)
    assert [without_latency(decision) for decision in paced] == live
    assert slept[-1] == pytest.approx(5, abs=0.1)
