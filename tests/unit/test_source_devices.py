"""Rows of two devices in one table are told apart, or refused; never one taken for the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fakes import UNUSED_ENCODER
from mmg.bundle.manifest import Channel, Modality
from mmg.errors import SourceError
from mmg.sources import Recording, open_source

NAMES = ("ax", "ay", "az", "gx", "gy", "gz")
CHANNELS = tuple(Channel(name=name, unit="m/s^2" if name[0] == "a" else "rad/s") for name in NAMES)
IMU = Modality(name="imu", kind="signal", rate_hz=100, channels=CHANNELS, encoder=UNUSED_ENCODER)
ROWS = 3000


def motion(seed: int, rows: int = ROWS) -> list[str]:
    """One wrist's rows at 100 Hz: swings about its own direction of gravity, with a sensor's noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(rows)[:, None] / 100
    gravity = rng.normal(size=3)
    still = np.concatenate((9.8 * gravity / np.linalg.norm(gravity), np.zeros(3)))
    values = still + np.sin(2 * np.pi * 1.3 * t + rng.uniform(0, 6, 6)) + rng.normal(0, 0.05, (rows, 6))
    return [",".join(f"{value:.3f}" for value in row) for row in values]


def by_turns(label: Callable[[int], str], offset_ms: int) -> Iterator[str]:
    for number, rows in enumerate(zip(motion(1), motion(2), strict=True)):
        for device, row in enumerate(rows):
            yield f"{10 * number + device * offset_ms},{label(device)}{row}"


def opened(tmp_path: Path, header: str, rows: list[str], options: str = "") -> Recording:
    path = tmp_path / "imu.csv"
    path.write_text("\n".join((header, *rows, "")))
    return open_source(f"{path}{options}", IMU)


def samples(recording: Recording) -> np.ndarray:
    return np.concatenate([chunk.samples for chunk in recording.chunks(0)])


@pytest.mark.parametrize("offset_ms", [0, 3, 4, 5])
def test_signals_that_take_turns_are_two_devices(tmp_path: Path, offset_ms: int) -> None:
    rows = list(by_turns(lambda _: "", offset_ms))
    with pytest.raises(SourceError, match=r"rows of 2 devices by turns.*where=COLUMN:VALUE"):
        opened(tmp_path, f"t_ms,{','.join(NAMES)}", rows)


@pytest.mark.parametrize(("column", "names"), [("foo", "LR"), ("n", "01"), ("hand", "LR")])
def test_a_column_that_takes_turns_with_the_rows_is_named(tmp_path: Path, column: str, names: str) -> None:
    rows, header = list(by_turns(lambda device: f"{names[device]},", 3)), f"t_ms,{column},{','.join(NAMES)}"
    with pytest.raises(SourceError, match=rf"several in its column {column}.*where={column}:{names[0]}"):
        opened(tmp_path, header, rows)
    chosen = samples(opened(tmp_path, header, rows, f"?where={column}:{names[1]}"))
    assert chosen[:2] == pytest.approx(np.array([list(map(float, row.split(","))) for row in motion(2)[:2]]))
    assert len(chosen) == ROWS


def test_three_devices_by_turns_are_refused(tmp_path: Path) -> None:
    three = zip(motion(1), motion(2), motion(3), strict=True)
    rows = [f"{10 * number + 3 * place},{row}" for number, each in enumerate(three) for place, row in enumerate(each)]
    with pytest.raises(SourceError, match="rows of 3 devices by turns"):
        opened(tmp_path, f"t_ms,{','.join(NAMES)}", rows)


def test_two_devices_may_count_time_apart_where_one_is_chosen(tmp_path: Path) -> None:
    rows = list(by_turns(lambda device: f"{'LR'[device]},", 7000))
    header = f"t_ms,hand,{','.join(NAMES)}"
    assert len(samples(opened(tmp_path, header, rows, "?where=hand:R"))) == ROWS


@pytest.mark.parametrize("seed", range(5))
def test_one_device_is_read_whatever_figure_takes_turns_beside_it(tmp_path: Path, seed: int) -> None:
    rows = [f"{10 * number},{number % 2},{row}" for number, row in enumerate(motion(seed))]
    assert len(samples(opened(tmp_path, f"t_ms,flag,{','.join(NAMES)}", rows))) == ROWS


