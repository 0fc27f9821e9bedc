"""GPMF, the telemetry in a GoPro's film: bytes of one payload in, the IMU's samples out. No I/O.

The format, its keys and the cameras' order of axes: the README of github.com/gopro/gpmf-parser. Everything is
big-endian; an entry is a key of four letters, a type, the size of one sample, their number, and the samples.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from mmg.sources.units import ACCELERATION, ANGULAR_RATE, canonical

if TYPE_CHECKING:
    from numpy.typing import NDArray

Sensor = Literal["ACCL", "GYRO"]
Clock = Literal["STMP", "TICK"]
SENSORS: tuple[Sensor, ...] = ("ACCL", "GYRO")
CLOCKS: dict[Clock, int] = {"STMP": 1, "TICK": 1000}
"""The keys of time stamps, the better one first, and their unit in microseconds."""
UNITS = {"ACCL": ACCELERATION, "GYRO": ANGULAR_RATE}
STANDARD = {"ACCL": "m/s2", "GYRO": "rad/s"}
# A value for each frame of the film: when the first of them was taken is when the film begins.
OF_FRAMES = ("SHUT", "ISOE", "ISOG", "WBAL")
NEST = "\0"
LARGEST = 1e30
"""Of any number in it."""
KINDS = {"b": ">i1", "B": ">u1", "s": ">i2", "S": ">u2", "l": ">i4", "L": ">u4", "j": ">i8", "J": ">u8"}
KINDS |= {"f": ">f4", "d": ">f8"}
AXES = "XYZ"
DEFAULT_ORDER = "ZXY"
# The README's tables, for cameras that do not write the order into each payload.
ORDERS = (("fusion", "yXZ"), ("hero6", "YxZ"), ("hero7", "YxZ"))
# The HERO5 and what followed it say so in the stream's name, whatever the model: "up/down" comes first.
NAMED_ORDERS = ("(up/down, right/left, forward/back)", "(z,x,y)")


class GpmfError(ValueError):
    """A stream that cannot be used: the text says why."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How a stream's whole numbers become SI units on the camera's axes: what holds for all of a file.

    divisors ``(1,)`` or ``(3,)``, factor to SI, and turn ``(3, 3)``: rows x, y, z, columns as stored. order: what was
    taken for the stored axes, and whether the payload ``says`` so itself.
    """

    divisors: tuple[float, ...]
    factor: float
    turn: tuple[tuple[float, ...], ...]
    order: str
    says: bool


@dataclass(frozen=True, slots=True)
class Stream:
    """The samples of one sensor in a payload: ``raw`` ``(N, 3)`` float64, not scaled.

    stamps_us: when the first was taken, on the camera's clocks that the payload tells of.
    """

    raw: NDArray[np.float64]
    scale: Scale
    stamps_us: Mapping[Clock, int]

    def values(self) -> NDArray[np.float64]:
        """``(N, 3)`` in m/s^2 or rad/s, along the camera's x, y and z."""
        measured = self.raw / np.array(self.scale.divisors) * self.scale.factor
        return np.asarray(measured @ np.array(self.scale.turn).T, np.float64)


