"""``http://127.0.0.1:8420``: a page that shows the run while it goes on. A thread of its own serves it."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from mmg.errors import ConfigError
from mmg.runs.step import Step
from mmg.sinks.event import About, Decided, Event, Notice, Sensed, Taught
from mmg.sinks.page.connections import Connections, start_serving, stop_serving
from mmg.sinks.page.hub import Hub
from mmg.sinks.page.listening import HOST, PORT, Listening
from mmg.sinks.page.routes import Routes
from mmg.sinks.page.state import State
from mmg.sinks.url import SinkUrl

OPTIONS = ("token_file", "host")
VITALS_S = 2.0
ENDING_S = 0.5
"""So long the viewers have to take the last events."""
BEHIND_S = 1.0
"""So long a run of recordings waits for a viewer."""


class Page:
    """A sink that whoever may look sees. Raises ConfigError where it cannot be served there."""

    takes: tuple[type[Event], ...] = (Decided, Notice, Sensed, Taught, Step)

    def __init__(self, url: SinkUrl, about: About, report: Callable[[str], None]) -> None:
        check_url(url)
        listening = Listening(url)
        self._listening, self.port = listening.socket, listening.port
        self._is_live = about.is_live
        try:
            self._loop = _new_loop()
        except OSError as error:
            listening.socket.close()
            raise ConfigError(f"--to {url}: cannot be served: {error.strerror}") from error
        self._ended = asyncio.Event()
        self._hub = Hub(State(about), self._loop)
        self._routes = Routes(self._hub, listening.access, self.port, about.controls)
        self._connections = Connections(self._routes.app, self._routes.answer, self._routes.left, self._hub.refuse)
        self._thread = threading.Thread(target=self._run, name="mmg page", daemon=True)
        self._thread.start()
        listening.tell(report)

    def write(self, event: Event) -> None:
        """Show it. A run of recordings waits for a moment for viewers that are behind."""
        if not self._is_live:
            until_s = time.monotonic() + BEHIND_S
            while self._hub.is_behind and time.monotonic() < until_s:
                time.sleep(0.01)
        self._hub.take(event)

    def close(self) -> None:
        """Say goodbye to the viewers and stop serving."""
        with suppress(RuntimeError):  # the loop has ended already
            self._hub.say_bye("run ended")
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(3 * ENDING_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        server = await start_serving(self._connections.serve, self._listening)
        while not self._ended.is_set():
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._ended.wait(), VITALS_S)
                break
            self._hub.send_vitals()
        self._hub.end()
        await stop_serving(server, ENDING_S)


def _new_loop() -> asyncio.AbstractEventLoop:
    """Raises OSError before asyncio does: a loop that lacks one of its descriptors raises more where it ends."""
    ours, theirs = socket.socketpair()
    with ours, theirs, select.epoll():
        pass
    return asyncio.new_event_loop()


def check_url(url: SinkUrl) -> None:
    """Raises ConfigError for a URL of no page, whatever this machine is."""
    url.allow(OPTIONS)
    if url.path not in ("", "/"):
        raise ConfigError(f"--to {url}: a page has no path: write http://{HOST}:{PORT}")
