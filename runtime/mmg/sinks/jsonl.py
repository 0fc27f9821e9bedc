"""One JSON object a line: what other programs read."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, TextIO

from mmg.types import Decision, SensorState

ENCODER = json.JSONEncoder(separators=(",", ":"))


class JsonLines:
    """Writes each decision as one line and flushes it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, decision: Decision, truth: str | None) -> None:
        """The contract of docs/command-line.md; ``truth`` is a key of its own, there only where it is known."""
        self._stream.write(line_of(decision, truth) + "\n")
        self._stream.flush()


def line_of(decision: Decision, truth: str | None = None) -> str:
    """A decision as JSON, without the line's end."""
    sensors = {name: _sensor(state) for name, state in decision.sensors.items()}
    line = {
        "t": round(decision.t_s, 6),
        "label": decision.label,
        "confidence": round(decision.confidence, 6),
        "scores": {label: round(score, 6) for label, score in decision.scores.items()},
        "modalities": decision.modalities,
        "sensors": sensors,
        "latency_ms": {stage: round(spent, 3) for stage, spent in decision.latency_ms.items()},
    }
    if truth is not None:
        line["truth"] = truth
    # json and not msgspec: it escapes what is not ASCII, so that any stream can hold any label.
    return ENCODER.encode(line)


def _sensor(state: SensorState) -> dict[str, Any]:
    keys: dict[str, Any] = {"state": state.state, "age_ms": round(state.age_ms, 3), "dropped": state.dropped}
    if state.reason:
        keys["reason"] = state.reason
    if state.note:
        keys["note"] = state.note
    if state.clock:
        keys["clock"] = {name: round(value, 3) for name, value in asdict(state.clock).items()}
    return keys
