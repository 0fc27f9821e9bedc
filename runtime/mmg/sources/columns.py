"""What the columns of a table of sensor samples hold, by their names."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mmg.bundle.manifest import Channel
from mmg.sources.units import ACCELERATION, ANGULAR_RATE, TIME_NS, canonical, quantity

# Words as they are, and before or behind an axis without a space: "accx", "xaccel".
_ACCELERATION = frozenset(
    ("acc", "accl", "accel", "acceler", "accelero", "accelerometer", "acceleration", "accelerometers", "gforce")
)
_GYRO = frozenset(("gyr", "gyro", "gyros", "gyroscope", "gyroscopes", "omega", "angvel", "avel"))
# "a", "g", "w" and WitMotion's "As" are read only before the axis: "gx" is a gyro, "x_g" an acceleration in g.
_BEFORE_AXIS = {"a": "acceleration", "gf": "acceleration", "g": "gyro", "w": "gyro", "as": "gyro"}
_RATES = frozenset(("rate", "rates", "velocity", "speed", "vel"))
_LINEAR = frozenset(("linear", "lin", "user", "free", "body", "dynamic", "hp", "highpass", "compensated"))
_LACKING = frozenset(("no", "without", "minus", "excl", "excluding", "removed", "free"))
_TURNING = frozenset(("angular", "ang", "rotation", "rotational", "rot", "turn"))
_GRAVITY = frozenset(("gravity", "grav"))
_WITH = frozenset(("with", "including", "incl", "total"))
# Of the same sensors, but no measurement: angles, magnetic fields, calibration, features of windows.
_OTHER = frozenset(
    ("mag", "magn", "magnet", "magnetic", "magnetometer", "angle", "angles", "euler", "quat", "quaternion", "vector")
    + ("orientation", "attitude", "bias", "offset", "drift", "std", "var", "min", "max", "mean", "median", "rms")
    + ("energy", "fft", "jerk", "norm", "magnitude")
)
_GRAVITY_WORDS = _GRAVITY | {"g", "gs", "gforce", "force"}
_FILLERS = frozenset(
    ["axis", "axes", "in", "unit", "units", "value", "val", "values", "data", "component", "sensor", "measured"]
)
NO_UNITS = frozenset(("", "-", "none", "no units", "no_units", "unitless", "n/a", "counts", "count"))
_COUNTS = frozenset(("count", "counts", "lsb", "adc", "digits"))
# Words in a name that are said of a unit, where no unit that is known is found in it.
_UNIT_WORDS = _COUNTS | {"deg", "degree", "degrees", "dps", "centidps", "rads", "rpm", "per"}
_AXES = ("x", "y", "z")
FIGURES = frozenset(("", *"0123456789+-."))
"""What a figure or a time begins with, and no name does; an empty cell too."""
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_DEGREE = re.compile(r"Â?[°º˚]")
_STUCK = re.compile(r"(.+?)([xyz])|([xyz])(.+)")

_TIMES = frozenset(
    ("time", "timestamp", "timestamps", "stamp", "ts", "t", "epoch", "clock", "uptime", "elapsed", "datetime")
)
_NO_TIMES = frozenset(
    ("zone", "timezone", "end", "stop", "exposure", "duration", "delta", "diff", "dt", "interval", "run", "sync")
    + ("status", "battery", "round", "between", "constant", "label", "activity")
)


class Role(NamedTuple):
    """What an inertial column measures.

    kind: ``acceleration`` (with gravity), ``linear`` (without), ``gravity`` or ``gyro``. axis: x, y or z.
    unit: as the name or its brackets tell. of: what else the name says, such as a device: ``("left",)``.
    """

    kind: str
    axis: str
    unit: str | None
    of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    name: as written. bare: its letters and figures, joined by ``_``. written: what stands in brackets, or in a row of
    units. unit: the same where it is a unit that is known here.
    """

    index: int
    name: str
    bare: str
    unit: str | None
    written: str = ""
    words: tuple[str, ...] = ()

    @classmethod
    def of(cls, index: int, name: str, written: str = "") -> Column:
        """Read a header's cell, such as ``Acc X [m/s^2]``; ``written`` is its cell in a row of units."""
        name = name.strip()
        # The first bracket that opens and the last that closes, without a way back: a name may have 100 kB of them.
        bracket = re.fullmatch(r"([^\[({]*)[\[({](.*)[\])}](.*)", name) or re.fullmatch(r"([^\[({]*)[\[({](.*)()", name)
        plain, written = (bracket[1] + " " + bracket[3], bracket[2]) if bracket else (name, written)
        bare = re.sub(r"[^a-z0-9]+", "_", plain.lower()).strip("_")
        unit, written = canonical(written) if written else None, written.strip()
        # What stands in brackets and is a word or two, and no unit, says what is measured: "(left)", "(excl. gravity)".
        said = written if unit is None and bracket and re.fullmatch(r"[A-Za-z. ]{4,40}", written) else ""
        words = tuple(word.lower() for word in _WORD.findall(f"{_DEGREE.sub(' deg ', plain)} {said}"))
        return cls(index, name, bare, unit, written, words)

    def role(self) -> Role | None:
        """What an inertial column measures; None for any other."""
        found = _read(self.words)
        if found is None or found.kind is None:
            return None
        return Role(found.kind, found.axis, self.unit or found.unit, found.of)

    def unit_said(self) -> str | None:
        """The unit that the name or its brackets tell, of whatever quantity."""
        role, bare = self.role(), self.axis()
        return role.unit if role else bare[1] if bare else self.unit

    def is_in_unknown_unit(self, known: Container[str]) -> bool:
        """Whether a unit is told that is none of these."""
        unit = self.unit_said()
        if unit is not None:
            return unit not in known
        return _is_unit(self.written) or bool(_UNIT_WORDS.intersection(self.words))

    def axis(self) -> tuple[str, str | None] | None:
        """The axis and unit of a column that does not say what it measures: ``X (m/s^2)``, ``y-axis (g)``."""
        found = _read(self.words)
        if found is None or found.kind is not None or found.of:
            return None
        return found.axis, self.unit or found.unit


