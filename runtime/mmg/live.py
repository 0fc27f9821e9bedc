"""The live pipeline: ports run by themselves, one thread runs the engine, and decisions come at their time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from mmg.bundle import Bundle
from mmg.engine import Engine
from mmg.errors import RequiredSensorLost
from mmg.pipeline import Settings
from mmg.sources.port import Port
from mmg.types import Chunk, Decision, SensorState

QUEUED_CHUNKS = 256
"""For each modality: 5 s of 20 ms blocks. When the engine is further behind, the oldest chunk goes and is counted."""
PATIENCE_S = 5.0
"""How long a required sensor may take to appear at the start."""
LONGEST_WAIT_S = 0.5


class Inbox:
    """Where ports leave their chunks for the engine's thread: bounded for each modality, the oldest is dropped first."""

    def __init__(self, modalities: Sequence[str], *, size: int = QUEUED_CHUNKS) -> None:
        self._size = size
        self._chunks: dict[str, deque[Chunk]] = {name: deque() for name in modalities}
        self._dropped = dict.fromkeys(modalities, 0)
        self._changed = threading.Condition()

    def put(self, chunk: Chunk) -> None:
        """Leave a chunk; never waits for the engine."""
        with self._changed:
            queue = self._chunks[chunk.modality]
            if len(queue) >= self._size:
                oldest = queue.popleft()
                self._dropped[chunk.modality] += len(oldest.times_ns) + oldest.dropped
            queue.append(chunk)
            self._changed.notify()

    def take(self, timeout_s: float) -> list[Chunk]:
        """All that is there, after waiting for something for ``timeout_s`` at most."""
        with self._changed:
            if not any(self._chunks.values()):
                self._changed.wait(timeout_s)
            taken: list[Chunk] = []
            for name, queue in self._chunks.items():
                if queue and self._dropped[name]:
                    queue[0] = replace(queue[0], dropped=queue[0].dropped + self._dropped[name])
                    self._dropped[name] = 0
                taken += queue
                queue.clear()
        return taken


class LivePipeline:
    """Ports in, decisions out, for as long as it is iterated; then ``close`` it.

    Decisions are on the host's monotonic clock, whose origin is the moment of ``__iter__``. A sensor's ``reason`` says
    what its port knows (unplugged, stalled) and ``latency_ms["event_to_decision"]`` how long after the hop's end it was
    made. Raises RequiredSensorLost, ModelError, BundleError.
    """

    def __init__(
        self,
        bundle: Bundle,
        ports: Sequence[Port],
        settings: Settings,
        *,
        note: Callable[[str], None] = lambda _: None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._ports, self._settings, self._note, self._monotonic_ns = ports, settings, note, monotonic_ns
        self._inbox = Inbox([port.modality for port in ports])
        self._shown: dict[str, str] = {}
        self.origin_ns = monotonic_ns()
        self.engine = Engine(
            bundle,
            [port.modality for port in ports],
            origin_ns=self.origin_ns,
            grace_s=settings.grace_s,
            backend=settings.backend,
            threads=settings.threads,
            clock=time.perf_counter_ns,
        )

    def __iter__(self) -> Iterator[Decision]:
        for port in self._ports:
            port.start(self._inbox.put)
        end_ns = None if self._settings.duration_s is None else self.origin_ns + round(self._settings.duration_s * 1e9)
        while end_ns is None or self._monotonic_ns() < end_ns:
            until_ns = min(self.engine.deadline_ns, end_ns or self.engine.deadline_ns)
            wait_s = min(max((until_ns - self._monotonic_ns()) / 1e9, 0.0), LONGEST_WAIT_S)
            decisions: list[Decision] = []
            for chunk in self._inbox.take(wait_s):
                decisions += self.engine.push(chunk)
            decisions += self.engine.advance(self._monotonic_ns())
            self._tell_changes()
            for decision in decisions:
                yield self._complete(decision)
            self._check_required()

    def _complete(self, decision: Decision) -> Decision:
        late_ms = (self._monotonic_ns() - self.origin_ns) / 1e6 - decision.t_s * 1e3
        sensors = {name: self._explain(name, state) for name, state in decision.sensors.items()}
        return replace(decision, sensors=sensors, latency_ms={**decision.latency_ms, "event_to_decision": late_ms})

    def _explain(self, name: str, state: SensorState) -> SensorState:
        [status] = [port.status for port in self._ports if port.modality == name]
        losses = sum(count for _, count in status.losses)
        if state.state in ("live", "faulty") or not status.reason:
            return replace(state, dropped=max(state.dropped, losses))
        return replace(state, reason=status.reason, dropped=max(state.dropped, losses))

    def _tell_changes(self) -> None:
        for port in self._ports:
            status = port.status
            text = status.reason or f"{status.device}: connected"
            if self._shown.get(port.modality) != text:
                self._shown[port.modality] = text
                self._note(f"{port.modality}: {text}")

    def _check_required(self) -> None:
        now_ns = self._monotonic_ns()
        for name in self._settings.required:
            newest_ns = self.engine.newest_ns(name)
            since_ns = self.origin_ns if newest_ns is None else newest_ns
            patience_s = PATIENCE_S if newest_ns is None else self.engine.hop_s + self._settings.grace_s
            if now_ns - since_ns > patience_s * 1e9:
                [status] = [port.status for port in self._ports if port.modality == name]
                raise RequiredSensorLost({name: status.reason or "nothing came"})

    def close(self) -> None:
        """Stop every port."""
        for port in self._ports:
            port.close()
