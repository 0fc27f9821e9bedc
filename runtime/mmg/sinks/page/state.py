"""What a page shows of a run, made of its events: each becomes lines of JSON, once for all who look."""

from __future__ import annotations

import json
import math
import socket
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeAlias

from mmg.sinks.event import About, Decided, Event, Notice, Sensed, Taught
from mmg.sinks.page.envelope import Envelope
from mmg.sinks.page.metrics import Totals
from mmg.sinks.page.vitals import CpuShare, Latencies, resident_bytes
from mmg.version import installed_version

if TYPE_CHECKING:
    from mmg.runs.step import Step
    from mmg.sources.ports.port import PortStatus
    from mmg.types import Decision, SensorState

SCHEMA = 1
"""Of all that is sent. A key that comes is no other schema; one that goes, or means something else, is."""
HISTORY_S = 600.0
MOST_DECISIONS, MOST_NOTICES = 1200, 200
LATE_HOPS = 3
"""So many hops without a decision are unwell."""
ENCODER = json.JSONEncoder(separators=(",", ":"))
Sent: TypeAlias = list[tuple[str, str]]
"""Events as their kind and their JSON."""


class State:
    """A run as it is now and was in the last ten minutes. Not for two threads at once."""

    def __init__(
        self,
        about: About,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self.about, self._monotonic_s, self._wall_s = about, monotonic_s, wall_s
        self.run, self._version = uuid.uuid4().hex, installed_version()
        self.newest = ""
        """The newest decision as JSON; empty before the first."""
        self.newest_vitals = ""
        self.sensors: Mapping[str, SensorState] = {}
        self.statuses: Mapping[str, PortStatus] = {}
        self.totals = Totals()
        self.viewers = self.refused = self.dropped = 0
        """Who looks; requests that were refused, and viewers that were dropped because they did not read."""
        self._was_paused = False
        # Where hops are shorter than half a second, every n-th stands for those before it.
        self._every = max(1, math.ceil(HISTORY_S / MOST_DECISIONS / about.hop_s))
        most = math.ceil(HISTORY_S / (self._every * about.hop_s))
        self._decisions: deque[tuple[float, str]] = deque(maxlen=most)
        self._notices: deque[tuple[float, str]] = deque(maxlen=MOST_NOTICES)
        self._envelopes = {name: Envelope(kind) for name, kind in about.kinds.items()}
        self._latencies, self._cpu = Latencies(), CpuShare(monotonic_s)
        self._began_s = self._decided_s = self._sensed_s = monotonic_s()

    # --- what comes ------------------------------------------------------------------------------------------------

    def take(self, event: Event) -> Sent:
        """What is to be sent of this event. While nobody looks, no envelope is computed."""
        if isinstance(event, Decided):
            return self._decide(event)
        if isinstance(event, Notice):
            line = _json({"at": self._at(), "text": event.text})
            self._notices.append((self._monotonic_s(), line))
            return [("notice", line), *self._news_of_pause()]
        if isinstance(event, Sensed):
            self.sensors, self._sensed_s = event.sensors, self._monotonic_s()
            return self._sense()
        if isinstance(event, Taught):
            return [("teach", _json({"at": self._at(), **asdict(event.teaching)}))]
        return self._hear(event)

    def _hear(self, step: Step) -> Sent:
        self.statuses = step.statuses
        for chunk in step.chunks:
            if chunk.modality in self._envelopes:
                self._envelopes[chunk.modality].add(chunk)
        return []

    def _decide(self, event: Decided) -> Sent:
        decision, at, now_s = event.decision, self._at(), self._monotonic_s()
        self.newest = f'{event.line[:-1]},"at":{at}}}'
        self.sensors, self._decided_s, self._sensed_s = decision.sensors, now_s, now_s
        if decision.hop % self._every == 0:
            self._decisions.append((now_s, _short(decision, at)))
        latency_ms = decision.latency_ms.get("event_to_decision")
        if latency_ms is not None:
            self._latencies.add(now_s, latency_ms)
        self.totals.count(decision.label, latency_ms)
        return [("decision", self.newest), *self._sense()]

    def _sense(self) -> Sent:
        if not self.viewers:
            for envelope in self._envelopes.values():
                envelope.forget()
            return []
        sensors = {name: self._sensor(name, state) for name, state in self.sensors.items()}
        return [("sensors", _json({"at": self._at(), "sensors": sensors}))]

    def _sensor(self, name: str, state: SensorState) -> dict[str, Any]:
        envelope, status = self._envelopes.get(name), self.statuses.get(name)
        clock = state.clock and {key: _finite(value) for key, value in asdict(state.clock).items()}
        paused = self.is_paused
        word, reason = self.word_of(state)
        return {
            "state": word,
            "reason": reason,
            "age_ms": round(self.age_ms(state), 3),
            "dropped": state.dropped,
            "note": state.note,
            "device": status.device if status else "",
            "clock": None if paused else clock,
            "rate_hz": round(envelope.rate_hz, 1) if envelope and not paused else 0.0,
            "envelope": envelope.pairs() if envelope else [],
        }

    def word_of(self, state: SensorState) -> tuple[str, str]:
        """A sensor's state and its reason, as they are told: of a run that is paused it listens to none."""
        return ("absent", "paused") if self.is_paused else (state.state, state.reason)

    def age_ms(self, state: SensorState) -> float:
        """How old its newest sample is by now; while a run is paused nothing else tells."""
        since_s = self._monotonic_s() - self._sensed_s if self.is_paused else 0.0
        return state.age_ms + since_s * 1e3

    def _news_of_pause(self) -> Sent:
        if self.is_paused == self._was_paused:
            return []
        self._was_paused = self.is_paused
        return self.vitals()

    # --- what is told ----------------------------------------------------------------------------------------------

    def hello(self) -> str:
        """What holds for the whole run."""
        about, controls = self.about, self.about.controls
        none = {"mark": False, "record": False, "pause": False, "teach": False}
        return _json(
            {
                "schema": SCHEMA,
                "mmg": self._version,
                "bundle": about.bundle,
                "labels": about.labels,
                "hop_s": about.hop_s,
                "step_s": round(self._every * about.hop_s, 6),
                "board": about.board,
                "host": socket.gethostname(),
                "run": self.run,
                "sensors": dict(about.sensors),
                "kinds": dict(about.kinds),
                "camera": dict(about.camera),
                "controls": controls.offered(about.labels) if controls else none,
            }
        )

    def history(self) -> list[str]:
        """The last ten minutes as JSON, in pieces that belong together."""
        now_s = self._monotonic_s()
        oldest_s = now_s - HISTORY_S
        decisions = [line for at_s, line in self._decisions if at_s >= oldest_s]
        notices = [line for at_s, line in self._notices if at_s >= oldest_s]
        since = f'],"since_s":{now_s - self._decided_s:.3f}}}'
        return ['{"decisions":[', *_joined(decisions), '],"notices":[', *_joined(notices), since]

    def vitals(self) -> Sent:
        """How the process is; and the sensors, where the run is paused and nothing else tells of them."""
        now_s, controls = self._monotonic_s(), self.about.controls
        lost = {
            "sensors": {name: state.dropped for name, state in self.sensors.items() if state.dropped},
            "sinks": {sink.name: sink.lost for sink in self.about.sinks if sink.lost},
        }
        vitals = {
            "at": self._at(),
            "uptime_s": round(now_s - self._began_s, 1),
            "cpu_percent": self._cpu.percent(),
            "memory_mib": round(resident_bytes() / 2**20, 1),
            "latency_ms": self._latencies.percentiles(now_s),
            "decisions": self.totals.decisions,
            "lost": lost,
            "viewers": self.viewers,
            "recording": controls.recording() if controls else None,
            "paused": self.is_paused,
        }
        self.newest_vitals = _json(vitals)
        return [("vitals", self.newest_vitals), *(self._sense() if self.is_paused else [])]

    @property
    def is_paused(self) -> bool:
        """Whether the run listens to none of its sensors, as it was asked."""
        return self.about.controls is not None and self.about.controls.is_paused

    def ills(self) -> list[str]:
        """Why the run is unwell, each in a line; empty where it is well."""
        controls, since_s = self.about.controls, self._monotonic_s() - self._decided_s
        if self.is_paused:
            return ["paused"]
        ills = [_ill(name, self.sensors.get(name)) for name in self.about.sensors]
        if since_s > LATE_HOPS * self.about.hop_s:
            ills.append(f"no decision for {since_s:.1f} s")
        if controls and controls.problem:
            ills.append(f"recording stopped: {controls.problem}")
        return [ill for ill in ills if ill]

    def _at(self) -> float:
        return round(self._wall_s(), 3)


def _ill(name: str, state: SensorState | None) -> str:
    if state is None:
        return f"{name}: not heard yet"
    if state.state in ("live", "asleep"):
        return ""
    return f"{name}: {state.state}: {state.reason}" if state.reason else f"{name}: {state.state}"


def _short(decision: Decision, at: float) -> str:
    return _json(
        {
            "at": at,
            "t": round(decision.t_s, 6),
            "label": decision.label,
            "confidence": round(decision.confidence, 6),
            "modalities": decision.modalities,
        }
    )


def _joined(lines: list[str]) -> list[str]:
    return [f",{line}" if number else line for number, line in enumerate(lines)]


def _finite(figure: float) -> float:
    return round(figure, 3) if math.isfinite(figure) else 0.0


def _json(of: Mapping[str, Any]) -> str:
    return ENCODER.encode(of)
