"""Connections and their limits: how many, how large a request may be, and how long it may take to come."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, cast

from microdot import Request
from microdot.microdot import Microdot, Response

from mmg.sinks.page.access import Asked

BACKLOG = 64
MOST_OPEN = 64
"""Connections of those who may look."""
MOST_ASKING, MOST_TOGETHER = 16, 64
"""Beside them, connections that still ask or are refused: so many for long, and for ``TOGETHER_S`` so many. Of more the
oldest go: whom nobody knows takes no other's place."""
TOGETHER_S = 0.5
HEAD_BYTES = 8192
"""Of all headers, which one alone may fill: a browser sends the cookies of every port of 127.0.0.1."""
ASKING_S = 5.0
"""So long a request may take to come."""
ANSWERING_S = 20.0
"""So long an answer may take to go, but for the stream of events."""
REFUSING_S = 1.0
REFUSAL = 4
"""The first digit of its status."""
HELD_BYTES, KERNEL_BYTES = 16 * 1024, 32 * 1024
"""That a connection holds of what its reader has not taken, here and in the kernel."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Connection": "close",  # no connection stays open unused
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
Answer = Callable[[Request], Awaitable[Response]]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

Request.max_readline = HEAD_BYTES


class Connections:
    """Reads requests, has them answered, one a connection, and closes.

    left: called when a request's connection has ended. refused: called for each that is turned away here.
    """

    def __init__(
        self, app: Microdot, answer: Answer, left: Callable[[Request], None], refused: Callable[[], None]
    ) -> None:
        self._app, self._answer, self._left, self._refused = app, answer, left, refused
        self.open = 0
        self._asking: dict[asyncio.Task[None] | None, None] = {}  # the oldest first

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """For asyncio.start_server."""
        transport, self.open = writer.transport, self.open + 1
        transport.set_write_buffer_limits(HELD_BYTES)
        me = asyncio.current_task()
        self._asking[me] = None
        try:
            self._make_room(MOST_TOGETHER)
            if len(self._asking) > MOST_ASKING:
                asyncio.get_running_loop().call_later(TOGETHER_S, self._make_room, MOST_ASKING)
            await self._serve(reader, writer)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
            pass  # it left, or took too long
        except asyncio.CancelledError:
            pass  # the run has ended, or others ask: asyncio would tell of a task that ends as cancelled
        finally:
            self._asking.pop(me, None)
            self.open -= 1
            with suppress(AttributeError):  # asyncio's: one that closed when its buffer was empty has no loop any more
                transport.abort()

    def _make_room(self, most: int) -> None:
        """Of more that ask, the oldest go without a word."""
        while len(self._asking) > most:
            oldest = next(iter(self._asking))
            del self._asking[oldest]
            self._refused()
            if oldest:
                oldest.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await self._read(reader, writer)
        if request is None:
            self._refused()
            response = problem(400, "this is no request that mmg answers")
        elif self.open - len(self._asking) >= MOST_OPEN:
            self._refused()
            response = problem(503, "too many are connected: come again later")
        else:
            response = await self._answer(request)
            if response.status_code // 100 != REFUSAL:
                self._asking.pop(asyncio.current_task(), None)
        try:
            is_stream = hasattr(response.body, "__anext__")
            await asyncio.wait_for(_send(response, writer), None if is_stream else ANSWERING_S)
            await asyncio.wait_for(_flush(writer) if is_stream else _close(reader, writer), REFUSING_S)
        finally:
            if request is not None:
                self._left(request)

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
        """None of what is no request, or too large. Raises TimeoutError, OSError."""
        limited = cast("asyncio.StreamReader", _Limited(reader))  # the two calls of it that microdot makes
        address = writer.get_extra_info("peername")
        try:
            return await asyncio.wait_for(Request.create(self._app, limited, writer, address), ASKING_S)
        except (ValueError, IndexError, UnicodeError):
            return None


class _Limited:
    """A reader of no more than a head of ``HEAD_BYTES``, as microdot's Request reads it."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader, self._left = reader, HEAD_BYTES

    async def readline(self) -> bytes:
        """Raises ValueError beyond the limit."""
        line = await self._reader.readline()
        self._left -= len(line)
        if self._left < 0:
            raise ValueError("the head of the request is too large")
        return line

    async def readexactly(self, count: int) -> bytes:
        """The body; its length is limited by microdot."""
        return await self._reader.readexactly(count)


async def _close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say that nothing more comes, and wait for the other end: closed at once, what is on its way could be lost."""
    if writer.can_write_eof():
        writer.write_eof()
    while await reader.read(HEAD_BYTES):
        pass


async def _flush(writer: asyncio.StreamWriter) -> None:
    """Close once all is sent: of who looks nothing more is on its way."""
    writer.close()
    await writer.wait_closed()


async def _send(response: Response, writer: asyncio.StreamWriter) -> None:
    """The head in one piece, with the headers that every answer has, and then the body."""
    response.headers.update(HEADERS)
    response.complete()
    head = [f"HTTP/1.1 {response.status_code} {HTTPStatus(response.status_code).phrase}"]
    head += [f"{name}: {value}" for name, value in response.headers.items()]
    writer.write("\r\n".join([*head, "", ""]).encode())
    if isinstance(response.body, bytes):
        writer.write(b"" if response.is_head else response.body)
    elif not response.is_head:
        async for piece in response.body:
            writer.write(piece)
            await writer.drain()
    await writer.drain()


async def start_serving(serve: Serve, listening: socket.socket) -> asyncio.Server:
    """Accept whoever comes; while the process lacks descriptors, they wait."""
    asyncio.get_running_loop().set_exception_handler(_tell_of_others)
    return await asyncio.start_server(serve, sock=listening, limit=HEAD_BYTES, backlog=BACKLOG)


def _tell_of_others(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """asyncio tries again to accept after a second, and tells of each try with up to ``BACKLOG`` tracebacks."""
    if getattr(context.get("exception"), "errno", None) not in (errno.EMFILE, errno.ENFILE):
        loop.default_exception_handler(context)


async def stop_serving(server: asyncio.Server, patience_s: float) -> None:
    """Accept nobody more, and return when the loop's other tasks have ended: those that take longer are cancelled.

    The server is closed last: asyncio leaves open what was accepted but is not yet attached to it.
    """
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        loop.remove_reader(listening.fileno())
    while tasks := asyncio.all_tasks() - {asyncio.current_task()}:  # who was just accepted begins another
        _, late = await asyncio.wait(tasks, timeout=patience_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
    server.close()
    await asyncio.sleep(0)  # in which the last connections are closed


def problem(status: int, why: str) -> Response:
    """A refusal as one line of JSON."""
    return Response(json.dumps({"error": why}) + "\n", status, {"Content-Type": "application/json"})


def read_asked(request: Request, cookie: str) -> Asked:
    """What access hangs on. cookie: the name of the one that holds the token."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    scheme, _, given = headers.get("authorization", "").partition(" ")
    token = given.strip() if scheme.lower() == "bearer" else request.cookies.get(cookie, "")
    if request.path == "/" and "token" in request.args:
        token = request.args["token"]
    return Asked(request.method, request.path, headers, request.sock[1].get_extra_info("sockname")[0], token)


def limit_buffers(listening: socket.socket) -> None:
    """Of what the kernel holds for a viewer that does not read; connections take it over from the socket."""
    with suppress(OSError):
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
