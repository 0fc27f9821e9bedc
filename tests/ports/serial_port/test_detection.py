"""Baud rates and protocols are found out, and the columns are those that the bundle wants."""

from __future__ import annotations

import time

import numpy as np
import pytest
from mmg.sources.ports.serial import port as serial_port
from mmg.sources.protocols import PROTOCOLS, encode_sample
from mmg.sources.protocols import text as lines
from mmg.sources.protocols.witmotion import encode_sample as encode_witmotion
from ports.serial_port.devices import (
    NO_ACCELERATION,
    NONSENSE,
    ROW,
    Listener,
    Server,
    Terminal,
    frame,
    imu,
    losses,
    noise,
    row,
    speaking,
    times_of,
    until,
    values_of,
    with_damage,
)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_protocol_is_found_out_and_no_sample_of_it_is_lost(
    terminal: Terminal, listener: Listener, protocol: str
) -> None:
    port = listener.open(terminal.url, imu(optional_gyro=True))
    until(lambda: not port.status.connected and "no such device" in port.status.reason)
    terminal.plug(speaking(protocol))
    chunks = listener.hear(15)
    values = values_of(chunks)
    gyro = [0.0] * 3 if protocol == "bno08x" else ROW[3:]
    np.testing.assert_allclose(values[:, 1:], [[*ROW[1:3], *gyro]] * len(values), atol=6e-3)
    np.testing.assert_allclose(np.diff(values[:, 0]), 0.01, atol=6e-3)
    assert values.dtype == np.float32
    assert (np.diff(times_of(chunks)) > 0).all()
    assert all(chunk.dropped == 0 and chunk.modality == "imu" for chunk in chunks)
    until(lambda: port.status.reason == "")
    assert (port.status.connected, port.status.device) == (True, f"{protocol} on {terminal.path}")


def test_columns_come_as_the_bundle_wants_them(terminal: Terminal, listener: Listener) -> None:
    terminal.plug(speaking("witmotion"))
    listener.open(f"{terminal.url}?protocol=witmotion&baud=115200", imu(names=("gz", "ay")))
    np.testing.assert_allclose(values_of(listener.hear(1))[0], [0.125, -2.25], atol=6e-3)


@pytest.mark.usefixtures("quick")
def test_the_baud_rates_are_tried_in_turn_and_the_right_one_is_kept(terminal: Terminal, listener: Listener) -> None:
    def speak_at_230400(index: int) -> bytes:
        return frame("witmotion", index) if terminal.bauds[-1:] == [230400] else noise(index)

    terminal.plug(speak_at_230400)
    port = listener.open(terminal.url)
    until(lambda: port.status.reason == NONSENSE)
    listener.hear(20)
    assert list(dict.fromkeys(terminal.bauds)) == [115200, 9600, 921600, 460800, 230400]
    terminal.unplug()
    until(lambda: not port.status.connected)
    listener.forget()
    terminal.plug()
    listener.hear(20)
    assert set(terminal.bauds) == {230400}


@pytest.mark.usefixtures("quick")
def test_a_port_that_is_started_again_knows_the_baud_rate(terminal: Terminal, listener: Listener) -> None:
    terminal.plug(lambda index: frame("witmotion", index) if terminal.bauds[-1:] == [921600] else noise(index))
    port = listener.open(terminal.url)
    listener.hear(20)
    port.close()
    terminal.bauds.clear()
    listener.forget()
    port.start(listener.chunks.put)
    listener.hear(20)
    assert set(terminal.bauds) == {921600}


@pytest.mark.usefixtures("quick")
def test_a_device_in_the_wrong_protocol_is_listened_to_without_opening_it_again(
    server: Server, listener: Listener
) -> None:
    port = listener.open(f"{server.url}?protocol=xsens&baud=115200")
    server.accept()
    until(lambda: port.status.connected)
    sent, seen_s = iter(range(100_000)), time.monotonic()
    until(lambda: server.send(frame("witmotion", next(sent))) and time.monotonic() - seen_s > 0.6)
    assert (port.status.connected, port.status.reason) == (True, NONSENSE)
    assert listener.chunks.empty()
    until(lambda: server.send(frame("xsens", next(sent))) and port.status.reason == "")
    assert server.nobody_else_called()