def _is_unit(text: str) -> bool:
    """Whether what stands in brackets, or below a name, may be a unit, and not a place or a remark."""
    return (
        bool(text) and text.lower() not in NO_UNITS and not re.fullmatch(r"[A-Za-z. ]{4,40}|[xyzXYZ]", text)
    ) or bool(_COUNTS.intersection(re.findall(r"[a-z]+", text.lower())))


def names_another_quantity(name: str) -> bool:
    """Whether a file's name is of a magnetometer, of angles or the like."""
    return bool(_OTHER.intersection(Column.of(0, name).words))


class _Reading(NamedTuple):
    kind: str | None
    axis: str
    unit: str | None
    of: tuple[str, ...]


def _read(words: Sequence[str]) -> _Reading | None:
    """A name that has one axis in it; None for any other, and for what is no measurement."""
    said: list[str] = []
    axis, place, unit = "", 0, None
    for number, word in enumerate(words):
        after = words[number + 1] if number + 1 < len(words) else ""
        if word in _AXES or (word[:1] == "f" and word[1:] in _AXES and number and words[number - 1] == "g"):
            if axis:
                return None
            axis, place = word, len(said)
        elif word in _BEFORE_AXIS and after in _AXES:
            said.append(_BEFORE_AXIS[word])
        elif word == "g" and after[:1] == "f" and after[1:] in _AXES:
            said.append("gforce")  # "gFx" of Physics Toolbox
            unit = "g"
        elif stuck := _split(word):
            if axis:
                return None
            axis, place = stuck[1], len(said) + 1
            said.append(stuck[0])
        else:
            said.append(word)
    axis = axis.removeprefix("f")
    if not axis or _OTHER.intersection(said):
        return None
    kind = _kind(set(said))
    if kind == "":
        return None
    behind = [word for word in said[place:] if word not in _FILLERS]
    if behind and canonical(" ".join(behind)):
        unit, said = canonical(" ".join(behind)), said[:place]
    elif not unit:
        unit, said = _unit_among(said)
    rest = (word for word in said if word not in _FILLERS and not _is_known(word))
    return _Reading(kind, axis, unit, tuple(rest))


