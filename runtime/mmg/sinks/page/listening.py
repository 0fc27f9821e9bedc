"""Where a page listens, who may look there, and the link that is told."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from mmg.errors import ConfigError
from mmg.sinks.page.access import Access, is_loopback, new_token, token_in
from mmg.sinks.page.connections import BACKLOG, limit_buffers
from mmg.sinks.url import SinkUrl

HOST, PORT = "127.0.0.1", 8420
DRAWING_S = 5.0
DRAW = """
import sys
sys.path = [folder for folder in sys.path if folder]  # nothing of the current folder is executed
import segno
segno.make(sys.stdin.read(), micro=False).terminal(out=sys.stderr, compact=True)
"""


class Listening:
    """A socket that listens at a page's URL, with its token where one is needed. Raises ConfigError."""

    def __init__(self, url: SinkUrl) -> None:
        self._host, self._file = url.host or HOST, url.options.get("token_file")
        token = token_in(Path(self._file)) if self._file else ""
        self.socket = _listen(url, self._host, PORT if url.port is None else url.port)
        # What a name stands for is known only now.
        address, self.port = self.socket.getsockname()[:2]
        # A proxy in front of it, which a name is for, lets others reach even a loopback address.
        if not token and not (is_loopback(address) and "host" not in url.options):
            token = new_token()
        self.access = Access(address, token, [self._host, *url.options.get("host", "").split(",")])

    def tell(self, report: Callable[[str], None]) -> None:
        """Say where the page is."""
        _tell(report, self._host, self.port, self.access.token, self._file)


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
