"""A gate at work in a run: who is awake, what the engine is told of it, and what each decision says. Reads no clock."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
from mmg_device_profiles.gate import GatePolicy, problem_in

from mmg.engine.gate import HEARD, PATIENCE_NS, Gate
from mmg.engine.relief import Relief
from mmg.errors import ConfigError
from mmg.types import Chunk, Decision, Gated

if TYPE_CHECKING:
    from mmg.bundle import Manifest
    from mmg.engine import Engine
    from mmg.engine.encoded import Encoded
    from mmg.runs.settings import Settings
    from mmg.runs.step import Step

WAITS_S = 0.15
"""A hop that waits for a late sensor is decided so long after the grace at the latest, unless something is slow."""
TELL_AGAIN_NS = 60_000_000_000
"""That fewer sensors decide for the same reason is told no sooner again."""
OPENS_NS = {"signal": 100_000_000, "audio": 300_000_000, "video": 500_000_000}
"""How long a sensor of each kind takes to its first sample in a run on recordings. A virtual microphone takes 0.12 to
0.22 s, of which PortAudio's own start is the most; the others are assumed."""


def open_gating(
    settings: Settings,
    manifest: Manifest,
    engine: Engine,
    origin_ns: int,
    report: Callable[[str], None],
    *,
    is_live: bool = False,
) -> Gating | None:
    """What lets the sensors of a run sleep, None where nothing does. Raises ConfigError for a policy that does not fit
    the bundle."""
    gate = _open_gate(settings.gate, manifest, engine, origin_ns, report)
    relief = None
    if is_live and settings.deadline_s is not None:
        # Half of it is for the work; what waits for a late sensor is not late yet.
        limit_s = max(settings.deadline_s / 2, settings.grace_s + WAITS_S)
        if settings.deadline_s < 2 * limit_s - 1e-9:
            why = f"hops wait {settings.grace_s * 1e3:g} ms for a late sensor"
            report(f"deadline: {settings.deadline_s * 1e3:g} ms counts as {2e3 * limit_s:g} ms: {why}")
        relief = Relief(manifest, round(limit_s * 1e9), gate.watching if gate else ())
        if len(relief.rungs(engine.modalities)) < 2:
            is_alone = len(engine.modalities) < 2
            why = "this run has one sensor" if is_alone else "this bundle tells no accuracy with fewer sensors"
            report(f"deadline: no cheaper subset is known: {why}")
    if gate is None and relief is None:
        return None
    sleepers = settings.gate.wake if gate and settings.gate else {}
    kinds = {one.name: one.kind for one in manifest.modalities}
    opens_ns = {name: OPENS_NS[kinds[name]] for name in sleepers if name in engine.modalities}
    return Gating(engine, origin_ns, gate, opens_ns, relief, report)


def _open_gate(
    policy: GatePolicy | None, manifest: Manifest, engine: Engine, origin_ns: int, report: Callable[[str], None]
) -> Gate | None:
    """None where there is nothing to ask for or nothing that could sleep; that is told."""
    if policy is None:
        return None
    known = [modality.name for modality in manifest.modalities]
    if problem := problem_in(policy, known):
        raise ConfigError(f"gate.{problem[0]}: {problem[1]}")
    for name in (*policy.watch, *policy.wake):
        if name not in known:
            report(f"gate: the policy names {name}, of which this bundle knows nothing: it has {', '.join(known)}")
    for name in policy.wake:
        if name in known and name not in engine.modalities:
            camera = manifest.modality(name).kind == "video"
            why = "a camera must be named, and allowed with --allow-video" if camera else "this run does not have it"
            report(f"gate: {name} is never woken: {why}")
    sleepers = [name for name in policy.wake if name in engine.modalities]
    watching = [name for name in policy.watch if name in engine.modalities]
    if not watching:
        report(f"gate: nothing sleeps: this run does not have {' or '.join(policy.watch)} to watch")
    elif not sleepers:
        report("gate: nothing sleeps: this run has no sensor that its policy wakes")
    if not (watching and sleepers):
        return None
    return Gate(policy, engine.modalities, origin_ns)


def as_json(policy: GatePolicy) -> str:
    """For a recording's metadata."""
    return msgspec.json.encode(policy).decode()


def from_json(text: str) -> GatePolicy | None:
    """None for ``null``. Raises ValueError for what is no policy."""
    return msgspec.json.decode(text, type=GatePolicy | None)


