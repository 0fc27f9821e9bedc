"""What is lost, missed or gone: stalls, pauses, unplugging, damage, and devices that come back."""

from __future__ import annotations

import errno
import os
import termios
import threading
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from mmg.sources.ports.serial import conversation
from mmg.sources.ports.serial.port import SerialPort
from mmg.sources.protocols import encode_sample, witmotion
from mmg.sources.url import parse_url
from mmg.types import Chunk
from ports.serial_port.devices import (
    PATIENCE_S,
    PERIOD_NS,
    ROW,
    Listener,
    Server,
    Terminal,
    frame,
    gone,
    imu,
    losses,
    serial,
    speaking,
    times_of,
    until,
    with_damage,
)
from ports.usb_tree import UsbTree


@pytest.mark.usefixtures("quick")
def test_a_stall_is_told_and_the_port_opened_again(
    server: Server, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = listener.open(f"{server.url}?protocol=xsens")
    server.accept()
    until(lambda: port.status.connected)
    server.send(frame("xsens", 0) + frame("xsens", 1))
    listener.hear(2)
    until(lambda: port.status.reason.startswith("stalled: nothing for over "))
    assert port.status.connected
    first, server.connection = server.connection, None
    server.accept()  # a second call, though the first was never hung up
    monkeypatch.setattr(conversation, "REOPEN_S", PATIENCE_S)  # and no third one, however slow this machine is
    assert first is not None
    first.close()
    until(lambda: port.status.reason.startswith("stalled"))
    until(lambda: server.send(b"\0") and port.status.reason == "waiting for valid frames")
    server.send(frame("xsens", 5))
    [chunk] = listener.hear(1)
    assert chunk.dropped == 3
    until(lambda: port.status.reason == "")
    assert losses(port)["gaps"] == 3


@pytest.mark.usefixtures("quick")
def test_a_pause_is_no_loss_and_changes_no_baud_rate(terminal: Terminal, listener: Listener) -> None:
    paused = threading.Event()
    sent = iter(range(100_000))
    terminal.plug(lambda _: b"" if paused.is_set() else frame("xsens", next(sent)))
    port = listener.open(terminal.url)
    listener.hear(10)
    paused.set()
    paused_s = time.monotonic()
    until(lambda: port.status.reason.startswith("stalled") and time.monotonic() - paused_s > 2 * conversation.REOPEN_S)
    listener.forget()
    paused.clear()
    chunks = listener.hear(10)
    # Opening the port again throws away what the terminal holds: a frame, where the device speaks just then.
    assert sum(chunk.dropped for chunk in chunks) <= 1
    assert losses(port)["gaps"] <= 1
    assert set(terminal.bauds) == {115200}


@pytest.mark.usefixtures("quick")
def test_losses_go_on_through_unplugging_and_another_protocol(terminal: Terminal, listener: Listener) -> None:
    port = listener.open(f"{terminal.url}?baud=115200")
    seen = [losses(port)]
    for protocol in ("xsens", "vectornav-binary", "xsens"):
        terminal.plug(with_damage(protocol))
        chunks = listener.hear(20)
        assert {chunk.dropped for chunk in chunks} == {0, 1}
        assert port.status.device == f"{protocol} on {terminal.path}"
        seen.append(losses(port))
        terminal.unplug()
        until(lambda: not port.status.connected)
        seen.append(losses(port))
        until(lambda: "no such device" in port.status.reason)
        seen.append(losses(port))
        listener.forget()
    assert all(after[kind] >= count for before, after in pairwise(seen) for kind, count in before.items())
    damaged = [counted.get("checksum_errors", 0) for counted in seen]
    assert damaged[1] >= 1
    assert damaged[4] > damaged[3]
    assert damaged[7] > damaged[6]
    assert seen[7]["gaps"] > seen[3]["gaps"] > 0


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "error",
    [serial.SerialException("read failed"), OSError(errno.EIO, "I/O"), TypeError("None"), termios.error(5, "I/O")],
    ids=lambda error: type(error).__name__,
)
def test_whatever_pyserial_raises_of_a_device_that_is_gone_is_an_unplug(
    terminal: Terminal, listener: Listener, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    terminal.plug(speaking("witmotion"))
    port = listener.open(terminal.url)
    listener.hear(5)
    with monkeypatch.context() as patch:
        patch.setattr(serial.Serial, "read", gone(error))
        until(lambda: port.status.reason == "unplugged")
        assert not port.status.connected
    listener.forget()
    listener.hear(5)
    assert port.status.connected


@pytest.mark.usefixtures("quick")
def test_a_device_that_goes_while_it_is_opened_is_tried_again(
    terminal: Terminal, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.plug(speaking("witmotion"))
    with monkeypatch.context() as patch:
        patch.setattr(termios, "tcflush", gone(termios.error(errno.EIO, "Input/output error")))
        port = listener.open(terminal.url)
        until(lambda: port.status.reason == "cannot be opened: Input/output error")
    listener.hear(5)


@pytest.mark.usefixtures("quick")
def test_an_error_that_nobody_foresaw_is_told_and_the_port_goes_on(terminal: Terminal, listener: Listener) -> None:
    terminal.plug(speaking("witmotion"))
    port, refused = SerialPort(parse_url(terminal.url), imu()), threading.Event()
    listener.ports.append(port)

    def refuse_once(chunk: Chunk) -> None:
        if not refused.is_set():
            refused.set()
            raise KeyError("imu")
        listener.chunks.put(chunk)

    port.start(refuse_once)
    until(lambda: port.status.reason == "failed: KeyError: 'imu'")
    assert not port.status.connected
    listener.hear(5)
    assert port.status.connected


def test_values_that_are_no_numbers_are_not_delivered_but_counted(server: Server, listener: Listener) -> None:
    port = listener.open(f"{server.url}?protocol=vectornav-binary")
    server.accept()
    until(lambda: port.status.connected)
    wrong = [encode_sample("vectornav-binary", [value, *ROW[1:]], 0, n) for n, value in enumerate((np.nan, np.inf), 5)]
    server.send(frame("vectornav-binary", 1))
    listener.hear(1)
    server.send(b"".join(wrong) + frame("vectornav-binary", 2))
    [chunk] = listener.hear(1)
    assert np.isfinite(chunk.samples).all()
    assert chunk.dropped == 2
    until(lambda: losses(port)["malformed"] == 2)


@pytest.mark.realtime
def test_a_restarted_device_is_followed(terminal: Terminal, listener: Listener) -> None:
    terminal.plug(lambda index: encode_sample("xsens", ROW, index, (index + 5000) * PERIOD_NS))
    port = listener.open(f"{terminal.url}?protocol=xsens&baud=115200")
    before = listener.hear(20)
    terminal.speak = lambda index: encode_sample("xsens", ROW, index, index * PERIOD_NS)
    after = listener.hear(60)
    assert (np.diff(times_of(before + after)) > 0).all()
    assert abs(time.monotonic_ns() - int(after[-1].times_ns[-1])) < 100e6
    steps_ms = np.diff(times_of(after))[-30:] / 1e6
    assert abs(np.median(steps_ms) - 10) < 1
    assert losses(port)["gaps"] == 0


def test_a_gyro_that_the_bundle_needs_is_missed_and_the_port_left_open(server: Server, listener: Listener) -> None:
    port = listener.open(server.url)
    server.accept()
    until(lambda: port.status.connected)
    server.send(b"".join(frame("bno08x", n) for n in range(10)))
    until(lambda: port.status.reason == "this IMU has no gyroscope, which this bundle needs")
    server.send(b"".join(frame("bno08x", n) for n in (10, 11, 13)))
    until(lambda: losses(port)["gaps"] == 1)
    assert port.status.reason == "this IMU has no gyroscope, which this bundle needs"
    assert port.status.connected
    assert listener.chunks.empty()


def test_damage_to_other_frames_of_the_device_is_not_told_as_lost_samples(server: Server, listener: Listener) -> None:
    port = listener.open(f"{server.url}?protocol=witmotion&baud=115200")
    server.accept()
    until(lambda: port.status.connected)
    angle = witmotion.encode_frame(0x53, bytes(8))
    damaged = angle[:-1] + bytes([angle[-1] ^ 1])
    server.send(b"".join(frame("witmotion", n) + angle for n in range(10)))
    listener.hear(10)
    server.send(b"".join(frame("witmotion", n) + (damaged if n % 2 else angle) for n in range(10, 60)))
    chunks = listener.hear(50)
    assert sum(len(chunk.times_ns) for chunk in chunks) >= 50
    assert sum(chunk.dropped for chunk in chunks) == 0
    until(lambda: losses(port)["checksum_errors"] == 25)


def test_lines_between_the_samples_are_no_losses(server: Server, listener: Listener) -> None:
    port = listener.open(f"{server.url}?protocol=text&baud=115200")
    server.accept()
    until(lambda: port.status.connected)
    others = [b'{"mx":1.5,"my":2.5,"mz":3.5}\n', b"loop took 3 ms\n", b"heading, 12.3\n"]
    server.send(b"".join(frame("text", n) + others[n % 3] for n in range(200)))
    chunks = listener.hear(200)
    assert sum(chunk.dropped for chunk in chunks) == 0
    assert not any(losses(port).values())


@pytest.mark.usefixtures("quick")
def test_a_usb_device_is_found_under_its_new_name_and_no_other_is_taken(
    terminal: Terminal, listener: Listener, tmp_path: Path
) -> None:
    tree = UsbTree(tmp_path / "root")
    terminal.plug(speaking("witmotion"))
    first = tree.plug("ttyUSB0", "1-1", os.path.realpath(terminal.path), serial="MINE")
    url = parse_url(f"serial://{first}?protocol=witmotion&usb=1a86:7523:00:MINE")
    port = SerialPort(url, imu(), root=tree.root)
    listener.ports.append(port)
    port.start(listener.chunks.put)
    listener.hear(5)
    terminal.unplug()
    tree.unplug("ttyUSB0")
    until(lambda: "there is no such device" in port.status.reason)
    terminal.plug(speaking("witmotion"))
    tree.plug("ttyUSB0", "1-2", os.path.realpath(terminal.path), serial="OTHER")
    until(lambda: "is another device, 1a86:7523:00:OTHER" in port.status.reason)
    listener.forget()
    assert listener.chunks.empty()
    tree.unplug("ttyUSB0")
    second = tree.plug("ttyUSB1", "1-1", os.path.realpath(terminal.path), serial="MINE")
    listener.hear(5)
    assert port.status.device == f"witmotion on {second}"


@pytest.mark.usefixtures("quick")
def test_another_usb_device_under_a_name_that_the_user_gave_is_taken_and_told(
    terminal: Terminal, listener: Listener, tmp_path: Path
) -> None:
    tree = UsbTree(tmp_path / "root")
    terminal.plug(speaking("witmotion"))
    path = tree.plug("ttyUSB0", "1-1", os.path.realpath(terminal.path), serial="ONE")
    port = SerialPort(parse_url(f"serial://{path}?protocol=witmotion"), imu(), root=tree.root)
    listener.ports.append(port)
    port.start(listener.chunks.put)
    listener.hear(5)
    assert port.status.note == ""
    terminal.unplug()
    tree.unplug("ttyUSB0")
    until(lambda: not port.status.connected)
    listener.forget()
    terminal.plug(speaking("witmotion"))
    tree.plug("ttyUSB0", "1-1", os.path.realpath(terminal.path), serial="TWO")
    listener.hear(5)
    assert port.status.note == "another USB device than before: 1a86:7523:00:TWO, not 1a86:7523:00:ONE"