def _unit_among(said: list[str]) -> tuple[str | None, list[str]]:
    """The longest run of words that is a unit of motion, and the others. A lone "g" may be another word's."""
    for length in range(min(len(said), 4), 0, -1):
        for begin in range(len(said) - length + 1):
            run = said[begin : begin + length]
            unit = canonical(" ".join(run))
            if unit in (*ACCELERATION, *ANGULAR_RATE) and not _GRAVITY_WORDS.intersection(run):
                return unit, said[:begin] + said[begin + length :]
    return None, said


def _split(word: str) -> tuple[str, str] | None:
    """``accx`` and ``xaccel`` as what is measured and the axis."""
    match = _STUCK.fullmatch(word)
    if match is None:
        return None
    kind, axis = (match[1], match[2]) if match[1] else (match[4], match[3])
    if kind in _ACCELERATION or kind in _GYRO:
        return kind, axis
    if match[1] and kind in _BEFORE_AXIS:
        return _BEFORE_AXIS[kind], axis
    return ("gyro" if kind == "g" else "gravity", axis) if kind in _GRAVITY else None


def _kind(said: set[str]) -> str | None:
    """None where nothing is said, "" where it is another thing, such as angular acceleration."""
    gyro = bool(said & _GYRO) or bool(said & _TURNING and said & _RATES)
    acceleration = bool(said & _ACCELERATION)
    if acceleration and (gyro or said & _TURNING):
        return ""
    if gyro:
        return "gyro"
    if said & _GRAVITY and not said & _WITH:
        return "linear" if said & _LACKING else "gravity"
    if acceleration:
        return "linear" if said & _LINEAR else "acceleration"
    return None


def _is_known(word: str) -> bool:
    if word == "gforce":
        return False
    known = (_ACCELERATION, _GYRO, _RATES, _LINEAR, _GRAVITY, _LACKING, _TURNING)
    return any(word in words for words in known)


def names_sensors(cells: Iterable[str]) -> bool:
    """Whether these are a header: three of them name an axis of a sensor."""
    words = [cell for cell in cells if cell.lstrip()[:1] not in FIGURES]
    return len(words) >= len(_AXES) and sum(Column.of(0, word).role() is not None for word in words) >= len(_AXES)


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
    return next(((column, unit) for column, unit in find_times(columns)), None)


def find_times(columns: Sequence[Column]) -> list[tuple[Column, str | None]]:
    """All columns that may be capture times, the likeliest by its name first."""
    # "Min" beside "Max" is no minute: Arduino's plotter is told its limits so.
    limits = {"min"} if any(column.bare == "max" for column in columns) else ()
    told = [column for column in columns if column.bare not in limits]
    found = [(rank, column, unit) for column in told for rank, unit in _time_ranks(column)]
    return [(column, unit) for _, column, unit in sorted(found, key=lambda each: each[0])]


def _time_ranks(column: Column) -> Iterator[tuple[int, str | None]]:
    words = column.words
    units = [unit for word in words if (unit := canonical(word)) in TIME_NS]
    if column.unit in TIME_NS:
        units.append(column.unit)
    unit = units[-1] if units else None
    if _NO_TIMES.intersection(words) or (words == ("t",) and column.written and not unit):
        return  # "T (°)" is a temperature
    if _TIMES.intersection(words):
        rank = 0 if "canonical" in words else 2 if "component" in words else 1
        yield rank, unit
    elif canonical(column.bare) in TIME_NS:
        yield 3, unit
    elif words in (("date",), ("day",)):
        yield 4, None


def find_named(columns: Sequence[Column], name: str) -> Column | None:
    """The column that the user names, by its header in any case, or by its number from 0."""
    for column in columns:
        if name.strip().lower() == column.name.lower():
            return column
    number = name.strip()
    if number.isascii() and number.isdigit() and int(number) < len(columns):
        return columns[int(number)]
    return None
