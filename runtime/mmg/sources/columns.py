"""What the columns of a table of sensor samples hold, by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mmg.bundle.manifest import Channel
from mmg.sources.units import TIME_NS, canonical, quantity

# Prefixes of one letter are read only before the axis: "gx" is a gyro, "x_g" an acceleration in g.
_ACCELERATION = "acc|accl|accel|accelerometer|acceleration"
_GYRO = "gyr|gyro|gyroscope|angular_velocity|rotation_rate|omega"
_AXES = {
    "acceleration": re.compile(rf"(?:(?:a|{_ACCELERATION})_?([xyz])|([xyz])_?(?:{_ACCELERATION}))(?:_(.+))?"),
    "gyro": re.compile(rf"(?:(?:g|w|{_GYRO})_?([xyz])|([xyz])_?(?:{_GYRO}))(?:_(.+))?"),
}
_TIME = re.compile(r"(canonical_|component_)?(?:time_?stamp|time|ts|t|epoch|clock|uptime|elapsed)(?:_(.+))?")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its place, the name as written, the bare name, and the unit written in brackets behind it."""

    index: int
    name: str
    bare: str
    unit: str | None

    @classmethod
    def of(cls, index: int, name: str) -> Column:
        """Read a header's cell, such as ``Acc X [m/s^2]``."""
        plain, bracket, unit = re.sub(r"[)\]]\s*$", "", name.strip()).partition("[" if "[" in name else "(")
        bare = re.sub(r"[^a-z0-9]+", "_", plain.lower()).strip("_")
        return cls(index, name.strip(), bare, canonical(unit) if bracket else None)

    def role(self) -> tuple[str, str, str | None] | None:
        """``(quantity, axis, unit)`` of an inertial column, the unit as the name gives it; None for any other."""
        for kind, pattern in _AXES.items():
            match = pattern.fullmatch(self.bare)
            unit = canonical(match[3]) if match and match[3] else None
            if match and (unit or not match[3]):
                return kind, match[1] or match[2], self.unit or unit
        return None


def find_channel(columns: Sequence[Column], channel: Channel) -> tuple[Column, str | None] | None:
    """The column that holds this channel and its unit where the header tells. The channel's own name goes first."""
    for column in columns:
        if channel.name.lower() in (column.name.lower(), column.bare):
            return column, column.unit
    wanted = Column.of(0, channel.name).role()
    for column in columns:
        role = column.role()
        if role and wanted and role[:2] == wanted[:2]:
            unit = role[2] if role[2] in (quantity(channel.unit) or ()) else None
            return column, unit
    return None


def find_time(columns: Sequence[Column]) -> tuple[Column, str | None] | None:
    """The column of capture times and its unit where the name tells. A canonical clock is preferred to another."""
    found: list[tuple[int, Column, str | None]] = []
    for column in columns:
        match = _TIME.fullmatch(column.bare)
        unit = canonical(match[2]) if match and match[2] else column.unit
        if match and (unit in TIME_NS or not match[2]):
            rank = {"canonical_": 0, "component_": 2}.get(match[1], 1)
            found.append((rank, column, unit if unit in TIME_NS else None))
        elif canonical(column.bare) in ("s", "ms", "us", "ns"):
            found.append((3, column, canonical(column.bare)))
    return min(found, key=lambda each: each[0])[1:] if found else None


def find_named(columns: Sequence[Column], name: str) -> Column | None:
    """The column that the user names, by its header in any case, or by its number from 0."""
    for column in columns:
        if name.strip().lower() == column.name.lower():
            return column
    number = name.strip()
    if number.isascii() and number.isdigit() and int(number) < len(columns):
        return columns[int(number)]
    return None
