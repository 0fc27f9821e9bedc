"""Listening to ports: what they deliver from their own threads becomes one step after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from mmg.engine.health import ReadAs
from mmg.errors import MmgError
from mmg.runs.inbox import Inbox
from mmg.runs.look_ahead import read_as
from mmg.runs.step import Step
from mmg.sources.ports.port import RETRY_S, Port, PortStatus
from mmg.streams.grid import HopGrid

CLOCK_DIGITS = 3
"""Of milliseconds and of parts in a million: as they are printed, and so a recording need not keep more."""
CLOSE_S = 5.0
"""At the end, what still closes sleeping ports is waited for no longer, all together: each has a limit of its own."""


class Listening:
    """Ports, not started, the clock that they stamp by, and the hops for whose ends they are wanted.

    ``start`` it, and ``close`` it at the end; it can be started again.
    """

    def __init__(self, ports: Sequence[Port], monotonic_ns: Callable[[], int], hops: HopGrid) -> None:
        self._ports, self._hops = {port.modality: port for port in ports}, hops
        self._monotonic_ns, self._inbox = monotonic_ns, Inbox(tuple(self._ports))
        self._devices: dict[str, str] = {}
        self._newest: dict[str, tuple[PortStatus, PortStatus]] = {}  # as it came, and rounded
        self._asleep: dict[str, threading.Thread | None] = {}  # with what closes the port
        self._wanted: Collection[str] = ()
        self._refused: dict[str, tuple[int, str]] = {}  # of those that could not be woken: when to try again, and why

    def start(self, asleep: Collection[str] = ()) -> None:
        """Begin to listen, or go on after ``close``, but for those that are asleep. Never waits for a driver."""
        self._wanted = [name for name in self._ports if name not in asleep]
        self._asleep = {name: self._asleep.get(name) for name in self._ports}
        self._devices.clear()
        self._wake_wanted()

    def listen_to(self, awake: Collection[str]) -> None:
        """Close the other ports, and start those of these that are closed again. Never waits for a driver."""
        self._wanted = awake
        for name, port in self._ports.items():
            if name not in awake:
                self._refused.pop(name, None)
                if name not in self._asleep:
                    closing = threading.Thread(target=port.close, name=f"mmg closes {name}", daemon=True)
                    closing.start()
                    self._asleep[name] = closing
        self._wake_wanted()

    def _wake_wanted(self) -> None:
        for name in self._wanted:
            if name in self._asleep:
                self._wake(self._ports[name])

    def _wake(self, port: Port) -> None:
        """One that is not closed yet, or that a driver still holds, is tried again at a later step."""
        name, now_ns = port.modality, self._monotonic_ns()
        closing = self._asleep[name]
        if (closing and closing.is_alive()) or (name in self._refused and now_ns < self._refused[name][0]):
            return
        try:
            port.start(self._inbox.put, self._hops, self._inbox.wake)
        except MmgError as error:
            self._refused[name] = now_ns + round(RETRY_S * 1e9), str(error).removeprefix(f"{port.url}: ")
            return
        self._refused.pop(name, None)
        del self._asleep[name]

    def wait(
        self, awaited: Mapping[str, int], timeout_s: float, enough: Callable[[Iterable[bool]], bool] = all
    ) -> None:
        """See ``Inbox.wait``."""
        self._inbox.wait(awaited, timeout_s, enough)

    def want(self, wanted: Mapping[str, int]) -> None:
        """Say by when samples of each modality are wanted; see ``Port.want``."""
        for name, wanted_ns in wanted.items():
            self._ports[name].want(wanted_ns)

    def drop(self) -> None:
        """Leave out what has come since the last step."""
        self._inbox.take()

    def wake(self) -> None:
        """From any thread: end the present wait, or the next one."""
        self._inbox.wake()

    def step(self) -> Step:
        """What has come since the step before. Never waits."""
        self._wake_wanted()
        # What comes while this works is looked at the next time: the clock must not be ahead of the inbox.
        now_ns = self._monotonic_ns()
        chunks, statuses = tuple(self._inbox.take()), self.statuses()
        return Step(now_ns, chunks, statuses, self._new_devices(statuses))

    def _new_devices(self, statuses: dict[str, PortStatus]) -> dict[str, ReadAs]:
        changed = [name for name, status in statuses.items() if self._devices.get(name) != status.device]
        self._devices.update((name, statuses[name].device) for name in changed)
        return {name: read_as(self._ports[name]) for name in changed}

    def statuses(self) -> dict[str, PortStatus]:
        """The newest status of each port."""
        return {name: self._status_of(name, port) for name, port in self._ports.items()}

    def _status_of(self, name: str, port: Port) -> PortStatus:
        status = self._rounded(name, port.status)
        if name in self._asleep:
            reason = "still closed" if name in self._wanted else "asleep"
            reason = self._refused[name][1] if name in self._refused else reason
            status = PortStatus(reason=reason, device=status.device, losses=status.losses)
        return status

    def _rounded(self, name: str, status: PortStatus) -> PortStatus:
        """A port makes a status a few times a second, and there are more steps than that."""
        known, rounded = self._newest.get(name, (None, status))
        if known is not status:
            rounded = _rounded(status)
            self._newest[name] = status, rounded
        return rounded

    def close(self) -> None:
        """Stop every port, until ``start``. What they deliver meanwhile the next step has. Twice is fine."""
        self._wanted = ()  # a later step opens nothing again
        self._refused.clear()
        for port in self._ports.values():
            port.close()
        end_s = time.monotonic() + CLOSE_S
        for closing in self._asleep.values():
            if closing:
                closing.join(max(end_s - time.monotonic(), 0.0))


def _rounded(status: PortStatus) -> PortStatus:
    figures = status.drift_ppm, status.jitter_ms, status.uncertainty_ms
    drift_ppm, jitter_ms, uncertainty_ms = (round(figure, CLOCK_DIGITS) for figure in figures)
    return replace(status, drift_ppm=drift_ppm, jitter_ms=jitter_ms, uncertainty_ms=uncertainty_ms)
