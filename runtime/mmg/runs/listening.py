"""Listening to ports: what they deliver from their own threads becomes one step after the other."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

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
Losses: TypeAlias = tuple[tuple[str, int], ...]
"""By kind, as a port's status has them."""


class Listening:
    """Ports, not started, the clock that they stamp by, and the hops for whose ends they are wanted.

    ``start`` it once, ``close`` it at the end.
    """

    def __init__(self, ports: Sequence[Port], monotonic_ns: Callable[[], int], hops: HopGrid) -> None:
        self._ports, self._hops = {port.modality: port for port in ports}, hops
        self._monotonic_ns, self._inbox = monotonic_ns, Inbox(tuple(self._ports))
        self._devices: dict[str, str] = {}
        self._past: dict[str, Losses] = {}  # of the ports before those of now
        self._newest: dict[str, tuple[PortStatus, PortStatus]] = {}  # as it came, and rounded
        self._asleep: dict[str, threading.Thread | None] = {}  # with what closes the port
        self._wanted: Collection[str] = ()
        self._refused: dict[str, tuple[int, str]] = {}  # of those that could not be woken: when to try again, and why

    def start(self, asleep: Collection[str] = ()) -> None:
        """Begin to listen, but for those that are asleep."""
        self._asleep = dict.fromkeys(asleep)
        for name, port in self._ports.items():
            if name not in asleep:
                port.start(self._inbox.put, self._hops, self._inbox.wake)

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
            elif name in self._asleep:
                closed = self._asleep[name]
                if not (closed and closed.is_alive()):  # else at a later step
                    self._wake(port)

    def _wake(self, port: Port) -> None:
        name, now_ns = port.modality, self._monotonic_ns()
        if name in self._refused and now_ns < self._refused[name][0]:
            return
        try:
            port.start(self._inbox.put, self._hops, self._inbox.wake)
        except MmgError as error:
            self._refused[name] = now_ns + round(RETRY_S * 1e9), str(error).removeprefix(f"{port.url}: ")
            return
        self._refused.pop(name, None)
        del self._asleep[name]

    def resume(self, ports: Sequence[Port], asleep: Collection[str] = ()) -> None:
        """After ``close``: listen to these ports, of the same modalities. What came before is gone, but for losses."""
        self._past |= {name: status.losses for name, status in self.statuses().items()}
        self._ports = {port.modality: port for port in ports}
        self._devices.clear()
        self._inbox.take()
        self.start(asleep)

    def wait(
        self, awaited: Mapping[str, int], timeout_s: float, enough: Callable[[Iterable[bool]], bool] = all
    ) -> None:
        """See ``Inbox.wait``."""
        self._inbox.wait(awaited, timeout_s, enough)

    def want(self, wanted: Mapping[str, int]) -> None:
        """Say by when samples of each modality are wanted; see ``Port.want``."""
        for name, wanted_ns in wanted.items():
            self._ports[name].want(wanted_ns)

    def wake(self) -> None:
        """From any thread: end the present wait, or the next one."""
        self._inbox.wake()

    def step(self) -> Step:
        """What has come since the step before. Never waits."""
        # What comes while this works is looked at the next time: the clock must not be ahead of the inbox.
        now_ns = self._monotonic_ns()
        chunks, statuses = tuple(self._inbox.take()), self.statuses()
        return Step(now_ns, chunks, statuses, self._new_devices(statuses))

    def _new_devices(self, statuses: dict[str, PortStatus]) -> dict[str, ReadAs]:
        changed = [name for name, status in statuses.items() if self._devices.get(name) != status.device]
        self._devices.update((name, statuses[name].device) for name in changed)
        return {name: read_as(self._ports[name]) for name in changed}

    def statuses(self) -> dict[str, PortStatus]:
        """The newest status of each port. Its losses are those of the ports before it too."""
        return {name: self._status_of(name, port) for name, port in self._ports.items()}

    def _status_of(self, name: str, port: Port) -> PortStatus:
        status = self._with_past(name, self._rounded(name, port.status))
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

    def _with_past(self, name: str, status: PortStatus) -> PortStatus:
        past = self._past.get(name)
        if not past:
            return status
        losses = Counter(dict(past))
        losses.update(dict(status.losses))
        return replace(status, losses=tuple(losses.items()))

    def close(self) -> None:
        """Stop every port. Twice is fine."""
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
