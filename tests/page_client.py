"""A page on a free port, and those who look at it: over real sockets, as browsers and programs do."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from mmg.sinks.event import About, Decided
from mmg.sinks.page.server import Page
from mmg.sinks.url import parse_sink_url
from mmg.types import ClockHealth, Decision, SensorState

PATIENCE_S = 30.0
LABELS = ("walking", "still", "unknown")
ABOUT = About(
    bundle="tiny",
    labels=LABELS,
    sensors={"imu": "scripted://imu", "audio": "scripted://audio"},
    hop_s=0.5,
    board="bench",
    kinds={"imu": "signal", "audio": "audio"},
)
LIVE = SensorState("live", 20.0, 3, clock=ClockHealth(12.0, 0.5, 0.1))
Headers = dict[str, str]


def decided(hop: int, label: str = "walking", **sensors: SensorState) -> Decided:
    """A decision of a live run."""
    scores = {"walking": 0.8, "still": 0.15, "unknown": 0.05}
    told = sensors or {"imu": LIVE, "audio": LIVE}
    spent = {"imu": 1.0, "event_to_decision": 21.5}
    return Decided(Decision(hop, hop / 2, label, 0.8, scores, tuple(told), told, (), spent))


def page_at(url: str = "http://127.0.0.1:0", about: About = ABOUT, told: list[str] | None = None) -> Page:
    """A page that is served; ``close`` it."""
    return Page(parse_sink_url(url, ("http",)), replace(about, sinks=[]), (told if told is not None else []).append)


def settle(page: Page) -> None:
    """Return when the page's thread has done what was left for it until now."""
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0), page._loop).result(PATIENCE_S)


def ask(
    page: Page,
    path: str,
    *,
    method: str = "GET",
    headers: Headers | None = None,
    body: str | None = None,
    host: str = "127.0.0.1",
) -> tuple[int, Headers, str]:
    """The status, headers in lower case and body of an answer."""
    connection = http.client.HTTPConnection(host, page.port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
    finally:
        connection.close()


def post(page: Page, path: str, of: object, **headers: str) -> tuple[int, Any]:
    """The status and the JSON of the answer."""
    sent = {"Content-Type": "application/json", **headers}
    status, _, body = ask(page, path, method="POST", headers=sent, body=json.dumps(of))
    return status, json.loads(body)


def connect(page: Page, sent: bytes = b"", *, held_bytes: int = 0) -> socket.socket:
    """A bare connection. held_bytes: that its end of it holds unread."""
    bare = socket.socket()
    bare.settimeout(PATIENCE_S)
    if held_bytes:
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, held_bytes)
    bare.connect(("127.0.0.1", page.port))
    bare.sendall(sent)
    return bare


EVENTS = b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"


def everything(bare: socket.socket) -> bytes:
    """All that comes until the other end closes."""
    came = b""
    try:
        while part := bare.recv(65536):
            came += part
    except ConnectionResetError:
        pass
    return came


class Looking:
    """One who reads the stream of events."""

    def __init__(self, page: Page) -> None:
        self._socket = connect(page, EVENTS)
        self._file = self._socket.makefile("rb")
        head = list(iter(self._file.readline, b"\r\n"))
        assert head[0] == b"HTTP/1.1 200 OK\r\n"
        assert b"Content-Type: text/event-stream\r\n" in head

    def __enter__(self) -> Looking:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Each event's kind and data, until the stream's end."""
        while (event := self.next())[0]:
            yield event

    def next(self) -> tuple[str, Any]:
        """The next event's kind and data; no kind at the end."""
        kind = data = ""
        for line in iter(self._file.readline, b""):
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                data = value
            elif not name and kind:
                return kind, json.loads(data)
        return "", None

    def until(self, kind: str) -> Any:
        """The next event of this kind; others are passed over."""
        return next(data for one, data in self if one == kind)


def events(url: str) -> Iterator[tuple[str, Any]]:
    """What a page sends, until it ends: each event's kind and its data."""
    with urllib.request.urlopen(f"{url}/events", timeout=PATIENCE_S) as stream:
        kind = ""
        for line in stream:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                yield kind, json.loads(value)
