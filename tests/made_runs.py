"""A live page without a run behind it: what happens is said by the test, and is served by the real server."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmg.runs.lessons import Phase, Teaching
from mmg.sinks import Sink
from mmg.sinks.event import About, Decided, Notice, Sensed, Taught
from mmg.sinks.page import open_page
from mmg.sinks.url import parse_sink_url
from mmg.types import UNKNOWN, ClockHealth, Decision, SensorState

LABELS = ("still", "walking", "brushing_teeth", UNKNOWN)
LIVE = SensorState("live", 8.0, 0, clock=ClockHealth(drift_ppm=-12.3, jitter_ms=0.8, uncertainty_ms=0.03))
URLS = {"imu": "serial:///dev/ttyUSB0?protocol=witmotion", "audio": "mic://default"}
HOP_S = 0.5


@dataclass
class MadeRun:
    """A run that a page shows. port: 0 for any that is free. token_file: where its token is, or is to be.
    controls: what may be asked of it."""

    labels: Sequence[str] = LABELS
    sensors: Mapping[str, str] = field(default_factory=lambda: dict(URLS))
    port: int = 0
    token_file: Path | None = None
    controls: Any = None
    hop_s: float = HOP_S
    notes: list[str] = field(default_factory=list)
    hop: int = 0
    page: Sink = field(init=False)

    def __post_init__(self) -> None:
        about = About(
            "starter",
            tuple(self.labels),
            dict(self.sensors),
            self.hop_s,
            board="raspberry-pi-zero-2w",
            controls=self.controls,
        )
        url = f"http://127.0.0.1:{self.port}" + (f"?token_file={self.token_file}" if self.token_file else "")
        self.page = open_page(parse_sink_url(url, ("http",)), about, self.notes.append)
        [told] = [re.search(r"http://127\.0\.0\.1:(\d+)", note) for note in self.notes]
        assert told
        self.port = int(told[1])

    @property
    def url(self) -> str:
        """To be opened, with the token where there is one."""
        token = f"/?token={self.token_file.read_text().strip()}" if self.token_file else ""
        return f"http://127.0.0.1:{self.port}{token}"

    def decide(self, label: str, confidence: float = 0.7, **sensors: SensorState) -> None:
        """A hop, for which this is decided; other scores share the rest. A sensor that is not named is live."""
        self.hop += 1
        rest = [other for other in self.labels if other != label]
        scores = {label: confidence} | {other: (1 - confidence) / len(rest) for other in rest}
        states = {name: sensors.get(name, LIVE) for name in self.sensors}
        heard = tuple(name for name, state in states.items() if state.state == "live")
        latency_ms = {"event_to_decision": 31.0}
        end_s = self.hop * self.hop_s
        self.page.write(Decided(Decision(self.hop, end_s, label, confidence, scores, heard, states, (), latency_ms)))

    def sense(self, **sensors: SensorState) -> None:
        """How the sensors are, where nothing is decided."""
        self.page.write(Sensed({name: sensors.get(name, LIVE) for name in self.sensors}))

    def note(self, text: str) -> None:
        """A line of the run's."""
        self.page.write(Notice(text))

    def teach(self, phase: Phase, text: str) -> None:
        """How it goes with an example."""
        self.page.write(Taught(Teaching(phase, "knead", 2, 5, text)))

    def close(self) -> None:
        """The run ends."""
        self.page.close()