@pytest.mark.usefixtures("quick")
def test_a_device_that_changes_its_protocol_is_found_out_anew(terminal: Terminal, listener: Listener) -> None:
    terminal.plug(with_damage("witmotion"))
    port = listener.open(f"{terminal.url}?baud=115200")
    listener.hear(20)
    assert port.status.device.startswith("witmotion on ")
    damaged = losses(port)["checksum_errors"]
    assert damaged > 0
    terminal.speak = speaking("vectornav-ascii")
    until(lambda: port.status.reason == NONSENSE)
    until(lambda: port.status.reason == "" and port.status.device.startswith("vectornav-ascii on "))
    assert losses(port)["checksum_errors"] >= damaged


@pytest.mark.usefixtures("quick")
def test_frames_without_acceleration_are_told_and_keep_the_baud_rate(terminal: Terminal, listener: Listener) -> None:
    terminal.plug(lambda index: b"".join(encode_witmotion([0.0] * 3 + ROW[3:])[11:] * 3 for _ in range(index and 1)))
    port = listener.open(f"{terminal.url}?protocol=witmotion")
    until(lambda: port.status.reason == f"witmotion at 115200 baud: {NO_ACCELERATION}")
    terminal.speak = speaking("witmotion")
    until(lambda: port.status.reason == "")
    assert set(terminal.bauds) == {115200}


@pytest.mark.usefixtures("quick")
def test_a_device_that_never_spoke_is_silent_and_tried_at_the_other_rates(
    terminal: Terminal, listener: Listener
) -> None:
    terminal.plug()
    port = listener.open(terminal.url)
    until(lambda: port.status.reason.startswith("silent: nothing for over "))
    assert port.status.connected
    until(lambda: set(terminal.bauds) == set(serial_port.BAUD_RATES))
    terminal.speak = speaking("witmotion")
    until(lambda: port.status.reason == "")


@pytest.mark.parametrize(("seconds", "told"), [(1.0, 1), (1.99, 1), (2.0, 2), (7.9, 4), (3600.0, 2048)])
def test_the_length_of_a_silence_is_told_in_few_steps(seconds: float, told: int) -> None:
    assert serial_port._roughly(seconds) == told


@pytest.mark.usefixtures("quick")
def test_a_header_that_came_once_is_remembered_through_other_lines_and_an_unplugged_cable(
    terminal: Terminal, listener: Listener
) -> None:
    terminal.plug(lambda index: lines.encode_header() if index == 0 else row(index))
    port = listener.open(f"{terminal.url}?protocol=text")
    listener.hear(10)
    terminal.speak = lambda index: b"wifi: reconnecting, attempt %d\n" % index
    until(lambda: port.status.reason.startswith("text at 115200 baud: lines, but none with acceleration"))
    assert "'wifi: reconnecting, attempt " in port.status.reason
    listener.forget()
    terminal.speak = row
    listener.hear(10)
    terminal.unplug()
    until(lambda: not port.status.connected)
    listener.forget()
    terminal.plug(row)
    heard = values_of(listener.hear(10))[:, 1:]
    np.testing.assert_allclose(heard, [ROW[1:]] * len(heard))
    assert set(terminal.bauds) == {115200}
    assert losses(port)["malformed"] <= 1  # the line that the cable cut


def test_axes_turn_acceleration_and_gyro_alike(server: Server, listener: Listener) -> None:
    port = listener.open(f"{server.url}?protocol=vectornav-binary&axes=y,-x,z")
    server.accept()
    until(lambda: port.status.connected)
    server.send(encode_sample("vectornav-binary", ROW, 0, 1))
    x, y, z, gx, gy, gz = ROW
    assert values_of(listener.hear(1)).tolist() == [[y, -x, z, gy, -gx, gz]]
