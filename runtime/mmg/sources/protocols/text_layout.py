"""Where in a row of named values a sample is, in which units; and the headers that a device printed once."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from mmg.bundle.manifest import Channel
from mmg.errors import ConfigError
from mmg.printable import printable
from mmg.sources.columns import Column, find_channel, find_time
from mmg.sources.protocols.text_line import is_number
from mmg.sources.units import TIME_NS, canonical, quantity

_ACCELERATION = tuple(Channel(name=f"a{axis}", unit="m/s^2") for axis in "xyz")
_GYRO = tuple(Channel(name=f"g{axis}", unit="rad/s") for axis in "xyz")
_MOST_HEADERS, _MOST_COLUMNS = 8, 64
_IDENTIFIER = re.compile(r"[A-Za-z_][\w.]*(?:\s?[(\[][^)\]]*[)\]])?")
_VECTOR_NAME = re.compile(r"\w{0,12}[xyz]", re.IGNORECASE)
_COUNTER_RANGE = 1 << 32  # a microcontroller's millis() and micros()
_USUAL_STEP_NS = 1e7
_EPOCH_S = (946_684_800, 4_102_444_800)
_MOST_DAMAGED = 2
"""Letters: another table, of a magnetometer say, has three axes of other names."""
_EPOCH_WEIGHT = 1.5
"""How many powers of ten of an unlikely rate a time between the years 2000 and 2100 outweighs."""


@dataclass(frozen=True, slots=True)
class Units:
    """The user's word for the units, which goes before the header's; empty where there is none.

    Raises ConfigError for a unit that is not known.
    """

    acc_unit: str = ""
    gyro_unit: str = ""

    def __post_init__(self) -> None:
        for option, channel in (("acc_unit", _ACCELERATION[0]), ("gyro_unit", _GYRO[0])):
            unit, known = getattr(self, option), quantity(channel.unit) or {}
            if unit and canonical(unit) not in known:
                raise ConfigError(f"{option}={unit}: choose {', '.join(known)}")


@dataclass(frozen=True, slots=True)
class RowLayout:
    """Where to find what in a row of ``width`` values.

    acceleration, gyro: for x, y and z the place, and the factor to SI; gyro is empty where there is none.
    time: its place and how many nanoseconds its unit lasts, 0 where that is to be found out; None where there is none.
    names: of the columns, as the header gave them, with commas between.
    problem: why these rows cannot be read all the same; else empty.
    """

    width: int
    acceleration: tuple[tuple[int, float], ...]
    gyro: tuple[tuple[int, float], ...]
    time: tuple[int, int] | None
    names: str
    problem: str = ""

    def is_damaged(self, names: Sequence[str]) -> bool:
        """Whether these are its columns but for a letter or two, as flipped bits and lost bytes leave a header."""
        return _is_near(",".join(names), self.names, _MOST_DAMAGED)


def _is_near(told: str, known: str, damaged: int) -> bool:
    """Whether so many letters changed or lost make the one of the other."""
    same = sum(1 for _ in takewhile(bool, map(str.__eq__, told, known)))
    told, known = told[same:], known[same:]
    if not (told and known):
        return len(known) <= damaged and not told
    return damaged > 0 and (_is_near(told[1:], known[1:], damaged - 1) or _is_near(told, known[1:], damaged - 1))


def lay_out(names: Sequence[str], units: Units) -> RowLayout | None:
    """The layout of rows under this header; None where it names no acceleration, half a gyro, or a column twice."""
    if len(names) > _MOST_COLUMNS:
        return None
    columns = [Column.of(index, name) for index, name in enumerate(names)]
    found = [find_channel(columns, channel) for channel in (*_ACCELERATION, *_GYRO)]
    present = [each for each in found if each is not None]
    if None in found[:3] or len(present) not in (3, 6):
        return None
    bare = [column.bare for column in columns]
    if any(bare.count(column.bare) > 1 for column, _ in present):
        return None
    time = find_time(columns)
    return RowLayout(
        len(names),
        tuple((column.index, _factor("m/s^2", units.acc_unit or unit)) for column, unit in present[:3]),
        tuple((column.index, _factor("rad/s", units.gyro_unit or unit)) for column, unit in present[3:]),
        None if time is None else (time[0].index, TIME_NS[time[1]] if time[1] else 0),
        ",".join(names),
        _unknown_unit([column for column, _ in present], units),
    )


def _unknown_unit(columns: Sequence[Column], units: Units) -> str:
    """Which column would be taken as SI though its name says another unit; empty for none."""
    for part, option, si in ((columns[:3], "acc_unit", "m/s^2"), (columns[3:], "gyro_unit", "rad/s")):
        known = quantity(si) or {}
        for column in () if getattr(units, option) else part:
            if column.is_in_unknown_unit(known):
                way = f"add {option}={'|'.join(list(known)[:3])}"
                return f"the unit of {printable(column.name)} is not known here: {way}"
    return ""


def _factor(si: str, unit: str | None) -> float:
    table = quantity(si) or {}
    return table.get(canonical(unit or "") or "", 1.0)


@dataclass(slots=True)
class Headers:
    """The layouts that a device's headers gave, by the number of columns.

    It outlasts the parser: a board prints its header once, when it starts, and goes on with the same rows after a
    cable was out or other things were printed.
    """

    _layouts: dict[int, RowLayout] = field(default_factory=dict)

    def of(self, width: int) -> RowLayout | None:
        """The layout of rows with so many values."""
        return self._layouts.get(width)

    def remember(self, layout: RowLayout) -> None:
        """In place of another one for as many columns."""
        self._layouts.pop(layout.width, None)
        self._layouts[layout.width] = layout
        if len(self._layouts) > _MOST_HEADERS:
            del self._layouts[next(iter(self._layouts))]

    def forget(self, width: int) -> None:
        """Rows with so many values are of something else now."""
        self._layouts.pop(width, None)


def is_other_header(cells: Sequence[str], *, in_words: bool) -> bool:
    """Whether these name the columns of another table.

    in_words: white space parts them. Then a sentence looks like that too, unless it names a time or a vector.
    """
    if len(set(cells)) < len(cells) or not all(map(_IDENTIFIER.fullmatch, cells)) or any(map(is_number, cells)):
        return False
    if not in_words:
        return True
    is_timed = find_time([Column.of(index, name) for index, name in enumerate(cells)]) is not None
    return is_timed or sum(bool(_VECTOR_NAME.fullmatch(cell)) for cell in cells) >= 3


class TimeColumn:
    """A device's time as it prints it, in endless nanoseconds."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._wrapped = 0
        self._unit_ns = 0

    def read(self, value: float, unit_ns: int) -> int | None:
        """In ns; None while its unit is unknown. A whole number that falls by more than half of 32 bits is a counter
        of 32 bits that wrapped.

        unit_ns: how long its unit lasts, 0 where no header tells. Raises ValueError beyond 64 bits.
        """
        if not abs(value) < 2**63:
            raise ValueError("time beyond 64 bits")
        last, self._last = self._last, value
        if isinstance(value, int) and isinstance(last, int) and value < last < _COUNTER_RANGE:
            self._wrapped += _COUNTER_RANGE if last - value > _COUNTER_RANGE // 2 else 0
        if not unit_ns and not self._unit_ns and last is not None and value > last:
            self._unit_ns = _likely_unit_ns(value, value - last)
        unit_ns = unit_ns or self._unit_ns
        if isinstance(value, int):
            value += self._wrapped
        if not abs(value * (unit_ns or 1)) < 2**63:
            raise ValueError("time beyond 64 bits of nanoseconds")
        return round(value * unit_ns) if unit_ns else None


def _likely_unit_ns(value: float, step: float) -> int:
    """The unit in which a step is nearest to 10 ms, but rather one that makes the value a time since 1970."""

    def unlikely(unit_ns: int) -> float:
        is_epoch = _EPOCH_S[0] <= value * unit_ns / 1e9 <= _EPOCH_S[1]
        return abs(math.log10(step * unit_ns / _USUAL_STEP_NS)) - _EPOCH_WEIGHT * is_epoch

    return min(TIME_NS.values(), key=unlikely)
