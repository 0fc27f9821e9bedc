"""Recordings that are one file: archives, and what mmg recorded live."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from batches import batch, decisions, poison, recordings
from mmg.recording.part import Part
from mmg.recording.sensors import Sensor
from mmg.runs.step import Step
from mmg.sources.ports.port import PortStatus
from mmg.types import Chunk
from recordings import mmg_run

IMU = Sensor("imu", "signal", ("ax", "ay", "az", "gx", "gy", "gz"), "serial:///dev/ttyUSB0")
S_NS = 1_000_000_000


@pytest.fixture(scope="module")
def recorded(short: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The short recording's IMU as a live run kept it, which loses samples in its middle."""
    path = tmp_path_factory.mktemp("recorded") / "walk.mcap"
    rows = np.loadtxt(short / "imu.csv", delimiter=",", skiprows=1)
    part = Part(path, (IMU,), {"origin_ns": "0", "settings": '{"grace_s":0.2}'}, 1_795_000_000 * S_NS)
    status = PortStatus(connected=True, reason="", device="made up")
    for first in (*range(0, 200, 25), *range(250, len(rows) - 24, 25)):
        some = rows[first : first + 25]
        stamps = np.rint(some[:, 0] * 1e6).astype(np.int64)
        chunk = Chunk("imu", some[:, 1:7].astype(np.float32), stamps, dropped=50 * (first == 250))
        part.step(Step(int(stamps[-1]) + 10_000_000, (chunk,), {"imu": status}))
    part.finish()
    return path


def test_what_mmg_recorded_is_replayed_and_its_faults_are_counted(recorded: Path, tmp_path: Path) -> None:
    done = batch(recorded, "-o", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in mmg_run(recorded, "--format", "jsonl").stdout.splitlines()]
    rows = decisions(tmp_path / "results").to_pylist()
    assert [(row["t_s"], row["label"]) for row in rows] == [(line["t"], line["label"]) for line in lines]
    assert [dict(row["losses"])["imu"] for row in rows] == [line["sensors"]["imu"]["dropped"] for line in lines]
    states = [dict(row["states"])["imu"] for row in rows]
    [row] = recordings(tmp_path / "results").values()
    ill = [state for state in states if state != "live"]
    assert sum(fault["hops"] for fault in row["faults"]) == len(ill)
    assert any("dropped" in note for note in row["notes"])


def test_an_archive_is_decided_as_its_folder_and_leaves_nothing_behind(
    short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            for file in ("imu.csv", "audio.wav"):
                archive.write(short / file, file)
    (places := tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(places))
    done = batch(tmp_path, short, "-o", tmp_path / "results", "--subsets", "all")
    assert done.returncode == 0, done.stderr
    by_recording: dict[str, list[tuple[object, ...]]] = {}
    for row in decisions(tmp_path / "results").to_pylist():
        told = row["subset"], row["t_s"], row["label"], row["confidence"]
        by_recording.setdefault(row["recording"], []).append(told)
    one, *others = by_recording.values()
    assert len(one) == 3 * 8
    assert others == [one, one]
    assert not list(places.iterdir())


def test_what_is_fetched_is_told_by_its_url_and_not_by_where_it_was_put(tmp_path: Path) -> None:
    (tmp_path / "walk.csv").write_text("t,temperature\n" + "1,20\n" * 9)
    done = batch("poison://walk.csv", "-o", tmp_path / "results", **poison(tmp_path, tmp_path / "walk.csv"))
    assert done.returncode == 3
    [row] = recordings(tmp_path / "results").values()
    assert row["problem"].startswith("no usable sensor (imu: poison://walk.csv: ")
    assert "/tmp" not in row["problem"]
