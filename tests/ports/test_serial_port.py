"""The serial port on real pseudo terminals and sockets: detection, losses, stalls, unplugging, and every way to end."""

from __future__ import annotations

import errno
import os
import queue
import socket
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from mmg.bundle.manifest import Channel, Encoder, Modality, Tensor
from mmg.errors import BackendUnavailable, ConfigError, SourceError, SourceNotFound
from mmg.sources.ports.port import REST_S, PortThread
from mmg.sources.ports.serial import conversation, opening
from mmg.sources.ports.serial import port as serial_port
from mmg.sources.ports.serial.conversation import Conversation
from mmg.sources.ports.serial.line import SerialLine
from mmg.sources.ports.serial.opening import open_serial
from mmg.sources.ports.serial.port import SerialPort
from mmg.sources.ports.serial.probe import listen
from mmg.sources.protocols import PROTOCOLS, encode_sample, open_parser, witmotion
from mmg.sources.protocols import text as lines
from mmg.sources.protocols.witmotion import encode_sample as encode_witmotion
from mmg.sources.url import parse_url
from mmg.streams.grid import HopGrid
from mmg.types import Chunk
from ports.usb_tree import UsbTree

serial = pytest.importorskip("serial", reason="pyserial is not installed: pip install -e '.[serial]'")

PATIENCE_S = 20.0
PERIOD_NS = 10_000_000
ROW = [1.5, -2.25, 9.75, 0.5, -0.25, 0.125]
NONSENSE = "bytes, but no valid frames: wrong protocol or baud?"
NO_ACCELERATION = "valid frames, but none with acceleration: is that output switched on?"
ENCODER = Encoder(
    kind="streaming",
    tokens_per_hop=1,
    input=Tensor(name="imu", shape=(1, 50, 6)),
    output=Tensor(name="tokens", shape=(1, 1, 8)),
    files=(),
)
Speaker = Callable[[int], bytes]


def imu(*, optional_gyro: bool = False, names: tuple[str, ...] = serial_port.COLUMNS) -> Modality:
    channels = tuple(
        Channel(name=n, unit="rad/s" if n[0] == "g" else "m/s^2", optional=optional_gyro and n[0] == "g") for n in names
    )
    return Modality(name="imu", kind="signal", rate_hz=100, channels=channels, encoder=ENCODER)


def frame(protocol: str, index: int) -> bytes:
    """One sample whose x is its number over 100."""
    return encode_sample(protocol, [index % 1000 / 100, *ROW[1:]], index, index * PERIOD_NS)


def speaking(protocol: str) -> Speaker:
    return lambda index: frame(protocol, index)


def with_damage(protocol: str) -> Speaker:
    return lambda index: frame(protocol, index)[:-4] + b"\0\0\0\0" if index % 8 == 6 else frame(protocol, index)


def noise(index: int) -> bytes:
    return Random(index).randbytes(64)


class Terminal:
    """A pseudo terminal under a fixed name, on which a device speaks a hundred times a second."""

    def __init__(self, path: Path) -> None:
        self.path, self.url = path, f"serial://{path}"
        self.speak: Speaker = lambda _: b""
        self.said_ns: list[int] = []
        self.bauds: list[int] = []
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._ends: tuple[int, int] | None = None
        self._thread = threading.Thread(target=self._speak)
        self._thread.start()

    def plug(self, speak: Speaker | None = None) -> None:
        device, host = os.openpty()
        tty.setraw(host)
        os.set_blocking(device, False)
        self.path.symlink_to(os.ttyname(host))
        with self._lock:
            self.speak, self.said_ns, self.bauds, self._ends = speak or self.speak, [], [], (device, host)

    def unplug(self) -> None:
        with self._lock:
            if self._ends is not None:
                self.path.unlink()
                for end in self._ends:
                    os.close(end)
            self._ends = None

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self.unplug()

    def _speak(self) -> None:
        next_s = time.monotonic()
        while not self._ended.wait(max(next_s - time.monotonic(), 0)):
            next_s += PERIOD_NS / 1e9
            with self._lock:
                if self._ends is not None:
                    device, host = self._ends
                    speed = termios.tcgetattr(host)[5]
                    self.bauds += [baud for baud in serial_port.BAUD_RATES if getattr(termios, f"B{baud}") == speed]
                    self.said_ns.append(time.monotonic_ns())
                    with suppress(BlockingIOError):  # like a UART it waits for nobody
                        os.write(device, self.speak(len(self.said_ns) - 1))


