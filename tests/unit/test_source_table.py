"""A CSV file replays as an IMU or another signal, whatever its header, its units and its defects."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fakes import UNUSED_ENCODER
from fuzzing import times
from hypothesis import given, settings
from hypothesis import strategies as st
from mmg.bundle.manifest import Channel, Modality
from mmg.errors import ConfigError, SourceError
from mmg.sources import Recording, open_source
from mmg.sources.files.table.file import TableFile
from mmg.sources.files.table.text import TextTable
from mmg.types import Chunk


def signal(name: str, rate_hz: float, *channels: Channel) -> Modality:
    return Modality(name=name, kind="signal", rate_hz=rate_hz, channels=channels, encoder=UNUSED_ENCODER)


ACCELERATION = [Channel(name=name, unit="m/s^2") for name in ("ax", "ay", "az")]
GYRO = [Channel(name=name, unit="rad/s", optional=True) for name in ("gx", "gy", "gz")]
IMU = signal("imu", 50, *ACCELERATION, *GYRO)
PPG = signal("ppg", 100, Channel(name="ppg", unit=""))
DATA = Path(os.environ.get("MMG_DATA", Path(__file__).parents[3] / "shared" / "data"))
MS = 1_000_000
ROWS = (
    "2,{t},{v},2,9,4,5,6",
    "2,{t},{v},2,9,4,5,6",
    "2,{t},{v},2,9,4,5,6,seven",
    "2,{t}.5,-{v},2,9,4,5,6",
    "1,{t},{v},2,9,4,5,6",
    "2,{t},{v},2",
    "2,{t},,2,9,4,5,6",
    "2,{t},1e39,2,9,4,5,6",
    "2,{t},nan,2,9,4,5,6",
    "2,then,{v},2,9,4,5,6",
    "device,t_ms,ax,ay,az,gx,gy,gz",
    "2,99999999999999999999999999,{v},2,9,4,5,6",
    " # a remark",
    "",
)
"""Good ones, and what else there is in tables."""


def opened(tmp_path: Path, text: str, options: str = "", modality: Modality = IMU) -> Recording:
    path = tmp_path / "walk.csv"
    path.write_bytes(text.encode())
    return open_source(f"file://{path}{'?' if options else ''}{options}", modality)


def whole(recording: Recording, start_ns: int | None = None) -> Chunk:
    chunks = list(recording.chunks(recording.start_ns or 0 if start_ns is None else start_ns))
    times = np.concatenate([chunk.times_ns for chunk in chunks])
    return Chunk(recording.modality, np.concatenate([chunk.samples for chunk in chunks]), times, chunks[0].rate_hz)


@pytest.mark.parametrize(
    "header",
    [
        "time,ay,ax,az,temp",
        "time,ax (g),ay (g),az (g),temp",
        "time (ms),ax,ay,az,temp",
        "temp,time,ax,ay,az",
        "ax,ay,az",
    ],
)
@pytest.mark.parametrize("times", [1, 100], ids=["within what is looked at", "later"])
def test_a_file_behind_a_file_is_refused_where_its_columns_are_others(tmp_path: Path, header: str, times: int) -> None:
    first = "".join(f"{t / 50:.2f},0.1,0.2,9.8\n" for t in range(200 * times))
    second = "".join(f"{t / 50:.2f},0.1,0.2,9.8,30\n" for t in range(200 * times, 200 * times + 200))
    with pytest.raises(SourceError, match=r"has another header amid its rows, '.*a[xy].*': write what follows it to a"):
        whole(opened(tmp_path, f"time,ax,ay,az\n{first}{header}\n{second}"))


def test_another_header_is_seen_between_the_rows_of_a_chosen_device_too(tmp_path: Path) -> None:
    rows = "".join(f"{device},{t / 50:.2f},0.1,0.2,9.8\n" for t in range(200) for device in ("left", "right"))
    with pytest.raises(SourceError, match="has another header amid its rows, 'device,time,ay,ax,az'"):
        whole(opened(tmp_path, f"device,time,ax,ay,az\n{rows}device,time,ay,ax,az\n{rows}", "where=device:left"))


def test_a_figure_that_is_too_large_to_be_squared_warns_nobody(tmp_path: Path) -> None:
    rows = "".join(f"{t / 50},{'1e300' if t == 30 else '0.1'},0.2,9.8\n" for t in range(100))
    recording = opened(tmp_path, f"time,ax,ay,az\n{rows}")
    assert len(whole(recording).samples) == 99
    assert recording.losses == {"not_finite": 1}


@pytest.mark.parametrize("unit", [1.0, 9.80665], ids=["m/s^2", "g"])
@pytest.mark.parametrize("where", ["in a file each", "in one file"])
def test_what_gravity_shows_of_its_unit_holds_for_what_is_added_to_it(tmp_path: Path, unit: float, where: str) -> None:
    moved, pull = [(0.5 * (t % 2) / unit, 0.0, 0.25 / unit) for t in range(200)], (0.0, 0.0, 9.80665 / unit)
    parts = {"LinearAcceleration": moved, "Gravity": [pull] * 200, "Gyroscope": [(0.1, 0.2, 0.3)] * 200}
    if where == "in one file":
        names = [f"{part}{axis}" for part in parts for axis in "XYZ"]
        rows = [[t / 50, *(v for part in parts.values() for v in part[t])] for t in range(200)]
        recording = opened(tmp_path, "\n".join([",".join(["time", *names]), *(",".join(map(str, r)) for r in rows)]))
    else:
        for name, values in parts.items():
            lines = [f"{t / 50},{x},{y},{z}\n" for t, (x, y, z) in enumerate(values)]
            (tmp_path / f"{name}.csv").write_text("time,x,y,z\n" + "".join(lines))
        recording = open_source(f"file://{tmp_path}", IMU)
    samples = whole(recording).samples
    assert samples[1].tolist() == pytest.approx([0.5, 0.0, 9.80665 + 0.25, 0.1, 0.2, 0.3], rel=1e-4)
    shown = "m/s2" if unit == 1.0 else "g"
    assert any(f"acc_unit={shown} (as gravity shows)" in note for note in recording.notes)
    assert not any("acc_unit=m/s2 is" in note for note in recording.notes)


@pytest.mark.parametrize("header", ["ay,ax,az", "gx,gy,gz", "t_ms,ax,ay,az"])
def test_a_serial_monitors_lines_below_another_header_are_refused(tmp_path: Path, header: str) -> None:
    lines = [f"0.1,0.2,9.{t % 10}" for t in range(200)]
    lines = ["ax,ay,az", *lines[:100], "ax,ay,az", *lines[100:], header, *lines]
    text = "".join(f"10:00:{t // 50:02d}.{t % 50 * 20:03d} -> {line}\n" for t, line in enumerate(lines))
    with pytest.raises(SourceError, match=f"has another header amid its rows, '10:00:04.*{header}'"):
        whole(opened(tmp_path, text))


@pytest.mark.parametrize("header", ["time,ax,ay,az", " Time , AX , AY , AZ", "time,ax,ay,az,temp"])
def test_a_file_behind_a_file_of_the_same_columns_is_read_on(tmp_path: Path, header: str) -> None:
    first = "".join(f"{t / 50:.2f},0.1,0.2,9.8\n" for t in range(200))
    second = "".join(f"{t / 50:.2f},0.1,0.2,9.8,30\n" for t in range(200, 400))
    assert len(whole(opened(tmp_path, f"time,ax,ay,az\n{first}{header}\n{second}")).samples) == 400


def table(header: str, *rows: str) -> str:
    return "\n".join((header, *rows, ""))


PLAIN = table("t_ms,ax,ay,az,gx,gy,gz", "0,1,2,3,4,5,6", "20,7,8,9,10,11,12", "40,1,2,3,4,5,6")


def test_samples_are_float32_and_times_int64_on_the_files_clock(tmp_path: Path) -> None:
    recording = opened(tmp_path, PLAIN)
    assert (recording.modality, recording.start_ns, recording.duration_s) == ("imu", 0, 0.04)
    read = whole(recording, 1000)
    assert read.samples.dtype == np.float32
    assert read.times_ns.dtype == np.int64
    assert read.samples.tolist() == [[1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12], [1, 2, 3, 4, 5, 6]]
    assert read.times_ns.tolist() == [1000, 1000 + 20 * MS, 1000 + 40 * MS]
    assert dict(recording.losses) == {}


@pytest.mark.parametrize(
    "header",
    [
        "t_ms,ax,ay,az,gx,gy,gz",
        "TIME_MS,Acc_X,Acc_Y,Acc_Z,Gyro_X,Gyro_Y,Gyro_Z",
        "timestamp [ms],accel_x (m/s^2),accel_y (m/s^2),accel_z (m/s^2),gx [rad/s],gy [rad/s],gz [rad/s]",
        "timestamp_ms,accelerometer_x,accelerometer_y,accelerometer_z,gyroscope_x,gyroscope_y,gyroscope_z",
        "elapsed_ms,accelX,accelY,accelZ,gyroX,gyroY,gyroZ",
        "millis,x_acc,y_acc,z_acc,x_gyro,y_gyro,z_gyro",
        '"t_ms","ax","ay","az","gx","gy","gz"',
    ],
)
def test_headers_of_many_makers_mean_the_same(tmp_path: Path, header: str) -> None:
    text = PLAIN.replace("t_ms,ax,ay,az,gx,gy,gz", header)
    assert whole(opened(tmp_path, text)).samples.tolist() == whole(opened(tmp_path, PLAIN)).samples.tolist()


def test_ego4d_is_sorted_by_its_canonical_clock_and_its_null_rows_are_counted(tmp_path: Path) -> None:
    text = table(
        "component_idx,component_timestamp_ms,canonical_timestamp_ms,gyro_x,gyro_y,gyro_z,accl_x,accl_y,accl_z",
        "0,500.5,0.0,1,1,1,9,9,9",
        "0,510.5,10.125,2,2,2,8,8,8",
        "1,0.5,5.0,3,3,3,7,7,7",
        "1,5.5,15.0,NULL,NULL,NULL,7,7,7",
        "1,9.5,20.0,4,4,4,6,6,6",
    )
    recording = opened(tmp_path, text)
    read = whole(recording)
    assert read.times_ns.tolist() == [0, 5 * MS, 10_125_000, 20 * MS]
    assert read.samples[:, 0].tolist() == [9, 7, 8, 6]
    assert read.samples[:, 3].tolist() == [1, 3, 2, 4]
    assert dict(recording.losses) == {"null": 1, "backward": 1}


def test_bom_crlf_comments_blank_lines_quotes_and_extra_columns_survive(tmp_path: Path) -> None:
    text = (
        "\ufeff# made by a logger\r\n\r\nlabel;t_ms;ax;ay;az\r\n"
        '"a; b";"0";1;2;3\r\n# a pause\r\n\r\nx;20; 4 ;5;6\r\n  \r\nx;40;7;8;9;more;cells\r\n'
    )
    recording = opened(tmp_path, text)
    assert whole(recording).samples[:, :3].tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert dict(recording.losses) == {}


def test_a_typographic_minus_is_a_minus(tmp_path: Path) -> None:
    text = "t_ms,ax,ay,az\n\u22120,\u22121.5,2,3\n20,4,\u22125e\u22121,6\n40,7,8,9\n"
    recording = opened(tmp_path, text)
    assert whole(recording).samples[:, :3].tolist() == [[-1.5, 2, 3], [4, -0.5, 6], [7, 8, 9]]
    assert dict(recording.losses) == {}


@pytest.mark.parametrize(("mark", "option"), [(";", ""), ("\t", ""), ("|", ""), ("  ", ""), (":", "delimiter=:")])
def test_other_delimiters_are_recognised_or_named(tmp_path: Path, mark: str, option: str) -> None:
    assert len(whole(opened(tmp_path, PLAIN.replace(",", mark), option)).samples) == 3


def test_utf16_as_spreadsheets_export_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "walk.csv"
    path.write_bytes(PLAIN.replace(",", "\t").encode("utf-16"))
    assert len(whole(open_source(str(path), IMU)).samples) == 3


def test_a_header_in_the_comment_above_the_data_counts(tmp_path: Path) -> None:
    assert len(whole(opened(tmp_path, "# " + PLAIN)).samples) == 3


def test_without_a_header_the_columns_are_numbered(tmp_path: Path) -> None:
    bare = PLAIN.partition("\n")[2]
    with pytest.raises(SourceError, match=r"no header.*\?time=0&columns="):
        opened(tmp_path, bare)
    read = whole(opened(tmp_path, bare, "time=0&time_unit=ms&columns=3,2,1"))
    assert read.samples[0].tolist() == [3, 2, 1, 0, 0, 0]


def test_columns_are_named_in_the_order_of_the_channels(tmp_path: Path) -> None:
    text = table("when,foo,bar,Baz", "0,1,2,3", "20,4,5,6", "40,4,5,6")
    with pytest.raises(SourceError, match=r"no column for ax, ay, az: its columns are when, foo, bar, Baz.*\?columns="):
        opened(tmp_path, text)
    recording = opened(tmp_path, text, "time=when&time_unit=ms&columns=BAZ,bar,foo")
    assert whole(recording).samples[0].tolist() == [3, 2, 1, 0, 0, 0]
    assert any("no gx, gy, gz: filled with zeros" in note for note in recording.notes)
    with pytest.raises(SourceError, match="no column 'nix'"):
        opened(tmp_path, text, "time=when&columns=nix,bar,foo")
    with pytest.raises(ConfigError, match="names 2 columns"):
        opened(tmp_path, text, "time=when&columns=bar,foo")


def test_a_required_channel_that_is_missing_is_an_error_and_an_optional_one_is_zeros(tmp_path: Path) -> None:
    text = table("t_ms,ax,ay,az", "0,1,2,3", "20,1,2,3", "40,1,2,3")
    recording = opened(tmp_path, text)
    assert whole(recording).samples[:, 3:].tolist() == [[0, 0, 0]] * 3
    told = ["walk.csv has no gx, gy, gz: filled with zeros", "no unit is written: acc_unit=m/s2 is assumed"]
    assert recording.notes == told
    strict = signal("imu", 50, *ACCELERATION, Channel(name="gx", unit="rad/s"))
    with pytest.raises(SourceError, match="no column for gx"):
        opened(tmp_path, text, modality=strict)


def test_any_signal_is_read_by_its_channels_own_names(tmp_path: Path) -> None:
    recording = opened(tmp_path, table("time_s,PPG,ax", "0,1,9", "0.01,2,9", "0.02,3,9"), modality=PPG)
    read = whole(recording)
    assert read.samples.tolist() == [[1], [2], [3]]
    assert read.times_ns.tolist() == [0, 10 * MS, 20 * MS]


@pytest.mark.parametrize(
    ("header", "options"),
    [
        ("t_ms,ax,ay,az,gx,gy,gz", "acc_unit=g&gyro_unit=deg/s"),
        ("t_ms,ax [g],ay [g],az [g],gx (dps),gy (dps),gz (dps)", ""),
        ("t_ms,ax_g,ay_g,az_g,gx_deg_s,gy_deg_s,gz_deg_s", ""),
    ],
)
def test_units_become_si(tmp_path: Path, header: str, options: str) -> None:
    text = table(header, "0,0,0,1,180,0,0", "20,0,0,1,180,0,0", "40,0,0,1,180,0,0")
    recording = opened(tmp_path, text, options)
    assert whole(recording).samples[0] == pytest.approx([0, 0, 9.80665, np.pi, 0, 0], rel=1e-6)
    assert not any("looks like" in note for note in recording.notes)


@pytest.mark.parametrize(("z", "unit"), [(9.81, "m/s2"), (1, "g"), (1000, "mg"), (64, "g/64")])
def test_where_no_unit_is_written_gravity_shows_it_and_this_is_told(tmp_path: Path, z: float, unit: str) -> None:
    text = table("t_ms,ax,ay,az,gx,gy,gz", *(f"{20 * i},0,0,{z},0.1,0,0" for i in range(30)))
    recording = opened(tmp_path, text)
    assert whole(recording).samples[:, 2] == pytest.approx(9.8, abs=0.02)
    assumed = f"no unit is written: acc_unit={unit} (as gravity shows) and gyro_unit=rad/s are assumed"
    assert recording.notes == [assumed]


def test_what_gravity_does_not_show_for_sure_is_taken_as_si(tmp_path: Path) -> None:
    # About 1 m/s^2 long, but not steadily: motion without gravity.
    text = table("t_ms,ax,ay,az", *(f"{20 * i},0,0,{2 * abs(np.sin(i / 5)):.3f}" for i in range(100)))
    assert any("acc_unit=m/s2 is assumed" in note for note in opened(tmp_path, text).notes)


def test_a_unit_of_the_url_goes_before_what_gravity_shows(tmp_path: Path) -> None:
    text = table("t_ms,ax,ay,az", *(f"{20 * i},0,0,1" for i in range(30)))
    recording = opened(tmp_path, text, "acc_scale=2")
    assert whole(recording).samples[0, 2] == 2
    assert not any("assumed" in note for note in recording.notes)
    with pytest.raises(ConfigError, match="exclude each other"):
        opened(tmp_path, text, "acc_scale=2&acc_unit=g")


@pytest.mark.parametrize(
    ("stamps", "options", "expected_ns"),
    [
        (["1657533977810", "1657533977830"], "", 1657533977810 * MS),
        (["1657533977.810000001", "1657533977.830000002"], "", 1657533977_810000001),
        (["1657533977810123457", "1657533977830123457"], "", 1657533977810123457),
        (["0.5", "0.52"], "", 500 * MS),
        (["86347942362", "86368942362"], "", 86347942362),
        (["1000", "21000"], "", MS),
        (["1000", "21000"], "time_unit=ns", 1000),
        (["1", "1.0003"], "time_unit=min", 60_000 * MS),
        (["1.6575339778e12", "1657533977820"], "", 1657533977800 * MS),
    ],
)
def test_stamps_are_exact_and_their_unit_is_told_or_guessed(
    tmp_path: Path, stamps: list[str], options: str, expected_ns: int
) -> None:
    recording = opened(tmp_path, table("timestamp,ax,ay,az", *(f"{stamp},1,2,3" for stamp in stamps)), options)
    assert recording.start_ns == expected_ns
    assert any("is read as" in note for note in recording.notes) == (not options)


def test_rows_without_a_time_are_spaced_evenly_and_a_lost_row_leaves_its_place(tmp_path: Path) -> None:
    rows = ["1,2,3", "null,2,3", "1,2,3", "1,2,3"]
    with pytest.raises(SourceError, match=r"no column of time stamps.*\?rate=HZ"):
        opened(tmp_path, table("ax,ay,az", *rows))
    recording = opened(tmp_path, table("ax,ay,az", *rows), "rate=30&offset=1")
    read = whole(recording, 0)
    assert recording.start_ns is None
    assert read.rate_hz == 30
    assert recording.offset_ns == 10**9
    assert read.times_ns.tolist() == [0, 66_666_667, 100_000_000]


def test_start_and_offset_place_the_recording_on_the_shared_clock(tmp_path: Path) -> None:
    recording = opened(tmp_path, PLAIN, "start=100&offset=-0.25")
    assert recording.start_ns == 99_750 * MS
    assert whole(recording).times_ns[0] == 99_750 * MS


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        *[(cell, "null") for cell in ("NULL", "", "n/a")],
        *[(cell, "not_finite") for cell in ("nan", "inf", "-1e999", "1e39")],
        *[(cell, "unreadable") for cell in ("oops", '"', "\0", "x" * 200_000)],
    ],
    ids=lambda cell: repr(cell[:9]),
)
def test_a_row_with_a_bad_cell_is_lost_and_counted(tmp_path: Path, cell: str, reason: str) -> None:
    # The file begins with more text than is looked at to tell text from anything else.
    rows = [f"{20 * i},1,2,3,4,5,6" for i in range(4000)]
    recording = opened(tmp_path, table("t_ms,ax,ay,az,gx,gy,gz", *rows, f"80000,{cell},2,3,4,5,6", "80020,1,2,3,4,5,6"))
    assert dict(recording.losses) == {reason: 1}
    assert len(whole(recording).samples) == 4001


@pytest.mark.parametrize("row", ["20", "20,1,2", "x,1,2,3", "nan,1,2,3", "1e30,1,2,3", "9" * 5000 + ",1,2,3"])
def test_a_short_row_or_a_bad_stamp_is_lost_and_counted(tmp_path: Path, row: str) -> None:
    recording = opened(tmp_path, table("t_ms,ax,ay,az", "0,1,2,3", "10,1,2,3", row, "40,1,2,3"))
    assert dict(recording.losses) == {"unreadable": 1}
    assert len(whole(recording).samples) == 3


def test_repeated_stamps_are_averaged_and_late_rows_sorted_in(tmp_path: Path) -> None:
    rows = ["0,1,0,0", "20,2,0,0", "20,4,0,0", "10,9,0,0", "30,5,0,0", "20,6,0,0"]
    recording = opened(tmp_path, table("t_ms,ax,ay,az", *rows))
    read = whole(recording)
    assert read.times_ns.tolist() == [0, 10 * MS, 20 * MS, 30 * MS]
    assert read.samples[:, 0].tolist() == [1, 9, 4, 5]
    assert dict(recording.losses) == {"backward": 2, "repeated": 2}


def test_a_row_stamped_years_away_is_left_out(tmp_path: Path) -> None:
    rows = [f"{1657533977810 + 20 * i},1,2,3" for i in range(5)]
    recording = opened(tmp_path, table("t_ms,ax,ay,az", "0,1,2,3", *rows))
    assert dict(recording.losses) == {"stray": 1}
    assert recording.duration_s == pytest.approx(0.08)


@pytest.mark.parametrize(
    "rows", [[], ["0,1,2,3"], ["0,1,2,3", "0,1,2,3"], ["0,x,2,3", "20,x,2,3"], ["null,1,2,3", "20,nan,2,3"]]
)
def test_fewer_than_two_samples_are_no_recording(tmp_path: Path, rows: list[str]) -> None:
    with pytest.raises(SourceError, match="two are needed"):
        opened(tmp_path, table("t_ms,ax,ay,az", *rows))


@pytest.mark.parametrize("content", [b"\x00\x01\x02\x03", b"\n\n", b"# only a comment\n", b"\xef\xbb\xbf"])
def test_what_is_not_a_table_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "walk.csv"
    path.write_bytes(content)
    with pytest.raises(SourceError):
        open_source(str(path), IMU)


@pytest.mark.parametrize(
    "options",
    ["rate=0", "rate=x", "rate=50&time=t_ms", "acc_unit=stone", "time_unit=h", "delimiter=xx", "gyro_unit=g"],
)
def test_options_that_cannot_be_are_refused(tmp_path: Path, options: str) -> None:
    with pytest.raises(ConfigError):
        opened(tmp_path, PLAIN, options)


def test_chunks_are_100_ms_or_what_is_asked_for_and_a_pause_makes_no_empty_one(tmp_path: Path) -> None:
    times = [*range(0, 1000, 5), *range(3_600_000, 3_601_000, 5)]
    recording = opened(tmp_path, table("t_ms,ax,ay,az", *(f"{time},1,2,3" for time in times)))
    assert [len(chunk.samples) for chunk in recording.chunks(0)] == [20] * 20
    assert [len(chunk.samples) for chunk in recording.chunks(0, 500_000_000)] == [100] * 4


@settings(max_examples=times(60), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(-100, 100, width=32)), min_size=2, max_size=60))
def test_times_strictly_increase_and_no_row_gets_lost_uncounted(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, float]]
) -> None:
    text = table("t_ms,ax,ay,az", *(f"{time},{value!r},2,3" for time, value in rows))
    path = tmp_path_factory.mktemp("csv")
    if len({time for time, _ in rows}) < 2:
        with pytest.raises(SourceError):
            opened(path, text)
        return
    recording = opened(path, text)
    read, again = whole(recording, 7), whole(recording, 7)
    assert (np.diff(read.times_ns) > 0).all()
    assert read.times_ns[0] == 7
    assert len(read.times_ns) + recording.losses.get("repeated", 0) == len(rows)
    assert np.array_equal(read.samples, again.samples)
    if any("share a time stamp" in note for note in recording.notes):
        return  # a coarse clock: rows are spread
    means = {time: np.mean([v for t, v in rows if t == time]) for time, _ in rows}
    assert read.samples[:, 0] == pytest.approx([means[time] for time in sorted(means)], rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", ["s01_01_sp", "s01_01_sw", "s07_03_sw"])
def test_real_phone_and_watch_recordings_match_their_reference(name: str) -> None:
    path = DATA / "sp-sw-har" / f"{name}.csv"
    if not path.exists():
        pytest.skip(f"{path} is not there: set MMG_DATA")
    recording = open_source(f"file://{path}", IMU)
    read = whole(recording)
    with np.load(DATA / "sp-sw-har" / "recordings.npz") as reference:
        times_ns, first = np.unique(reference[f"{name}/time_ms"].astype(np.int64) * MS, return_index=True)
        imu = reference[f"{name}/imu"]
    assert np.array_equal(read.times_ns, times_ns)
    assert recording.losses["repeated"] == len(imu) - len(times_ns)
    alone = np.diff(first, append=len(imu)) == 1
    assert np.array_equal(read.samples[alone], imu[first[alone]].astype(np.float32))
    assert not any("looks like" in note for note in recording.notes)


def long_table(rows: int, alter: dict[int, str] | None = None) -> str:
    lines = [f"{10 * i},{i % 7},0,9.8" for i in range(rows)]
    for place, line in (alter or {}).items():
        lines[place] = line
    return table("t_ms,ax (m/s^2),ay (m/s^2),az (m/s^2)", *lines)


def test_an_imu_that_was_mounted_otherwise_is_turned(tmp_path: Path) -> None:
    assert whole(opened(tmp_path, PLAIN, "axes=y,-x,z")).samples[0].tolist() == [2, -1, 3, 5, -4, 6]
    with pytest.raises(ConfigError, match="axes=y,x,z"):
        opened(tmp_path, PLAIN, "axes=y,x,z")


def test_a_long_table_is_read_as_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0
    rows = TextTable.rows

    def counted(self: TextTable) -> Iterator[list[str]]:
        nonlocal read
        for row in rows(self):
            read += 1
            yield row

    monkeypatch.setattr(TextTable, "rows", counted)
    recording = opened(tmp_path, long_table(100_000))
    assert recording.duration_s == pytest.approx(999.99)
    chunks = recording.chunks(0)
    for _ in range(100):
        next(chunks)
    assert read < 15_000
    assert sum(len(chunk.samples) for chunk in chunks) == 100_000 - 1000
    assert read < 105_000


def test_a_long_table_that_is_closed_unread_is_let_go_of_at_once(tmp_path: Path) -> None:
    recording = opened(tmp_path, long_table(100_000))
    recording.close()
    held = [link.resolve() for link in Path("/proc/self/fd").iterdir()]
    assert not [path for path in held if path.is_relative_to(tmp_path)]


def test_a_second_reading_gives_the_same(tmp_path: Path) -> None:
    recording = opened(tmp_path, long_table(20_000, {15_000: "150000,x,0,9.8"}))
    first, again = whole(recording), whole(recording)
    assert np.array_equal(first.samples, again.samples)
    assert np.array_equal(first.times_ns, again.times_ns)
    assert dict(recording.losses) == {"unreadable": 1}
    assert len(first.samples) == 19_999


def test_a_row_is_sorted_in_while_it_can_be_and_lost_where_it_is_too_late(tmp_path: Path) -> None:
    late = {15_000: "148005,5,0,9.8", 18_000: "20005,5,0,9.8"}
    recording = opened(tmp_path, long_table(30_000, late))
    read = whole(recording)
    assert 148_005 * MS in read.times_ns
    assert 20_005 * MS not in read.times_ns
    assert (np.diff(read.times_ns) > 0).all()
    assert dict(recording.losses) == {"backward": 2}


def test_a_long_table_in_falling_order_is_refused_and_a_short_one_sorted(tmp_path: Path) -> None:
    header, *rows = long_table(30_000).splitlines()
    assert len(whole(opened(tmp_path, table(header, *rows[:5000][::-1]))).samples) == 5000
    with pytest.raises(SourceError, match="falling order of time"):
        opened(tmp_path, table(header, *rows[::-1]))


def test_one_wrong_stamp_costs_its_row_and_not_the_rest(tmp_path: Path) -> None:
    recording = opened(tmp_path, long_table(30_000, {15_000: "950000,5,0,9.8"}))
    read = whole(recording)
    assert read.times_ns[-1] == 299_990 * MS
    assert dict(recording.losses) == {"stray": 1}
    assert not any("clock" in note for note in recording.notes)


def test_a_clock_that_begins_anew_is_a_second_session_and_told(tmp_path: Path) -> None:
    text = long_table(2000) + long_table(1000)
    recording = opened(tmp_path, text)
    read = whole(recording)
    assert len(read.samples) == 3000
    assert np.unique(np.diff(read.times_ns)).tolist() == [10 * MS]
    assert "its clock begins anew after 2000 rows: what follows is read as going on at once" in recording.notes


def test_one_line_without_an_end_is_refused_and_not_held(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is one long line"):
        opened(tmp_path, "a" * 1_000_000)


def test_a_json_document_too_large_to_be_held_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "walk.json"
    path.write_bytes(b'{"samples": [')
    os.truncate(path, 2 << 30)
    with pytest.raises(SourceError, match="is one JSON document of 2147 MB, and at most 34 MB are read"):
        open_source(str(path), IMU)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"a": 1', "begins as JSON and is none"),
        ('{"name": "walk", "rate": 50}', "is JSON without samples"),
        ("[]", "is JSON without samples"),
        ('{"payload": {"sensors": [{"units": "g"}], "interval_ms": 10, "values": [[1]]}}', "Edge Impulse"),
        ('{"payload": {"sensors": [], "interval_ms": 0, "values": [[1]]}}', "interval_ms of 0"),
    ],
)
def test_json_that_holds_no_samples_says_so(tmp_path: Path, content: str, expected: str) -> None:
    with pytest.raises(SourceError, match=expected):
        opened(tmp_path, content)


def counted_in_thousands(values: range, gravity: str = "9.812") -> str:
    rows = (f'"{value:,}"' if value > 999 else str(value) for value in values)
    return table("t_ms,ax,ay,az", *(f"{stamp},0.5,-0.25,{gravity}" for stamp in rows))


@pytest.mark.parametrize("begin", [0, 990, 1_714_730_400_000])
def test_quoted_thousands_are_one_figure(tmp_path: Path, begin: int) -> None:
    read = whole(opened(tmp_path, counted_in_thousands(range(begin, begin + 30_000, 10))))
    assert len(read.samples) == 3000
    assert np.unique(np.diff(read.times_ns)).tolist() == [10 * MS]
    assert read.samples[-1, :3].tolist() == pytest.approx([0.5, -0.25, 9.812])


def test_a_table_most_of_whose_rows_cannot_be_read_is_refused_with_one_of_them(tmp_path: Path) -> None:
    rows = [f"{10 * number},{'1' if number < 90 else 'x7'},0,9.8" for number in range(500)]
    with pytest.raises(SourceError, match=r"410 of its first 500 rows cannot be read, such as '900,x7,0,9.8'"):
        opened(tmp_path, table("t_ms,ax,ay,az", *rows))


@pytest.mark.parametrize("step", [2500, 100, 327, 1])
def test_ticks_of_no_common_unit_are_refused_and_not_guessed(tmp_path: Path, step: int) -> None:
    text = table("timestamp,ax,ay,az", *(f"{step * number},0.1,0.2,9.8" for number in range(300)))
    with pytest.raises(SourceError, match=r"names no unit of its column timestamp.*time_unit=.*rate=HZ"):
        opened(tmp_path, text, modality=signal("imu", 100, *ACCELERATION))
    given = whole(opened(tmp_path, text, f"rate={100}", signal("imu", 100, *ACCELERATION)))
    assert np.unique(np.diff(given.times_ns)).tolist() == [10 * MS]


@pytest.mark.parametrize(("step", "hz"), [("20", 50), ("5", 200), ("40", 25), ("10000", 100), ("0.01", 100)])
def test_common_rates_need_no_unit(tmp_path: Path, step: str, hz: int) -> None:
    text = table("timestamp,ax,ay,az", *(f"{float(step) * number:.2f},0.1,0.2,9.8" for number in range(300)))
    read = whole(opened(tmp_path, text, modality=signal("imu", 100, *ACCELERATION)))
    assert np.median(np.diff(read.times_ns)) == pytest.approx(1e9 / hz)


def test_a_rate_that_the_files_clock_contradicts_is_told(tmp_path: Path) -> None:
    text = table("t_ms,ax,ay,az", *(f"{10 * number},0.1,0.2,9.8" for number in range(300)))
    [*_, note] = opened(tmp_path, text, "rate=50").notes
    assert note.startswith("column t_ms says 100 Hz, and rate=50 is taken")
    assert not any("says" in note for note in opened(tmp_path, text, "rate=100").notes)


@settings(max_examples=times(60), deadline=None)
@given(st.lists(st.sampled_from(ROWS), min_size=3, max_size=700), st.sampled_from(("", "where=device:2", "rate=50")))
def test_rows_read_column_by_column_are_those_read_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[str], options: str
) -> None:
    rows = [kind.format(t=20 * number, v=number / 7) for number, kind in enumerate(kinds)]
    path = tmp_path_factory.mktemp("rows")
    text = table("device,t_ms,ax,ay,az,gx,gy,gz", *(f"2,{t},1,2,9,4,5,6" for t in (-60, -40, -20)), *rows)
    told: list[object] = []
    for is_quick in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if not is_quick:
                patch.setattr(TableFile, "_all_of", lambda *_: None)
            try:
                recording = opened(path, text, options)
                read = whole(recording)
            except (SourceError, ConfigError) as error:
                told.append(str(error))
            else:
                assert isinstance(recording, TableFile)
                told.append((read.samples.tobytes(), read.times_ns.tobytes(), recording.losses, recording.notes))
    assert told[0] == told[1]
