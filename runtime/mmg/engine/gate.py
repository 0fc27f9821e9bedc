"""A gate: which sensors are worth their energy now, from what was decided without them. Pure; reads no clock.

Some sensors watch all the time. Each of the others sleeps until a decision gives a reason to wake it, and sleeps again
when no decision has given one for a while: the cascade of EgoTrigger (arXiv 2508.01915) and Cough-E (arXiv 2410.24066).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmg_device_profiles.gate import LEAST_ASLEEP_S

from mmg.types import UNKNOWN

if TYPE_CHECKING:
    from mmg_device_profiles.gate import GatePolicy, Wake

    from mmg.types import Decision

PATIENCE_NS = 5_000_000_000
"""So long a sensor that is looked at may take to come; it holds up those after it no longer either."""
SHARE_OVER_S = 60.0
"""A sensor with a share may spend at once what it saved in so long."""
HEARD = ("live", "doubted")
NOBODY = "nothing else decides"
LOOK = "a look"


@dataclass(slots=True)
class _Sleeper:
    """A sensor that may sleep. why: what it is awake for, empty while it sleeps. heard: since it was woken.

    since_ns: when it was last woken or let sleep. rests_ns: until when it is not woken again. wanted_ns: since
    when there has been a reason without a break. asked_ns: when there last was one.
    """

    wake: Wake
    since_ns: int = 0
    rests_ns: int = 0
    asked_ns: int = 0
    wanted_ns: int | None = None
    why: str = ""
    heard: bool = False
    saved_s: float = 0.0


class Gate:
    """policy: one that fits, see ``problem_in``; sensors that are not among ``modalities`` are left out of it.

    Begins with those awake that watch. start_ns: when, on the clock of the later times.
    """

    def __init__(self, policy: GatePolicy, modalities: Collection[str], start_ns: int = 0) -> None:
        self._sleepers = {
            name: _Sleeper(wake, start_ns, start_ns, start_ns, saved_s=(wake.share or 0.0) * SHARE_OVER_S)
            for name, wake in policy.wake.items()
            if name in modalities
        }
        self._always = frozenset(name for name in modalities if name not in self._sleepers)
        self._start_ns = self._now_ns = start_ns
        self._was_watched = False

    @property
    def watching(self) -> frozenset[str]:
        """The modalities that are always awake."""
        return self._always

    @property
    def awake(self) -> frozenset[str]:
        """The modalities that should be awake."""
        return self._always.union(self.why)

    @property
    def why(self) -> dict[str, str]:
        """What each that does not watch is awake for."""
        return {name: one.why for name, one in self._sleepers.items() if one.why}

    @property
    def wants_motion(self) -> bool:
        """Whether any is woken by motion."""
        return any(one.wake.motion is not None for one in self._sleepers.values())

    def skip(self, passed_ns: int) -> None:
        """Time in which nothing was heard, as in a pause: to all that waits it is as if it had not been.

        Those that watch may be slow to come back, as at the start.
        """
        self._now_ns += passed_ns
        self._start_ns, self._was_watched = self._now_ns, False
        for one in self._sleepers.values():
            one.since_ns, one.rests_ns = one.since_ns + passed_ns, one.rests_ns + passed_ns
            one.asked_ns, one.wanted_ns = one.asked_ns + passed_ns, one.wanted_ns and one.wanted_ns + passed_ns

    def decide(self, decision: Decision | None, now_ns: int, motion: float | None = None) -> frozenset[str]:
        """The modalities that should be awake from now on.

        decision: the newest; None where a hop was over and none could be made. now_ns: never before that of the call
        before. motion: how much the acceleration varied in the decision's hop, in m/s^2, where that is known.
        """
        elapsed_s, self._now_ns = (now_ns - self._now_ns) / 1e9, now_ns
        heard = {name for name, state in decision.sensors.items() if state.state in HEARD} if decision else set()
        is_watched = not heard.isdisjoint(self._always)
        self._was_watched = self._was_watched or is_watched
        are_asked = True
        for name, one in self._sleepers.items():
            self._save(one, elapsed_s)
            is_heard = bool(one.why) and name in heard
            one.heard = one.heard or is_heard
            self._settle(one, self._reason(one, decision, motion, is_watched) if are_asked else "")
            are_asked = are_asked and bool(one.why) and (one.heard or now_ns - one.since_ns >= PATIENCE_NS)
            is_watched = is_watched or is_heard
        return self.awake

    def _settle(self, one: _Sleeper, reason: str) -> None:
        """Wake it, keep it awake or let it sleep. reason: why it is asked, empty for no reason."""
        wake, now_ns = one.wake, self._now_ns
        may = wake.share is None or one.saved_s > 0 or reason == NOBODY
        if reason:
            one.asked_ns = now_ns
            one.wanted_ns = now_ns if one.wanted_ns is None else one.wanted_ns
        else:
            one.wanted_ns = None
        if not one.why:
            is_meant = one.wanted_ns is not None and (reason == NOBODY or now_ns - one.wanted_ns >= wake.after_s * 1e9)
            is_due = wake.look_s > 0 and now_ns - one.since_ns >= wake.look_s * 1e9
            rests = reason != NOBODY and now_ns < one.rests_ns
            if may and not rests and (is_meant or is_due):
                one.why, one.since_ns, one.heard = reason if is_meant else LOOK, now_ns, False
            return
        one.why = reason or one.why
        waits = not one.heard and now_ns - one.since_ns < PATIENCE_NS
        holds = one.why != LOOK and now_ns - one.asked_ns < wake.hold_s * 1e9
        if not may or not (waits or holds or reason):
            one.why, one.since_ns, one.rests_ns = "", now_ns, now_ns + round(LEAST_ASLEEP_S * 1e9)

    def _reason(self, one: _Sleeper, decision: Decision | None, motion: float | None, is_watched: bool) -> str:
        """Why it is asked now. One that is awake is asked until the decision is sure.

        is_watched: whether a sensor that watches, or one before this, is heard. Those that watch may be slow to start.
        """
        wake = one.wake
        if not is_watched and (self._was_watched or self._now_ns - self._start_ns >= PATIENCE_NS):
            return NOBODY
        if decision is None:
            return ""
        least = wake.confidence
        if one.why and wake.sure is not None:
            least = wake.sure
        if least is not None and decision.confidence < least:
            return f"confidence {decision.confidence:.2f} below {least:g}"
        unknown = decision.scores.get(UNKNOWN, 0.0)
        if wake.unknown is not None and unknown > wake.unknown:
            return f"none of the labels {unknown:.2f} above {wake.unknown:g}"
        if wake.motion is not None and motion is not None and motion > wake.motion:
            return f"motion {motion:.2f} above {wake.motion:g} m/s^2"
        return ""

    @staticmethod
    def _save(one: _Sleeper, elapsed_s: float) -> None:
        """What a sensor may spend grows with time, and goes while it is awake; what it owes has a limit too."""
        if one.wake.share is not None:
            spent_s, most_s = elapsed_s if one.why else 0.0, one.wake.share * SHARE_OVER_S
            one.saved_s = max(min(one.saved_s + one.wake.share * elapsed_s - spent_s, most_s), -most_s)
