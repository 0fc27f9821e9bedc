"""What an app exported, given to mmg-run as it is: a file, a folder, an archive; and what is understood of it."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from pathlib import Path

import pytest
from forked import mmg_run
from recordings import DEMO, real


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The demo's IMU in two files, and its sound."""
    made = tmp_path / "walk"
    made.mkdir()
    rows = [line.split(",") for line in (DEMO / "imu.csv").read_text().splitlines()[1:]]
    for name, unit, begin in (("Accelerometer", "m/s^2", 1), ("Gyroscope", "rad/s", 4)):
        lines = [f"Time (ms),X ({unit}),Y ({unit}),Z ({unit})"]
        lines += [",".join([row[0], *row[begin : begin + 3]]) for row in rows]
        (made / f"{name}.csv").write_text("\n".join(lines))
    shutil.copy(DEMO / "audio.ogg", made / "sound.ogg")
    (made / "notes.md").write_text("a walk")
    return made


def decisions_of(*arguments: object) -> tuple[list[tuple[str, list[str]]], str]:
    done = mmg_run("--format", "jsonl", *arguments)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [(line["label"], line["modalities"]) for line in lines], done.stderr


def test_a_folder_and_an_archive_decide_as_their_files_do(folder: Path, tmp_path: Path) -> None:
    wanted, _ = decisions_of("--imu", DEMO / "imu.csv", "--audio", DEMO / "audio.ogg")
    archive = tmp_path / "walk.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for path in folder.iterdir():
            zipped.write(path, f"export/{path.name}")
    for recording in (folder, archive):
        decided, told = decisions_of(recording)
        assert decided == wanted
        assert "acceleration from Accelerometer.csv, gyro from Gyroscope.csv: joined on time" in told


def test_two_urls_are_one_imu_and_sensors_chooses_among_what_is_there(folder: Path) -> None:
    files = folder / "Accelerometer.csv", folder / "Gyroscope.csv"
    twice, _ = decisions_of("--imu", files[0], "--imu", files[1])
    chosen, _ = decisions_of(folder, "--sensors", "imu")
    assert twice == chosen
    assert {name for _, names in chosen for name in names} == {"imu"}


def test_explain_decides_nothing_and_tells_what_was_understood(folder: Path) -> None:
    done = mmg_run("--explain", folder)
    assert done.returncode == 0, done.stderr
    assert "ax <- X (m/s^2) [m/s2, the header says so]" in done.stdout
    assert "at 100 Hz, no gaps" in done.stdout
    steadiest = re.search(r"gravity where it is steadiest, m/s\^2: ([\d.]+)", done.stdout)
    assert steadiest
    assert float(steadiest[1]) == pytest.approx(9.8, abs=0.3)
    assert "decision" not in done.stdout + done.stderr
    told = [json.loads(line) for line in mmg_run("--explain", folder, "--format", "jsonl").stdout.splitlines()]
    assert [one["modality"] for one in told] == ["imu", "audio"]
    assert told[0]["samples"] == 7500
    assert told[1]["seconds"] == pytest.approx(75, abs=0.1)


def test_explain_names_what_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "raw.csv"
    path.write_text("t_ms,ax,ay,az\n" + "".join(f"{20 * i},3,-7,16384\n" for i in range(100)))
    done = mmg_run("--explain", "--imu", path)
    assert done.returncode == 3
    assert "raw counts? Add ?acc_scale=0.0005986" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["absent.zip"], 3, "there is no file"),
        (["serial:///dev/ttyUSB0"], 2, "is a live port: name its sensor"),
        (["walk.csv", "--demo"], 2, "brings its own sensors"),
        (["--imu", "walk.csv", "--imu", "serial:///dev/ttyUSB0"], 2, "only a recording can be in several files"),
    ],
)
def test_what_cannot_be_is_one_line(arguments: list[str], code: int, expected: str) -> None:
    done = mmg_run(*arguments)
    assert done.returncode == code
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_archive_that_holds_nothing_or_too_much_is_refused(tmp_path: Path) -> None:
    empty, broken = tmp_path / "empty.zip", tmp_path / "broken.zip"
    with zipfile.ZipFile(empty, "w") as zipped:
        zipped.writestr("readme.md", "nothing")
    broken.write_bytes(b"PK\x03\x04 and no more")
    for path, expected in ((empty, "holds nothing that is known"), (broken, "no zip archive that can be read")):
        done = mmg_run(path)
        assert done.returncode == 3
        assert expected in done.stderr


def test_a_gopros_film_gives_all_three_and_video_only_where_it_is_allowed(tmp_path: Path) -> None:
    film = real("gopro/karma.mp4")
    closed, told = decisions_of(film)
    assert {name for _, names in closed for name in names} == {"imu", "audio"}
    assert "video: stays closed: add --allow-video to use it" in told
    opened, _ = decisions_of(film, "--allow-video")
    folder = tmp_path / "day"
    folder.mkdir()
    shutil.copy(film, folder)
    assert decisions_of(folder)[0] == closed
    assert {name for _, names in opened for name in names} == {"imu", "audio", "video"}


def test_explain_tells_what_is_doubted_and_the_option_that_would_change_it(tmp_path: Path) -> None:
    rows = (DEMO / "imu.csv").read_text().splitlines()[1:]
    turned = [[float(cell) for cell in row.split(",")] for row in rows]
    path = tmp_path / "walk.csv"
    lines = [",".join(map(str, [*row[:4], *(57.29578 * rate for rate in row[4:])])) for row in turned]
    path.write_text("\n".join(["t_ms,ax,ay,az,gx,gy,gz", *lines]))
    done = mmg_run("--explain", "--imu", path)
    assert "gx <- gx [rad/s, assumed: gyro_unit= changes it]" in done.stdout
    assert re.search(r"doubted: .*Add gyro_unit=deg/s to its URL", done.stdout), done.stdout
    assert "doubted" not in mmg_run("--explain", "--imu", f"{path}?gyro_unit=deg/s").stdout


def test_a_recording_needs_no_sensor_that_the_profile_names_for_another_bundle(folder: Path) -> None:
    decided, _ = decisions_of(folder, "--set", "sensors.pulse=serial:///dev/ttyUSB7")
    assert {name for _, names in decided for name in names} == {"imu", "audio"}
