"""Which columns of a table are the accelerometer and the gyroscope, where it has several that could be."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

from mmg.bundle.manifest import Channel, Modality
from mmg.errors import SourceError
from mmg.sources.columns import Column, Role, find_channel, names_another_quantity
from mmg.sources.files.table.table import Row, Table
from mmg.sources.files.table.units import is_shorter_than_gravity
from mmg.sources.units import ACCELERATION, ANGULAR_RATE
from mmg.sources.url import SourceUrl

Axes: TypeAlias = dict[str, Column]

KINDS = {"acceleration": "accelerometer", "gyro": "gyroscope"}
BETTER = {
    "including": 3,
    "incl": 3,
    "with": 3,
    "total": 3,
    "gforce": 2,
    "cal": 1,
    "ln": 1,
    "calibrated": 1,
    "raw": -2,
    "uncal": -2,
    "uncalibrated": -2,
    "wr": -1,
}
"""Of several forms of one sensor: Physics Toolbox's with gravity, the calibrated one, Shimmer's low-noise one."""
AXES = 3
NEUTRAL = frozenset((*BETTER, "array", "meas", "motion", "imu", "mpu", "hz", "csv", "data", "log", "filtered", "raw"))
"""Words that do not tell one device from another."""

_ROS = re.compile(r"(.*?)(linear_acceleration|angular_velocity)_[xyz]")


class Sensor(NamedTuple):
    """Three columns of one kind, and what else their names say."""

    kind: str
    of: tuple[str, ...]
    axes: Axes


def wanted_role(channel: Channel) -> Role | None:
    """What a model's channel measures, by its name."""
    return Column.of(0, channel.name).role()


def role_of_name(name: str) -> Role | None:
    """What a sensor of this name measures, such as ``TotalAcceleration``; None where the name says nothing."""
    return Column.of(0, re.sub(r"(?i)^(total)(?=\w)", r"\1 ", name) + " x").role()


def choose_sensors(
    url: SourceUrl, table: Table, rows: Sequence[Row], modality: Modality, notes: list[str], part: str | None
) -> list[tuple[Column, ...]]:
    """The columns that are summed for each channel; none where the table has none.

    Acceleration is taken with gravity: where it is there without, gravity is added if it is beside it. Raises
    SourceError where it is not, and where two devices are in the table. part: the one kind that is wanted of a table
    that holds a part of an IMU, ``linear`` or ``gravity`` among them, for all channels.
    """
    roles = [wanted_role(channel) for channel in modality.channels]
    if not any(role and role.kind in KINDS for role in roles):
        return [(one[0],) if (one := find_channel(table.columns, channel)) else () for channel in modality.channels]
    rows_name = url.options.get("where", "").rpartition(":")[2]
    name = rows_name if role_of_name(rows_name) else table.path.stem
    sensors = [_as_measured(one, rows) for one in find_sensors(table.columns, name)]
    if part is not None:
        of_kind = [sensor for sensor in sensors if sensor.kind == part]
        if part == "linear" and not of_kind:
            # What some call acceleration may be without gravity: whoever asks for the part has seen that.
            of_kind = [sensor for sensor in sensors if sensor.kind == "acceleration"]
        best = _best(url, of_kind, ())
        return [(best.axes[role.axis],) if best and role else () for role in roles]
    chosen: dict[str, tuple[Sensor, ...]] = {}
    if any(role and role.kind == "acceleration" for role in roles):
        chosen["acceleration"] = _acceleration(url, table, rows, sensors, notes)
    if any(role and role.kind == "gyro" for role in roles):
        like = chosen.get("acceleration", ())
        gyro = _best(url, [one for one in sensors if one.kind == "gyro"], like[0].of if like else ())
        if gyro and like and not is_one_device(gyro.of, like[0].of):
            raise SourceError(
                str(url),
                f"has the accelerometer of {' '.join(like[0].of)} and the gyroscope of {' '.join(gyro.of)}: say which "
                "columns are one device's with ?columns=",
            )
        chosen["gyro"] = (gyro,) if gyro else ()
    found: list[tuple[Column, ...]] = []
    for channel, role in zip(modality.channels, roles, strict=True):
        if role and role.kind in chosen:
            found.append(tuple(sensor.axes[role.axis] for sensor in chosen[role.kind]))
        else:
            other = find_channel(table.columns, channel)
            found.append((other[0],) if other else ())
    return found


def find_sensors(columns: Sequence[Column], stem: str) -> list[Sensor]:
    """The triples of columns. Columns that only name an axis are told by their unit, else by the file's name."""
    found: dict[tuple[str, tuple[str, ...]], list[Axes]] = {}
    ros = _of_ros(columns)
    for column in columns:
        if role := column.role():
            kind = "acceleration" if column in ros else role.kind
            _put(found.setdefault((kind, role.of), []), role.axis, column)
    if not any(len(axes) == AXES for several in found.values() for axes in several) and not names_another_quantity(
        stem
    ):
        named = role_of_name(stem)
        for column in columns:
            if bare := column.axis():
                kind = _kind_by_unit(bare[1], named.kind if named else "")
                _put(found.setdefault((kind, ()), []), bare[0], column)
        found.pop(("", ()), None)
    return [Sensor(kind, of, axes) for (kind, of), several in found.items() for axes in several if len(axes) == AXES]