class Server:
    """A serial-to-network bridge."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(PATIENCE_S)
        self.url = f"serial://socket://127.0.0.1:{self._listening.getsockname()[1]}"
        self.connection: socket.socket | None = None

    def accept(self) -> None:
        self.hang_up()
        self.connection = self._listening.accept()[0]

    def send(self, data: bytes) -> bool:
        """Always True, so that one can send until something happens."""
        assert self.connection is not None
        self.connection.sendall(data)
        return True

    def nobody_else_called(self) -> bool:
        self._listening.setblocking(False)
        try:
            self._listening.accept()[0].close()
        except BlockingIOError:
            return True
        return False

    def hang_up(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def close(self) -> None:
        self.hang_up()
        self._listening.close()


class Listener:
    """Opens ports and keeps what they deliver."""

    def __init__(self) -> None:
        self.chunks: queue.Queue[Chunk] = queue.Queue()
        self.ports: list[SerialPort] = []

    def open(self, url: str, modality: Modality | None = None) -> SerialPort:
        port = SerialPort(parse_url(url), modality or imu())
        self.ports.append(port)
        port.start(self.chunks.put)
        return port

    def hear(self, samples: int) -> list[Chunk]:
        """The next chunks, until they hold so many."""
        heard = [self.chunks.get(timeout=PATIENCE_S)]
        while sum(len(chunk.samples) for chunk in heard) < samples:
            heard.append(self.chunks.get(timeout=PATIENCE_S))
        return heard

    def forget(self) -> None:
        while not self.chunks.empty():
            self.chunks.get()


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    for port in listener.ports:
        port.close()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with closing(Terminal(tmp_path / "ttyIMU")) as terminal:
        yield terminal


@pytest.fixture
def server() -> Iterator[Server]:
    with closing(Server()) as server:
        yield server


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that takes seconds takes tenths of them."""
    monkeypatch.setattr(conversation, "TRY_S", 0.2)
    monkeypatch.setattr(serial_port, "STALL_S", 0.15)
    monkeypatch.setattr(conversation, "REOPEN_S", 0.5)
    monkeypatch.setattr("mmg.sources.ports.port.RETRY_S", 0.1)


def until(happened: Callable[[], bool]) -> None:
    """Waits, and looks again."""
    deadline_s, pause = time.monotonic() + PATIENCE_S, threading.Event()
    while not happened():
        assert time.monotonic() < deadline_s, "it never happened"
        pause.wait(0.002)


def losses(port: SerialPort) -> dict[str, int]:
    return dict(port.status.losses)


def times_of(chunks: list[Chunk]) -> np.typing.NDArray[np.int64]:
    return np.concatenate([chunk.times_ns for chunk in chunks])


def values_of(chunks: list[Chunk]) -> np.typing.NDArray[np.float32]:
    return np.concatenate([chunk.samples for chunk in chunks])


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


def test_columns_come_as_the_bundle_wants_them(terminal: Terminal, listener: Listener) -> None:
    terminal.plug(speaking("witmotion"))
    listener.open(f"{terminal.url}?protocol=witmotion&baud=115200", imu(names=("gz", "ay")))
    np.testing.assert_allclose(values_of(listener.hear(1))[0], [0.125, -2.25], atol=6e-3)


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
    assert [chunk.dropped for chunk in chunks] == [0] * len(chunks)
    assert losses(port)["gaps"] == 0
    assert set(terminal.bauds) == {115200}


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


def gone(error: Exception) -> Callable[..., bytes]:
    def read(*_: object) -> bytes:
        raise error

    return read


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


def closing_takes_s(port: PortThread) -> float:
    started_s = time.monotonic()
    port.close()
    return time.monotonic() - started_s


def test_closing_is_quick_though_the_device_says_nothing(terminal: Terminal, listener: Listener) -> None:
    terminal.plug()
    port = listener.open(terminal.url)
    until(lambda: port.status.connected)
    assert closing_takes_s(port) < 0.4
    assert closing_takes_s(port) < 0.01


def test_closing_is_quick_though_the_device_floods_and_nothing_comes_after_it(
    server: Server, listener: Listener
) -> None:
    port = listener.open(server.url)
    server.accept()
    assert server.connection is not None
    flood, flooded = b"".join(frame("xsens", n) for n in range(2000)), threading.Event()

    def pour(connection: socket.socket) -> None:
        with suppress(OSError):
            while not flooded.is_set():
                connection.sendall(flood)

    pouring = threading.Thread(target=pour, args=(server.connection,))
    pouring.start()
    listener.hear(1000)
    assert closing_takes_s(port) < 0.6
    listener.forget()
    left = threading.Event()
    left.wait(0.1)  # nothing can be waited for: it must not happen
    assert listener.chunks.empty()
    flooded.set()
    server.hang_up()
    pouring.join()


