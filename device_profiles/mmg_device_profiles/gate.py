"""The policy of a gate: which sensors watch, and what wakes each of the others. A profile or a bundle holds it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

from msgspec import Meta, Struct

LEAST_ASLEEP_S = 2.0
"""A sensor that was let sleep is not woken sooner, unless nothing else decides: opening a device costs energy too."""
NAMES = "a list of sensors, such as imu"
Name = Annotated[str, Meta(min_length=1, description="a sensor's name")]
Share = Annotated[float, Meta(gt=0, le=1, description="a number above 0, at most 1")]
Seconds = Annotated[float, Meta(ge=0, le=86_400, description="0 to 86400 seconds")]
Motion = Annotated[float, Meta(gt=0, le=1000, description="a number above 0, in m/s^2")]


class Wake(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What wakes one sensor. Each reason by itself is enough; None and a ``look_s`` of 0 are no reason.

    confidence: a decision below it. sure: only above it does the sensor sleep again; as ``confidence`` where None.
    unknown: a probability of none of the labels above it.
    motion: acceleration that varies by more than this within a hop, in m/s^2.
    after_s: only once decisions have given a reason for so long.
    hold_s: how long it stays awake after the last reason.
    look_s: it is looked at so long after it went to sleep, whatever is decided; 0, or at least LEAST_ASLEEP_S.
    share: the most of the time that it may be awake, counted over minutes.
    """

    confidence: Share | None = None
    sure: Share | None = None
    unknown: Share | None = None
    motion: Motion | None = None
    after_s: Seconds = 0.0
    hold_s: Seconds = 1.0
    look_s: Seconds = 60.0
    share: Share | None = None


class GatePolicy(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """watch: the sensors that are always awake. wake: the others, each woken only once those before it are asked."""

    watch: Annotated[tuple[Name, ...], Meta(description=NAMES)] = ()
    wake: dict[str, Wake] = {}

    def __bool__(self) -> bool:
        """Whether there is a policy at all."""
        return bool(self.watch or self.wake)


def problem_in(policy: GatePolicy, known: Collection[str]) -> tuple[str, str] | None:
    """The key that is wrong and why, None where the policy fits a bundle of these sensors."""
    named = (*policy.watch, *policy.wake)
    if not set(named) & set(known):
        return "watch", f"names no sensor of the bundle, which has {', '.join(known)}"
    if not policy.watch:
        return "watch", "is missing: gate.watch says which sensors are always awake, to wake the others"
    if not set(policy.watch) & set(known):
        return "watch", "names no sensor of the bundle: nothing would be awake to wake the others"
    for name, wake in policy.wake.items():
        if name in policy.watch:
            return f"wake.{name}", "is among those that watch, and so never sleeps"
        if not wake.look_s and wake.confidence is None and wake.unknown is None and wake.motion is None:
            return f"wake.{name}", "can never wake: give it confidence, unknown, motion or look_s"
        if 0 < wake.look_s < LEAST_ASLEEP_S:
            return f"wake.{name}.look_s", f"must be 0 or at least {LEAST_ASLEEP_S:g} seconds"
        if wake.sure is not None and wake.sure < (wake.confidence or 0.0):
            return f"wake.{name}.sure", "is below its confidence"
    return None