def _of_ros(columns: Sequence[Column]) -> list[Column]:
    """The accelerations of ROS's sensor_msgs/Imu: linear they are as opposed to angular, and gravity is in them.

    https://www.ros.org/reps/rep-0145.html
    """
    names = [(column, match) for column in columns if (match := _ROS.fullmatch(column.bare))]
    turning = {match[1] for _, match in names if match[2] == "angular_velocity"}
    return [column for column, match in names if match[2] == "linear_acceleration" and match[1] in turning]


def _as_measured(sensor: Sensor, rows: Sequence[Row]) -> Sensor:
    """Some of ROS's drivers leave gravity out all the same."""
    columns = [sensor.axes[axis] for axis in "xyz"]
    is_ros = sensor.kind == "acceleration" and all(_ROS.fullmatch(column.bare) for column in columns)
    return sensor._replace(kind="linear") if is_ros and is_shorter_than_gravity(columns, rows) else sensor


def _put(several: list[Axes], axis: str, column: Column) -> None:
    """An axis that is there already is that of another sensor."""
    for axes in several:
        if axis not in axes:
            axes[axis] = column
            return
    several.append({axis: column})


def is_one_device(one: Sequence[str], two: Sequence[str]) -> bool:
    """Whether the words beside two sensors' names, or in their files' names, do not tell two devices."""
    first, second = ({word for word in words if word not in NEUTRAL and not word.isdigit()} for words in (one, two))
    return not first or not second or first == second


def _kind_by_unit(unit: str | None, named: str) -> str:
    """What a column measures that only names an axis; named: what the file's name says. Empty where nothing tells."""
    if unit in ANGULAR_RATE:
        return "gyro"
    if unit in ACCELERATION:
        return named if named in ("linear", "gravity") else "acceleration"
    return named


def _acceleration(
    url: SourceUrl, table: Table, rows: Sequence[Row], sensors: Sequence[Sensor], notes: list[str]
) -> tuple[Sensor, ...]:
    of_kind = {kind: [one for one in sensors if one.kind == kind] for kind in ("acceleration", "linear", "gravity")}
    total = _best(url, of_kind["acceleration"], ())
    linear, gravity = _first(of_kind["linear"]), _first(of_kind["gravity"])
    if total and gravity and not linear and is_without_gravity((rows, total), (rows, gravity)):
        total, linear = None, total  # CoreMotion calls acceleration without gravity acceleration
    if total:
        if linear or gravity or len(of_kind["acceleration"]) > 1:
            notes.append(f"{table.path.name} has acceleration in several forms: {_named(total)} are taken")
        return (total,)
    if linear and gravity:
        notes.append(f"{_named(gravity)} are added to {_named(linear)}, which are without gravity")
        return linear, gravity
    if linear:
        raise SourceError(
            str(url),
            f"has acceleration without gravity alone ({_named(linear)}), and mmg needs it with gravity: record the "
            "accelerometer itself, or gravity beside it",
        )
    return ()


def _first(sensors: Sequence[Sensor]) -> Sensor | None:
    return sensors[0] if sensors else None


def _best(url: SourceUrl, sensors: Sequence[Sensor], like: tuple[str, ...]) -> Sensor | None:
    """The one to take. Raises SourceError where two are equally good: they are two devices."""
    if not sensors:
        return None
    ranked = sorted(sensors, key=lambda sensor: _rank(sensor, like), reverse=True)
    if len(ranked) > 1 and _rank(ranked[0], like) == _rank(ranked[1], like):
        several = " and ".join(" ".join(sensor.of) or _named(sensor) for sensor in ranked[:2])
        example = ",".join(column.name for _, column in sorted(ranked[0].axes.items()))
        raise SourceError(
            str(url),
            f"has more than one {KINDS[sensors[0].kind]} ({several}): say which with ?columns={example},... "
            "in the order of the model's channels",
        )
    return ranked[0]


def _rank(sensor: Sensor, like: tuple[str, ...]) -> tuple[int, int]:
    common = len(set(sensor.of) & set(like))
    return common, sum(BETTER.get(word, 0) for word in sensor.of)


def _named(sensor: Sensor) -> str:
    return ", ".join(column.name for _, column in sorted(sensor.axes.items()))


def is_without_gravity(acceleration: tuple[Iterable[Row], Sensor], gravity: tuple[Iterable[Row], Sensor]) -> bool:
    """Whether what is called acceleration lacks what stands beside it, by how much of it points along gravity."""
    along = of_all = 0.0
    for one, two in zip(acceleration[0], gravity[0], strict=False):
        try:
            values = [float(str(one[acceleration[1].axes[axis].index])) for axis in "xyz"]
            pull = [float(str(two[gravity[1].axes[axis].index])) for axis in "xyz"]
        except (ValueError, IndexError):
            continue
        length = math.hypot(*pull)
        if length > 0 and math.isfinite(length + math.hypot(*values)):
            along += sum(a * b for a, b in zip(values, pull, strict=True)) / length
            of_all += math.hypot(*values)
    return along < 0.5 * of_all
