"""The same batch again, when a list or the recordings are not as they were."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from batches import assert_same, batch, recordings


def test_recordings_that_are_away_cost_nothing_that_was_decided(walks: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("recording\nwalks/a\nwalks/b\n")
    words = (tmp_path / "list.csv", "-o", tmp_path / "results")
    assert batch(*words).returncode == 0
    shutil.copytree(tmp_path / "results", tmp_path / "before")
    walks.rename(tmp_path / "away")
    away = batch(*words)
    assert away.returncode == 3
    assert f"{walks}/a: cannot be read: No such file or directory; what was decided before is kept" in away.stderr
    assert_same(tmp_path / "before", tmp_path / "results")
    (tmp_path / "away").rename(walks)
    assert "2 of 2 recordings are done already" in batch(*words).stderr


def test_a_list_that_was_corrected_is_decided_anew(short: Path, tmp_path: Path) -> None:
    shutil.copy(short / "imu.csv", tmp_path / "walk.csv")
    results = tmp_path / "results"
    for person, url in (("ann", "walk.csv"), ("anna", "walk.csv"), ("anna", "walk.csv?acc_unit=m/s2")):
        (tmp_path / "list.csv").write_text(f"recording,person,imu\nwalk,{person},{url}\n")
        assert "1 recording found, 8 new decisions" in batch(tmp_path / "list.csv", "-o", results).stderr
        [row] = recordings(results).values()
        assert row["person"] == person
    assert "1 of 1 recordings are done already" in batch(tmp_path / "list.csv", "-o", results).stderr


def test_a_folder_with_a_link_that_leads_nowhere_and_a_pipe_is_decided(short: Path, tmp_path: Path) -> None:
    shutil.copytree(short, tmp_path / "walk")
    (tmp_path / "walk" / "more.csv").symlink_to("gone.csv")
    os.mkfifo(tmp_path / "walk" / "pipe.csv")
    done = batch(tmp_path / "walk", "-o", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    assert "8 new decisions" in done.stderr


def test_a_device_in_a_list_costs_itself(short: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"recording\n/dev/zero\n{short}\n")
    assert batch(tmp_path / "list.csv", "-o", tmp_path / "results").returncode == 0
    assert recordings(tmp_path / "results")["zero"]["problem"] == "/dev/zero: is no regular file"


def test_a_name_that_is_not_utf_8_is_written_with_its_bytes(short: Path, tmp_path: Path) -> None:
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/w\xff"))
    place.mkdir()
    for name in ("imu.csv", "labels.csv"):
        shutil.copy(short / name, place)
    for _ in range(2):
        done = batch(place, "-o", tmp_path / "results")
        assert done.returncode == 0, done.stderr
    assert "1 of 1 recordings are done already" in done.stderr
    assert [row["recording"] for row in recordings(tmp_path / "results").values()] == [f"{tmp_path}/w\\xff"]


def test_a_question_mark_in_a_name_begins_no_options(short: Path, tmp_path: Path) -> None:
    folder = tmp_path / "walks"
    folder.mkdir()
    for name in ("imu.csv", "labels.csv"):
        shutil.copy(short / name, folder / f"did%41 it work?{name.removeprefix('imu')}")
    (folder / "did%41 it work?labels.csv").rename(folder / "did%41 it work?.labels.csv")
    for word in (folder, f"{folder}/*.csv", folder / "did%41 it work?.csv"):
        done = batch(word, "-o", tmp_path / "results")
        assert done.returncode == 0, done.stderr
    assert "1 of 1 recordings are done already" in done.stderr
    [row] = recordings(tmp_path / "results").values()
    assert (row["recording"], row["judged"]) == (f"file://{folder}/did%2541%20it%20work%3F.csv", 8)
    assert "1 of 1 recordings are done already" in batch(row["recording"], "-o", tmp_path / "results").stderr
