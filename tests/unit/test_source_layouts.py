"""One recording in many layouts, as apps, boards and spreadsheets write it: each decides as the truth does, or is
refused with a way out. None decides on anything else."""

from __future__ import annotations

import csv
import io
import json
import math
import zipfile
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from mmg import Bundle
from mmg.cli.sensors import DEMO
from mmg.errors import MmgError
from mmg.runs.recorded import Pipeline
from mmg.runs.settings import Settings
from mmg.types import Decision

Table = list[list[float]]
Write = Callable[[Path, Table], str]
ROWS, READ_ROWS = 1400, 900
EPOCH_MS = 1_714_730_400_000
G = 9.80665
SI = "ax,ay,az,gx,gy,gz"


@pytest.fixture(scope="module")
def truth() -> Table:
    """Rows of t_ms, m/s^2 and rad/s: the first seconds of the demo."""
    with (DEMO / "imu.csv").open() as file:
        return [[float(cell) for cell in row] for row in list(csv.reader(file))[1 : ROWS + 1]]


def decide(url: str) -> tuple[list[Decision], list[str]]:
    told: list[str] = []
    with Bundle.open("starter") as bundle:
        pipeline = Pipeline(bundle, {"imu": url}, Settings(), report=told.append)
        decisions = list(pipeline)
        pipeline.close()
    return decisions, told


@pytest.fixture(scope="module")
def wanted(truth: Table, tmp_path_factory: pytest.TempPathFactory) -> list[Decision]:
    path = tmp_path_factory.mktemp("truth") / "walk.csv"
    return decide(plain(path, truth[:READ_ROWS]))[0]


def lines(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]], mark: str = ",", end: str = "\n") -> str:
    text = "".join(mark.join(map(str, row)) + end for row in [*([header] if header else []), *rows])
    path.write_text(text, encoding="utf-8")
    return str(path)


def scaled(rows: Table, acceleration: float, gyro: float) -> Table:
    return [[t, *(v / acceleration for v in row[:3]), *(v / gyro for v in row[3:])] for t, *row in rows]


def plain(path: Path, rows: Table) -> str:
    return lines(path, ["t_ms", *SI.split(",")], rows)


def in_g_and_degrees(path: Path, rows: Table) -> str:
    header = ["Time (ms)", *(f"Acc{a} (g)" for a in "XYZ"), *(f"Gyro{a} (°/s)" for a in "XYZ")]
    return lines(path, header, scaled(rows, G, math.radians(1)))


def latin1(path: Path, rows: Table) -> str:
    text = Path(in_g_and_degrees(path, rows)).read_text(encoding="utf-8")
    path.write_bytes(text.encode("latin-1"))
    return str(path)


def utf16(path: Path, rows: Table) -> str:
    text = Path(in_g_and_degrees(path, rows)).read_text(encoding="utf-8").replace(",", "\t")
    path.write_bytes(text.encode("utf-16"))
    return str(path)


def utf16_without_a_mark(path: Path, rows: Table) -> str:
    text = Path(in_g_and_degrees(path, rows)).read_text(encoding="utf-8").replace(",", "\t")
    path.write_bytes(text.encode("utf-16-le"))
    return str(path)


def milli_g_and_milli_degrees(path: Path, rows: Table) -> str:
    header = ["timestamp_us", *(f"acc_{a} [mG]" for a in "xyz"), *(f"gyro_{a} [mdps]" for a in "xyz")]
    return lines(path, header, [[t * 1000, *row] for t, *row in scaled(rows, G / 1000, math.radians(1) / 1000)])


def without_units_in_g(path: Path, rows: Table) -> str:
    return lines(path, ["time", *SI.split(",")], scaled(rows, G, 1))


def decimal_commas(path: Path, rows: Table) -> str:
    text = [[f"{cell:.5f}".replace(".", ",") for cell in (t / 1000, *row)] for t, *row in rows]
    return lines(path, ["time", *SI.split(",")], text, ";")


