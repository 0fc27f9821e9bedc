"""When samples were taken, and how long a device is left alone: stamps, hops, batches, and what is pending."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mmg.sources.clock.sample_clock import SampleClock
from mmg.sources.ports.port import REST_S
from mmg.sources.ports.serial import conversation
from mmg.sources.ports.serial.conversation import Conversation
from mmg.sources.ports.serial.line import SerialLine
from mmg.sources.ports.serial.port import SerialPort
from mmg.sources.protocols import open_parser
from mmg.sources.protocols import text as lines
from mmg.sources.url import parse_url
from mmg.streams.grid import HopGrid
from mmg.types import Chunk
from ports.serial_port.devices import (
    PERIOD_NS,
    ROW,
    Listener,
    Server,
    Terminal,
    frame,
    imu,
    losses,
    serial,
    speaking,
    times_of,
    until,
    values_of,
)


@pytest.mark.realtime
@pytest.mark.parametrize("protocol", ["witmotion", "xsens", "bno08x"])
def test_samples_are_stamped_when_they_left_the_device(terminal: Terminal, listener: Listener, protocol: str) -> None:
    terminal.plug()
    port = listener.open(terminal.url, imu(optional_gyro=True))
    until(lambda: port.status.connected)
    terminal.said_ns.clear()
    terminal.speak = speaking(protocol)
    chunks = listener.hear(20)
    numbers = np.rint(values_of(chunks)[:, 0] * 100).astype(int)
    errors_ms = (times_of(chunks) - np.array(terminal.said_ns)[numbers]) / 1e6
    assert np.median(np.abs(errors_ms)) < 5
    assert np.quantile(np.abs(errors_ms), 0.8) < 20
    assert np.abs(errors_ms).max() < 250  # this machine may be busy
    assert port.status.jitter_ms > 0


def test_all_that_is_pending_on_a_socket_is_read_at_once(server: Server, listener: Listener) -> None:
    port = listener.open(f"{server.url}?protocol=xsens&baud=921600")
    server.accept()
    until(lambda: port.status.connected)
    server.send(b"".join(frame("xsens", n) for n in range(300)))
    chunks = listener.hear(300)
    assert len(chunks) <= 10
    np.testing.assert_allclose(np.diff(times_of(chunks))[100:], PERIOD_NS, rtol=0.02)


def test_the_last_words_of_a_device_that_goes_are_heard(server: Server, listener: Listener) -> None:
    port = listener.open(f"{server.url}?protocol=xsens")
    server.accept()
    until(lambda: port.status.connected)
    server.send(b"".join(frame("xsens", n) for n in range(50)))
    server.hang_up()
    assert len(values_of(listener.hear(50))) == 50
    until(lambda: port.status.reason == "unplugged")


@pytest.mark.realtime
@pytest.mark.usefixtures("quick")
def test_samples_after_a_pause_are_stamped_when_they_left_the_device(terminal: Terminal, listener: Listener) -> None:
    paused = threading.Event()
    terminal.plug(lambda index: b"" if paused.is_set() else frame("witmotion", index))
    port = listener.open(f"{terminal.url}?baud=115200")
    listener.hear(30)
    paused.set()
    until(lambda: port.status.reason.startswith("stalled"))
    listener.forget()
    paused.clear()
    [chunk, *_] = listener.hear(5)
    said_ns = terminal.said_ns[round(float(chunk.samples[0, 0]) * 100)]
    assert abs(int(chunk.times_ns[0]) - said_ns) < 60e6


def test_a_port_that_is_neither_a_file_nor_a_socket_is_read_too() -> None:
    with serial.serial_for_url("loop://", timeout=0.1) as port:
        line = SerialLine(port, "serial://loop://")
        assert line.read() == b""
        port.write(b"all of it")
        assert line.read() == b"all of it"


def test_a_port_that_cannot_tell_what_is_pending_is_not_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rests_of("loop://", monkeypatch) == []


def test_a_device_is_left_alone_for_half_a_second_at_most(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal.plug()
    assert rests_of(terminal.url.removeprefix("serial://"), monkeypatch) == [REST_S]


def rests_of(device: str, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long a device that is known is left alone in a hop of an hour."""
    port, waits = SerialPort(parse_url("serial:///dev/ttyIMU"), imu()), list[float]()

    def wait(seconds: float) -> None:
        waits.append(seconds)
        port._stopping.set()

    called: Any = SimpleNamespace(wait=wait, clear=lambda: None)
    port._called, port._hop_ns, port._newest_ns = called, 3600 * 10**9, time.monotonic_ns()
    port.want(port._newest_ns)
    talk = Conversation(open_parser("witmotion"), time.monotonic())
    monkeypatch.setattr(talk, "rest_s", lambda _: 60.0)
    with serial.serial_for_url(device, timeout=0.1) as opened:
        assert port._take_rest(talk, SerialLine(opened, port.url)) == b""
    return waits


def test_each_reason_why_nothing_comes_ends_the_engines_wait_once() -> None:
    port, told = SerialPort(parse_url("serial:///dev/ttyIMU"), imu()), list[str]()
    port._lost = lambda: told.append(port.status.reason)
    talk = Conversation(open_parser("witmotion"), 0.0)
    for reason in ("bytes, but no valid frames", "silent", "silent", "", "silent"):
        port._report(talk, reason)
    assert told == ["bytes, but no valid frames", "silent", "silent"]


def listen_for_hops(
    listener: Listener, url: str, hops: HopGrid, came_ns: list[int], monkeypatch: pytest.MonkeyPatch
) -> SerialPort:
    """A port whose samples are wanted at the ends of these hops, and that knows its device after half a second."""
    monkeypatch.setattr(conversation, "KNOWN_S", 0.5)
    port = SerialPort(parse_url(url), imu())
    listener.ports.append(port)

    def deliver(chunk: Chunk) -> None:
        came_ns.append(time.monotonic_ns())
        listener.chunks.put(chunk)

    port.start(deliver, hops)
    return port


