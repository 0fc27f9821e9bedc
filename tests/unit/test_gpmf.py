"""The telemetry in a GoPro's film is read as its cameras write it, and nothing that is broken is believed."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

import numpy as np
import pytest
from films import klv, nest, stamp, stream, text, tick
from mmg.sources.files.gpmf import Payload, entries, read_payload
from numpy.typing import NDArray

STORED = np.array([[9.8, 1.0, -2.0], [9.7, 1.1, -2.1], [9.9, 0.9, -1.9]])


def payload(*properties: bytes, device: str = "Hero5 Black", values: NDArray[np.float64] = STORED) -> Payload:
    return read_payload(nest("DEVC", text("DVNM", device), stream("ACCL", values, *properties)))


def xyz(*properties: bytes, device: str = "Hero5 Black") -> list[float]:
    [first, *_] = payload(*properties, device=device).streams["ACCL"].values()
    return [float(value) for value in first.round(3)]


def floats(*numbers: float) -> bytes:
    return struct.pack(f">{len(numbers)}f", *numbers)


@pytest.mark.parametrize(
    ("device", "properties", "expected"),
    [
        # Stored as z, x, y, and the stream's name says so.
        ("Hero5 Black", [text("STNM", "Accelerometer (up/down, right/left, forward/back)")], [1, -2, 9.8]),
        ("Hero6 Black", [text("STNM", "Accelerometer (up/down, right/left, forward/back)")], [1, -2, 9.8]),
        ("Camera", [], [1, -2, 9.8]),
        # As documented for the model: y, -x, z of the HERO6 and HERO7, -y, x, z of the Fusion.
        ("Hero6 Black", [text("STNM", "Accelerometer")], [-1, 9.8, -2]),
        ("HERO7 Black", [], [-1, 9.8, -2]),
        ("Fusion", [text("STNM", "Accelerometer (up/down, right/left, forward/back)")], [1, -9.8, -2]),
        # What the file says goes before all of these.
        ("Fusion", [text("ORIN", "XYZ")], [9.8, 1, -2]),
        ("GoPro Max", [text("ORIN", "XzY"), text("ORIO", "ZXY")], [9.8, -2, -1]),
        ("Hero8", [klv("ORIN", "c", 3, b"yXZ")], [1, -9.8, -2]),
        ("Hero8", [text("ORIN", "XXY")], [1, -2, 9.8]),
        # A matrix that only exchanges axes, as the same camera writes it beside ORIN, and alone.
        (
            "GoPro Max",
            [klv("MTRX", "f", 36, floats(0, -1, 0, 1, 0, 0, 0, 0, 1)), text("ORIN", "XzY"), text("ORIO", "ZXY")],
            [9.8, -2, -1],
        ),
        ("GoPro Max", [klv("MTRX", "f", 36, floats(0, -1, 0, 1, 0, 0, 0, 0, 1)), text("ORIO", "ZXY")], [9.8, -2, -1]),
        # One that calibrates: its rows are z, x and y.
        (
            "Hero9",
            [klv("MTRX", "f", 4, floats(0.5, 0, 0, 0, 2, 0, 0, 0, 1)), text("ORIN", "ZXY"), text("ORIO", "ZXY")],
            [2, -2, 4.9],
        ),
    ],
)
def test_stored_axes_become_x_y_and_z(device: str, properties: Sequence[bytes], expected: list[float]) -> None:
    assert xyz(*properties, device=device) == expected


def test_a_camera_that_says_nothing_of_its_axes_is_known_for_it() -> None:
    assert not payload().streams["ACCL"].scale.says
    assert payload(text("ORIN", "XYZ")).streams["ACCL"].scale.says


@pytest.mark.parametrize(
    ("unit", "factor"), [("m/s\xb2", 1), ("m/s\xb2m/s\xb2m/s\xb2", 1), ("g", 9.80665), ("mg", 9.80665e-3)]
)
def test_units_are_taken_as_they_are_written(unit: str, factor: float) -> None:
    size = len(unit) // 3 if len(unit) > 10 else len(unit)
    values = payload(klv("SIUN", "c", size, unit.encode("latin-1"))).streams["ACCL"].values()
    assert values[0] == pytest.approx(np.array([1, -2, 9.8]) * factor)


@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        (text("SIUN", "furlong"), "ACCL is in 'furlong', a unit that is not known here"),
        (klv("SCAL", "s", 2, bytes(2)), "ACCL has a scale of [0.0]"),
        (klv("SCAL", "f", 4, floats(float("nan"))), "ACCL has a scale of [nan]"),
        (klv("SCAL", "s", 2, bytes(4)), "ACCL has a scale of [0.0, 0.0]"),
        (klv("SCAL", "#", 2, bytes(4)), "SCAL is of type '#', which is not read here"),
    ],
)
def test_what_cannot_be_understood_is_named_and_left_out(broken: bytes, fault: str) -> None:
    raw = klv("ACCL", "s", 6, bytes(60))
    found = read_payload(nest("DEVC", nest("STRM", broken, raw)))
    assert found.streams == {}
    assert found.faults == {"ACCL": fault}


@pytest.mark.parametrize(("kind", "size"), [("#", 6), ("?", 6), ("s", 4), ("s", 8), ("f", 6)])
def test_samples_that_are_not_three_numbers_are_no_samples(kind: str, size: int) -> None:
    found = read_payload(nest("DEVC", nest("STRM", klv("GYRO", kind, size, bytes(size * 10)))))
    assert found.streams == {}
    assert "GYRO" in found.faults


@pytest.mark.parametrize(("kind", "pack"), [("b", "b"), ("s", "h"), ("l", "i"), ("f", "f"), ("d", "d"), ("j", "q")])
def test_numbers_of_every_type_are_read(kind: str, pack: str) -> None:
    raw = struct.pack(f">6{pack}", 1, 2, 3, -4, -5, -6)
    found = read_payload(nest("DEVC", nest("STRM", text("ORIN", "XYZ"), klv("GYRO", kind, len(raw) // 2, raw))))
    assert found.streams["GYRO"].values().tolist() == [[1, 2, 3], [-4, -5, -6]]


def test_each_axis_may_have_its_own_scale() -> None:
    scale = klv("SCAL", "s", 2, struct.pack(">3h", 1, 10, 100))
    raw = klv("ACCL", "s", 6, struct.pack(">3h", 100, 100, 100))
    found = read_payload(nest("DEVC", nest("STRM", text("ORIN", "XYZ"), scale, raw)))
    assert found.streams["ACCL"].values().tolist() == [[100, 10, 1]]


def test_stamps_are_those_of_the_stream_and_of_the_first_frame() -> None:
    found = read_payload(
        nest(
            "DEVC",
            tick(5),
            stream("ACCL", STORED, stamp(80_577), tick(7)),
            nest("STRM", stamp(85_608), klv("SHUT", "f", 4, floats(0.01))),
        )
    )
    assert found.streams["ACCL"].stamps_us == {"STMP": 80_577, "TICK": 7000}
    assert found.frame_us == {"STMP": 85_608}


def test_another_device_in_the_payload_is_left_alone() -> None:
    drone = nest("DEVC", text("DVNM", "Karma"), nest("STRM", klv("KBAT", "s", 2, bytes(8))))
    second = nest("DEVC", text("DVNM", "SENSORB6"), stream("ACCL", STORED * 2))
    camera = nest("DEVC", text("DVNM", "Camera"), stream("ACCL", STORED))
    assert read_payload(drone + camera + second).streams["ACCL"].values()[0] == pytest.approx([1, -2, 9.8])


def test_no_length_is_believed_beyond_what_is_there() -> None:
    data = nest("DEVC", stream("ACCL", STORED))
    for end in range(len(data)):
        assert read_payload(data[:end]).streams == {}
    assert list(entries(struct.pack(">4scBH", b"ACCL", b"s", 255, 65535) + bytes(100))) == []


def test_any_bytes_are_read_without_an_error() -> None:
    rng = random.Random(0)
    data = nest("DEVC", text("DVNM", "Hero9"), stream("ACCL", STORED, stamp(1)), stream("GYRO", STORED, stamp(2)))
    for _ in range(3000):
        changed = bytearray(data)
        for _ in range(rng.randint(1, 6)):
            changed[rng.randrange(len(data))] = rng.randrange(256)
        for found in read_payload(bytes(changed)).streams.values():
            assert found.values().shape[1] == 3
    for size in range(300):
        read_payload(rng.randbytes(size))