def tabs_and_decimal_commas_with_a_hint(path: Path, rows: Table) -> str:
    decimal_commas(path, rows)
    path.write_text("sep=;\n" + path.read_text())
    return str(path)


def a_mark_at_every_end(path: Path, rows: Table) -> str:
    return lines(path, ["t_ms", *SI.split(",")], rows, ",", ";\n")


def a_delimiter_at_every_end(path: Path, rows: Table) -> str:
    return lines(path, ["t_ms", *SI.split(",")], rows, "\t", "\t\n")


def iso_dates(path: Path, rows: Table) -> str:
    return lines(path, ["timestamp", *SI.split(",")], [[_iso(t), *row] for t, *row in rows])


def iso_dates_with_a_zone(path: Path, rows: Table) -> str:
    return lines(path, ["timestamp", *SI.split(",")], [[_iso(t) + "+02:00", *row] for t, *row in rows])


def date_and_time(path: Path, rows: Table) -> str:
    return lines(path, ["date", "time", *SI.split(",")], [[*_iso(t).split("T"), *row] for t, *row in rows])


def german_dates(path: Path, rows: Table) -> str:
    dated = [[_moment(t).strftime("%d.%m.%Y %H:%M:%S.%f"), *row] for t, *row in rows]
    return lines(path, ["Zeit", *SI.split(",")], dated) + "?time=Zeit"


def times_of_day(path: Path, rows: Table) -> str:
    return lines(path, ["time", *SI.split(",")], [[_iso(t)[11:], *row] for t, *row in rows])


def times_past_midnight(path: Path, rows: Table) -> str:
    late = 14 * 3_600_000 - 5000 - 10_000
    return lines(path, ["time", *SI.split(",")], [[_iso(t + late)[11:], *row] for t, *row in rows])


def days_of_a_spreadsheet(path: Path, rows: Table) -> str:
    days = [[f"{(EPOCH_MS + t) / 86_400_000 + 25_569:.10f}", *row] for t, *row in rows]
    return lines(path, ["time", *SI.split(",")], days)


