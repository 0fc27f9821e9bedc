"""``http://127.0.0.1:8420``: a page that shows the run while it goes on. A thread of its own serves it."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from mmg.errors import ConfigError
from mmg.runs.step import Step
from mmg.sinks.event import About, Decided, Event, Notice, Sensed, Taught
from mmg.sinks.page.access import Access, is_loopback, new_token, token_in
from mmg.sinks.page.connections import LINE_BYTES, Connections, limit_buffers
from mmg.sinks.page.hub import Hub
from mmg.sinks.page.routes import Routes
from mmg.sinks.page.state import State
from mmg.sinks.url import SinkUrl

HOST, PORT = "127.0.0.1", 8420
OPTIONS = ("token_file", "host")
VITALS_S = 2.0
ENDING_S = 0.5
"""So long the viewers have to take the last events."""
BACKLOG = 64
DRAWING_S = 5.0
DRAW = """
import sys
sys.path = [folder for folder in sys.path if folder]  # nothing of the current folder is executed
import segno
segno.make(sys.stdin.read(), micro=False).terminal(out=sys.stderr, compact=True)
"""
BEHIND_S = 1.0
"""So long a run of recordings waits for a viewer."""


class Page:
    """A sink that whoever may look sees. Raises ConfigError where it cannot be served there."""

    takes: tuple[type[Event], ...] = (Decided, Notice, Sensed, Taught, Step)

    def __init__(self, url: SinkUrl, about: About, report: Callable[[str], None]) -> None:
        check_url(url)
        host = url.host or HOST
        file = url.options.get("token_file")
        token = token_in(Path(file)) if file else ""
        self._listening = _listen(url, host, PORT if url.port is None else url.port)
        # What a name stands for is known only now.
        address, self.port = self._listening.getsockname()[:2]
        # A proxy in front of it, which a name is for, lets others reach even a loopback address.
        if not token and not (is_loopback(address) and "host" not in url.options):
            token = new_token()
        access = Access(address, token, [host, *url.options.get("host", "").split(",")])
        self._is_live = about.is_live
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._hub = Hub(State(about), self._loop)
        self._routes = Routes(self._hub, access, self.port, about.controls)
        self._connections = Connections(self._routes.app, self._routes.answer, self._routes.left, self._hub.refuse)
        self._thread = threading.Thread(target=self._run, name="mmg page", daemon=True)
        self._thread.start()
        _tell(report, host, self.port, token, file)

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
        answer = self._connections.serve
        server = await asyncio.start_server(answer, sock=self._listening, limit=LINE_BYTES, backlog=BACKLOG)
        while not self._ended.is_set():
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._ended.wait(), VITALS_S)
                break
            self._hub.send_vitals()
        server.close()
        self._hub.end()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=ENDING_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await asyncio.sleep(0)  # in which the last connections are closed


def check_url(url: SinkUrl) -> None:
    """Raises ConfigError for a URL of no page, whatever this machine is."""
    url.allow(OPTIONS)
    if url.path not in ("", "/"):
        raise ConfigError(f"--to {url}: a page has no path: write http://{HOST}:{PORT}")


def _listen(url: SinkUrl, host: str, port: int) -> socket.socket:
    """A socket that listens. Raises ConfigError."""
    try:
        [family, _, _, _, address], *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        both = host == "::" and socket.has_dualstack_ipv6()
        listening = socket.create_server(address[:2], family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except socket.gaierror as error:
        raise ConfigError(f"--to {url}: {host} is no address of this machine: {error.strerror}") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            other = "choose another, as --page :8421, or any free one, as --page :0"
            raise ConfigError(f"--to {url}: port {port} is taken: {other}") from error
        why = os.strerror(error.errno) if error.errno else str(error)
        raise ConfigError(f"--to {url}: cannot be served at port {port}: {why}") from error
    limit_buffers(listening)
    return listening


def _tell(report: Callable[[str], None], host: str, port: int, token: str, file: str | None) -> None:
    """Where the page is; with a token as a link, and for a phone as a QR code where a terminal shows it.

    file: that holds the token. What goes to a log, as a service's does, is read by more than may read that file.
    """
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    shown = _outward_address(host)
    link = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"
    if not token:
        report(f"page: {link}")
        return
    if file and not is_terminal:
        report(f"page: {link}/?token=, followed by what is in {file}")
        return
    link += f"/?token={token}"
    report(f"page: {link}")
    if is_terminal and find_spec("segno"):
        _draw(link)


def _draw(link: str) -> None:
    """A QR code on standard error. A process of its own draws it, which takes its memory along."""
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(
            [sys.executable, "-c", DRAW], input=link, text=True, stderr=sys.stderr, timeout=DRAWING_S, check=False
        )


def _outward_address(host: str) -> str:
    """Of all addresses the one by which others reach this machine. Nothing is sent."""
    if host not in ("0.0.0.0", "::"):
        return host
    family, far = (socket.AF_INET, "192.0.2.1") if host == "0.0.0.0" else (socket.AF_INET6, "2001:db8::1")
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect((far, 9))
            return str(asking.getsockname()[0])
        except OSError:
            return socket.gethostname()
