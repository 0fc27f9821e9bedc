"""The pulse of a run under a service manager: ready, alive with each hop, the newest decision, stopping.

The protocol is that of sd_notify(3): lines of ``NAME=VALUE``, as one datagram to the socket that ``NOTIFY_SOCKET``
names.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from mmg.printable import printable

if TYPE_CHECKING:
    from mmg.types import Decision

LONGEST_STATUS = 200
"""Characters of a status line."""


class ServiceManager:
    """Who is told. A datagram that it cannot take now is lost: no hop waits for it."""

    def __init__(self, address: str) -> None:
        """address: a path, or after ``@`` a name in Linux's abstract namespace."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    def tell(self, *lines: str) -> None:
        """Send the lines. Returns at once."""
        with suppress(OSError, ValueError):  # ValueError: a null character in what is no socket's path
            self._socket.sendto("\n".join(lines).encode(errors="replace"), self._address)

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()


class Pulse:
    """What a run tells its service manager, all from the engine's thread.

    hop_s: the watchdog is fed no more often. It is fed whether or not there is anything to decide: sensors that are
    away are no reason to start anew, an engine that stands still is.
    """

    def __init__(
        self, manager: ServiceManager, hop_s: float, monotonic_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._manager, self._hop_ns, self._monotonic_ns = manager, round(hop_s * 1e9), monotonic_ns
        self._fed_ns: int | None = None

    def beat(self) -> None:
        """Called at each turn of the engine's thread: it is ready, and it lives."""
        now_ns = self._monotonic_ns()
        if self._fed_ns is None:
            self._manager.tell("READY=1", "WATCHDOG=1", "STATUS=listening")
        elif now_ns - self._fed_ns >= self._hop_ns:
            self._manager.tell("WATCHDOG=1")
        else:
            return
        self._fed_ns = now_ns

    def decided(self, decision: Decision) -> None:
        """Tell the newest decision. A run of recordings has no turns: it beats with these."""
        self.beat()
        of = ", ".join(decision.modalities)
        self._manager.tell(f"STATUS={one_line(f'{decision.label} {decision.confidence:.0%} from {of}')}")

    def stopping(self) -> None:
        """Say that the run stops."""
        self._manager.tell("STOPPING=1", "STATUS=stopping")

    def close(self) -> None:
        """Let go of the socket."""
        self._manager.close()


def one_line(text: str) -> str:
    """Foreign text as one line without control characters: a line break would begin another message."""
    shown = printable(text)
    return shown if len(shown) <= LONGEST_STATUS else f"{shown[: LONGEST_STATUS - 3]}..."