def test_closing_is_quick_though_nobody_answers(listener: Listener) -> None:
    with socket.socket() as deaf, socket.socket() as first, socket.socket() as second:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for caller in (first, second):  # with these the queue is full: the next call hangs
            caller.setblocking(False)
            caller.connect_ex(deaf.getsockname())
        port = listener.open(f"serial://socket://127.0.0.1:{deaf.getsockname()[1]}")
        until(lambda: any(thread.name == "mmg imu" for thread in threading.enumerate()))
        assert not port.status.connected
        assert closing_takes_s(port) < 0.5


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


def test_a_device_is_left_alone_no_longer_than_its_buffer_holds() -> None:
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
    talk.hear(105.0)
    assert talk.rest_s(105.0) == 0, "it was silent: now it is listened for"


def test_a_device_is_opened_for_one_alone(terminal: Terminal) -> None:
    terminal.plug()
    with open_serial(str(terminal.path), 115200, terminal.url) as port:
        assert port.baudrate == 115200
        with pytest.raises(SourceError, match=r"in use by another program$") as caught:
            open_serial(str(terminal.path), 115200, terminal.url)
        assert getattr(caught.value.__cause__, "errno", None) == errno.EAGAIN
    open_serial(str(terminal.path), 9600, terminal.url).close()


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        (errno.ENOENT, SourceNotFound, "there is no such device as /dev/ttyIMU"),
        (errno.ENXIO, SourceNotFound, "there is no such device as /dev/ttyIMU"),
        (errno.EACCES, SourceError, "no permission: sudo usermod -aG dialout $USER, then log in again"),
        (errno.EBUSY, SourceError, "in use by another program"),
        (errno.EIO, SourceError, "cannot be opened: Input/output error"),
    ],
    ids=lambda value: errno.errorcode[value] if isinstance(value, int) else "",
)
def test_what_the_kernel_answers_is_told_in_plain_words(
    monkeypatch: pytest.MonkeyPatch, code: int, kind: type[SourceError], reason: str
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(opening, "_refuse_others", lambda *_: None)
    with pytest.raises(SourceError) as caught:
        open_serial("/dev/ttyIMU", 115200, "serial:///dev/ttyIMU")
    assert type(caught.value) is kind
    assert str(caught.value) == f"serial:///dev/ttyIMU: {reason}"


def test_what_is_no_serial_port_is_told(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.touch()
    for device, reason in (
        (str(file), f"cannot be opened: {file} is not a serial port"),
        (str(tmp_path), f"cannot be opened: {tmp_path} is not a serial port"),
        ("/dev/null", "cannot be opened: /dev/null is not a serial port"),
        ("socket://127.0.0.1:1", "cannot be opened: Connection refused"),
    ):
        with pytest.raises(SourceError) as caught:
            open_serial(device, 115200, "serial://it")
        assert str(caught.value) == f"serial://it: {reason}"


def test_a_camera_named_as_a_serial_port_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    camera, real_stat = tmp_path / "video0", Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        if path != camera:
            return real_stat(path, **options)
        fields = list(real_stat(Path("/dev/null")))
        return os.stat_result(fields, {"st_rdev": os.makedev(81, 0)})

    opened: list[object] = []
    monkeypatch.setattr(Path, "stat", stat)
    monkeypatch.setattr(os, "open", lambda *arguments: opened.append(arguments))
    with pytest.raises(SourceError, match="is not a serial port"):
        open_serial(str(camera), 115200, f"serial://{camera}")
    assert opened == []


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


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("speed=9600", "unknown option 'speed'"),
        ("baud=300", "must be 1200 to 1.2e"),
        ("protocol=morse", "choose auto, witmotion"),
        ("protocol=witmotion&columns=ax", "it has no options"),
        ("axes=y,x,z", "serial:///dev/ttyIMU.*: axes=y,x,z: is a mirror image"),
        ("dtr=1", "dtr=1: must be one of on, off"),
        ("usb=arduino", "usb=arduino: write VENDOR:PRODUCT"),
    ],
)
def test_a_url_that_cannot_be_is_refused_before_anything_is_opened(options: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        SerialPort(parse_url(f"serial:///dev/ttyIMU?{options}"), imu())


HANDLERS = [
    "spy:///dev/ttyIMU?file={file}",
    "SPY:///dev/ttyIMU?file={file}",
    "spy://loop://?file={file}",
    "alt:///dev/ttyIMU?class=PosixPollSerial",
    "loop://",
    "loop://?logging=debug",
    "hwgrep://IMU",
    "cp2110://0001",
    "socket://127.0.0.1:9?logging=debug",
    "rfc2217://127.0.0.1:9?logging=debug",
    "rfc2217://127.0.0.1:9?ign_set_control&%6Cogging=debug",
    "rfc2217://spy://127.0.0.1:9",
    "morse://key",
    "/dev/spy://x",
]


@pytest.mark.parametrize("device", HANDLERS)
def test_of_pyserials_urls_only_those_of_a_network_are_opened(device: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("precious")
    device = device.format(file=kept)
    with pytest.raises(ConfigError, match=r"^serial://it: a serial port is a path, as in .*rfc2217://HOST:PORT$"):
        open_serial(device, 115200, "serial://it")
    with pytest.raises(ConfigError, match="a serial port is a path"):
        SerialPort(parse_url(f"serial://{quote(device)}"), imu())
    heard = listen(device, "serial://it", 0.1)
    assert heard.problem.startswith("a serial port is a path")
    assert kept.read_text() == "precious"


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero", "/dev/stdin", "/proc/cpuinfo", "/"])
def test_a_node_that_is_not_known_to_be_a_ttys_is_not_opened(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor where the kernel tells nothing of it: to open it may be an act, as with a camera or a watchdog."""

    def refuse(*_arguments: object, **_settings: object) -> None:
        raise AssertionError("is opened")

    monkeypatch.setattr(opening, "SYSFS", tmp_path)
    monkeypatch.setattr(serial, "serial_for_url", refuse)
    with pytest.raises(SourceError, match="is not a serial port"):
        open_serial(device, 115200, "serial://it")


@pytest.mark.parametrize(
    "device",
    ["socket://host:4000", "Socket://[fe80::1%eth0]:1/", "rfc2217://10.0.0.1:2217?ign_set_control&timeout=0.5"],
)
def test_a_port_on_a_network_is_left(device: str) -> None:
    SerialPort(parse_url(f"serial://{quote(device)}"), imu()).close()


def test_a_bundle_that_wants_more_than_an_imu_is_refused() -> None:
    with pytest.raises(ConfigError, match="an IMU does not give pulse"):
        SerialPort(parse_url("serial:///dev/ttyIMU"), imu(names=("ax", "pulse")))


def test_without_pyserial_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(BackendUnavailable, match="pip install pyserial"):
        SerialPort(parse_url("serial:///dev/ttyIMU"), imu())


def row(index: int) -> bytes:
    return lines.encode_csv([index % 1000 / 100, *ROW[1:]], index * PERIOD_NS)


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


def test_lines_between_the_samples_are_no_losses(server: Server, listener: Listener) -> None:
    port = listener.open(f"{server.url}?protocol=text&baud=115200")
    server.accept()
    until(lambda: port.status.connected)
    others = [b'{"mx":1.5,"my":2.5,"mz":3.5}\n', b"loop took 3 ms\n", b"heading, 12.3\n"]
    server.send(b"".join(frame("text", n) + others[n % 3] for n in range(200)))
    chunks = listener.hear(200)
    assert sum(chunk.dropped for chunk in chunks) == 0
    assert not any(losses(port).values())


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


def test_axes_turn_acceleration_and_gyro_alike(server: Server, listener: Listener) -> None:
    port = listener.open(f"{server.url}?protocol=vectornav-binary&axes=y,-x,z")
    server.accept()
    until(lambda: port.status.connected)
    server.send(encode_sample("vectornav-binary", ROW, 0, 1))
    x, y, z, gx, gy, gz = ROW
    assert values_of(listener.hear(1)).tolist() == [[y, -x, z, gy, -gx, gz]]


@pytest.mark.parametrize("state", [True, False])
def test_the_modem_lines_are_set_as_the_url_says(state: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "check_device", lambda *_: None)  # pyserial's loop is no port of a user's
    with open_serial("loop://", 115200, "serial://loop://", dtr=state, rts=not state) as port:
        assert (port.dsr, port.cts) == (state, not state)  # what a loop brings back


def test_a_terminal_without_modem_lines_is_opened_all_the_same(terminal: Terminal, listener: Listener) -> None:
    terminal.plug(speaking("witmotion"))
    listener.open(f"{terminal.url}?dtr=off&rts=off")
    listener.hear(5)


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
