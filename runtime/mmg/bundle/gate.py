"""The gate of a bundle: its policy, and what that and others gave. ``mmg-eval --gate`` makes it."""

from __future__ import annotations

from collections.abc import Collection

import msgspec
from mmg_device_profiles.gate import GatePolicy
from mmg_device_profiles.gate import problem_in as policy_problem_in


class GatePoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one policy gave on people who are in no training.

    policy: in words, such as ``audio below 0.5``. awake: of each sensor that may sleep, the part of the time that it
    was awake. accuracy: of all decisions.
    """

    policy: str
    awake: dict[str, float]
    accuracy: float


class Gate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """chosen: what the policy gave, on people on whom it was not learnt. curve: what others gave, and all awake."""

    policy: GatePolicy
    chosen: GatePoint | None = None
    curve: tuple[GatePoint, ...] = ()


def problem_in(gate: Gate, names: Collection[str]) -> tuple[str, str] | None:
    """The field that is wrong and why, None where the gate fits a bundle of these sensors."""
    if problem := policy_problem_in(gate.policy, names):
        return f"policy.{problem[0]}", problem[1]
    for name in (*gate.policy.watch, *gate.policy.wake):
        if name not in names:
            return "policy", f"the bundle has no {name}"
    for place, point in enumerate((*gate.curve, *([gate.chosen] if gate.chosen else ()))):
        field = f"curve[{place}]" if place < len(gate.curve) else "chosen"
        if not all(0 <= one <= 1 for one in (point.accuracy, *point.awake.values())):
            return field, "has a share that is not 0 to 1"
        for name in point.awake:
            if name not in names:
                return f"{field}.awake", f"the bundle has no {name}"
    return None
