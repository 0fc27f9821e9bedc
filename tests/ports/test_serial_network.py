"""Serial ports on a network whose other end sends without end, without line ends, faster than is read, or nonsense."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
from mmg.errors import SourceLost
from mmg.sources.ports.serial.line import SerialLine
from mmg.sources.ports.serial.opening import open_serial
from recordings import ROOT

serial = pytest.importorskip("serial", reason="pyserial is not installed: pip install -e '.[serial]'")

pytestmark = [pytest.mark.realtime, pytest.mark.filterwarnings("ignore:set(Daemon|Name)")]  # pyserial's own

from mmg.sources.ports.serial.network import LONGEST_OPTION, MOST_HELD, Rfc2217Port  # noqa: E402

PATIENCE_S = 20.0
FLOOD_BYTES = 8 << 20
FLOOD_S = 2.0
GROWTH_MIB = 20
FLOODS = {
    "zeros": bytes(1 << 16),
    "one line": b"1.25," * 13_000,
    "lines": b"1,2,3,4,5,6\n" * 5_000,
    "beginnings": b"\xfa\xff\x36\xff\xff\xff" * 10_000,
    "escapes": b"\xff\xff" * 30_000,
}
LISTEN = """
import resource, sys
sys.path.insert(0, "tests")
from fakes import signal_modality
from mmg.sources.ports.serial.port import SerialPort
from mmg.sources.url import parse_url
port = SerialPort(parse_url(sys.argv[1]), signal_modality())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
port.start(lambda chunk: None)
print("begun", flush=True)
sys.stdin.readline()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, flush=True)
port.close()
"""


class Flooding:
    """The other end: it sends the same over and over, and speaks RFC 2217 where it is asked to.

    waits: whether it begins to send when the port is open.
    """

    def __init__(self, data: bytes, *, speaks_rfc2217: bool, waits: bool = False) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        scheme = "rfc2217" if speaks_rfc2217 else "socket"
        self.url = f"{scheme}://127.0.0.1:{self._listening.getsockname()[1]}"
        self.sent, self.done = 0, threading.Event()
        self.data, self._speaks = data, speaks_rfc2217
        self._open = threading.Event()
        if not waits:
            self._open.set()
        self._connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def write(self, data: bytes) -> None:
        assert self._connection is not None
        self._connection.sendall(data)

    def _serve(self) -> None:
        with suppress(OSError):
            self._connection = self._listening.accept()[0]
            if self._speaks:
                loop = serial.serial_for_url("loop://")
                loop.reset_output_buffer = self._open.set  # the last that a port asks for while it is opened
                manager = serial.rfc2217.PortManager(loop, self)
                threading.Thread(target=self._negotiate, args=(manager,), daemon=True).start()
            self._open.wait(PATIENCE_S)
            while self.sent < FLOOD_BYTES:
                self._connection.sendall(self.data)
                self.sent += len(self.data)
        self.done.set()

    def _negotiate(self, manager: Any) -> None:
        assert self._connection is not None
        with suppress(OSError):
            while data := self._connection.recv(1024):
                b"".join(manager.filter(b"".join(data[at : at + 1] for at in range(len(data)))))

    def close(self) -> None:
        for one in (self._connection, self._listening):
            if one is not None:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
        self._thread.join(PATIENCE_S)


@pytest.fixture
def flooding(request: pytest.FixtureRequest) -> Iterator[Flooding]:
    data, speaks_rfc2217 = request.param
    end = Flooding(data, speaks_rfc2217=speaks_rfc2217, waits=speaks_rfc2217)
    yield end
    end.close()


EACH = [
    pytest.param((data, speaks), id=f"{name}, {'rfc2217' if speaks else 'socket'}")
    for name, data in FLOODS.items()
    for speaks in (False, True)
]


@pytest.mark.parametrize("flooding", EACH, indirect=True)
def test_a_run_holds_no_more_of_a_flood_than_a_few_megabytes(flooding: Flooding) -> None:
    command = [sys.executable, "-c", LISTEN, f"serial://{flooding.url}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        run.stdout.readline()
        flooding.done.wait(FLOOD_S)
        print("enough", file=run.stdin, flush=True)
        growth = int(run.stdout.readline())
        run.kill()
    assert flooding.sent > MOST_HELD
    assert growth < GROWTH_MIB


@pytest.mark.parametrize("speaks_rfc2217", [False, True], ids=["socket", "rfc2217"])
def test_a_port_that_sends_from_the_first_moment_on_is_opened(speaks_rfc2217: bool) -> None:
    with closing(Flooding(b"x" * 4096, speaks_rfc2217=speaks_rfc2217)) as end:
        began_s = time.monotonic()
        with closing(open_serial(end.url, 115200, "serial://it")) as port:
            assert SerialLine(port, "serial://it").read().strip(b"x") == b""
        assert time.monotonic() - began_s < PATIENCE_S / 2


def port_of(data: bytes) -> tuple[Rfc2217Port, bytes]:
    port = Rfc2217Port(None)
    port._telnet_options, port._rfc2217_options = [], {}
    return port, port._plain(data)


@pytest.mark.parametrize(
    ("data", "plain"),
    [
        (b"abc", b"abc"),
        (b"a\xff\xffb", b"a\xffb"),
        (b"a\xff\xfa\x2c\x65\x01\xff\xf0b", b"ab"),
        (b"a\xff\xfa\x2c\xff\xff\xff\xf0b", b"ab"),
        (b"a\xff\xf0b", b"ab"),
        (b"a\xff\xf1b", b"ab"),
        (b"a\xff\xfe\xffb", b"ab"),
    ],
)
def test_what_is_telnets_is_taken_out_however_it_is_cut(data: bytes, plain: bytes) -> None:
    assert port_of(data)[1] == plain
    port, _ = port_of(b"")
    assert b"".join(port._plain(data[at : at + 1]) for at in range(len(data))) == plain


def test_a_subnegotiation_that_does_not_end_ends_the_connection() -> None:
    with pytest.raises(ValueError, match="does not end"):
        port_of(b"\xff\xfa" + b"x" * (LONGEST_OPTION + 1))


def read_on(line: SerialLine) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        line.read()


def test_a_bomb_of_options_is_a_lost_port() -> None:
    with (
        closing(Flooding(b"x" * 64, speaks_rfc2217=True, waits=True)) as end,
        closing(open_serial(end.url, 115200, "serial://it")) as port,
    ):
        end.data = b"\xff\xfa" + b"x" * 4096
        with pytest.raises(SourceLost):
            read_on(SerialLine(port, "serial://it"))


def test_what_nobody_reads_is_left_with_its_sender() -> None:
    with (
        closing(Flooding(b"x" * 4096, speaks_rfc2217=True, waits=True)) as end,
        closing(open_serial(end.url, 115200, "serial://it")) as port,
    ):
        begins_by_s = time.monotonic() + 10
        while not port.in_waiting and time.monotonic() < begins_by_s:
            assert not end.done.wait(0.05)
        assert not end.done.wait(FLOOD_S / 2)
        assert 0 < port.in_waiting < MOST_HELD + 1024
