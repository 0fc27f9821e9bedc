"""What cannot be read names what to type instead; a file in an archive can be named."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fakes import UNUSED_ENCODER
from mmg.bundle.manifest import Channel, Modality
from mmg.errors import SourceError
from mmg.sources import open_source

ACCELERATION = tuple(Channel(name=name, unit="m/s^2") for name in ("ax", "ay", "az"))
IMU = Modality(name="imu", kind="signal", rate_hz=50, channels=ACCELERATION, encoder=UNUSED_ENCODER)


def walk(rows: int) -> str:
    return "t_ms,ax,ay,az\n" + "".join(f"{10 * number},0,0,9.8\n" for number in range(rows))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "walks.zip"
    with zipfile.ZipFile(path, "w") as file:
        for number in (1, 2):
            file.writestr(f"walk{number}/imu.csv", walk(100 * number))
            file.writestr(f"MetaWear_{number}.csv", walk(10 * number).replace("ax,ay,az", "x (g),y (g),z (g)"))
    return path


def test_a_file_in_an_archive_can_be_named(archive: Path) -> None:
    [chunk] = open_source(f"{archive}?file=walk2/imu.csv", IMU).chunks(0, 10**10)
    assert len(chunk.samples) == 200
    [chunk] = open_source(f"{archive}?file=MetaWear_1.csv&acc_unit=m/s2", IMU).chunks(0, 10**10)
    assert len(chunk.samples) == 10


def test_an_archive_with_several_says_how_to_name_one_and_no_path_of_its_own(archive: Path) -> None:
    with pytest.raises(SourceError, match=r"several files: .*with \?file=MetaWear_2.csv") as caught:
        open_source(str(archive), IMU)
    assert "mmg-zip" not in str(caught.value)
    for name in ("imu.csv", "walk3/imu.csv", "../walks.zip"):
        with pytest.raises(SourceError, match=r"has (no|2) files .*: it holds MetaWear_1.csv"):
            open_source(f"{archive}?file={name}", IMU)


@pytest.mark.parametrize(
    ("name", "begin", "way"),
    [
        ("walk.csv.gz", b"\x1f\x8b\x08\0", "unpack it"),
        ("walk.xlsx", b"PK\x03\x04\0\0", "save it as CSV"),
        ("walk.xls", b"\xd0\xcf\x11\xe0\xa1\0", "save it as CSV"),
        ("walk.parquet", b"PAR1\0\0", "save it as CSV"),
        ("walk.npy", b"\x93NUMPY\1\0", "save it as CSV"),
    ],
)
def test_what_is_no_text_says_what_it_is_and_what_to_do(tmp_path: Path, name: str, begin: bytes, way: str) -> None:
    (tmp_path / name).write_bytes(begin + bytes(range(256)) * 20)
    with pytest.raises(SourceError, match=way):
        open_source(str(tmp_path / name), IMU)


def test_edge_impulses_format_without_its_interval_names_it(tmp_path: Path) -> None:
    sensors = [{"name": name, "units": "m/s2"} for name in ("ax", "ay", "az")]
    path = tmp_path / "sample.json"
    path.write_text(json.dumps({"payload": {"sensors": sensors, "values": [[0, 0, 9.8]] * 100}}))
    with pytest.raises(SourceError, match="without interval_ms, so that nothing tells its rate"):
        open_source(str(path), IMU)


@pytest.mark.parametrize(
    ("name", "meant"), [("ttyUSB0", "serial:///dev/ttyUSB0"), ("COM3", "serial://COM3"), ("mic", "mic://default")]
)
def test_a_ports_name_is_no_file_and_its_url_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match="there is no file") as caught:
        open_source(name, IMU)
    assert meant in str(caught.value)


VALUES = [(round(0.1 * number, 2), -0.2, 9.8) for number in range(100)]


def labelled(number: int, ax: float, ay: float, az: float) -> str:
    return f"t_ms:{20 * number} ax:{ax} ay:{ay} az:{az}"


def labelled_with_commas(number: int, ax: float, ay: float, az: float) -> str:
    return f"t_ms={20 * number}, ax={ax}, ay={ay}, az={az}"


def monitored(number: int, ax: float, ay: float, az: float) -> str:
    return f"10:00:{number // 50:02}.{20 * (number % 50):03} -> ax:{ax},ay:{ay},az:{az}"


def monitored_cells(number: int, ax: float, ay: float, az: float) -> str:
    header = "10:00:00.000 -> ax,ay,az\n" if number == 0 else ""
    return f"{header}10:00:{number // 50:02}.{20 * (number % 50):03} -> {ax},{ay},{az}"


def json_line(number: int, ax: float, ay: float, az: float) -> str:
    boot = "I (123) main: boot\n" if number == 0 else ""
    return f'{boot}{{"t_ms": {20 * number}, "ax": {ax}, "ay": {ay}, "az": {az}}}'


@pytest.mark.parametrize("line", [labelled, labelled_with_commas, monitored, monitored_cells, json_line])
def test_what_a_serial_monitor_saved_is_read(tmp_path: Path, line: Callable[[int, float, float, float], str]) -> None:
    lines = [line(number, *values) for number, values in enumerate(VALUES)]
    lines.insert(70, "I (4242) wifi: beacon timeout")
    path = tmp_path / "log.txt"
    path.write_text("\n".join((*lines, "")))
    [chunk] = open_source(str(path), IMU).chunks(0, 10**10)
    assert chunk.samples == pytest.approx(np.array(VALUES, np.float32))
    assert np.unique(np.diff(chunk.times_ns)).tolist() == [20_000_000]


def test_sound_that_ends_before_its_index_is_cut_and_not_unknown(tmp_path: Path) -> None:
    pytest.importorskip("av")
    boxes = (24).to_bytes(4, "big") + b"ftypM4A \0\0\0\0M4A mp42" + (1 << 20).to_bytes(4, "big") + b"mdat" + bytes(4096)
    (tmp_path / "memo.m4a").write_bytes(boxes)
    mono = (Channel(name="mono", unit="1"),)
    sound = Modality(name="audio", kind="audio", rate_hz=16_000, channels=mono, encoder=UNUSED_ENCODER)
    with pytest.raises(SourceError, match="is cut: it ends before its index"):
        open_source(str(tmp_path / "memo.m4a"), sound)
