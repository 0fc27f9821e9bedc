"""One JSON object a line: what other programs read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TextIO

from mmg.types import Decision, SensorState

ENCODER = json.JSONEncoder(separators=(",", ":"))


class JsonLines:
    """Writes each decision as one line and flushes it."""

    def __init__(self, stream: TextIO, camera: Mapping[str, object] | None = None) -> None:
        """camera: as ``line_of`` takes it."""
        self._stream, self._camera = stream, camera

    def write(self, decision: Decision, truth: str | None) -> None:
        """The contract of docs/command-line.md; ``truth`` is a key of its own, there only where it is known."""
        self._stream.write(line_of(decision, truth, self._camera) + "\n")
        self._stream.flush()


def line_of(decision: Decision, truth: str | None = None, camera: Mapping[str, object] | None = None) -> str:
    """A decision as JSON, without the line's end. camera: whether one could be opened, and what keeps it closed; where
    it is not given, there is no such key."""
    sensors = {name: _sensor(state) for name, state in decision.sensors.items()}
    line: dict[str, Any] = {
        "t": round(decision.t_s, 6),
        "label": decision.label,
        "confidence": round(decision.confidence, 6),
        "scores": {label: round(score, 6) for label, score in decision.scores.items()},
        "modalities": decision.modalities,
        "sensors": sensors,
        "latency_ms": {stage: round(spent, 3) for stage, spent in decision.latency_ms.items()},
    }
    if decision.gate is not None:
        line["gate"] = asdict(decision.gate)
    if camera is not None:
        line["camera"] = camera
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
        clock = state.clock
        keys["clock"] = {
            "drift_ppm": round(clock.drift_ppm, 3),
            "jitter_ms": round(clock.jitter_ms, 3),
            "uncertainty_ms": round(clock.uncertainty_ms, 3),
        }
    return keys
