"""The schedule of faults: what can be written, what chance makes, and what is done to a device when."""

from __future__ import annotations

from typing import Any

import pytest
from mmg.errors import ConfigError
from mmg_tools.virtual.camera import VirtualCamera
from mmg_tools.virtual.faults import KINDS, Fault, FaultPlayer, kinds_of, parse_fault, random_faults
from mmg_tools.virtual.microphone import AlsaMicrophone
from mmg_tools.virtual.serial_device import VirtualSerial

DEVICES = {"imu": VirtualSerial, "audio": AlsaMicrophone, "video": VirtualCamera}


class Diary:
    """A device that only notes what is done to it, if a real one can."""

    def __init__(self, sensor: str) -> None:
        self.done: list[tuple[Any, ...]] = []
        self._kind = DEVICES[sensor]

    def __getattr__(self, name: str) -> Any:
        assert callable(getattr(self._kind, name))
        return lambda *arguments: self.done.append((name, *arguments))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("12:imu:unplug:3", Fault(12, "imu", "unplug", 3)),
        ("0.5:audio:overrun:0.2", Fault(0.5, "audio", "overrun", 0.2)),
        ("1:imu:corrupt:10", Fault(1, "imu", "corrupt", 10, 0.02)),
        ("1:imu:corrupt:10:0.5", Fault(1, "imu", "corrupt", 10, 0.5)),
        ("1:imu:drift:10:-300", Fault(1, "imu", "drift", 10, -300)),
        ("1:imu:clock_jump", Fault(1, "imu", "clock_jump", 0, 5)),
        ("1:imu:clock_jump:0:-20", Fault(1, "imu", "clock_jump", 0, -20)),
        ("1:video:unplug:2", Fault(1, "video", "unplug", 2)),
    ],
)
def test_a_fault_is_read(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("imu", "write AT:SENSOR:KIND:SECONDS"),
        ("1:2:3:4:5:6", "write AT:SENSOR:KIND:SECONDS"),
        ("1:nose:unplug:3", "'nose' is not a sensor: choose imu, audio, video"),
        ("1:imu:overrun:3", "imu has no fault 'overrun': choose unplug, stall, corrupt, jitter, drift, clock_jump"),
        ("1:audio:drift:3", "audio has no fault 'drift': choose unplug, stall, overrun, clip"),
        ("1:video:stall:3", "video has no fault 'stall': choose unplug$"),
        ("1:imu:unplug", "SECONDS must be a number from"),
        ("1:imu:unplug:0", "SECONDS must be a number from"),
        ("1:imu:unplug:nan", "SECONDS must be a number from"),
        ("-1:imu:unplug:2", "AT must be a number from 0"),
        ("1:imu:unplug:2:7", "unplug has no AMOUNT"),
        ("1:imu:corrupt:2:1.5", r"AMOUNT \(of the bytes\) must be a number from 0 to 1"),
        ("1:imu:clock_jump:3:1", "SECONDS must be a number from 0 to 0"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_in_one_line(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as refused:
        parse_fault(text)
    assert "\n" not in str(refused.value)


def test_faults_begin_and_end_in_time_on_their_devices() -> None:
    devices = {sensor: Diary(sensor) for sensor in DEVICES}
    texts = ["1:imu:unplug:3", "2:audio:stall:0.5", "2:imu:corrupt:1:0.1", "2.5:audio:overrun:0.2", "5:video:unplug:9"]
    player = FaultPlayer(map(parse_fault, reversed(texts)), devices)
    assert player.advance(0.9) == []
    assert list(map(str, player.advance(1.0))) == ["fault: imu unplug for 3 s"]
    assert devices["imu"].done == [("unplug",)]
    assert list(map(str, player.advance(2.6))) == [
        "fault: imu corrupt 0.1 of the bytes for 1 s",
        "fault: audio stall for 0.5 s",
        "fault: audio overrun for 0.2 s",
        "fault over: audio stall",
    ]
    assert player.advance(2.6) == []
    player.advance(float("inf"))
    assert devices["imu"].done == [("unplug",), ("corrupt", 0.1), ("corrupt", 0), ("plug",)]
    assert devices["audio"].done == [("stall",), ("overrun", 0.2), ("resume",)]
    assert devices["video"].done == [("unplug",), ("plug",)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_something_that_its_devices_can_do(kind: str) -> None:
    for sensor in KINDS[kind].sensors:
        device = Diary(sensor)
        FaultPlayer([Fault(0, sensor, kind, 1, 2)], {sensor: device}).advance(1)
        assert len(device.done) == (1 if KINDS[kind].end is None else 2)


def test_faults_that_would_undo_each_other_and_those_of_no_device_are_refused() -> None:
    twice = [parse_fault("1:imu:unplug:3"), parse_fault("2:imu:unplug:1")]
    with pytest.raises(ConfigError, match="at 2 s: the same fault from 1 s is not over by then"):
        FaultPlayer(twice, {"imu": None})
    with pytest.raises(ConfigError, match="there is no audio in this run"):
        FaultPlayer([parse_fault("1:audio:stall:3")], {"imu": None})


def test_chance_repeats_itself_keeps_within_the_scenario_and_to_one_fault_a_sensor() -> None:
    faults = random_faults(7, ("imu", "audio"), 600.0, 6.0)
    assert faults == random_faults(7, ("imu", "audio"), 600.0, 6.0)
    assert faults != random_faults(8, ("imu", "audio"), 600.0, 6.0)
    assert 25 < len(faults) < 75
    assert {fault.kind for fault in faults} == {*kinds_of("imu"), *kinds_of("audio")}
    for fault in faults:
        assert 0 <= fault.at_s <= fault.at_s + fault.seconds < 600
        assert not any(fault.overlaps(other) for other in faults if other is not fault)
        limits = KINDS[fault.kind]
        assert limits.lowest <= fault.amount <= limits.highest
    FaultPlayer(faults, {"imu": None, "audio": None})
    assert random_faults(7, (), 600.0, 6.0) == random_faults(7, ("imu",), 600.0, 0.0) == ()
