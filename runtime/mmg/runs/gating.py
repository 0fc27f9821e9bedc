"""A gate at work in a run: who is awake, what the engine is told of it, and what each decision says. Reads no clock."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
from mmg_device_profiles.gate import GatePolicy, problem_in

from mmg.engine.gate import Gate
from mmg.errors import ConfigError
from mmg.types import Chunk, Decision, Gated

if TYPE_CHECKING:
    from mmg.bundle import Manifest
    from mmg.engine import Engine

OPENS_NS = {"signal": 100_000_000, "audio": 300_000_000, "video": 500_000_000}
"""How long a sensor of each kind takes to its first sample in a run on recordings. A virtual microphone takes 0.12 to
0.22 s, of which PortAudio's own start is the most; the others are assumed."""


def open_gating(
    policy: GatePolicy | None, manifest: Manifest, engine: Engine, origin_ns: int, report: Callable[[str], None]
) -> Gating | None:
    """The gate of a run, None where it has none to ask for or nothing that could sleep; that is told.

    Raises ConfigError for a policy that does not fit the bundle.
    """
    if policy is None:
        return None
    known = [modality.name for modality in manifest.modalities]
    if problem := problem_in(policy, known):
        raise ConfigError(f"gate.{problem[0]}: {problem[1]}")
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
    kinds = {name: manifest.modality(name).kind for name in sleepers}
    return Gating(policy, engine, {name: OPENS_NS[kind] for name, kind in kinds.items()}, origin_ns)


def as_json(policy: GatePolicy) -> str:
    """For a recording's metadata."""
    return msgspec.json.encode(policy).decode()


def from_json(text: str) -> GatePolicy | None:
    """None for ``null``. Raises ValueError for what is no policy."""
    return msgspec.json.decode(text, type=GatePolicy | None)


class Gating:
    """opens_ns: of the sensors that may sleep, how long each takes to open, for ``admit``. origin_ns: where hop 0 of
    the engine begins."""

    def __init__(self, policy: GatePolicy, engine: Engine, opens_ns: dict[str, int], origin_ns: int) -> None:
        self._engine, self._opens_ns, self._origin_ns = engine, opens_ns, origin_ns
        self._gate = Gate(policy, engine.modalities, origin_ns)
        self._woken_ns: dict[str, int] = {}
        self._now_ns, self._end_ns = origin_ns, engine.hop_end_ns
        self._awake_ns = dict.fromkeys(opens_ns, 0)
        if self._gate.wants_motion:
            engine.keep_motion()
        self._let_sleep()

    @property
    def awake(self) -> frozenset[str]:
        """The modalities that are asked for now."""
        return self._gate.awake

    @property
    def asleep(self) -> Collection[str]:
        """The others."""
        return [name for name in self._engine.modalities if name not in self._gate.awake]

    def woken_ns(self, name: str) -> int | None:
        """When a sensor that may sleep was woken; None while it sleeps, or where it always watches."""
        return self._woken_ns.get(name)

    def follow(self, decisions: Sequence[Decision], now_ns: int) -> list[Decision]:
        """Say in each of these new decisions who was asked, and then let sensors sleep and wake by them.

        Called after each step, with the time until which everything is known.
        """
        passed_ns, self._end_ns = self._engine.hop_end_ns - self._end_ns, self._engine.hop_end_ns
        if not passed_ns:
            return list(decisions)
        asked = Gated(
            tuple(name for name in self._engine.modalities if name in self.awake), tuple(self.asleep), self._gate.why
        )
        for decision in decisions:
            end_ns = self._origin_ns + round(decision.t_s * 1e9)
            self._gate.decide(decision, max(end_ns, self._now_ns), self._engine.motion_at(decision.hop))
            self._count(end_ns)
        if not decisions:
            self._gate.decide(None, max(now_ns, self._now_ns))
            self._count(now_ns)
        self._let_sleep()
        return [replace(decision, gate=asked) for decision in decisions]

    def _count(self, now_ns: int) -> None:
        """What each spent awake until now."""
        elapsed_ns, self._now_ns = max(now_ns - self._now_ns, 0), max(now_ns, self._now_ns)
        for name in self._woken_ns:
            self._awake_ns[name] += elapsed_ns

    def _let_sleep(self) -> None:
        awake = self._gate.awake
        self._woken_ns = {name: self._woken_ns.get(name, self._now_ns) for name in self._opens_ns if name in awake}
        self._engine.let_sleep(self.asleep)

    def admit(self, chunk: Chunk) -> Chunk | None:
        """What a sensor that closes and opens would have given of a recording's chunk; None for nothing."""
        name = chunk.modality
        if name not in self._opens_ns:
            return chunk
        if name not in self._woken_ns:
            return None
        given = chunk.times_ns >= self._woken_ns[name] + self._opens_ns[name]
        if given.all():
            return chunk
        if not given.any():
            return None
        return replace(chunk, samples=chunk.samples[given], times_ns=chunk.times_ns[given], dropped=0)

    def share_awake(self) -> dict[str, float]:
        """Of each sensor that may sleep, the part of the time so far that it was awake."""
        whole_ns = max(self._now_ns - self._origin_ns, 1)
        return {name: spent_ns / whole_ns for name, spent_ns in self._awake_ns.items()}

    def report(self) -> str:
        """How long each slept, in a line."""
        shares = ", ".join(f"{name} was awake {share:.0%} of the time" for name, share in self.share_awake().items())
        return f"gate: {shares}"
