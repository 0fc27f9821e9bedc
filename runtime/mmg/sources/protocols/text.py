"""Text: one sample a line, as comma separated values under a header line or as a JSON object.

The keys are ``ax ay az``, optionally ``gx gy gz``, and a time ``t_s``, ``t_ms``, ``t_us`` or ``t_ns``; others
are ignored. Nothing in a line tells a wrong figure from a right one: where there is a choice, prefer a
checked protocol.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from mmg.errors import ConfigError
from mmg.sources.protocols.framing import SampleCollector, Vector
from mmg.sources.protocols.parser import STANDARD_GRAVITY, UNTIMED, Samples

ACCELERATION_UNITS = {"m/s2": 1.0, "g": STANDARD_GRAVITY, "mg": STANDARD_GRAVITY / 1000}
GYRO_UNITS = {"rad/s": 1.0, "deg/s": math.radians(1)}
TIME_UNITS_NS = {"t_s": 1_000_000_000, "t_ms": 1_000_000, "t_us": 1_000, "t_ns": 1}
MAX_LINE = 4096  # bytes

_ACCELERATION = ("ax", "ay", "az")
_GYRO = ("gx", "gy", "gz")
_COUNTER_RANGE = 1 << 32  # a microcontroller's millis() and micros()


class _JsonLine(msgspec.Struct):
    ax: float
    ay: float
    az: float
    gx: float | None = None
    gy: float | None = None
    gz: float | None = None
    t_s: int | float | None = None
    t_ms: int | float | None = None
    t_us: int | float | None = None
    t_ns: int | float | None = None


_JSON = msgspec.json.Decoder(_JsonLine)


class TextLines(SampleCollector):
    """Lines of text.

    columns: the names of the columns, comma separated, where the stream has no header; "" waits for a header.
        With them given, a header in the stream is passed over.
    acc_unit: ``m/s2``, ``g`` or ``mg``. gyro_unit: ``rad/s`` or ``deg/s``.

    Raises ConfigError for a unit it does not know and for columns without ax, ay and az.
    """

    def __init__(self, columns: str = "", acc_unit: str = "m/s2", gyro_unit: str = "rad/s") -> None:
        super().__init__("text")
        self._acceleration_scale = _scale("acc_unit", acc_unit, ACCELERATION_UNITS)
        self._gyro_scale = _scale("gyro_unit", gyro_unit, GYRO_UNITS)
        self._columns: list[str] = []
        self._fixed = bool(columns)
        if columns and not self._read_header(_fields(columns)):
            raise ConfigError(f"columns={columns}: name ax, ay, az, and all of gx, gy, gz or none, each once")
        self._pending = b""
        self._overlong = False
        self._last_line = b""
        self._last_time: int | None = None
        self._wrapped = 0

    def feed(self, data: bytes) -> Samples:
        """See ``Parser.feed``."""
        counters = self._counters
        end = counters.bytes_fed - len(self._pending)
        counters.bytes_fed += len(data)
        # Either of \r and \n ends a line, so that one wrong byte in \r\n costs nothing.
        *lines, self._pending = (self._pending + data).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            end += len(line) + 1
            if self._overlong or len(line) > MAX_LINE:
                self._skip(len(line) + 1)
                self._overlong = False
            elif line.strip():
                self._line(line, end - 1)
        if self._overlong or len(self._pending) > MAX_LINE:
            self._skip(len(self._pending))
            self._overlong = True
            self._pending = b""
        return self._take()

    def _skip(self, size: int) -> None:
        """Passes over a piece of an over-long line, and counts the line once."""
        self._counters.malformed += not self._overlong
        self._counters.skipped_bytes += size

    def _line(self, line: bytes, last_byte: int) -> None:
        try:
            text = line.decode("utf-8-sig")
            if text.lstrip().startswith("{"):
                sample = self._json(text)
            elif self._read_header(_fields(text)):
                return
            else:
                sample = self._csv(_fields(text))
        except (ValueError, msgspec.MsgspecError, RecursionError, OverflowError):
            self._counters.malformed += 1
            return
        self._counters.frames += 1
        acceleration, gyro, time_ns = sample
        if time_ns != UNTIMED and line == self._last_line:
            self._counters.duplicates += 1
            return
        self._last_line = line
        self._add(acceleration, gyro, time_ns, last_byte)

    def _read_header(self, names: list[str]) -> bool:
        """Whether these are column names, which are then in force."""
        names = [name.lower() for name in names]
        gyro = [name for name in names if name in _GYRO]
        if [sum(name == key for name in names) for key in _ACCELERATION] != [1, 1, 1] or sorted(gyro) not in (
            [],
            list(_GYRO),
        ):
            return False
        if not (self._fixed and self._columns):
            self._columns = names
            self._has_gyro = bool(gyro)
        return True

    def _csv(self, fields: list[str]) -> tuple[Vector, Vector | None, int]:
        if not self._columns:
            raise ValueError("no header yet")
        row = dict(zip(self._columns, fields, strict=True))
        gyro = tuple(float(row[key]) for key in _GYRO) if "gx" in row else None
        time = next(((key, row[key]) for key in TIME_UNITS_NS if key in row), None)
        time_ns = UNTIMED if time is None else self._time_ns(time[0], _number(time[1]))
        return self._scaled(tuple(float(row[key]) for key in _ACCELERATION), gyro, time_ns)

    def _json(self, text: str) -> tuple[Vector, Vector | None, int]:
        line = _JSON.decode(text)
        gyro = None
        if line.gx is not None and line.gy is not None and line.gz is not None:
            gyro = (line.gx, line.gy, line.gz)
        times = ((key, getattr(line, key)) for key in TIME_UNITS_NS)
        time = next(((key, value) for key, value in times if value is not None), None)
        time_ns = UNTIMED if time is None else self._time_ns(*time)
        return self._scaled((line.ax, line.ay, line.az), gyro, time_ns)

    def _scaled(self, acceleration: Vector, gyro: Vector | None, time_ns: int) -> tuple[Vector, Vector | None, int]:
        rate = None if gyro is None else tuple(value * self._gyro_scale for value in gyro)
        return tuple(value * self._acceleration_scale for value in acceleration), rate, time_ns

    def _time_ns(self, key: str, value: float) -> int:
        """In ns. A whole number that falls by more than half of 32 bits is a 32-bit counter that wrapped."""
        unit_ns = TIME_UNITS_NS[key]
        if isinstance(value, int):
            last, self._last_time = self._last_time, value
            if last is not None and value < last < _COUNTER_RANGE and last - value > _COUNTER_RANGE // 2:
                self._wrapped += _COUNTER_RANGE
            value += self._wrapped
        if not abs(value * unit_ns) < 2**63:
            raise ValueError("time beyond 64 bits of nanoseconds")
        return round(value * unit_ns)


def _scale(option: str, unit: str, units: dict[str, float]) -> float:
    if unit not in units:
        raise ConfigError(f"{option}={unit}: choose {', '.join(units)}")
    return units[unit]


def _fields(text: str) -> list[str]:
    """Split at the first of comma, semicolon and tab that the line has, else at spaces."""
    separator = next((mark for mark in ",;\t" if mark in text), None)
    return [field.strip() for field in text.split(separator)] if separator else text.split()


def _number(text: str) -> float:
    """An int where it is one: a count of microseconds since 1970 does not fit a float."""
    digits = text[1:] if text.startswith("-") else text
    return int(text) if digits.isascii() and digits.isdigit() else float(text)


def encode_header() -> bytes:
    """The header line above the lines of ``encode_csv``."""
    return b"t_us,ax,ay,az,gx,gy,gz\n"


def encode_csv(sample: Sequence[float], time_ns: int) -> bytes:
    """One line from ``(6,)`` m/s^2 and rad/s."""
    values = ",".join(f"{value:.6g}" for value in sample)
    return f"{time_ns // 1000},{values}\n".encode("ascii")


def encode_json(sample: Sequence[float], time_ns: int) -> bytes:
    """One line from ``(3,)`` m/s^2 or ``(6,)`` with rad/s behind. It needs no header."""
    names = (*_ACCELERATION, *_GYRO)[: len(sample)]
    values = "".join(f',"{name}":{value:.6g}' for name, value in zip(names, sample, strict=True))
    return f'{{"t_us":{time_ns // 1000}{values}}}\n'.encode("ascii")
