"""One JSON object a line: what other programs read."""

from __future__ import annotations

import json
from typing import TextIO

from mmg.types import Decision


class JsonLines:
    """Writes each decision as one line and flushes it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, decision: Decision, truth: str | None) -> None:
        """The contract of docs/command-line.md; ``truth`` is a key of its own, there only where it is known."""
        sensors = {
            name: {"state": state.state, "age_ms": round(state.age_ms, 3), "dropped": state.dropped}
            | ({"reason": state.reason} if state.reason else {})
            for name, state in decision.sensors.items()
        }
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
        self._stream.write(json.dumps(line, separators=(",", ":")) + "\n")
        self._stream.flush()
