"""What is retained at the broker: what the wearer does now, small, and when it is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any, TypeAlias

from mmg.sinks.event import About
from mmg.types import UNKNOWN, Decision, SensorState

State: TypeAlias = dict[str, Any]
EVERY_S = 30.0
"""A state in which only numbers have changed is sent so often: Home Assistant keeps every value that it is sent."""
CHANGES = ("label", "modalities", "sensors")
"""A state in which one of these has changed is sent at once."""


def about_of(about: About, version: str) -> State:
    """What holds for a whole run, as JSON's types. version: mmg's."""
    return {
        "mmg": version,
        "bundle": about.bundle,
        "digest": about.digest,
        "board": about.board,
        "hop_s": about.hop_s,
    }


def state_of(decision: Decision, at: str) -> State:
    """As JSON's types. unknown: the probability of "none of these", None where the bundle cannot tell it."""
    unknown = decision.scores.get(UNKNOWN)
    latency_ms = decision.latency_ms.get("event_to_decision")
    return {
        "label": decision.label,
        "confidence": round(decision.confidence, 4),
        "unknown": None if unknown is None else round(unknown, 4),
        "modalities": list(decision.modalities),
        "t": round(decision.t_s, 6),
        "at": at,
        "latency_ms": None if latency_ms is None else round(latency_ms, 1),
        "dropped": sum(sensor.dropped for sensor in decision.sensors.values()),
        "sensors": _sensors(decision.sensors),
    }


def nothing_decided(names: Iterable[str], at: str, sensed: Mapping[str, SensorState] | None = None) -> State:
    """Before the first decision, and once there has been none for a while: an old one must not be taken for new.

    sensed: how the sensors are nevertheless, where that is known.
    """
    unsaid = dict.fromkeys(("label", "confidence", "unknown"))
    none = {name: {"state": None, "reason": "nothing is decided"} for name in names}
    sensors = none | _sensors(sensed or {})
    return {**unsaid, "modalities": [], "t": None, "at": at, "latency_ms": None, "dropped": None, "sensors": sensors}


def _sensors(states: Mapping[str, SensorState]) -> dict[str, dict[str, str]]:
    return {name: {"state": sensor.state, "reason": sensor.reason} for name, sensor in states.items()}


def differs(one: State, other: State) -> bool:
    """Whether more than numbers differ."""
    return any(one[key] != other[key] for key in CHANGES)


def utc(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601, to the millisecond, such as ``2026-11-29T12:04:51.250Z``."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Newest:
    """The newest state, and whether it must be sent. Times in seconds of any clock that never goes back."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._sent: State | None = None
        self._sent_s = 0.0

    @property
    def is_news(self) -> bool:
        """Whether more than numbers differ from what was sent."""
        return self._sent is None or differs(self.state, self._sent)

    def is_due(self, now_s: float) -> bool:
        """Whether it says something new, or the last one was sent long ago."""
        return self.is_news or now_s - self._sent_s >= EVERY_S

    @property
    def is_sent(self) -> bool:
        """Whether the broker was given just this."""
        return self._sent is self.state

    def sent(self, now_s: float) -> State:
        """The state, which is now being sent."""
        self._sent, self._sent_s = self.state, now_s
        return self.state
