"""What mmg recorded and what is taught: marks that keys set teach, and a replay decides among the taught."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from chores import REST, TAUGHT, UNTAUGHT, Part, day_of, spans
from mmg.bundle import Bundle
from mmg.cli.run import main as mmg_run
from mmg.cli.teach import main as mmg_teach
from mmg.recording.marks import Marker
from mmg.recording.recorder import Recorder
from mmg.recording.sensors import sensor_of
from mmg.runs.live import LivePipeline
from mmg.runs.settings import Settings
from mmg.teaching.store import read_taught
from room import Room
from scripted import CHUNK_NS

EPOCH_NS = 1_795_000_000_000_000_000
DAY: list[Part] = [(REST, 6.0), (TAUGHT[0], 10.0), (REST, 8.0), (TAUGHT[1], 10.0), (REST, 8.0), (UNTAUGHT, 8.0)]


@pytest.fixture(scope="module")
def bundle() -> Iterator[Bundle]:
    with Bundle.open("starter") as opened:
        yield opened


def record(bundle: Bundle, path: Path, parts: Sequence[Part], seed: int, as_tokens: Sequence[str] = ()) -> Path:
    """A live run in which these are done one after the other, and a key is pressed where a chore begins and ends."""
    room = Room(seed=seed)
    room.now_ns = 25_000 * CHUNK_NS
    sensors = [
        sensor_of(bundle.manifest.modality(port.modality), port.url, tokens=port.modality in as_tokens)
        for port in room.ports
    ]
    recorder = Recorder(
        path,
        sensors,
        origin_ns=room.now_ns,
        metadata={"bundle": bundle.manifest.name, "bundle_digest": bundle.digest},
        monotonic_ns=lambda: room.now_ns,
        wall_ns=lambda: room.now_ns + EPOCH_NS,
        sync_s=0.001,
    )
    marker = Marker(TAUGHT, recorder.mark)
    pipeline = LivePipeline(bundle, room.ports, Settings(), record=recorder.step, monotonic_ns=lambda: room.now_ns)
    pipeline.keep_tokens(as_tokens)
    pipeline.start()
    for chore, seconds in parts:
        room.doing = chore
        marker.press(str(TAUGHT.index(chore) + 1) if chore in TAUGHT else "0", room.now_ns)
        for _ in room.run(pipeline, seconds):
            pass
        recorder.flush()
    pipeline.close()
    recorder.close()
    assert not recorder.problem
    return path


@pytest.fixture(scope="module")
def taught(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both chores, each out of a day of its own that keys marked."""
    folder = tmp_path_factory.mktemp("marked")
    for seed, chore in enumerate(TAUGHT):
        day = record(bundle, folder / f"{chore}.mcap", day_of(chore), seed + 10)
        assert mmg_teach([chore, "--from", str(day), "-o", str(folder / "mine.taught")]) == 0
    return folder / "mine.taught"


def test_what_keys_marked_while_it_was_recorded_teaches(taught: Path) -> None:
    known = read_taught(taught)
    assert {one.name: (len(one.examples), one.modalities) for one in known.activities} == dict.fromkeys(
        TAUGHT, (5, ("audio", "imu"))
    )
    assert set(known.background) == {"imu", "audio"}


def decided(capsys: pytest.CaptureFixture[str], *words: str | Path) -> list[dict[str, Any]]:
    assert mmg_run([*map(str, words), "--format", "jsonl"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_replay_decides_among_the_taught_and_tokens_decide_as_the_samples_did(
    bundle: Bundle, taught: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = {}
    for as_tokens in ((), ("audio",), ("imu", "audio")):
        day = record(bundle, tmp_path / f"day{len(as_tokens)}.mcap", DAY, 77, as_tokens)
        runs[as_tokens] = [
            (line["t"], line["label"], line["scores"]) for line in decided(capsys, day, "--taught", taught)
        ]
    of_samples = runs[()]
    assert runs["audio",] == of_samples
    assert runs["imu", "audio"] == of_samples
    for begin_s, end_s, chore in spans(DAY):
        labels = [label for t_s, label, _ in of_samples if begin_s + 2 < t_s <= end_s]
        if chore in TAUGHT:
            assert labels.count(chore) >= 0.9 * len(labels) > 0
        elif chore == UNTAUGHT:
            assert not set(labels[4:]) & set(TAUGHT)


def test_tokens_that_were_recorded_teach(bundle: Bundle, tmp_path: Path) -> None:
    chore = TAUGHT[0]
    day = record(bundle, tmp_path / "day.mcap", day_of(chore, 2), 5, ("imu", "audio"))
    assert mmg_teach([chore, "--from", str(day), "-o", str(tmp_path / "mine.taught")]) == 0
    [activity] = read_taught(tmp_path / "mine.taught").activities
    assert [set(example.traces) for example in activity.examples] == [{"imu", "audio"}] * 2
    assert all(example.traces["imu"].has_shape for example in activity.examples)
