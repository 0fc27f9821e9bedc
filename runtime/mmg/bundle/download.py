"""Files over HTTP and HTTPS, as a stranger gives them: never more than asked for, and never for longer."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from typing import Any, Protocol
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from mmg.errors import ConfigError, FetchError

ANSWER_S = 20.0
"""So long a server may be silent."""
BLOCK_BYTES = 64 << 10
SCHEMES = ("http", "https")
MOVED = (301, 302, 303, 307, 308)
CUT = "the connection was cut off"


class Writable(Protocol):
    """What bytes are written to."""

    def write(self, data: bytes, /) -> int:
        """Raises OSError."""


def check_url(url: str) -> None:
    """Raises ConfigError for what is not fetched from."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ConfigError(f"{url}: cannot be a URL: {error}") from error
    if parts.scheme not in SCHEMES or not parts.hostname or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError(f"{url}: write http:// or https://, a host and a path")
    if "@" in parts.netloc:
        raise ConfigError("a password in a URL is seen by every user of this machine: leave it out")


def download(url: str, to: Writable, *, most_bytes: int, within_s: float) -> int:
    """Write what is there to a file, and return how many bytes.

    HTTPS is verified by the system's authorities. A redirect is followed to http and https, and never from https to
    http. Raises FetchError for a server that cannot be reached, refuses, sends more than ``most_bytes``, less than it
    says, or takes longer than ``within_s``; and what writing raises.
    """
    until_s, size = time.monotonic() + within_s, 0
    with _answer(url, within_s) as (response, is_over):
        expected = response.length  # None where the server does not say
        if expected is not None and expected > most_bytes:
            raise FetchError(url, f"is too big: {expected} bytes, and no more than {most_bytes} are expected")
        while block := response.read1(BLOCK_BYTES):
            size += len(block)
            if size > most_bytes:
                raise FetchError(url, f"is too big: more than the {most_bytes} bytes that are expected")
            if time.monotonic() > until_s:
                raise TimeoutError
            _write(to, block)
        if is_over.is_set():
            raise TimeoutError
    if expected is not None and size < expected:
        raise FetchError(url, f"was cut off after {size} of {expected} bytes")
    return size


class _WritingError(Exception):
    """Of the file, not of the network: both are OSErrors."""

    def __init__(self, error: OSError) -> None:
        self.error = error


def _write(to: Writable, block: bytes) -> None:
    try:
        to.write(block)
    except OSError as error:
        raise _WritingError(error) from error


@contextmanager
def _answer(url: str, within_s: float) -> Iterator[tuple[HTTPResponse, threading.Event]]:
    """A good answer, and whether its time is over: then its connection is cut, in whatever it waits. Raises FetchError
    for what goes wrong with it in the block, too."""
    sockets: list[socket.socket] = []
    is_over = threading.Event()

    def cut() -> None:
        is_over.set()
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(within_s, cut)
    timer.daemon = True
    timer.start()
    try:
        with _opener(sockets, is_over).open(url, timeout=ANSWER_S) as response:
            yield response, is_over
    except _WritingError as error:
        raise error.error from None
    except (OSError, HTTPException, ValueError) as error:
        late = is_over.is_set() or (isinstance(error, TimeoutError) and not error.args)
        problem = f"takes longer than {within_s:g} s" if late else problem_of(error)
        raise FetchError(url, problem) from error
    finally:
        timer.cancel()
        for one in sockets:
            one.close()


def _opener(sockets: list[socket.socket], is_over: threading.Event) -> request.OpenerDirector:
    """Of http and https alone: urllib's usual one opens files too. sockets: to which each connection is added, before
    a proxy or TLS is spoken to."""
    context = ssl.create_default_context()

    def connect(host: str, timeout: float) -> HTTPConnection:
        return _noted(HTTPConnection(host, timeout=timeout))

    def connect_tls(host: str, timeout: float) -> HTTPConnection:
        return _noted(HTTPSConnection(host, timeout=timeout, context=context))

    def _noted(connection: HTTPConnection) -> HTTPConnection:
        create = connection._create_connection  # type: ignore[attr-defined]

        def create_and_note(*given: Any) -> socket.socket:
            made: socket.socket = create(*given)
            sockets.append(made.dup())  # TLS takes the descriptor of the first one over
            if is_over.is_set():
                made.close()
                raise TimeoutError
            return made

        connection._create_connection = create_and_note  # type: ignore[attr-defined]
        return connection

    class Http(request.HTTPHandler):
        def http_open(self, asked: request.Request) -> Any:
            return self.do_open(connect, asked)  # type: ignore[arg-type]

    class Https(request.HTTPSHandler):
        def https_open(self, asked: request.Request) -> Any:
            return self.do_open(connect_tls, asked)  # type: ignore[arg-type]

    opener = request.OpenerDirector()
    kinds = (request.ProxyHandler, request.HTTPDefaultErrorHandler, request.HTTPErrorProcessor, _Redirects, Http, Https)
    for kind in kinds:
        opener.add_handler(kind())
    return opener


class _Redirects(request.HTTPRedirectHandler):
    max_redirections, max_repeats = 5, 2

    def redirect_request(
        self, asked: request.Request, stream: Any, code: int, message: str, headers: Any, to: str
    ) -> request.Request | None:
        """Not from https to http, and to no other scheme. What the redirect's own page says is not read: urllib would
        read all of it into memory."""
        scheme = urlsplit(to).scheme
        if scheme not in SCHEMES or (asked.type == "https" and scheme != "https"):
            raise HTTPError(to, code, message, headers, stream)
        stream.close()
        return super().redirect_request(asked, stream, code, message, headers, to)


def problem_of(error: BaseException) -> str:
    """Why nothing was had, in a few words."""
    if isinstance(error, HTTPError):
        error.close()
        if error.code in MOVED:
            return f"is redirected to {error.url}, which is not followed"
        return f"the server answers {error.code} {error.msg}"
    if isinstance(error, URLError) and isinstance(error.reason, BaseException):
        return problem_of(error.reason)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message.rstrip('.')}"
    if isinstance(error, ssl.SSLError):
        return f"TLS fails ({getattr(error, 'reason', None) or error.strerror}): is the port one for TLS?"
    if isinstance(error, socket.gaierror):
        return f"the host is not found: {error.strerror}"
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER_S:g} s"
    if isinstance(error, ConnectionError):
        return "connection refused: no server listens there" if isinstance(error, ConnectionRefusedError) else CUT
    if isinstance(error, IncompleteRead):
        return CUT
    if isinstance(error, HTTPException):
        return f"does not answer as HTTP does: {type(error).__name__}"
    return getattr(error, "strerror", None) or str(error)
