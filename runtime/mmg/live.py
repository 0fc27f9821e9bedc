"""The live pipeline: ports run by themselves, one thread runs the engine, and decisions come at their time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from mmg.bundle import Bundle, Manifest
from mmg.engine import Engine
from mmg.errors import NoSensorError, RequiredSensorLost
from mmg.inbox import Inbox
from mmg.pipeline import Settings, open_each
from mmg.sources import open_port
from mmg.sources.port import Port, PortStatus
from mmg.types import ClockHealth, Decision, SensorState

PATIENCE_S = 5.0
"""How long a required sensor may take to appear at the start."""
LONGEST_WAIT_S = 0.25
"""How long a change of a port's status may wait to be told while nothing comes."""


class LivePipeline:
    """Ports in, decisions out. Iterate over it once; then ``close`` it, which also ends an iteration in another thread.

    bundle: an open bundle. ports: one a modality, not started. note: takes lines that are worth telling.

    ``t_s`` counts from the moment of the first ``start``. A sensor's ``reason`` is what its port knows (unplugged,
    stalled), its ``clock`` how the device's clock runs; ``latency_ms["event_to_decision"]`` is the time from the hop's
    end, when its last sample was captured, to the moment the decision is handed out. A port that is not there is
    waited for as long as the run lasts. Raises RequiredSensorLost, NoSensorError where nothing ever decided until the
    duration was over, ConfigError, BundleError, ModelError.
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
        self._ports = {port.modality: port for port in ports}
        self._settings, self._note, self._monotonic_ns = settings, note, monotonic_ns
        self._inbox = Inbox(tuple(self._ports))
        self._told: dict[str, str] = {}
        self._closing = False
        self.origin_ns = monotonic_ns()
        self.engine = Engine(
            bundle,
            tuple(self._ports),
            origin_ns=self.origin_ns,
            grace_s=settings.grace_s,
            backend=settings.backend,
            threads=settings.threads,
            clock=time.perf_counter_ns,
        )

    def __iter__(self) -> Iterator[Decision]:
        self.start()
        end_ns = None
        if self._settings.duration_s is not None:
            end_ns = self.origin_ns + round((self._settings.duration_s + self._settings.grace_s) * 1e9)
        while not self._closing and (end_ns is None or self._monotonic_ns() < end_ns):
            deadline_ns = self.engine.deadline_ns if end_ns is None else min(self.engine.deadline_ns, end_ns)
            wait_s = (deadline_ns - self._monotonic_ns()) / 1e9
            self._inbox.wait(self.engine.hop_end_ns, min(max(wait_s, 0.0), LONGEST_WAIT_S))
            for decision in self.step():
                if self._settings.duration_s is None or decision.t_s <= self._settings.duration_s:
                    yield decision
        if end_ns is not None and not self.engine.decided:
            raise NoSensorError({name: self._explain(name, state) for name, state in self.engine.states().items()})

    def start(self) -> None:
        """Begin to listen to the ports."""
        for port in self._ports.values():
            port.start(self._inbox.put)

    def step(self) -> list[Decision]:
        """Take what has come, decide what is due now, and tell what changed. Never waits."""
        decisions: list[Decision] = []
        for chunk in self._inbox.take():
            decisions += self.engine.push(chunk)
        decisions += self.engine.advance(self._monotonic_ns())
        statuses = {name: port.status for name, port in self._ports.items()}
        states = self.engine.states()
        self._tell_changes(statuses, states)
        self._check_required(states)
        return [self._complete(decision, statuses) for decision in decisions]

    def _complete(self, decision: Decision, statuses: Mapping[str, PortStatus]) -> Decision:
        late_ms = (self._monotonic_ns() - self.origin_ns) / 1e6 - decision.t_s * 1e3
        sensors = {}
        for name, state in decision.sensors.items():
            status = statuses[name]
            reason = state.reason or (status.reason if state.state != "live" else "")
            clock = ClockHealth(status.drift_ppm, status.jitter_ms, status.uncertainty_ms)
            sensors[name] = replace(
                state, reason=reason, clock=clock if status.connected and not status.reason else None
            )
        return replace(decision, sensors=sensors, latency_ms={**decision.latency_ms, "event_to_decision": late_ms})

    def _tell_changes(self, statuses: Mapping[str, PortStatus], states: Mapping[str, SensorState]) -> None:
        for name, status in statuses.items():
            state = states[name]
            text = status.reason
            if not text:
                text = f"faulty: {state.reason}" if state.state == "faulty" else f"connected: {status.device}"
            # What is behind the colon counts on, as in "stalled: nothing for 3 s"; only the kind is news.
            kind = text if text.startswith(("faulty", "connected")) else text.partition(":")[0]
            if self._told.get(name) != kind:
                self._told[name] = kind
                self._note(f"{name}: {text}")

    def _check_required(self, states: Mapping[str, SensorState]) -> None:
        now_ns = self._monotonic_ns()
        for name in self._settings.required:
            newest_ns = self.engine.newest_ns(name)
            since_ns = self.origin_ns if newest_ns is None else newest_ns
            patience_s = PATIENCE_S if newest_ns is None else self.engine.hop_s + self._settings.grace_s
            if now_ns - since_ns > patience_s * 1e9 or states[name].state == "faulty":
                raise RequiredSensorLost({name: self._explain(name, states[name])})

    def _explain(self, name: str, state: SensorState) -> str:
        """Why this sensor gives nothing, in a few words."""
        return state.reason or self._ports[name].status.reason or f"nothing came from {self._ports[name].url}"

    def close(self) -> None:
        """Stop every port, and tell what was lost. Twice is fine."""
        if self._closing:
            return
        self._closing = True
        for port in self._ports.values():
            port.close()
        for name, state in self.engine.states().items():
            lost = [f"{count} {kind.replace('_', ' ')}" for kind, count in self._ports[name].status.losses if count]
            if state.dropped:
                lost.append(f"{state.dropped} samples dropped")
            if lost:
                self._note(f"{name}: {', '.join(lost)}")


def open_ports(
    manifest: Manifest, urls: Mapping[str, str], settings: Settings, note: Callable[[str], None]
) -> list[Port]:
    """A port for each URL, not started. One that cannot be, as a library is missing, is left out with a note.

    Raises ConfigError, RequiredSensorLost, NoSensorError.
    """
    return open_each(manifest, urls, settings, note, partial(open_port, allow_video=settings.allow_video))