def whole_seconds(path: Path, rows: Table) -> str:
    return lines(path, ["time_s", *SI.split(",")], [[int(t // 1000), *row] for t, *row in rows])


def seconds_of_the_minute(path: Path, rows: Table) -> str:
    return lines(path, ["Second", *SI.split(",")], [[int(t // 1000 + 55) % 60, *row] for t, *row in rows])


def a_counter_that_wraps(path: Path, rows: Table) -> str:
    wrapped = [[int(t * 1000 + 2**32 - 5_000_000) % 2**32, *row] for t, *row in rows]
    return lines(path, ["t_us", *SI.split(",")], wrapped)


def a_preamble(path: Path, rows: Table) -> str:
    plain(path, rows)
    preamble = "Device Type,GENEActiv\nSerial,12345\nMeasured,2024,5\n" + "note: , a\n" * 100
    path.write_text(preamble + path.read_text())
    return str(path)


def boot_messages_and_comments(path: Path, rows: Table) -> str:
    plain(path, rows)
    path.write_text("ESP-ROM:esp32s3\nMPU6050 found!\n# a comment\n" + path.read_text())
    return str(path)


def a_row_of_units(path: Path, rows: Table) -> str:
    names = ["Timestamp", *(f"Accel_LN_{a}_CAL" for a in "XYZ"), *(f"Gyro_{a}_CAL" for a in "XYZ")]
    units = ["ms", *["m/(s^2)"] * 3, *["deg/s"] * 3]
    return lines(path, names, [units, *scaled(rows, 1, math.radians(1))], "\t")


def no_header(path: Path, rows: Table) -> str:
    return lines(path, [], rows)


def no_header_and_columns(path: Path, rows: Table) -> str:
    return lines(path, [], rows) + "?time=0&time_unit=ms&columns=1,2,3,4,5,6"


def no_time(path: Path, rows: Table) -> str:
    return lines(path, SI.split(","), [row for _, *row in rows]) + "?rate=100"


def other_columns_and_order(path: Path, rows: Table) -> str:
    header = ["label", "gz", "gy", "gx", "mag_x", "mag_y", "az", "ay", "ax", "t_ms"]
    return lines(path, header, [["walk", *row[:3:-1], 1, 2, *row[3:0:-1], row[0]] for row in rows])


def total_and_linear(path: Path, rows: Table) -> str:
    names = [f"{kind}{a}" for kind in ("linearAcceleration", "acceleration", "rotationRate") for a in "XYZ"]
    return lines(path, ["t_ms", *names], [[t, *(9.0, 8.0, 7.0), *row] for t, *row in rows])


def gravity_and_linear(path: Path, rows: Table) -> str:
    names = [f"{kind}{a}" for kind in ("userAcceleration", "gravity", "rotationRate") for a in "XYZ"]
    gravity = np.mean([row[1:4] for row in rows], axis=0)
    gravity = gravity / np.linalg.norm(gravity)
    parted = [[t, *(np.array(row[:3]) / G - gravity), *gravity, *row[3:]] for t, *row in rows]
    return lines(path, ["t_ms", *names], parted)


def linear_alone(path: Path, rows: Table) -> str:
    header = ["t_ms", *(f"Linear Acceleration {a} (m/s^2)" for a in "xyz"), "gx", "gy", "gz"]
    return lines(path, header, [[t, row[0], row[1], row[2] - G, *row[3:]] for t, *row in rows])


def two_files(path: Path, rows: Table) -> str:
    folder = path.parent / "export"
    folder.mkdir()
    lines(folder / "Accelerometer.csv", ['"Time (s)"', *(f'"{a} (m/s^2)"' for a in "XYZ")], _part(rows, 1))
    lines(folder / "Gyroscope.csv", ['"Time (s)"', *(f'"{a} (rad/s)"' for a in "XYZ")], _part(rows, 4))
    return str(folder)


def two_files_by_name(path: Path, rows: Table) -> str:
    folder = Path(two_files(path, rows))
    return f"{folder / 'Gyroscope.csv'}?with=Accelerometer.csv"


def two_files_whose_clocks_begin_anew_apart(path: Path, rows: Table) -> str:
    folder, half = Path(two_files(path, rows)), len(rows) // 2
    begin_ms = rows[half][0]
    anew = [row if n < half else [row[0] - begin_ms, *row[1:]] for n, row in enumerate(rows)]
    lines(folder / "Accelerometer.csv", ['"Time (s)"', *(f'"{a} (m/s^2)"' for a in "XYZ")], _part(anew, 1))
    cut = anew[: half - 200] + anew[half:]
    lines(folder / "Gyroscope.csv", ['"Time (s)"', *(f'"{a} (rad/s)"' for a in "XYZ")], _part(cut, 4))
    return str(folder)


def a_zip_of_sensor_logger(path: Path, rows: Table) -> str:
    pull = np.mean([row[1:4] for row in rows], axis=0)
    gravity = (G * pull / np.linalg.norm(pull)).tolist()
    files = {
        "Accelerometer.csv": [[v - g for v, g in zip(row[1:4], gravity, strict=True)] for row in rows],
        "Gravity.csv": [gravity for _ in rows],
        "Gyroscope.csv": [row[4:] for row in rows],
        "Orientation.csv": [[0.1, 0.2, 0.3] for _ in rows],
    }
    archive = path.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as zipped:
        for name, values in files.items():
            text = io.StringIO()
            text.write("time,seconds_elapsed,z,y,x\n")
            for (t, *_), (x, y, z) in zip(rows, values, strict=True):
                text.write(f"{round((EPOCH_MS + t) * 1_000_000)},{t / 1000},{z},{y},{x}\n")
            zipped.writestr(name, text.getvalue())
        zipped.writestr("Metadata.csv", "version,device\n1.2,phone\n")
    return str(archive)


def metawear(path: Path, rows: Table) -> str:
    folder = path.parent / "metawear"
    folder.mkdir()
    for name, unit, begin, factor in (("Accelerometer", "g", 1, G), ("Gyroscope", "deg/s", 4, math.radians(1))):
        header = ["epoch (ms)", "time (02:00)", "elapsed (s)", *(f"{a}-axis ({unit})" for a in "xyz")]
        values = [
            [round(EPOCH_MS + row[0]), _iso(row[0]), row[0] / 1000, *(v / factor for v in row[begin : begin + 3])]
            for row in rows
        ]
        lines(folder / f"MetaWear_2024_{name}_100.000Hz_1.4.5.csv", header, values)
    return str(folder)


def polar(path: Path, rows: Table) -> str:
    folder = path.parent / "polar"
    folder.mkdir()
    for name, unit, begin, factor in (("ACC", "mg", 1, G / 1000), ("GYRO", "dps", 4, math.radians(1))):
        header = ["Phone timestamp", "sensor timestamp [ns]", *(f"{a} [{unit}]" for a in "XYZ")]
        values = [
            [_iso(row[0]), 599_000_000_000_000_000 + round(row[0] * 1e6), *(v / factor for v in row[begin : begin + 3])]
            for row in rows
        ]
        lines(folder / f"Polar_Sense_{name}.txt", header, values, ";")
    return str(folder)


def physics_toolbox(path: Path, rows: Table) -> str:
    header = ["time", "gFx", "gFy", "gFz", "ax", "ay", "az", "wx", "wy", "wz", "Bx", "By", "Bz"]
    values = [[t / 1000, *(v / G for v in row[:3]), 9, 8, 7, *row[3:], 1, 2, 3] for t, *row in rows]
    return lines(path, header, values)


def xsens_dot(path: Path, rows: Table) -> str:
    names = ["PacketCounter", "SampleTimeFine", "Euler_X", "Euler_Y", "Euler_Z", "FreeAcc_X", "FreeAcc_Y", "FreeAcc_Z"]
    names += [f"{kind}_{a}" for kind in ("Acc", "Gyr") for a in "XYZ"]
    values = [
        [i, round(t * 1000), 1, 2, 3, 9, 8, 7, *row[:3], *(math.degrees(v) for v in row[3:])]
        for i, (t, *row) in enumerate(rows)
    ]
    lines(path, names, values)
    path.write_text("sep=,\nDeviceTag:,DOT 1\nFirmwareVersion:,2.0.0\n\n" + path.read_text())
    return f"{path}?gyro_unit=deg/s"


def sensor_log(path: Path, rows: Table) -> str:
    names = [
        "loggingTime(txt)",
        "accelerometerTimestamp_sinceReboot(s)",
        *(f"accelerometerAcceleration{a}(G)" for a in "XYZ"),
    ]
    names += [f"gyroRotation{a}(rad/s)" for a in "XYZ"]
    values = [[_iso(t) + " +0200", 1000 + t / 1000, *(v / G for v in row[:3]), *row[3:]] for t, *row in rows]
    return lines(path, names, values)


def seconds_and_milliseconds(path: Path, rows: Table) -> str:
    parted = [[int(t // 1000) + EPOCH_MS // 1000, int(t) % 1000, *row] for t, *row in rows]
    return lines(path, ["timestamp", "millis", *SI.split(",")], parted)


def milliseconds_of_the_second(path: Path, rows: Table) -> str:
    return lines(path, ["millis", *SI.split(",")], [[int(t) % 1000, *row] for t, *row in rows])


def milliseconds_without_zeros(path: Path, rows: Table) -> str:
    return lines(path, ["time", *SI.split(",")], [[f"{_iso(t)[11:19]}.{int(t) % 1000}", *row] for t, *row in rows])


def a_browsers(path: Path, rows: Table) -> str:
    names = [f"{kind}{a}" for kind in ("acceleration", "accelerationIncludingGravity", "rotationRate") for a in "XYZ"]
    return lines(path, ["t_ms", *names], [[t, 9, 8, 7, *row] for t, *row in rows])


def two_sessions(path: Path, rows: Table) -> str:
    half = len(rows) // 2
    plain(path, rows[:half])
    first = path.read_text()
    plain(path, [[t - rows[half][0], *row] for t, *row in rows[half:]])
    path.write_text(first + path.read_text())
    return str(path)


def late_rows_and_one_wrong_stamp(path: Path, rows: Table) -> str:
    shuffled = [row for i in range(0, len(rows), 7) for row in reversed(rows[i : i + 7])]
    shuffled[500] = [shuffled[500][0] + 3_000_000, *shuffled[500][1:]]
    return plain(path, shuffled)


def two_devices(path: Path, rows: Table) -> str:
    mixed = [[name, *row] for row in rows for name in ("left", "right")]
    return lines(path, ["device", "t_ms", *SI.split(",")], mixed)


def one_of_two_devices(path: Path, rows: Table) -> str:
    mixed = [each for row in rows for each in (["left", *row], ["right", row[0], 1, 2, 3, 4, 5, 6])]
    return lines(path, ["device", "t_ms", *SI.split(",")], mixed) + "?where=device:left"


def two_devices_side_by_side(path: Path, rows: Table) -> str:
    names = [f"{side}_{name}" for side in ("left", "right") for name in ("acc_x", "acc_y", "acc_z")]
    return lines(path, ["t_ms", *names], [[t, *row[:3], *row[:3]] for t, *row in rows])


def two_devices_by_another_name(path: Path, rows: Table) -> str:
    mixed = [[foot, *row] for row in rows for foot in ("l", "r")]
    return lines(path, ["foot", "t_ms", *SI.split(",")], mixed)


def two_devices_in_two_files(path: Path, rows: Table) -> str:
    for folder, name, begin in (("left", "acc", 1), ("right", "gyro", 4)):
        made = path.parent / "both" / folder
        made.mkdir(parents=True)
        unit = "m/s^2" if name == "acc" else "rad/s"
        lines(made / f"{name}.csv", ["t_s", *(f"{a} ({unit})" for a in "xyz")], _part(rows, begin))
    return str(path.parent / "both")


def the_same_names_twice(path: Path, rows: Table) -> str:
    return lines(path, ["t_ms", "ax", "ay", "az", "ax", "ay", "az"], [[t, *row[:3], 1, 2, 3] for t, *row in rows])


def another_unit_for_each_axis(path: Path, rows: Table) -> str:
    return lines(path, ["t_ms", "ax (g)", "ay (m/s^2)", "az (m/s^2)", "gx", "gy", "gz"], rows)


def a_unit_in_words(path: Path, rows: Table) -> str:
    header = ["t_ms", "ax", "ay", "az", *(f"gyro {a} in degrees" for a in "xyz")]
    return lines(path, header, scaled(rows, 1, math.radians(1)))


def excluding_gravity(path: Path, rows: Table) -> str:
    header = ["t_ms", *(f"Acceleration {a} (excl. gravity)" for a in "XYZ"), "gx", "gy", "gz"]
    return lines(path, header, [[t, row[0], row[1], row[2] - G, *row[3:]] for t, *row in rows])


def angular_acceleration(path: Path, rows: Table) -> str:
    return lines(path, ["t_ms", *(f"angular_acceleration_{a}" for a in "xyz")], [row[:4] for row in rows])


def gauss(path: Path, rows: Table) -> str:
    path = path.with_name("Polar_MAG.txt")
    return lines(path, ["t_ms", "X [G]", "Y [G]", "Z [G]"], [[t, *(v / G for v in row[:3])] for t, *row in rows], ";")


def seconds_taken_for_milliseconds(path: Path, rows: Table) -> str:
    return lines(path, ["t_ms", *SI.split(",")], [[t / 1000, *row] for t, *row in rows])


def an_unknown_unit(path: Path, rows: Table) -> str:
    header = ["t_ms", "ax", "ay", "az", "gx (°/min)", "gy (°/min)", "gz (°/min)"]
    return lines(path, header, scaled(rows, 1, math.radians(1) / 60))


def raw_counts(path: Path, rows: Table) -> str:
    return lines(path, ["t_ms", *SI.split(",")], scaled(rows, G / 16384, math.radians(1) / 131))


def raw_counts_with_scales(path: Path, rows: Table) -> str:
    return raw_counts(path, rows) + f"?acc_scale={G / 16384}&gyro_scale={math.radians(1) / 131}"


def json_lines(path: Path, rows: Table) -> str:
    names = ["t_ms", *SI.split(",")]
    path = path.with_suffix(".jsonl")
    path.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows))
    return str(path)


def nested_json(path: Path, rows: Table) -> str:
    path = path.with_suffix(".json")
    path.write_text(json.dumps([{"timestamp": t, "acc": row[:3], "gyro": row[3:]} for t, *row in rows]))
    return str(path)


def columns_of_json(path: Path, rows: Table) -> str:
    path = path.with_suffix(".json")
    names = ["t_ms", *SI.split(",")]
    path.write_text(json.dumps(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))))
    return str(path)


def edge_impulse(path: Path, rows: Table) -> str:
    sensors = [{"name": f"acc{a}", "units": "m/s2"} for a in "XYZ"]
    sensors += [{"name": f"gyr{a}", "units": "dps"} for a in "XYZ"]
    values = [row[1:] for row in scaled(rows, 1, math.radians(1))]
    path = path.with_suffix(".json")
    path.write_text(json.dumps({"payload": {"interval_ms": 10, "sensors": sensors, "values": values}}))
    return str(path)


def movesense(path: Path, rows: Table) -> str:
    packets = [
        {
            "Timestamp": part[0][0],
            "ArrayAcc": [_xyz(row[1:4]) for row in part],
            "ArrayGyro": [_xyz(row[4:]) for row in part],
        }
        for part in (rows[i : i + 4] for i in range(0, len(rows), 4))
    ]
    path = path.with_suffix(".json")
    path.write_text(json.dumps({"Meas": {"IMU6": packets}}))
    return str(path)


def ros(path: Path, rows: Table) -> str:
    names = [f"field.{name}.{axis}" for name in ("linear_acceleration", "angular_velocity") for axis in "xyz"]
    header = ["%time", "field.header.seq", "field.header.frame_id", "field.orientation.x", *names]
    table = [[int(t * 1e6), i, "imu", 0.1, *row] for i, (t, *row) in enumerate(rows)]
    return lines(path, header, table)


def ros_as_json_lines(path: Path, rows: Table) -> str:
    said = [{"t_ms": t, "linear_acceleration": _xyz(row[:3]), "angular_velocity": _xyz(row[3:])} for t, *row in rows]
    path = path.with_suffix(".jsonl")
    path.write_text("".join(json.dumps(one) + "\n" for one in said))
    return str(path)


def ros_without_gravity(path: Path, rows: Table) -> str:
    means = np.mean(rows, axis=0)[1:4]
    return ros(path, [[row[0], *(row[1:4] - means), *row[4:]] for row in rows])


def decimal_commas_in_quotes(path: Path, rows: Table) -> str:
    text = [[f'"{cell:.5f}"'.replace(".", ",") for cell in (t / 1000, *row)] for t, *row in rows]
    return lines(path, ["time", *SI.split(",")], text)


def some_decimal_commas_in_quotes(path: Path, rows: Table) -> str:
    def written(cell: float) -> str:
        return str(round(cell)) if abs(cell - round(cell)) < 0.0005 else f'"{cell:.3f}"'.replace(".", ",")

    return lines(path, ["time", *SI.split(",")], [[round(t * 1000), *map(written, row)] for t, *row in rows])


def thousands_in_quotes(path: Path, rows: Table) -> str:
    counts = [[f'"{round(cell * 1671):,}"' for cell in row] for row in rows]
    in_thousands = [[i * 10, *row[1:]] for i, row in enumerate(counts) if all("," in cell for cell in row[1:4])]
    return lines(path, ["t_ms", *SI.split(",")], in_thousands)


def lists_of_json(path: Path, rows: Table) -> str:
    """Each sensor with its own times, the gyroscope's half as many."""
    said = {
        "accelerometer": [{"timestamp": t, **_xyz(row[:3])} for t, *row in rows],
        "gyroscope": [{"timestamp": t, **_xyz(row[3:])} for t, *row in rows[::2]],
        "gps": [{"timestamp": rows[0][0], "latitude": 48.1}],
    }
    path = path.with_suffix(".json")
    path.write_text(json.dumps({"device": "watch", "data": said}))
    return str(path)


def objects_of_columns_of_json(path: Path, rows: Table) -> str:
    times = [row[0] for row in rows]
    said: dict[str, dict[str, list[float]]] = {
        name: {"t": times[::step], **{a: [row[begin + i] for row in rows[::step]] for i, a in enumerate("xyz")}}
        for name, begin, step in (("acc", 1, 1), ("gyro", 4, 2))
    }
    path = path.with_suffix(".json")
    path.write_text(json.dumps(said))
    return str(path)


def packets_of_timed_lists(path: Path, rows: Table) -> str:
    packets = [
        {
            "acc": [{"t_ms": t, **_xyz(row[:3])} for t, *row in part],
            "gyro": [{"t_ms": t, **_xyz(row[3:])} for t, *row in part[::2]],
        }
        for part in (rows[i : i + 8] for i in range(0, len(rows), 8))
    ]
    path = path.with_suffix(".json")
    path.write_text(json.dumps(packets))
    return str(path)


def packets_with_a_slower_gyroscope(path: Path, rows: Table) -> str:
    packets = [
        {
            "timestamp": part[0][0],
            "acc": [_xyz(row[1:4]) for row in part],
            "gyro": [_xyz(row[4:]) for row in part[::2]],
        }
        for part in (rows[i : i + 4] for i in range(0, len(rows), 4))
    ]
    path = path.with_suffix(".json")
    path.write_text(json.dumps(packets))
    return str(path)


def columns_of_two_lengths(path: Path, rows: Table) -> str:
    columns = {name: [row[i] for row in rows] for i, name in enumerate(["t_ms", *SI.split(",")])}
    columns |= {name: columns[name][::2] for name in ("gx", "gy", "gz")}
    path = path.with_suffix(".json")
    path.write_text(json.dumps(columns))
    return str(path)


def _xyz(values: Sequence[float]) -> dict[str, float]:
    return dict(zip("xyz", values, strict=True))


def _part(rows: Table, begin: int) -> Table:
    return [[row[0] / 1000, *row[begin : begin + 3]] for row in rows]


def _moment(t_ms: float) -> datetime:
    return datetime.fromtimestamp((EPOCH_MS + t_ms) / 1000, timezone.utc)


def _iso(t_ms: float) -> str:
    return _moment(t_ms).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]


READ: list[Write] = [
    plain, in_g_and_degrees, latin1, utf16, utf16_without_a_mark, milli_g_and_milli_degrees, without_units_in_g,
    decimal_commas, tabs_and_decimal_commas_with_a_hint, a_mark_at_every_end, a_delimiter_at_every_end, iso_dates,
    iso_dates_with_a_zone, date_and_time, german_dates, times_of_day, times_past_midnight, days_of_a_spreadsheet,
    whole_seconds, seconds_of_the_minute, a_counter_that_wraps, a_preamble, boot_messages_and_comments, a_row_of_units,
    no_header_and_columns, no_time, other_columns_and_order, total_and_linear, gravity_and_linear, two_files,
    two_files_by_name, a_zip_of_sensor_logger, one_of_two_devices, raw_counts_with_scales, json_lines, nested_json,
    columns_of_json, edge_impulse, movesense, metawear, polar, physics_toolbox, xsens_dot, sensor_log, two_sessions,
    late_rows_and_one_wrong_stamp, seconds_and_milliseconds, milliseconds_of_the_second, milliseconds_without_zeros,
    a_browsers, ros, ros_as_json_lines, lists_of_json, objects_of_columns_of_json, packets_of_timed_lists,
    decimal_commas_in_quotes, some_decimal_commas_in_quotes,
]  # fmt: skip
REFUSED: dict[Write, str] = {
    no_header: r"no header: number its 7 columns.*\?time=0&columns=",
    ros_without_gravity: "without gravity alone .*mmg needs it with gravity",
    packets_with_a_slower_gyroscope: "holds packets with 4 of acc, 2 of gyro, and nothing tells their times",
    columns_of_two_lengths: "has 700 figures of gx, and 1400 of others: write each sensor as an object of its own",
    thousands_in_quotes: r"gives 0 samples",
    two_files_whose_clocks_begin_anew_apart: "begin anew, and one of them 2.0 s before another",
    linear_alone: "without gravity alone .*mmg needs it with gravity",
    two_devices: r"rows of several in its column device \(left, right\).*\?where=device:left",
    two_devices_side_by_side: r"more than one accelerometer \(left and right\).*\?columns=",
    two_devices_by_another_name: r"rows of several in its column foot \(l, r\).*\?where=foot:l",
    two_devices_in_two_files: "acceleration in left/acc.csv and gyro in right/gyro.csv, which may be two devices",
    the_same_names_twice: "more than one accelerometer",
    another_unit_for_each_axis: r"axes have different units \(ax \(g\), ay \(m/s\^2\).*add \?acc_unit=",
    a_unit_in_words: "unit of gyro x in degrees is not known here",
    excluding_gravity: "without gravity alone",
    angular_acceleration: "no column for ax, ay, az",
    gauss: "no column for ax, ay, az",
    seconds_taken_for_milliseconds: r"follow each other at 1e\+05 Hz: add \?time_unit=",
    an_unknown_unit: r"unit of gx \(°/min\) is not known here.*\?gyro_unit=",
    raw_counts: r"raw counts\? Add \?acc_scale=0.0005986 if 16384 are 1 g",
}


@pytest.mark.parametrize("write", READ, ids=lambda write: write.__name__)
def test_a_layout_that_is_read_decides_as_the_truth(
    write: Write, truth: Table, wanted: list[Decision], tmp_path: Path
) -> None:
    decisions, _ = decide(write(tmp_path / "walk.csv", truth[:READ_ROWS]))
    # Stamps of a spreadsheet and interpolation move samples by parts of a millisecond, and the ends by a hop.
    assert abs(len(decisions) - len(wanted)) <= 1
    pairs = list(zip(decisions, wanted, strict=False))
    assert [one.label for one, _ in pairs] == [two.label for _, two in pairs]
    assert max(abs(one.confidence - two.confidence) for one, two in pairs) < 0.05


@pytest.mark.parametrize("write", REFUSED, ids=lambda write: write.__name__)
def test_a_layout_that_is_not_read_is_refused_with_a_way_out(write: Write, truth: Table, tmp_path: Path) -> None:
    with pytest.raises(MmgError, match=REFUSED[write]):
        decide(write(tmp_path / "walk.csv", truth))
