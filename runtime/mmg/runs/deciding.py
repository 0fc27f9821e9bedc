"""What a live run makes of its steps: decisions, their sensors' reasons, and what is told. Reads no clock, no port."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from mmg.bundle import Bundle
from mmg.engine.encoded import Encoded
from mmg.errors import NoSensorError, RequiredSensorLost
from mmg.runs.lateness import Lateness
from mmg.runs.settings import Settings, make_engine
from mmg.runs.step import Step
from mmg.sources.ports.port import PortStatus
from mmg.types import Chunk, ClockHealth, Decision, SensorState

if TYPE_CHECKING:
    from mmg.runs.gating import Gating

PATIENCE_S, TRYING_PATIENCE_S = 5.0, 15.0
"""How long a required sensor may take to appear at the start, and one that is plugged in to be understood: a serial
port tries five baud rates for two seconds each."""
AHEAD_S = 1.0
"""Samples whose time stamps are further ahead of the clock are refused: they would hold up all others."""
LATE_S = 2.0
"""Samples that are older than that when they come are told of: no decision waits for them."""
OPENING_S = 3.0
"""A sensor that was woken and opens within that needs no line; what it says meanwhile is no news."""
REPORT_AGAIN_S = 5.0
"""The same is told about a sensor no sooner again."""


class Decider:
    """The engine and what is known around it of ports, for steps that come from ports or from a recording.

    urls: modality -> URL of its port. origin_ns: from when ``t_s`` counts. report: called with each line that is worth
    reading. never_slept: the steps are of a run without a gate; a sensor that this one's gate wakes takes time to open.
    The same steps give the same decisions, states and reasons to the last bit.
    """

    def __init__(
        self,
        bundle: Bundle,
        urls: Mapping[str, str],
        settings: Settings,
        *,
        origin_ns: int,
        report: Callable[[str], None] = lambda _: None,
        never_slept: bool = False,
    ) -> None:
        self._never_slept = never_slept
        self._urls, self._settings, self._report = dict(urls), settings, report
        self._arrivals = {name: _Arrivals() for name in urls}
        self._reported: dict[str, str] = {}
        self._reported_ns: dict[tuple[str, str], int] = {}
        self._noted: set[tuple[str, str]] = set()
        self.origin_ns = self._looked_ns = self._patient_ns = origin_ns
        self.engine = make_engine(bundle, tuple(urls), settings, origin_ns=origin_ns)
        self.gating: Gating | None = None
        """The gate, where there is one."""
        if settings.gate is not None or settings.deadline_s is not None:
            from mmg.runs.gating import open_gating

            self.gating = open_gating(settings, bundle.manifest, self.engine, origin_ns, report, is_live=True)
        self._states = self.engine.states()
        self._statuses = {name: PortStatus() for name in urls}
        hop_ns = bundle.manifest.hop_ns
        self._lateness = {name: Lateness(origin_ns, hop_ns, settings.grace_s) for name in urls}

    def take(self, step: Step) -> list[Decision]:
        """Decide what is due, and tell what changed. Raises ConfigError, BundleError, ModelError."""
        now_ns, self._statuses = step.now_ns, dict(step.statuses)
        was_away = now_ns - self._looked_ns > (self.engine.hop_s + self._settings.grace_s) * 1e9
        self._looked_ns, end_ns = now_ns, self.engine.hop_end_ns
        decisions: list[Decision] = []
        if self.gating:
            self.gating.look(step)
        # Those that nobody waits for go first, or the others' backlog would be decided without them.
        came: list[Chunk | Encoded] = [*step.chunks, *step.encoded]
        asleep = self.gating.asleep if self.gating else ()
        for chunk in sorted(came, key=lambda chunk: self.engine.waits_for(chunk.modality)):
            if chunk.modality in asleep:  # on its way while its port was closed
                continue
            if self._never_slept and self.gating:
                admitted = self.gating.admit_encoded(chunk) if isinstance(chunk, Encoded) else self.gating.admit(chunk)
                if admitted is None:
                    continue
                chunk = admitted
            if isinstance(chunk, Encoded):
                if chunk.last_ns is not None:
                    self._arrivals[chunk.modality].hear(chunk.last_ns, now_ns)
                decisions += self.engine.push(chunk)
                continue
            accepted = self._arrivals[chunk.modality].accept(chunk, now_ns)
            if accepted is not None:
                before_ns = self.engine.newest_ns(chunk.modality)
                if not was_away:
                    late = self._lateness[chunk.modality].measure(accepted.times_ns, before_ns, now_ns)
                    self._tell(chunk.modality, late)
                decisions += self.engine.push(accepted)
        decisions += self.engine.advance(now_ns)
        hops = round((self.engine.hop_end_ns - end_ns) / 1e9 / self.engine.hop_s)
        # Where every hop was decided it was only at work for long.
        was_paused = was_away and hops > len(decisions)
        if was_paused:
            self._patient_ns = now_ns  # the process heard nothing through no fault of the sensors
        if self.gating:
            decisions = self.gating.follow(decisions, now_ns, was_paused=was_paused)
        self._states = self.engine.states()
        # What a device speaks, and so whose units these are, may be known only now.
        for name, how in step.read_as.items():
            self.engine.read_as(name, how)
        self._report_changes(now_ns)
        if not was_away:
            self._report_gaps(hops, now_ns)
        return [self._complete(decision) for decision in decisions]

    def check_required(self) -> None:
        """Raises RequiredSensorLost where a required sensor is away for longer than is waited for, or faulty."""
        for name in self._settings.required:
            if self._sleeps(name):
                continue
            newest_ns, trying = self.engine.newest_ns(name), self._statuses[name].connected
            patience_s = TRYING_PATIENCE_S if trying else PATIENCE_S
            if newest_ns is not None:
                patience_s = self.engine.hop_s + self._settings.grace_s
            woken_ns = self.gating.woken_ns(name) if self.gating else None
            if woken_ns is not None and woken_ns > (newest_ns or 0):
                patience_s = PATIENCE_S
            waited_ns = self._looked_ns - max(newest_ns or 0, self._patient_ns, woken_ns or 0)
            if waited_ns > patience_s * 1e9 or self._states[name].state == "faulty":
                raise RequiredSensorLost({name: self._explain(name)})

    def _sleeps(self, name: str) -> bool:
        return self.gating is not None and name in self.gating.asleep

    def _opens(self, name: str, now_ns: int) -> bool:
        """Whether it was woken lately, and has not given anything since."""
        woken_ns = self.gating.woken_ns(name) if self.gating else None
        if woken_ns is None or now_ns - woken_ns >= OPENING_S * 1e9:
            return False
        return (self.engine.newest_ns(name) or 0) <= woken_ns

    def check_decided(self) -> None:
        """Raises NoSensorError where nothing was ever decided."""
        if not self.engine.decided:
            raise NoSensorError({name: self._explain(name) for name in self._urls})

    def _complete(self, decision: Decision) -> Decision:
        return replace(decision, sensors=self._explained(decision.sensors))

    def sensors(self) -> dict[str, SensorState]:
        """How each sensor is by now, decided or not."""
        return self._explained(self._states)

    def _explained(self, states: Mapping[str, SensorState]) -> dict[str, SensorState]:
        """With what the ports know."""
        sensors = {}
        for name, state in states.items():
            status = self._statuses[name]
            reason = state.reason
            if not reason and state.state not in ("live", "doubted", "asleep"):
                reason = status.reason or self._arrivals[name].problem
            flowing = status.connected and not status.reason
            clock = ClockHealth(status.drift_ppm, status.jitter_ms, status.uncertainty_ms) if flowing else None
            sensors[name] = replace(state, reason=reason, clock=clock, note=status.note if flowing else "")
        return sensors

    def _report_changes(self, now_ns: int) -> None:
        for name, status in self._statuses.items():
            if self._sleeps(name) or self._opens(name, now_ns):
                continue
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

    def _report_gaps(self, hops: int, now_ns: int) -> None:
        """Of sensors that seem well, and that hops went without all the same."""
        for name, status in self._statuses.items():
            lateness, is_known = self._lateness[name], self._states[name].reason or self._arrivals[name].problem
            if status.reason or is_known or not status.connected or self._sleeps(name) or self._opens(name, now_ns):
                lateness.forgive()
            elif hops and self.engine.newest_ns(name) is not None:
                self._tell(name, lateness.follow(self._states[name].state, hops))

    def _tell(self, name: str, problem: str) -> None:
        if problem:
            self._report(f"{name}: {problem}")

    def _explain(self, name: str) -> str:
        """Why this sensor gives nothing, in a few words."""
        reason = self._states[name].reason or self._statuses[name].reason or self._arrivals[name].problem
        newest_ns = self.engine.newest_ns(name)
        if newest_ns is None:
            return reason or f"nothing arrived from {self._urls[name]}"
        return reason or f"nothing arrived for {(self._looked_ns - newest_ns) / 1e9:.1f} s"

    def report_ends(self, statuses: Mapping[str, PortStatus] | None = None) -> None:
        """Tell what was lost and how each sensor ended. statuses: the ports' last ones, where newer than the steps'."""
        if self.gating and (line := self.gating.report()):
            self._report(line)
        for name, state in self._states.items():
            losses = (statuses or self._statuses)[name].losses
            lost = [f"{count} {kind.replace('_', ' ')}" for kind, count in losses if count]
            if state.dropped:
                lost.append(f"{state.dropped} samples dropped")
            if lost:
                self._report(f"{name}: {', '.join(lost)}")
            if state.state not in ("live", "absent", "asleep"):
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
            self.hear(int(chunk.times_ns[-1]), now_ns)
        refused, self._refused = self._refused, 0
        return replace(chunk, dropped=chunk.dropped + refused) if refused else chunk

    def hear(self, newest_ns: int, now_ns: int) -> None:
        """Note how old the newest sample is that has come."""
        late_s = (now_ns - newest_ns) / 1e9
        self.problem = f"its samples arrive {late_s:.0f} s late" if late_s > LATE_S else ""