@pytest.mark.realtime
@pytest.mark.parametrize("protocol", ["witmotion", "xsens", "text"])
def test_what_is_wanted_at_a_hops_end_comes_just_after_it_all_at_once_and_in_time(
    terminal: Terminal, listener: Listener, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    terminal.plug(speaking(protocol))
    hops, came_ns = HopGrid(time.monotonic_ns(), 250_000_000), list[int]()
    port = listen_for_hops(listener, f"{terminal.url}?baud=115200&protocol={protocol}", hops, came_ns, monkeypatch)
    chunks = listener.hear(400)
    values, times_ns = values_of(chunks), times_of(chunks)
    np.testing.assert_allclose(np.diff(values[:, 0]), 0.01, atol=6e-3)
    said_ns = [terminal.said_ns[round(float(row[0]) * 100)] for row in values]
    errors_ms = np.abs(times_ns - said_ns)[60:] / 1e6
    assert np.median(errors_ms) < 4
    assert np.quantile(errors_ms, 0.9) < 20
    large = [number for number, chunk in enumerate(chunks) if len(chunk.times_ns) >= 20]
    assert len(large) >= 5, "between the hops' ends it sleeps"
    late_ms = [(came_ns[number] - hops.start_ns(hops.hop_at(came_ns[number]))) / 1e6 for number in large]
    assert np.median(late_ms) < 25
    assert not any(losses(port).values())


def test_a_device_that_sends_in_batches_is_listened_for(
    terminal: Terminal, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def say(index: int) -> bytes:
        return b"".join(frame("xsens", n) for n in range(index - 19, index + 1)) if index % 20 == 19 else b""

    terminal.plug(say)
    hops, came_ns = HopGrid(time.monotonic_ns(), 250_000_000), list[int]()
    listen_for_hops(listener, f"{terminal.url}?baud=115200&protocol=xsens", hops, came_ns, monkeypatch)
    chunks = listener.hear(300)
    sent_ns = [terminal.said_ns[round(float(chunk.samples[-1, 0]) * 100)] for chunk in chunks]
    assert [len(chunk.times_ns) for chunk in chunks] == [20] * 15
    assert np.median((np.array(came_ns[:15]) - sent_ns) / 1e6) < 20


@pytest.mark.realtime
def test_a_sample_whose_rest_is_still_to_come_is_waited_for_after_a_rest(
    terminal: Terminal, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = b"".join(frame("witmotion", n) for n in range(1000))
    size = len(frame("witmotion", 0))
    terminal.plug(lambda index: whole[index * size - 5 : (index + 1) * size - 5] if index else whole[: size - 5])
    hops, came_ns = HopGrid(time.monotonic_ns(), 250_000_000), list[int]()
    listen_for_hops(listener, f"{terminal.url}?baud=115200&protocol=witmotion", hops, came_ns, monkeypatch)
    chunks = listener.hear(300)
    # The end of a sample comes with the beginning of the next one.
    ended_ns = [terminal.said_ns[round(float(row[0]) * 100) + 1] for row in values_of(chunks)]
    assert np.median(np.abs(times_of(chunks) - ended_ns)[60:]) < 4e6


@pytest.mark.realtime
def test_a_lost_byte_does_not_shift_the_times_of_what_is_read_at_once(
    terminal: Terminal, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = speaking("witmotion")
    terminal.plug(lambda index: whole(index)[1 if index == 120 else 0 :])
    hops, came_ns = HopGrid(time.monotonic_ns(), 250_000_000), list[int]()
    listen_for_hops(listener, f"{terminal.url}?baud=115200&protocol=witmotion", hops, came_ns, monkeypatch)
    chunks = listener.hear(250)
    said_ns = [terminal.said_ns[round(float(row[0]) * 100)] for row in values_of(chunks)]
    assert abs(float(np.median((times_of(chunks) - said_ns)[130:]))) < 4e6


def test_a_device_is_left_alone_no_longer_than_its_buffer_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = open_parser("xsens")
    talk = Conversation(parser, 100.0)
    for number in range(400):
        now_s = 100.0 + number / 100
        parser.feed(frame("xsens", number) * 4)
        talk.hear(now_s)
        if number % 20 == 0:
            talk.measure(now_s)
        assert now_s <= 100.0 + conversation.KNOWN_S or talk.rest_s(now_s) > 0
    a_second = 400 * len(frame("xsens", 0))
    assert talk.rest_s(104.0) == pytest.approx(conversation.HELD_BYTES / a_second, rel=0.02)
    with monkeypatch.context() as patched:
        patched.setattr(SampleClock, "is_in_doubt", True)
        assert talk.rest_s(104.0) == 0, "each read tells more of when samples are taken"
    talk.hear(105.0)
    assert talk.rest_s(105.0) == 0, "it was silent: now it is listened for"


def test_a_clock_of_whole_seconds_is_told_while_its_samples_come(terminal: Terminal, listener: Listener) -> None:
    def speak(index: int) -> bytes:
        return lines.encode_json([index % 1000 / 100, *ROW[1:]], index * PERIOD_NS // 10**9 * 10**9)

    terminal.plug(speak)
    port = listener.open(f"{terminal.url}?protocol=text&baud=115200")
    chunks = listener.hear(150)
    assert port.status.note == "many samples share one time of its clock: they are counted instead"
    assert (port.status.connected, port.status.reason) == (True, "")
    steps_ms = np.diff(times_of(chunks))[-100:] / 1e6
    assert abs(np.median(steps_ms) - 10) < 2
