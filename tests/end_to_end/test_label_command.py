"""``mmg-label``: labels put beside a recording, and shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from forked import mmg_run
from mmg.cli.label import main
from recordings import DEMO

HEADER = "t_ms,ax (m/s^2),ay (m/s^2),az (m/s^2),gx (rad/s),gy (rad/s),gz (rad/s)\n"


def walk(path: Path, seconds: float = 20.0) -> Path:
    """A recording of an IMU."""
    rows = np.random.default_rng(0).normal((0, 0, 9.8, 0, 0, 0), 0.5, (int(seconds * 50), 6))
    path.write_text(HEADER + "".join(f"{20 * k},{','.join(f'{v:.3f}' for v in row)}\n" for k, row in enumerate(rows)))
    return path


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return walk(tmp_path / "walk.csv")


def test_labels_are_checked_and_put_beside_the_recording(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = recording.read_bytes()
    track = recording.with_name("track.txt")
    track.write_text("1.0\t11.0\twalking\n12.0\t20.2\tsitting\n")
    assert main([str(recording), str(track)]) == 0
    told = capsys.readouterr()
    assert told.err.splitlines()[0].startswith("mmg-label: 'sitting' goes 0.2")
    assert told.out.splitlines()[0].split() == ["walking", "10", "s", "1", "time"]
    assert told.out.splitlines()[-1].split()[:4] == ["no", "label", "2", "s"]
    assert (recording.parent / "walk.labels.csv").read_text().startswith("start_s,end_s,label\n1,11,walking\n12,19.9")
    assert recording.read_bytes() == before
    assert main([str(recording)]) == 0
    assert capsys.readouterr().out == told.out


def test_labels_that_are_there_are_not_replaced_unasked(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    beside, other = recording.parent / "walk.labels.csv", recording.parent / "other.csv"
    beside.write_text("start_s,end_s,label\n0,1,mine\n")
    other.write_text("start_s,end_s,label\n0,2,new\n")
    assert main([str(recording), str(other)]) == 2
    assert "is there already; give --overwrite" in capsys.readouterr().err
    assert "mine" in beside.read_text()
    assert main([str(recording), str(other), "--overwrite"]) == 0
    assert "new" in beside.read_text()


def test_a_folder_keeps_its_labels_in_it_and_they_are_no_sensor(tmp_path: Path) -> None:
    session = tmp_path / "session"
    session.mkdir()
    walk(session / "imu.csv")
    (tmp_path / "track.txt").write_text("1.0\t11.0\twalking\n")
    assert main([str(session), str(tmp_path / "track.txt")]) == 0
    assert (session / "labels.csv").exists()
    ran = mmg_run(session, "--truth", session / "labels.csv")
    assert ran.returncode == 0, ran.stderr
    assert "of 20 equal to the truth" in ran.stderr


def test_labels_go_out_to_audacity_and_come_back(recording: Path, tmp_path: Path) -> None:
    (recording.parent / "walk.labels.csv").write_text("start_s,end_s,label\n0,1.5,a\n2,3,b\n")
    assert main([str(recording), "-o", str(tmp_path / "out.txt")]) == 0
    assert (tmp_path / "out.txt").read_text() == "0.000000\t1.500000\ta\n2.000000\t3.000000\tb\n"
    assert main([str(recording), str(tmp_path / "out.txt"), "-o", str(tmp_path / "out.csv")]) == 0
    assert (tmp_path / "out.csv").read_text() == (recording.parent / "walk.labels.csv").read_text()


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        ("start_s,end_s,label\n30,40,late\n", [], "'late' from 30 to 40 s is past the end of the recording"),
        ("", [], "has no row"),
        ("start_s,end_s,label\n3,2,back\n", [], "line 2: its end, 2 s, is before its start"),
        ("1.0\t2.0\ta\n", ["--to", "csv"], "--to csv: needs -o FILE"),
        ("1.0\t2.0\ta\n", ["--tier", "x"], "has no tiers"),
        ("1.0\t2.0\ta\n", ["-o", "RECORDING"], "is the recording"),
        ("1.0\t2.0\ta\n", ["-o", "."], "-o .: is a folder"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_and_nothing_is_written(
    recording: Path, capsys: pytest.CaptureFixture[str], text: str, words: list[str], message: str
) -> None:
    labels = recording.with_name("labels.any")
    labels.write_text(text)
    before = recording.read_bytes()
    arguments = [str(recording), str(labels), *(word.replace("RECORDING", str(recording)) for word in words)]
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert not told.out
    [line] = told.err.splitlines()
    assert message in line
    assert not (recording.parent / "walk.labels.csv").exists()
    assert recording.read_bytes() == before


def test_without_labels_it_says_what_to_type(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(recording)]) == 2
    assert capsys.readouterr().err.strip().endswith(f"mmg-label {recording} labels.txt")


@pytest.mark.parametrize(("name", "code"), [("nothing.mcap", 3), ("serial:///dev/ttyUSB0", 2)])
def test_a_recording_that_is_none_ends_in_one_line(
    name: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = name if "://" in name else str(tmp_path / name)
    assert main([given, str(DEMO / "truth.csv")]) == code
    assert len(capsys.readouterr().err.splitlines()) == 1
