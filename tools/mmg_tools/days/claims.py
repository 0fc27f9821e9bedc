"""What a sensor's state must say of a fault, and by when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmg.types import SensorState

    from mmg_tools.days.faults import Fault

LEFT_NS = 250_000_000
"""What is known of a hop may be told a little after its end: a fault must last so long beyond it."""

BACK_NS = 3_000_000_000
"""After a fault a sensor may take so long until anything is told of the next one: it is looked for, and begins anew."""


class Claims:
    """checked: how often a state was held against a fault, by sensor and kind."""

    def __init__(self) -> None:
        self.checked: Counter[tuple[str, str]] = Counter()
        self._on: dict[str, tuple[Fault, int]] = {}

    def begin(self, fault: Fault) -> None:
        """A fault begins. It may be told later where another was over just before."""
        before = self._on.get(fault.sensor)
        back_ns = before[0].end_ns + BACK_NS if before else 0
        self._on[fault.sensor] = fault, max(fault.begin_ns, back_ns)

    def broken(self, name: str, state: SensorState, at_ns: int, now_ns: int) -> Iterator[str]:
        """What this state, at a hop's end, should have told and does not. Reasons are those of ``now_ns``."""
        fault, since_ns = self._on.get(name, (None, 0))
        if fault is None or not (kind := fault.kind).told_s:
            return
        if not since_ns + round(kind.told_s * 1e9) <= at_ns <= fault.end_ns - LEFT_NS:
            return
        self.checked[name, fault.name] += 1
        if state.state not in kind.states:
            yield f"{name} {fault.name} is not told in {kind.told_s:g} s"
            return
        # A sensor that was faulty before it went says so for as long as it is told of; a doubt has a reason of its own.
        is_other = state.state == "doubted" or (kind.family != "lie" and state.state == "faulty")
        if now_ns <= fault.end_ns and not is_other and not _has_one(state.reason, kind.words):
            yield f"{name} {fault.name} is told with another reason"

    def is_silent(self, name: str, begin_ns: int, end_ns: int) -> bool:
        """Whether it gave nothing from the one to the other."""
        fault, _ = self._on.get(name, (None, 0))
        is_out = fault is not None and fault.name in ("unplug", "stall")
        return fault is not None and is_out and fault.begin_ns <= begin_ns and end_ns <= fault.end_ns


def _has_one(text: str, words: tuple[str, ...]) -> bool:
    return not words or any(word in text for word in words)