@dataclass(frozen=True, slots=True)
class Payload:
    """What one payload holds of the camera's IMU.

    frame_us: when the payload's first frame of the film was taken, on each of the camera's clocks. faults: why a
    sensor's stream is not in ``streams``.
    """

    streams: Mapping[Sensor, Stream]
    frame_us: Mapping[Clock, int]
    faults: Mapping[Sensor, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """A key, what its value is made of, and the value."""

    key: str
    kind: str
    size: int
    data: bytes

    def numbers(self) -> NDArray[np.float64]:
        """The numbers in it, in a row. Raises GpmfError."""
        if self.kind not in KINDS:
            raise GpmfError(f"{self.key} is of type {self.kind!r}, which is not read here")
        kind = np.dtype(KINDS[self.kind])
        numbers = np.frombuffer(self.data[: len(self.data) // kind.itemsize * kind.itemsize], kind)
        with np.errstate(invalid="ignore"):  # a signalling NaN is one like any other
            return numbers.astype(np.float64)

    def text(self) -> str:
        """The text in it: what follows a NUL is padding, and degrees and squares are single bytes of Latin-1."""
        # One text for each axis, where there are several.
        first = self.data[: self.size] if self.size > 1 else self.data
        return first.decode("latin-1").partition("\0")[0].strip()


def read_payload(data: bytes) -> Payload:
    """The accelerometer and gyroscope of the first device that has one. What is broken is left out, never raised."""
    for device in entries(data):
        if (device.key, device.kind) != ("DEVC", NEST):
            continue
        payload = _read_device(device.data)
        if payload.streams or payload.faults:
            return payload
    return Payload({}, {}, {})


def entries(data: bytes) -> Iterator[Entry]:
    """The entries in a row, up to the first that does not fit: a length is never believed beyond what is there."""
    place = 0
    while place + 8 <= len(data):
        key, kind, size, count = struct.unpack_from(">4scBH", data, place)
        length = size * count
        place += 8
        if place + length > len(data) or not all(0x20 <= letter < 0x7F for letter in key):
            return
        yield Entry(key.decode("ascii"), kind.decode("latin-1"), size, data[place : place + length])
        place += -(-length // 4) * 4


def _read_device(data: bytes) -> Payload:
    name = ""
    frame_us: dict[Clock, int] = {}
    streams: dict[Sensor, Stream] = {}
    faults: dict[Sensor, str] = {}
    for entry in entries(data):
        if entry.key == "DVNM":
            name = entry.text()
        if (entry.key, entry.kind) != ("STRM", NEST):
            continue
        properties: dict[str, Entry] = {}
        for inner in entries(entry.data):
            sensor = next((one for one in SENSORS if one == inner.key), None)
            if sensor and sensor not in streams:
                try:
                    streams[sensor] = _stream(sensor, inner, properties, name)
                except GpmfError as error:
                    faults[sensor] = str(error)
            if inner.key in OF_FRAMES:
                frame_us = frame_us or _stamps_us(properties)
            properties[inner.key] = inner
    return Payload(streams, frame_us, faults)


def _stream(sensor: Sensor, entry: Entry, properties: dict[str, Entry], device: str) -> Stream:
    numbers = entry.numbers()
    if entry.size != 3 * np.dtype(KINDS[entry.kind]).itemsize:
        raise GpmfError(f"{sensor} has samples of {entry.size} bytes, which are not three axes")
    if not _are_sound(numbers):
        raise GpmfError(f"{sensor} has samples that are no numbers")
    return Stream(numbers.reshape(-1, 3), _scale(sensor, properties, device), _stamps_us(properties))


def _scale(sensor: Sensor, properties: dict[str, Entry], device: str) -> Scale:
    divisors = properties["SCAL"].numbers() if "SCAL" in properties else np.ones(1)
    if len(divisors) not in (1, 3) or not _are_sound(divisors) or not (np.abs(divisors) > 1 / LARGEST).all():
        raise GpmfError(f"{sensor} has a scale of {divisors.tolist()}")
    written = properties.get("SIUN") or properties.get("UNIT")
    unit = canonical(written.text()) if written else STANDARD[sensor]
    if unit not in UNITS[sensor]:
        raise GpmfError(f"{sensor} is in {written.text() if written else unit!r}, a unit that is not known here")
    turn, order, says = _turn(properties, device)
    rows = tuple(tuple(row) for row in turn.tolist())
    return Scale(tuple(divisors.tolist()), UNITS[sensor][unit], rows, order, says)


def _turn(properties: dict[str, Entry], device: str) -> tuple[NDArray[np.float64], str, bool]:
    """From the stored axes to x, y and z. MTRX calibrates where it is more than an exchange of axes; its results are in
    the order of ORIO. Else ORIN names the stored axes, small letters for those that point the other way."""
    stored = _order(properties.get("ORIN"))
    matrix = properties["MTRX"].numbers() if "MTRX" in properties else np.empty(0)
    is_matrix = len(matrix) == 9 and _are_sound(matrix)
    if is_matrix and (stored is None or not np.isin(matrix, (-1, 0, 1)).all()):
        order = _order(properties.get("ORIO")) or DEFAULT_ORDER
        return _axes(order) @ matrix.reshape(3, 3), order, True
    if stored:
        return _axes(stored), stored, True
    name = properties["STNM"].text().lower() if "STNM" in properties else ""
    model = device.lower()
    documented = next((order for prefix, order in ORDERS if model.startswith(prefix)), DEFAULT_ORDER)
    if not model.startswith("fusion") and any(known in name for known in NAMED_ORDERS):
        documented = DEFAULT_ORDER
    return _axes(documented), documented, False


def _are_sound(numbers: NDArray[np.float64]) -> bool:
    """Whether they are numbers of something measured: finite, also after a few multiplications."""
    return bool((np.abs(numbers) < LARGEST).all())


def _order(entry: Entry | None) -> str | None:
    letters = entry.text() if entry else ""
    return letters if sorted(letters.upper()) == list(AXES) else None


def _axes(order: str) -> NDArray[np.float64]:
    """The matrix that puts stored axes of this order on x, y and z."""
    turn = np.zeros((3, 3))
    for column, letter in enumerate(order):
        turn[AXES.index(letter.upper()), column] = 1 if letter.isupper() else -1
    return turn


def _stamps_us(properties: dict[str, Entry]) -> dict[Clock, int]:
    """STMP is in microseconds; TICK, all that the HERO5 has, in milliseconds, and of another moment."""
    stamps: dict[Clock, int] = {}
    for key in CLOCKS:
        entry = properties.get(key)
        if entry and (entry.kind, len(entry.data)) in (("J", 8), ("L", 4)):
            stamps[key] = int.from_bytes(entry.data, "big") * CLOCKS[key]
    return stamps
