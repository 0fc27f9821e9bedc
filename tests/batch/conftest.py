"""Short recordings to decide many of."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import soundfile
from batches import link
from mmg.bundle.reader import STARTER
from recordings import DEMO

SECONDS = 4.2


@pytest.fixture(scope="session")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's first seconds: ``imu.csv``, ``audio.wav`` and ``labels.csv`` in a folder."""
    folder = tmp_path_factory.mktemp("short")
    lines = (DEMO / "imu.csv").read_text().splitlines(keepends=True)
    (folder / "imu.csv").write_text("".join(lines[: round(100 * SECONDS) + 1]))
    sound, rate_hz = soundfile.read(DEMO / "audio.ogg", frames=round(44_100 * SECONDS))
    soundfile.write(folder / "audio.wav", sound, rate_hz)
    with (folder / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("start_s", "end_s", "label"), (0, 2, "still"), (2, 4, "walking")])
    return folder


@pytest.fixture
def walks(short: Path, tmp_path: Path) -> Path:
    """A folder of four such recordings, linked."""
    folder = tmp_path / "walks"
    for name in "abcd":
        link(short, folder / name)
    return folder


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter under another name: its decisions, and another digest."""
    folder = tmp_path_factory.mktemp("bundles") / "other"
    shutil.copytree(STARTER, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "name": "other"}))
    return folder
