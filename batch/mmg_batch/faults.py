"""How often each sensor of a recording was not well, and why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmg.types import Decision

WELL = ("live", "asleep")
MOST_FAULTS = 100
"""Kinds of fault that are kept of one run."""


@dataclass
class _Fault:
    """reason: as it was told first."""

    reason: str
    first_s: float
    hops: int = 0


class Faults:
    """Those of one run, by sensor, state and reason; numbers in a reason make no other one."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], _Fault] = {}

    def add(self, decision: Decision) -> None:
        """Count the sensors that are not well in this hop."""
        for name, state in decision.sensors.items():
            if state.state in WELL:
                continue
            key = name, state.state, kind_of(state.reason)
            if key not in self._found and len(self._found) < MOST_FAULTS:
                self._found[key] = _Fault(state.reason, decision.t_s)
            if key in self._found:
                self._found[key].hops += 1

    def rows(self) -> list[dict[str, Any]]:
        """In the order in which they were first seen."""
        return [
            {"sensor": sensor, "state": state, "reason": one.reason, "hops": one.hops, "first_s": one.first_s}
            for (sensor, state, _), one in self._found.items()
        ]


def kind_of(reason: str) -> str:
    """A reason without its numbers."""
    return re.sub(r"[\d.]+", "#", reason)
