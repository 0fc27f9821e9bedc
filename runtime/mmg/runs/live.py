"""The live pipeline: ports run by themselves, one thread runs the engine, and decisions come at their time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from mmg.bundle import Bundle, Manifest
from mmg.errors import NoSensorError, RequiredSensorLost
from mmg.runs.inbox import Inbox
from mmg.runs.lateness import Lateness
from mmg.runs.look_ahead import read_as
from mmg.runs.recorded import open_each
from mmg.runs.settings import Settings, make_engine
from mmg.sources import open_port
from mmg.sources.ports.port import Port, PortStatus
from mmg.types import Chunk, ClockHealth, Decision

PATIENCE_S, TRYING_PATIENCE_S = 5.0, 15.0
"""How long a required sensor may take to appear at the start, and one that is plugged in to be understood: a serial
port tries five baud rates for two seconds each."""
LONGEST_WAIT_S = 0.25
"""How long a change of a port's status may wait to be told while nothing comes."""
AHEAD_S = 1.0
"""Samples whose time stamps are further ahead of the clock are refused: they would hold up all others."""
LATE_S = 2.0
"""Samples that are older than that when they come are told of: no decision waits for them."""
REPORT_AGAIN_S = 5.0
"""The same is told about a sensor no sooner again."""


class LivePipeline:
    """Ports in, decisions out. Iterate over it once; then ``close`` it.

    bundle: an open bundle. ports: one a modality, not started. report: called with each line that is worth reading.

    ``t_s`` counts from when the pipeline was made. A sensor's ``reason`` is what its port knows (unplugged, stalled),
    its ``clock`` how the device's clock runs; ``latency_ms["event_to_decision"]`` is the time from the hop's end, when
    its last sample was captured, to the moment the decision is handed out. A port that is not there is waited for as
    long as the run lasts. Raises RequiredSensorLost, NoSensorError where nothing ever decided until the duration was
    over, ConfigError, BundleError, ModelError.
    """

    def __init__(
        self,
        bundle: Bundle,
        ports: Sequence[Port],
        settings: Settings,
        *,
        report: Callable[[str], None] = lambda _: None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._ports = {port.modality: port for port in ports}
        self._settings, self._report, self._monotonic_ns = settings, report, monotonic_ns
        self._inbox = Inbox(tuple(self._ports))
        self._arrivals = {name: _Arrivals() for name in self._ports}
        self._reported: dict[str, str] = {}
        self._devices: dict[str, str] = {}
        self._reported_ns: dict[tuple[str, str], int] = {}
        self._noted: set[tuple[str, str]] = set()
        self._started = self._closing = False
        self.origin_ns = self._looked_ns = self._patient_ns = monotonic_ns()
        self.engine = make_engine(bundle, tuple(self._ports), settings, origin_ns=self.origin_ns)
        self._states = self.engine.states()
        hop_ns = bundle.manifest.hop_ns
        self._lateness = {name: Lateness(self.origin_ns, hop_ns, settings.grace_s) for name in self._ports}

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
            self.check_required()
        if not self._closing and not self.engine.decided:
            raise NoSensorError({name: self._explain(name) for name in self._ports})

    def start(self) -> None:
        """Begin to listen to the ports. Twice is fine."""
        if self._started:
            return
        self._started, self._looked_ns, self._patient_ns = True, self._monotonic_ns(), self._monotonic_ns()
        for port in self._ports.values():
            port.start(self._inbox.put)

    def step(self) -> list[Decision]:
        """Take what has come, decide what is due, and tell what changed. Never waits."""
        # What comes while this works is looked at the next time: the clock must not be ahead of the inbox.
        now_ns = self._monotonic_ns()
        was_paused = now_ns - self._looked_ns > (self.engine.hop_s + self._settings.grace_s) * 1e9
        if was_paused:
            self._patient_ns = now_ns  # the process heard nothing through no fault of the sensors
        self._looked_ns, end_ns = now_ns, self.engine.hop_end_ns
        decisions: list[Decision] = []
        # Those that nobody waits for go first, or the others' backlog would be decided without them.
        for chunk in sorted(self._inbox.take(), key=lambda chunk: self.engine.waits_for(chunk.modality)):
            accepted = self._arrivals[chunk.modality].accept(chunk, now_ns)
            if accepted is not None:
                before_ns = self.engine.newest_ns(chunk.modality)
                if not was_paused:
                    late = self._lateness[chunk.modality].measure(accepted.times_ns, before_ns, now_ns)
                    self._tell(chunk.modality, late)
                decisions += self.engine.push(accepted)
        decisions += self.engine.advance(now_ns)
        self._states = self.engine.states()
        statuses = {name: port.status for name, port in self._ports.items()}
        for name, status in statuses.items():
            # What a device speaks, and so whose units these are, may be known only now.
            if self._devices.get(name) != status.device:
                self._devices[name] = status.device
                self.engine.read_as(name, read_as(self._ports[name]))
        self._report_changes(statuses, now_ns)
        if not was_paused:
            self._report_gaps(statuses, round((self.engine.hop_end_ns - end_ns) / 1e9 / self.engine.hop_s))
        return [self._complete(decision, statuses) for decision in decisions]

    def check_required(self) -> None:
        """Raises RequiredSensorLost where a required sensor is away for longer than is waited for, or faulty."""
        for name in self._settings.required:
            newest_ns, trying = self.engine.newest_ns(name), self._ports[name].status.connected
            patience_s = TRYING_PATIENCE_S if trying else PATIENCE_S
            if newest_ns is not None:
                patience_s = self.engine.hop_s + self._settings.grace_s
            waited_ns = self._looked_ns - max(newest_ns or 0, self._patient_ns)
            if waited_ns > patience_s * 1e9 or self._states[name].state == "faulty":
                raise RequiredSensorLost({name: self._explain(name)})

    def _complete(self, decision: Decision, statuses: Mapping[str, PortStatus]) -> Decision:
        late_ms = (self._monotonic_ns() - self.origin_ns) / 1e6 - decision.t_s * 1e3
        sensors = {}
        for name, state in decision.sensors.items():
            status = statuses[name]
            reason = state.reason
            if not reason and state.state not in ("live", "doubted"):
                reason = status.reason or self._arrivals[name].problem
            flowing = status.connected and not status.reason
            clock = ClockHealth(status.drift_ppm, status.jitter_ms, status.uncertainty_ms) if flowing else None
            sensors[name] = replace(state, reason=reason, clock=clock, note=status.note if flowing else "")
        return replace(decision, sensors=sensors, latency_ms={**decision.latency_ms, "event_to_decision": late_ms})

    def _report_changes(self, statuses: Mapping[str, PortStatus], now_ns: int) -> None:
        for name, status in statuses.items():
            state = self._states[name]
            text = status.reason or self._arrivals[name].problem
            if not text:
                unwell = state.state in ("faulty", "doubted")
                text = f"{state.state}: {state.reason}" if unwell else f"connected: {status.device}"
            # Numbers change all the time, as in "stalled: nothing for over 4 s"; only the rest is news.
            kind = re.sub(r"[\d.]+", "", text)
            again_ns = self._reported_ns.get((name, kind), now_ns) + REPORT_AGAIN_S * 1e9
            if self._reported.get(name) != kind and ((name, kind) not in self._reported_ns or now_ns >= again_ns):
                was_unwell = self._reported.get(name, "").startswith(("faulty", "doubted"))
                if was_unwell and text.startswith("connected"):
                    text = text.replace("connected", "recovered", 1)
                self._reported[name], self._reported_ns[name, kind] = kind, now_ns
                self._report(f"{name}: {text}")
            noted = name, re.sub(r"[\d.]+", "", status.note)
            if status.note and not status.reason and noted not in self._noted:
                self._noted.add(noted)
                self._report(f"{name}: {status.note}")

    def _report_gaps(self, statuses: Mapping[str, PortStatus], hops: int) -> None:
        """Of sensors that seem well, and that hops went without all the same."""
        for name, status in statuses.items():
            lateness, is_known = self._lateness[name], self._states[name].reason or self._arrivals[name].problem
            if status.reason or is_known or not status.connected:
                lateness.forgive()
            elif hops and self.engine.newest_ns(name) is not None:
                self._tell(name, lateness.follow(self._states[name].state, hops))

    def _tell(self, name: str, problem: str) -> None:
        if problem:
            self._report(f"{name}: {problem}")

    def _explain(self, name: str) -> str:
        """Why this sensor gives nothing, in a few words."""
        reason = self._states[name].reason or self._ports[name].status.reason or self._arrivals[name].problem
        newest_ns = self.engine.newest_ns(name)
        if newest_ns is None:
            return reason or f"nothing arrived from {self._ports[name].url}"
        return reason or f"nothing arrived for {(self._looked_ns - newest_ns) / 1e9:.1f} s"

    def close(self) -> None:
        """Stop every port, and tell what was lost and how each sensor ended. Twice is fine."""
        if self._closing:
            return
        self._closing = True
        for port in self._ports.values():
            port.close()
        for name, state in self._states.items():
            lost = [f"{count} {kind.replace('_', ' ')}" for kind, count in self._ports[name].status.losses if count]
            if state.dropped:
                lost.append(f"{state.dropped} samples dropped")
            if lost:
                self._report(f"{name}: {', '.join(lost)}")
            if state.state not in ("live", "absent"):
                self._report(f"{name} ended {state.state}: {self._explain(name)}")


class _Arrivals:
    """What is odd about the time stamps of one port's samples as they arrive."""

    def __init__(self) -> None:
        self.problem = ""
        """In a few words; empty while all is well."""
        self._refused = 0

    def accept(self, chunk: Chunk, now_ns: int) -> Chunk | None:
        """The chunk without samples from the future, which count as dropped before the next one that has others."""
        limit_ns = now_ns + round(AHEAD_S * 1e9)
        good = chunk.times_ns <= limit_ns
        if not good.all():
            ahead_s = (int(chunk.times_ns.max()) - now_ns) / 1e9
            self.problem = f"its time stamps are {ahead_s:.0f} s ahead of the clock"
            self._refused += int((~good).sum()) + chunk.dropped
            if not good.any():
                return None
            chunk = replace(chunk, samples=chunk.samples[good], times_ns=chunk.times_ns[good], dropped=0)
        else:
            late_s = (now_ns - int(chunk.times_ns[-1])) / 1e9
            self.problem = f"its samples arrive {late_s:.0f} s late" if late_s > LATE_S else ""
        refused, self._refused = self._refused, 0
        return replace(chunk, dropped=chunk.dropped + refused) if refused else chunk


def open_ports(
    manifest: Manifest, urls: Mapping[str, str], settings: Settings, report: Callable[[str], None]
) -> list[Port]:
    """A port for each URL, not started. One that cannot be, as a library is missing, is left out with a note.

    Raises ConfigError, RequiredSensorLost, NoSensorError.
    """
    return open_each(manifest, urls, settings, report, partial(open_port, allow_video=settings.allow_video))
