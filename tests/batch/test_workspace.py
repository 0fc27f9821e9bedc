"""The folder for temporary files of a batch: whose is removed, and whose is not."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from mmg_batch.workspace import MARK, PREFIX, workspace


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_goes_with_its_block(places: Path) -> None:
    with workspace() as folder:
        (folder / "file").touch()
    assert not list(places.iterdir())


def test_what_a_killed_process_left_is_removed(places: Path) -> None:
    code = (
        "import os, signal, sys, tempfile; tempfile.tempdir = sys.argv[1]\n"
        "from mmg_batch.workspace import workspace\n"
        "with workspace(): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(places)], check=False)
    assert len(list(places.iterdir())) == 1
    with workspace() as folder:
        assert list(places.iterdir()) == [folder]


def test_one_that_is_at_work_and_what_others_named_alike_stay(places: Path) -> None:
    mine = [places / name for name in ("mmg-batch-walks", f"{PREFIX}walks")]
    for path in mine:
        path.mkdir()
        (path / "walk.csv").touch()
    (marked := places / "elsewhere").mkdir()
    (marked / MARK).touch()
    (places / f"{PREFIX}link").symlink_to(marked)
    with workspace() as first, workspace() as second:
        assert first.is_dir()
        assert second.is_dir()
    assert all((path / "walk.csv").is_file() for path in mine)
    assert (marked / MARK).is_file()


def test_one_that_is_being_made_is_not_taken_for_left(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = fcntl.flock

    def lock(descriptor: int, how: int) -> None:
        """What another process does before this one holds its mark."""
        monkeypatch.setattr(fcntl, "flock", real)
        with workspace():
            pass
        real(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", lock)
    with workspace() as folder:
        assert [path.name for path in folder.iterdir()] == [MARK]
        assert list(places.iterdir()) == [folder]
