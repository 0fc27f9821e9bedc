"""What a URL may name, what the kernel answers, and how a port ends."""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from mmg.errors import BackendUnavailable, ConfigError, SourceError, SourceNotFound
from mmg.sources.ports.port import PortThread
from mmg.sources.ports.serial import opening
from mmg.sources.ports.serial.opening import open_serial
from mmg.sources.ports.serial.port import SerialPort
from mmg.sources.ports.serial.probe import listen
from mmg.sources.url import parse_url
from ports.serial_port.devices import (
    Listener,
    Server,
    Terminal,
    frame,
    imu,
    serial,
    speaking,
    until,
)


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


@pytest.mark.parametrize("state", [True, False])
def test_the_modem_lines_are_set_as_the_url_says(state: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "check_device", lambda *_: None)  # pyserial's loop is no port of a user's
    with open_serial("loop://", 115200, "serial://loop://", dtr=state, rts=not state) as port:
        assert (port.dsr, port.cts) == (state, not state)  # what a loop brings back


def test_a_terminal_without_modem_lines_is_opened_all_the_same(terminal: Terminal, listener: Listener) -> None:
    terminal.plug(speaking("witmotion"))
    listener.open(f"{terminal.url}?dtr=off&rts=off")
    listener.hear(5)
