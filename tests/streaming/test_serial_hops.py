"""From the bytes of a serial IMU to decisions, on a scripted clock: no hop goes undecided without a word.

The boards are those of people: clocks of whole seconds, clocks that are set, batches, a header that is printed once,
and other lines between the samples.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterator

import pytest
from fakes import HOP_S, signal_modality, write_tiny_bundle
from mmg.bundle import Bundle
from mmg.sources.protocols.witmotion import encode_frame
from mmg.types import Decision
from wires import Say, Wire

SHARED = "many samples share one time of its clock: they are counted instead"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    path = write_tiny_bundle(tmp_path_factory.mktemp("serial") / "tiny", signal_modality(state_hops=4))
    with Bundle.open(path) as opened:
        yield opened


@pytest.fixture
def open_wire(bundle: Bundle) -> Iterator[Callable[..., Wire]]:
    opened: list[Wire] = []

    def make(query: str = "protocol=text", grace_s: float = 0.2) -> Wire:
        opened.append(Wire(bundle, query, grace_s))
        return opened[-1]

    yield make
    for wire in opened:
        wire.pipeline.close()


def body(ms: int) -> list[float]:
    """Somebody who moves: ``(6,)`` m/s^2 and rad/s."""
    t = ms / 1000
    turning = [math.sin(t * 5) / 3, math.cos(t * 4) / 5, math.sin(t * 3) / 5]
    return [math.sin(t * 9), math.cos(t * 7), 9.81 + math.sin(t * 8), *turning]


def text(ms: int, key: str, time: float) -> bytes:
    values = dict(zip(("ax", "ay", "az", "gx", "gy", "gz"), (round(value, 3) for value in body(ms)), strict=True))
    return json.dumps({key: time, **values}).encode() + b"\n"


def witmotion(ms: int, calendar_ms: int) -> bytes:
    seconds, rest_ms = divmod(calendar_ms, 1000)
    calendar = bytes((15, 1, 1, 0, seconds // 60 % 60, seconds % 60)) + struct.pack("<H", rest_ms)
    counts = [round(value * scale) for value, scale in zip(body(ms), [208.8] * 3 + [938.7] * 3, strict=True)]
    acceleration, gyro = (struct.pack("<4h", *part, 0) for part in (counts[:3], counts[3:]))
    return encode_frame(0x50, calendar) + encode_frame(0x51, acceleration) + encode_frame(0x52, gyro)


def row(ms: int) -> bytes:
    return b",".join(b"%g" % value for value in (ms * 1000, *body(ms))) + b"\n"


def assert_every_hop(decided: list[Decision], seconds: float, but: int = 1) -> None:
    assert len(decided) >= round(seconds / HOP_S) - 1 - but, [decision.t_s for decision in decided]


CLOCKS: dict[str, tuple[str, Say, list[str]]] = {
    "witmotion, calendar in ms": ("witmotion", lambda ms: witmotion(ms, ms), []),
    "witmotion, calendar in whole seconds": ("witmotion", lambda ms: witmotion(ms, ms // 1000 * 1000), [SHARED]),
    "witmotion, calendar stands still": ("witmotion", lambda ms: witmotion(ms, 0), [SHARED]),
    "text, t_s in whole seconds": ("text", lambda ms: text(ms, "t_s", ms // 1000), [SHARED]),
    "text, zeros": ("text", lambda ms: text(ms, "t_ms", 0), [SHARED]),
    "text, seconds since 1970 without a unit": (
        "text",
        lambda ms: text(ms, "time", 1_795_430_645 + ms // 1000),
        [SHARED],
    ),
    "text, milliseconds called microseconds": (
        "text",
        lambda ms: text(ms, "t_us", ms),
        ["0.001 times the host's pace"],
    ),
    "text, set back by 0.3 s every 5 s": (
        "text",
        lambda ms: text(ms, "t_ms", ms + 10**12 - 300 * (ms // 5000)),
        ["its clock was set back by 0.3 s: bridged"],
    ),
    "text, set ahead by 0.3 s every 5 s": ("text", lambda ms: text(ms, "t_ms", ms + 300 * (ms // 5000)), []),
    "text, a number of 16 bits": ("text", lambda ms: text(ms, "t_ms", (ms + 60_000) % 65_536), ["set back by 65.5 s"]),
}


@pytest.mark.parametrize("name", CLOCKS)
def test_whatever_the_clock_of_a_device_does_every_hop_is_decided_and_it_is_told(
    open_wire: Callable[..., Wire], name: str
) -> None:
    protocol, say, told = CLOCKS[name]
    wire = open_wire(f"protocol={protocol}")
    slow_start = 4 if "microseconds" in name else 1
    assert_every_hop(wire.run(say, 25), 25, but=slow_start)
    for words in told:
        assert words in wire.port.status.note
        assert any(words in note for note in wire.notes), wire.notes
    assert not [note for note in wire.notes if "faulty" in note or "gaps" in note]
    assert len(wire.notes) <= 2 + len(told)


@pytest.mark.parametrize("stamped", [True, False], ids=["with a time", "without"])
def test_batches_cost_no_hop_with_the_grace_that_is_named(open_wire: Callable[..., Wire], stamped: bool) -> None:
    def say(ms: int) -> bytes:
        if ms % 500 not in (420, 430):
            return b""
        span = range(ms - 490, ms - 120, 10) if ms % 500 == 420 else range(ms - 130, ms - 9, 10)  # two reads a batch
        return b"".join(text(at, "t_ms" if stamped else "n", at) for at in span)

    wire = open_wire()
    decided = wire.run(say, 20)
    line = [note for note in wire.notes if "--grace" in note][-1]
    grace_s = float(line.partition("--grace ")[2].split()[0])
    assert 0.4 < grace_s < 0.7
    patient = open_wire(grace_s=grace_s)
    every = patient.run(say, 20)
    assert_every_hop(every, 20, but=2)
    assert len(every) > len(decided)
    assert not [note for note in patient.notes if "--grace" in note]


OTHERS = {
    "a magnetometer's JSON after each": (1, b'{"mx":1.5,"my":2.5,"mz":3.5}\n'),
    "a debug print after each": (1, b"loop took 3 ms\n"),
    "a debug print after every third": (3, b"heading 12.3 deg\n"),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("key", ["t_ms", "n"])
def test_other_lines_between_the_samples_cost_no_hop(open_wire: Callable[..., Wire], name: str, key: str) -> None:
    every, other = OTHERS[name]
    wire = open_wire()
    decided = wire.run(lambda ms: text(ms, key, ms) + (other if ms // 10 % every == 0 else b""), 10)
    assert_every_hop(decided, 10)
    assert wire.notes == ["imu: connected: text on /dev/ttyIMU"]


def test_a_header_that_was_printed_once_outlasts_log_lines(open_wire: Callable[..., Wire]) -> None:
    wire = open_wire()
    wire.run(lambda ms: (b"t_us,ax,ay,az,gx,gy,gz\n" if ms == 0 else b"") + row(ms), 5)
    wire.run(lambda ms: b"wifi: reconnecting, attempt %d\n" % ms if ms % 40 == 0 else b"", 3.5)
    assert wire.notes[-1].startswith("imu: text at 115200 baud: lines, but none with acceleration that mmg can read")
    assert_every_hop(wire.run(row, 5), 5)
    assert wire.notes[-1] == "imu: connected: text on /dev/ttyIMU"


def test_a_header_that_was_printed_once_outlasts_a_cable_that_was_out(open_wire: Callable[..., Wire]) -> None:
    wire = open_wire()
    wire.run(lambda ms: (b"t_us,ax,ay,az,gx,gy,gz\n" if ms == 0 else b"") + row(ms), 5)
    wire.run(lambda _: b"", 2)
    wire.plug()
    assert_every_hop(wire.run(lambda ms: row(ms)[9 if ms == 7000 else 0 :], 5), 5)
