"""Hop by hop: was a decision owed, did it come, in time, and of which samples was it made?"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mmg_tools.days.claims import Claims

if TYPE_CHECKING:
    from mmg.types import Decision, SensorState

    from mmg_tools.days.faults import Fault
    from mmg_tools.days.truth import Truth
    from mmg_tools.days.world import World

FAR = 1 << 62
HEARD_NS = 175_000_000
"""So long after a hop's end its last samples may be under way: a sensor must be well until then."""
FIRST_NS = 6_000_000_000
"""So long after the beginning a sensor counts as well: it was found, and its values were seen to be right."""
SETTLED_NS = 1_500_000_000
"""A hop is judged so long after its end."""
SLACK_NS = 1_000_000
"""The host's clock stands still while anything is computed; but a deadline is a number of ns that is rounded."""
PROMPT_NS = 175_000_000
"""So late decisions are where nobody is waited for in vain: four samples of the IMU come 160 ms apart."""
EXAMPLES = 5


@dataclass
class Found:
    """What the judge saw. Of a problem: how often, and the first few."""

    decisions: int = 0
    owed: int = 0
    prompt: int = 0
    used: Counter[str] = field(default_factory=Counter)
    doubted: Counter[str] = field(default_factory=Counter)
    latest_ns: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def blame(self, what: str, example: str) -> None:
        """One more of these."""
        self.problems[what] += 1
        if self.problems[what] <= EXAMPLES:
            self.examples.setdefault(what, []).append(example)


@dataclass(frozen=True, slots=True)
class _Made:
    decision: Decision
    late_ns: int
    wrong: Mapping[str, str]


class Judge:
    """Hears of faults, decisions and the time."""

    def __init__(self, world: World, truth: Truth | None, *, origin_ns: int, hop_ns: int, grace_ns: int) -> None:
        self._world, self._truth = world, truth
        self._origin_ns, self._hop_ns, self._grace_ns = origin_ns, hop_ns, grace_ns
        self.found, self._claims = Found(), Claims()
        self._made: dict[int, _Made] = {}
        self._spans = {name: deque([[origin_ns - FIRST_NS, origin_ns + FIRST_NS]]) for name in world.sensors}
        self._why: dict[str, str] = dict.fromkeys(world.sensors, "start")
        self._silent_ns: dict[str, int | None] = dict.fromkeys(world.sensors)
        self._next = 0
        world.begins, world.ends = self._begin, self._end

    def _begin(self, fault: Fault) -> None:
        if not fault.kind.settles_s:
            return
        self._spans[fault.sensor].append([fault.begin_ns, FAR])
        self._why[fault.sensor] = fault.name
        self._claims.begin(fault)

    def _end(self, fault: Fault) -> None:
        if fault.kind.settles_s:
            self._spans[fault.sensor][-1][1] = fault.end_ns + round(fault.kind.settles_s * 1e9)

    def is_well(self, name: str, begin_ns: int, end_ns: int) -> bool:
        """Whether nothing ailed this sensor from the one to the other, and its rows could be read."""
        unread = self._world.imu.unread if name == "imu" else ()
        return not any(begin < end_ns and until > begin_ns for begin, until in (*self._spans[name], *unread))

    def take(self, decision: Decision, now_ns: int) -> None:
        """A decision that was handed out at this time."""
        self.found.decisions += 1
        end_ns = self._end_of(decision.hop)
        if decision.hop in self._made or decision.hop < self._next:
            self.found.blame("decided twice or much too late", f"hop {decision.hop}")
        if decision.t_s != (decision.hop + 1) * self._hop_ns / 1e9:
            self.found.blame("t_s is not the hop's end", f"hop {decision.hop}: {decision.t_s!r}")
        late_ns = now_ns - max(end_ns, self._resumed_ns(end_ns, now_ns))
        wrong = self._truth.compare(decision, end_ns - self._hop_ns, end_ns) if self._truth else {}
        self._made[decision.hop] = _Made(decision, late_ns, wrong)
        self.found.latest_ns = max(self.found.latest_ns, late_ns)
        if late_ns > self._grace_ns + SLACK_NS:
            self.found.blame("late", f"hop {decision.hop}: {late_ns / 1e6:.1f} ms")
        self._check_states(decision.sensors, end_ns)

    def sense(self, sensors: Mapping[str, SensorState]) -> None:
        """What the run tells of its sensors while it decides nothing."""
        self._check_states(sensors, self._world.now_ns - self._hop_ns - self._grace_ns)

    def _check_states(self, sensors: Mapping[str, SensorState], at_ns: int) -> None:
        for name, state in sensors.items():
            for what in self._claims.broken(name, state, at_ns, self._world.now_ns):
                self.found.blame(what, f"at {(at_ns - self._origin_ns) / 1e9:.2f} s: {state.state} {state.reason!r}")

    @property
    def claims(self) -> Claims:
        """What states were held against."""
        return self._claims

    def _resumed_ns(self, end_ns: int, now_ns: int) -> int:
        """When the process went on after a pause in which this was due; 0 for none."""
        due = (until_ns for begin_ns, until_ns in self._world.pauses if begin_ns < now_ns and until_ns > end_ns)
        return max(due, default=0) if self._world.pauses else 0

    def _end_of(self, hop: int) -> int:
        return self._origin_ns + (hop + 1) * self._hop_ns

    def settle(self, now_ns: int) -> None:
        """Judge the hops that are past."""
        while now_ns >= self._end_of(self._next) + SETTLED_NS:
            self._judge(self._next)
            self._next += 1
            self._made.pop(self._next - 2, None)

    def _judge(self, hop: int) -> None:
        end_ns = self._end_of(hop)
        begin_ns, heard_ns = end_ns - self._hop_ns, end_ns + HEARD_NS
        for spans in self._spans.values():
            while spans and spans[0][1] < begin_ns - self._hop_ns:
                spans.popleft()
        well = [name for name in self._spans if self.is_well(name, begin_ns, heard_ns)]
        if not well:
            return
        self.found.owed += 1
        made = self._made.get(hop)
        if made is None:
            why = ", ".join(f"{name} after {self._why[name]}" for name in well)
            self.found.blame("hop lost", f"hop {hop}, at {(end_ns - self._origin_ns) / 1e9} s: {why}")
            return
        for name in well:
            self._check_used(name, made, hop)
        # A frame from before the hop's end wakes nobody: with a camera alone the next one does, or the grace.
        if well != ["video"] and all(
            name in well or self._claims.is_silent(name, begin_ns - self._hop_ns, heard_ns) for name in self._spans
        ):
            self.found.prompt += 1
            if made.late_ns > PROMPT_NS:
                self.found.blame(
                    "held up by a sensor that is gone", f"hop {hop}: {made.late_ns / 1e6:.0f} ms, {self._why}"
                )

    def _check_used(self, name: str, made: _Made, hop: int) -> None:
        state, where = made.decision.sensors[name], f"hop {hop}, after {self._why[name]}"
        if state.state not in ("live", "doubted"):
            self.found.blame(f"{name} is well and not used", f"{where}: {state.state} {state.reason!r}")
            return
        self.found.used[name] += 1
        self.found.doubted[name] += state.state == "doubted"
        if wrong := made.wrong.get(name):
            self.found.blame(f"{name}'s token is of other samples", f"{where}: {wrong}")
        before = self._made.get(hop - 1)
        if self._truth and before and before.decision.sensors[name].state in ("live", "doubted"):
            carried = self._truth.carried(name, before.decision, made.decision)
            if carried:
                self.found.blame(f"{name}'s state was not carried on", f"{where}: {carried}")
