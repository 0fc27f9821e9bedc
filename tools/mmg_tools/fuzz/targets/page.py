"""What comes over the network to the live page: a request, and what it asks of the run."""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import msgspec
from mmg.errors import ConfigError
from mmg.runs.controls import Controls
from mmg.sinks.event import About
from mmg.sinks.page.access import Access
from mmg.sinks.page.connections import HEAD_BYTES, Connections
from mmg.sinks.page.hub import Hub
from mmg.sinks.page.routes import Routes
from mmg.sinks.page.state import State

from mmg_tools.fuzz.target import Broken

HERE = "127.0.0.1"
ABOUT = About(
    bundle="tiny",
    labels=("walking", "still"),
    sensors={"imu": "scripted://imu"},
    hop_s=0.5,
    board="bench",
    kinds={"imu": "signal"},
)
ANSWERED = b"HTTP/1.1 "
ORDERS = ("mark", "record", "pause", "teach", "stop")


def request(data: bytes) -> None:
    """Bytes of a connection that then ends: they are answered with one response, or with none."""
    said = _Loop.one().answer(data)
    if said and not said.startswith(ANSWERED):
        raise Broken("an answer is none of HTTP")
    if said.partition(b" ")[2][:3] == b"500":
        raise Broken("an answer is an error of the server")


def order(data: bytes) -> None:
    """A JSON body of what may be asked, as the page's routes read it; the first byte chooses which."""
    try:
        asked = msgspec.json.decode(data[1:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    controls = Controls(can_record=True, can_pause=True, can_teach=True)
    for name in ORDERS:
        try:
            controls.do(name, asked)
        except ConfigError:
            continue


class _Loop:
    """A page without a socket."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        atexit.register(self._loop.close)
        hub = Hub(State(ABOUT), self._loop)
        routes = Routes(hub, Access(HERE, ""), 8420, Controls(can_record=True, can_pause=True))
        self._connections = Connections(routes.app, routes.answer, routes.left, hub.refuse)

    @staticmethod
    @cache
    def one() -> _Loop:
        """The one of this process."""
        return _Loop()

    def answer(self, data: bytes) -> bytes:
        """What a connection is told that brings these bytes."""
        return self._loop.run_until_complete(self._answer(data))

    async def _answer(self, data: bytes) -> bytes:
        reader = asyncio.StreamReader(limit=HEAD_BYTES)
        reader.feed_data(data)
        reader.feed_eof()
        writer = _Writer()
        task = asyncio.ensure_future(self._connections.serve(reader, cast("asyncio.StreamWriter", writer)))
        writer.transport.end = task.cancel
        # The stream of events goes on for as long as the run: no input is worth more turns of the loop.
        for _ in range(50):
            if task.done():
                break
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled() and (error := task.exception()):
            raise error
        return bytes(writer.said)


class _Transport:
    end: Callable[[], object] = staticmethod(lambda: None)

    def abort(self) -> None:
        """The connection is closed."""

    def set_write_buffer_limits(self, _high: int) -> None:
        """All is taken."""


class _Writer:
    """What asyncio's StreamWriter does for a page."""

    def __init__(self) -> None:
        self.transport, self.said = _Transport(), bytearray()

    def write(self, data: bytes) -> None:
        """Take it."""
        self.said += data

    async def drain(self) -> None:
        """Nothing waits."""

    def get_extra_info(self, name: str) -> Any:
        """Its two ends."""
        return {"peername": (HERE, 50_000), "sockname": (HERE, 8420)}.get(name)

    def can_write_eof(self) -> bool:
        """It is a socket to all who ask."""
        return True

    def write_eof(self) -> None:
        """Nothing more is said."""

    def close(self) -> None:
        """Nothing more is said."""

    async def wait_closed(self) -> None:
        """Nothing waits."""
