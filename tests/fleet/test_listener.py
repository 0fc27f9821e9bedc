"""What mmg-fleet tells of a broker that does as no broker should."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

pytest.importorskip("paho.mqtt", reason="paho-mqtt is not installed: it is in the extra mqtt")
from mmg.sinks.mqtt.address import read_address
from mmg.sinks.url import parse_sink_url
from mmg_fleet import listener
from mmg_fleet.listener import Listener

PATIENCE_S = 20.0
CONNACK = b"\x20\x03\x00\x00\x00"
GRANTED, NOT_AUTHORIZED = b"\x00", b"\x87"


@contextmanager
def listening(url: str) -> Iterator[queue.Queue[str]]:
    """The lines that are told."""
    lines: queue.Queue[str] = queue.Queue()
    address = read_address(parse_sink_url(url, ("mqtt",)))
    made = Listener(
        address,
        context=None,
        credentials=None,
        client_id="x",
        begin=lambda: None,
        take=lambda *_: None,
        report=lines.put,
    )
    made.open()
    try:
        yield lines
    finally:
        made.close()


def accept(server: socket.socket, reason: bytes) -> socket.socket:
    """Let it in, and answer what it wants to hear with this reason code."""
    connection, _ = server.accept()
    connection.recv(4096)
    connection.sendall(CONNACK)
    asked = connection.recv(4096)  # SUBSCRIBE, with one byte of length: the packet's number follows
    connection.sendall(b"\x90\x04" + asked[2:4] + b"\x00" + reason)
    return connection


def refuse_to_be_heard(server: socket.socket) -> None:
    with accept(server, NOT_AUTHORIZED) as connection:
        while connection.recv(4096):
            pass


def test_a_broker_that_lets_nothing_be_heard_is_told_and_not_called_connected() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        broker = threading.Thread(target=refuse_to_be_heard, args=(server,))
        broker.start()
        with listening(f"mqtt://127.0.0.1:{server.getsockname()[1]}/mmg") as lines:
            assert "the broker refuses: not authorized" in lines.get(timeout=PATIENCE_S)
        broker.join()
        assert lines.empty()


def test_a_broker_that_ends_the_connection_of_who_may_hear_nothing_is_told_of_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE_S)
        with listening(f"mqtt://127.0.0.1:{server.getsockname()[1]}/mmg") as lines:
            accept(server, NOT_AUTHORIZED).close()
            assert "the broker refuses: not authorized" in lines.get(timeout=PATIENCE_S)
            with server.accept()[0]:  # it tries again, and so the end of the first was heard
                assert lines.empty()


def close_without_a_word(server: socket.socket) -> None:
    server.accept()[0].close()


def send_too_much(server: socket.socket) -> None:
    with accept(server, GRANTED) as connection:
        connection.sendall(b"\x30\xff\xff\xff\x7f" + b"\x00\x05mmg/x")  # of 256 MB
        with suppress(ConnectionResetError):
            while connection.recv(4096):
                pass


@pytest.mark.parametrize(
    ("behave", "told"),
    [
        (close_without_a_word, "the connection is closed without an answer: does it want mqtts:?: trying again"),
        (send_too_much, "a packet of more than 4 MiB came, which the broker was told to keep: trying again"),
    ],
)
def test_why_nothing_is_heard_is_told(behave: Callable[[socket.socket], None], told: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        broker = threading.Thread(target=behave, args=(server,))
        broker.start()
        with listening(f"mqtt://127.0.0.1:{server.getsockname()[1]}/mmg") as lines:
            while not (line := lines.get(timeout=PATIENCE_S)).endswith(told):
                assert "connected: listening" in line
        broker.join()


def test_a_look_up_that_hangs_does_not_hold_the_end_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, over = threading.Event(), threading.Event()

    def look_up(*_given: Any, **_more: Any) -> Any:
        asked.set()
        over.wait(PATIENCE_S)
        raise socket.gaierror(socket.EAI_NONAME, "nobody")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(listener, "STOP_S", 0.05)
    with listening("mqtt://slow.example/mmg") as lines:
        assert asked.wait(PATIENCE_S)
    assert lines.empty()  # it still waits
    over.set()
