"""Serial devices on pseudo terminals and sockets, and who listens to them."""

from __future__ import annotations

import os
import queue
import socket
import termios
import threading
import time
import tty
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import numpy as np
import pytest
from mmg.bundle.manifest import Channel, Encoder, Modality, Tensor
from mmg.sources.ports.serial import port as serial_port
from mmg.sources.ports.serial.port import SerialPort
from mmg.sources.protocols import encode_sample
from mmg.sources.protocols import text as lines
from mmg.sources.url import parse_url
from mmg.types import Chunk

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


def gone(error: Exception) -> Callable[..., bytes]:
    def read(*_: object) -> bytes:
        raise error

    return read


def row(index: int) -> bytes:
    return lines.encode_csv([index % 1000 / 100, *ROW[1:]], index * PERIOD_NS)
