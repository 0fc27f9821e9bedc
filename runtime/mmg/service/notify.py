"""The pulse of a run under a service manager: ready, alive with each hop, the newest decision, stopping.

The protocol is that of sd_notify(3): lines of ``NAME=VALUE``, as one datagram to the socket that ``NOTIFY_SOCKET``
names.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmg.runs.step import Step
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

    The watchdog is fed where a hop has ended since it was fed before, whether or not it was decided on: sensors that
    are away are no reason to start anew, an engine that stands still is.
    """

    def __init__(self, manager: ServiceManager) -> None:
        self._manager = manager
        self._hop_end_ns: Callable[[], int] = lambda: 0
        self._fed_ns: int | None = None

    def follow(self, hop_end_ns: Callable[[], int]) -> None:
        """hop_end_ns: tells the end of the hop that the engine works on."""
        self._hop_end_ns = hop_end_ns

    def before(self, tap: Callable[[Step], None] | None) -> Callable[[Step], None]:
        """A tap of the run's steps that beats, and then gives them to ``tap``."""

        def take(step: Step) -> None:
            self.beat()
            if tap:
                tap(step)

        return take

    def beat(self) -> None:
        """Say that the run is ready, the first time, and that it lives, if a hop has ended."""
        end_ns = self._hop_end_ns()
        if self._fed_ns is None:
            self._manager.tell("READY=1", "WATCHDOG=1", "STATUS=listening")
        elif end_ns != self._fed_ns:
            self._manager.tell("WATCHDOG=1")
        self._fed_ns = end_ns

    def decided(self, decision: Decision) -> None:
        """Tell the newest decision; a run of recordings, which has no steps, beats with these."""
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
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return shown if len(shown) <= LONGEST_STATUS else f"{shown[: LONGEST_STATUS - 3]}..."


def open_pulse(address: str) -> Pulse:
    """The pulse that goes to this socket."""
    return Pulse(ServiceManager(address))