class Gating:
    """A gate, what gives relief where decisions are late, or both.

    gate: with the sensors of a policy; None lets all be awake. opens_ns: of the sensors that the policy lets sleep, how
    long each takes to open, for ``admit``. origin_ns: where hop 0 of the engine begins.
    """

    def __init__(
        self,
        engine: Engine,
        origin_ns: int,
        gate: Gate | None,
        opens_ns: dict[str, int],
        relief: Relief | None = None,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._engine, self._opens_ns, self._origin_ns = engine, opens_ns, origin_ns
        self._gate, self._relief, self._report = gate, relief, report
        self._woken_ns: dict[str, int] = {}
        self._spared: frozenset[str] = frozenset()  # awake, and no load, when relief was last needed
        self._held_down, self._is_told, self._told_ns = "", False, dict[str, int]()
        self._now_ns, self._end_ns = origin_ns, engine.hop_end_ns
        self._awake_ns, self._paused_ns = dict.fromkeys(opens_ns, 0), 0
        self.awake: frozenset[str] = frozenset(engine.modalities)
        """The modalities that are asked for now."""
        if gate and gate.wants_motion:
            engine.keep_motion()
        self._let_sleep()

    @property
    def asleep(self) -> Collection[str]:
        """The others."""
        return [name for name in self._engine.modalities if name not in self.awake]

    def woken_ns(self, name: str) -> int | None:
        """When a sensor was woken; None while it sleeps, or where it never slept."""
        return self._woken_ns.get(name)

    def _skip(self, until_ns: int) -> None:
        """After a pause: until then nothing was heard, and nobody was awake."""
        passed_ns = until_ns - self._now_ns
        if passed_ns <= 0:
            return
        self._now_ns, self._paused_ns = self._now_ns + passed_ns, self._paused_ns + passed_ns
        self._woken_ns = {name: woken_ns + passed_ns for name, woken_ns in self._woken_ns.items()}
        if self._gate:
            self._gate.skip(passed_ns)

    def look(self, step: Step) -> None:
        """Before a step is taken: let sensors sleep where the hop that is due is late already, and others decide it."""
        self._held_down = step.held_down
        if self._relief is None:
            return
        end_ns = self._engine.hop_end_ns
        before_ns = {name: self._engine.newest_ns(name) or 0 for name in self.awake}
        newest_ns = dict(before_ns)
        newest_ns |= {one.modality: int(one.times_ns[-1]) for one in step.chunks if one.modality in self.awake}
        newest_ns |= {one.modality: one.last_ns or 0 for one in step.encoded if one.modality in self.awake}
        states = {name: state.state for name, state in self._engine.states().items() if name in self.awake}
        heard = [name for name, state in states.items() if state in HEARD]
        live = [name for name in heard if newest_ns[name] >= end_ns]
        # One that gives nothing costs nothing, and closed it could not come back. A recording of tokens does not tell
        # what came of one that is closed now.
        lost = [name for name, state in states.items() if state == "stale" and end_ns - before_ns[name] > PATIENCE_NS]
        present = [name for name, state in states.items() if state != "absent" and name not in lost]
        late_ns = step.now_ns - end_ns
        weighed = present if self._relief.is_late(late_ns) else heard
        if self._relief.look(late_ns, step.held_down, weighed, live):
            was_awake = self.awake
            self._spared = was_awake.difference(weighed)
            self._let_sleep()
            self._tell(sorted(was_awake - self.awake), self._relief.why, step.now_ns)

    def _tell(self, names: Sequence[str], why: str, now_ns: int) -> None:
        """That these sleep, not for each try that failed."""
        kind = re.sub(r"[\d.]+", "", why)
        if names and now_ns - self._told_ns.get(kind, -TELL_AGAIN_NS) >= TELL_AGAIN_NS:
            self._is_told, self._told_ns[kind] = True, now_ns
            self._report(f"{why}: {', '.join(names)} sleeps until they are in time")

    def follow(self, decisions: Sequence[Decision], now_ns: int, *, was_paused: bool = False) -> list[Decision]:
        """Say in each of these new decisions who was asked, and then let sensors sleep and wake by them.

        Called after each step, with the time until which everything is known. was_paused: hops that were not decided
        are those of a pause.
        """
        passed_ns, self._end_ns = self._engine.hop_end_ns - self._end_ns, self._engine.hop_end_ns
        if not passed_ns:
            return list(decisions)
        asked = Gated(
            tuple(name for name in self._engine.modalities if name in self.awake), tuple(self.asleep), self._why()
        )
        hop_ns = round(self._engine.hop_s * 1e9)
        for decision in decisions:
            end_ns = self._origin_ns + (decision.hop + 1) * hop_ns
            if was_paused:
                self._skip(end_ns - hop_ns)
            if self._gate:
                self._gate.decide(decision, max(end_ns, self._now_ns), self._engine.motion_at(decision.hop))
            self._count(end_ns)
        if was_paused:
            self._skip(self._end_ns - hop_ns)
        if not decisions:
            if self._gate:
                self._gate.decide(None, max(now_ns, self._now_ns))
            self._count(now_ns)
        if self._relief:
            self._climb(self._relief, len(decisions))
        self._let_sleep()
        return [replace(decision, gate=asked) for decision in decisions]

    def _climb(self, relief: Relief, hops: int) -> None:
        """Try more sensors, once decisions have been in time for a while, or where the few gave none."""
        if not hops and relief.give_up():
            return
        states = self._engine.states()
        present = [name for name, state in states.items() if state.state in (*HEARD, "asleep", "warming")]
        relief.calm(hops, self._held_down, present)
        if self._is_told and relief.is_over:
            self._is_told = False
            self._report("decisions are in time: every sensor may be awake again")

    def _why(self) -> dict[str, str]:
        """What sensors are awake for, and what those sleep for that would be awake."""
        why = self._gate.why if self._gate else {}
        if self._relief and (allowed := self._allowed) is not None:
            why |= {name: self._relief.why for name in self.asleep if name not in allowed}
        return why

    @property
    def _allowed(self) -> frozenset[str] | None:
        """Those that may be awake while decisions are late; None for all."""
        allowed = self._relief.allowed if self._relief else None
        return None if allowed is None else allowed | self._spared

    def _count(self, now_ns: int) -> None:
        """What each spent awake until now."""
        elapsed_ns, self._now_ns = max(now_ns - self._now_ns, 0), max(now_ns, self._now_ns)
        for name in self._awake_ns:
            self._awake_ns[name] += elapsed_ns if name in self.awake else 0

    def _let_sleep(self) -> None:
        before, awake = self.awake, self._gate.awake if self._gate else frozenset(self._engine.modalities)
        allowed = self._allowed
        self.awake = awake if allowed is None else awake & allowed
        self._woken_ns |= dict.fromkeys(self.awake - before, self._now_ns)
        self._woken_ns = {name: woken_ns for name, woken_ns in self._woken_ns.items() if name in self.awake}
        self._engine.let_sleep(self.asleep)

    def admit(self, chunk: Chunk) -> Chunk | None:
        """What a sensor that closes and opens would have given of a recording's chunk; None for nothing."""
        name = chunk.modality
        if name not in self._opens_ns:
            return chunk
        if name not in self.awake:
            return None
        given = chunk.times_ns >= self._open_ns(name)
        if given.all():
            return chunk
        if not given.any():
            return None
        return replace(chunk, samples=chunk.samples[given], times_ns=chunk.times_ns[given], dropped=0)

    def admit_encoded(self, encoded: Encoded) -> Encoded | None:
        """The same of what a recording has as tokens: of whole hops alone."""
        name = encoded.modality
        if name not in self._opens_ns:
            return encoded
        begin_ns = encoded.last_ns or 0
        if encoded.hops:
            begin_ns = self._origin_ns + round(encoded.hops[0].hop * self._engine.hop_s * 1e9)
        return encoded if name in self.awake and begin_ns >= self._open_ns(name) else None

    def _open_ns(self, name: str) -> int:
        """From when a sensor that is awake gives samples."""
        return self._woken_ns.get(name, self._origin_ns) + self._opens_ns[name]

    def share_awake(self) -> dict[str, float]:
        """Of each sensor that may sleep, the part of the time so far that it was awake."""
        whole_ns = max(self._now_ns - self._origin_ns - self._paused_ns, 1)
        return {name: spent_ns / whole_ns for name, spent_ns in self._awake_ns.items()}

    def report(self) -> str:
        """How long each slept, in a line; empty where none may by a policy."""
        if not self._awake_ns:
            return ""
        shares = ", ".join(f"{name} was awake {share:.0%} of the time" for name, share in self.share_awake().items())
        return f"gate: {shares}"
