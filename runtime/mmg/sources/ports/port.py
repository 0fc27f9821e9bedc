"""Ports: sensors that are plugged in now. Each runs by itself, finds its device again, and never ends the run."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mmg.errors import MmgError, SourceLost

if TYPE_CHECKING:
    from mmg.streams.grid import HopGrid
    from mmg.types import Chunk

RETRY_S = 0.5
"""How long to wait before looking for a device again."""

REST_S = 0.5
"""The longest that a port leaves its device alone: one that is unplugged is noticed by then."""

SOONER_NS = 1_000_000
"""A rest is not cut for less: from hop to hop clocks are known a little better."""

HELD = "its driver does not let go of it"

STATUS_NS = 200_000_000
"""While all is well a status is made anew no sooner: samples come a hundred times a second."""


@dataclass(frozen=True, slots=True)
class PortStatus:
    """What a port knows of itself, to be shown beside its sensor's state.

    connected: whether the device is open. reason: why nothing comes, in a few words; empty while data flows.
    device: what answered, such as ``witmotion on /dev/ttyUSB0``.
    drift_ppm, jitter_ms, uncertainty_ms: how the device's clock runs against the host's.
    losses: what the device or the parser lost, by kind, since the port was started; it never goes back.
    note: what is odd, and what is done about it, while data flows; it is told once. Empty where nothing is.
    """

    connected: bool = False
    reason: str = "looking for the device"
    device: str = ""
    drift_ppm: float = 0.0
    jitter_ms: float = 0.0
    uncertainty_ms: float = 0.0
    losses: tuple[tuple[str, int], ...] = ()
    note: str = ""


class Port(Protocol):
    """A live sensor. ``start`` may be called once, and again after each ``close``: what it learnt of its device stays.

    Chunks are stamped in the host's ``monotonic_ns``.
    """

    @property
    def modality(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def status(self) -> PortStatus:
        """The newest status; safe to read from any thread."""

    def start(
        self, deliver: Callable[[Chunk], None], hops: HopGrid | None = None, lost: Callable[[], None] | None = None, /
    ) -> None:
        """Begin to call ``deliver`` from the port's own thread. It must return at once.

        hops: samples are wanted when one of these ends, and not before: until then the driver may hold them. Without
        it they are wanted as soon as they come. lost: called when the status says that nothing comes any more.
        Raises SourceLost where a driver still holds the thread from before ``close``.
        """

    def want(self, stamped_ns: int) -> None:
        """From any thread: samples stamped so late are wanted next, and then those of a hop later and so on.

        It is the end of a hop until this is called. A port that rests beyond it rests no longer.
        """

    def close(self) -> None:
        """Deliver what the device still holds, stop, and let go of it. Nothing is delivered once it has returned.
        Closing twice is fine."""


class PortThread(ABC):
    """The life of a port that has a thread: a session with the device, and again after each loss of it.

    A subclass gives ``_session``, which opens the device, delivers chunks until ``_stopping`` is set, and then what the
    device still holds, and raises SourceError where the device is not there or goes away. It sets ``status`` before it
    delivers: who has samples of a device can read that it is there. ``CLOSE_S`` is how long ``close`` waits for its
    end.
    """

    CLOSE_S = 2.0

    def __init__(self, url: str, modality: str) -> None:
        self.url, self.modality = url, modality
        self.status = PortStatus()
        self._stopping, self._is_closed = threading.Event(), False
        self._thread: threading.Thread | None = None
        self._delivering = threading.Lock()
        self._deliver: Callable[[Chunk], None] = lambda _: None
        self._hop_ns = self._want_ns = self._rests_until_ns = 0
        self._called = threading.Event()  # ends a rest
        self._lost: Callable[[], None] = lambda: None

    def start(
        self, deliver: Callable[[Chunk], None], hops: HopGrid | None = None, lost: Callable[[], None] | None = None, /
    ) -> None:
        """Begin; see Port."""
        if self._thread is not None:
            if self._thread.is_alive():
                raise SourceLost(self.url, HELD)
            self.status = PortStatus(losses=self.status.losses)
        if self._stopping.is_set():  # it was closed, if only before it was ever started
            self._stopping, self._is_closed = threading.Event(), False
        self._lost = lost or self._lost
        self._hop_ns, self._want_ns = (hops.hop_ns, hops.origin_ns) if hops else (0, 0)

        def deliver_while_open(chunk: Chunk) -> None:
            with self._delivering:
                if not self._is_closed:
                    deliver(chunk)

        self._deliver = deliver_while_open
        self._thread = threading.Thread(target=self._live, name=f"mmg {self.modality}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; see Port. A thread that a driver or a network holds is left behind: it can deliver nothing more."""
        self._stopping.set()
        self._called.set()
        if self._thread is not None:
            self._thread.join(self.CLOSE_S)
        with self._delivering:
            self._is_closed = True

    def want(self, stamped_ns: int) -> None:
        """Say by when samples are wanted; see Port."""
        self._want_ns = stamped_ns
        if stamped_ns < self._rests_until_ns - SOONER_NS:
            self._called.set()

    def _wanted_ns(self, newest_ns: int) -> int:
        """When the samples after this one are wanted, in host ns; 0 for as soon as they come."""
        if not self._hop_ns:
            return 0
        ahead_ns = newest_ns - self._want_ns
        return self._want_ns + max(ahead_ns // self._hop_ns + 1, 0) * self._hop_ns

    def _rest(self, newest_ns: int, longest_s: float) -> bool:
        """Leave the device alone until the samples after this one are wanted, but no longer; whether it was at all.

        Not where they were wanted a hop ago: then the driver still holds what came while this process was stopped.
        """
        begin_ns = time.monotonic_ns()
        end_ns, now_ns = begin_ns + round(min(longest_s, REST_S) * 1e9), begin_ns
        while True:
            self._called.clear()
            self._rests_until_ns = end_ns  # before it is looked at what is wanted: else a call could be missed
            is_behind = newest_ns < self._want_ns - self._hop_ns
            until_ns = begin_ns if is_behind else min(self._wanted_ns(newest_ns), end_ns)
            self._rests_until_ns = until_ns
            if self._stopping.is_set() or until_ns <= now_ns:
                return now_ns > begin_ns
            self._called.wait((until_ns - now_ns) / 1e9)
            now_ns = time.monotonic_ns()

    def _live(self) -> None:
        while not self._stopping.is_set():
            try:
                self._session()
            except MmgError as error:
                self._report_lost(str(error).removeprefix(f"{self.url}: "))
            except Exception as error:
                # Drivers and their bindings raise what they like. A thread that died of it would look like a silent
                # sensor for ever: here the user reads what it was, and the next session may well succeed.
                self._report_lost(f"failed: {type(error).__name__}: {error}")

    def _report_lost(self, reason: str) -> None:
        self._tell_lost(reason)
        self._stopping.wait(RETRY_S)

    def _tell_lost(self, reason: str) -> None:
        self.status = PortStatus(reason=reason, device=self.status.device, losses=self.status.losses)
        self._lost()

    @abstractmethod
    def _session(self) -> None:
        """One stay with the device."""