@pytest.mark.parametrize("begins_anew", [True, False])
@pytest.mark.parametrize("column", ["device_id", "node", "imu"])
def test_another_device_behind_the_first_is_seen_before_the_first_decision(
    tmp_path: Path, column: str, begins_anew: bool
) -> None:
    rows = [f"{10 * number},wrist,{row}" for number, row in enumerate(motion(1))]
    begin = 0 if begins_anew else 10 * ROWS
    rows += [f"{begin + 10 * number},ankle,{row}" for number, row in enumerate(motion(2))]
    header = f"t_ms,{column},{','.join(NAMES)}"
    with pytest.raises(SourceError, match=rf"column {column} \(wrist, ankle\).*where={column}:wrist"):
        opened(tmp_path, header, rows)
    for device, seed in (("wrist", 1), ("ankle", 2)):
        chosen = samples(opened(tmp_path, header, rows, f"?where={column}:{device}"))
        assert [f"{value:.3f}" for value in chosen[-1]] == motion(seed)[-1].split(",")
    with pytest.raises(SourceError, match=r"no row with where=.*:knee: there are wrist, ankle"):
        opened(tmp_path, header, rows, f"?where={column}:knee")


def test_another_device_in_the_middle_is_told(tmp_path: Path) -> None:
    rows = [f"{10 * number},{'b' if 2500 < number < 2600 else 'a'},{row}" for number, row in enumerate(motion(1))]
    recording = opened(tmp_path, f"t_ms,device,{','.join(NAMES)}", rows)
    assert len(samples(recording)) == ROWS - 99
    assert recording.losses["another_device"] == 99
    assert any("where=device:b" in note for note in recording.notes)


def test_a_session_is_no_device(tmp_path: Path) -> None:
    rows = [f"{10 * number},{number // 1500},{row}" for number, row in enumerate(motion(1))]
    assert len(samples(opened(tmp_path, f"t_ms,session_id,{','.join(NAMES)}", rows))) == ROWS


def test_rows_in_no_order_are_refused_and_a_few_late_ones_are_not(tmp_path: Path) -> None:
    rows = [f"{10 * number},{row}" for number, row in enumerate(motion(1))]
    header = f"t_ms,{','.join(NAMES)}"
    late = [row for place in range(0, ROWS, 50) for row in (*rows[place + 1 : place + 50], rows[place])]
    assert len(samples(opened(tmp_path, header, late))) == ROWS
    shuffled = np.random.default_rng(0).permutation(rows).tolist()
    with pytest.raises(SourceError, match="over a second earlier than the one before: sort them first"):
        opened(tmp_path, header, shuffled)


def as_rows_of_one_sensor(names: tuple[str, str]) -> list[str]:
    rows = [row.split(",") for row in motion(1)]
    return [
        f"{10 * i},{name},{','.join(r[3 * k : 3 * k + 3])}" for i, r in enumerate(rows) for k, name in enumerate(names)
    ]


@pytest.mark.parametrize("header", ["t_ms,sensor,x,y,z", "t_ms,name,values.x,values.y,values.z"])
@pytest.mark.parametrize("names", [("accelerometer", "gyroscope"), ("TotalAcceleration", "Gyroscope"), ("acc", "gyr")])
def test_a_row_for_each_sensor_is_joined_on_time(tmp_path: Path, header: str, names: tuple[str, str]) -> None:
    recording = opened(tmp_path, header, as_rows_of_one_sensor(names))
    expected = np.array([list(map(float, row.split(","))) for row in motion(1)], np.float32)
    np.testing.assert_allclose(samples(recording), expected, rtol=1e-6)
    assert recording.duration_s == pytest.approx(ROWS / 100, abs=0.02)
    assert recording.losses == {}


def test_a_document_of_objects_of_one_sensor_each_is_joined_on_time(tmp_path: Path) -> None:
    objects = [
        {"sensor": name, "time": str((1_714_730_400_000 + int(t)) * 1_000_000), "x": x, "y": y, "z": z}
        for row in as_rows_of_one_sensor(("TotalAcceleration", "Gyroscope"))
        for t, name, x, y, z in [row.split(",")]
    ]
    (tmp_path / "imu.json").write_text(json.dumps([{"sensor": "Metadata", "version": 3}, *objects]))
    recording = open_source(str(tmp_path / "imu.json"), IMU)
    assert len(samples(recording)) == ROWS
    assert recording.duration_s == pytest.approx(ROWS / 100, abs=0.02)


def test_rows_that_leave_the_other_sensors_cells_empty_are_joined_on_time(tmp_path: Path) -> None:
    rows = [row.split(",") for row in motion(1)]
    sparse = [
        line
        for i, row in enumerate(rows)
        for line in (f"{10 * i},{','.join(row[:3])},,,", f"{10 * i + 2},,,,{','.join(row[3:])}")
    ]
    recording = opened(tmp_path, f"t_ms,{','.join(NAMES)}", sparse)
    read = samples(recording)
    assert len(read) == ROWS - 1
    np.testing.assert_allclose(read[:, 0], np.array([float(row[0]) for row in rows[1:]], np.float32), rtol=1e-6)
    assert recording.losses == {"unpaired": 1}
