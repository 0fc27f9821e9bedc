"""What recording costs: the bytes of ten minutes, and the part of a core, apart from all that reads and decides."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from mmg.recording.part import Part
from mmg.recording.reader import open_recording
from mmg.recording.recorder import SYNC_S

MOST_PERCENT, MOST_MB = 1.0, 17.0
TEN_MINUTES_S = 600.0


@dataclass(frozen=True)
class Cost:
    """megabytes: of ten minutes. percent: of one core, at the real pace; reading the samples again is not in it."""

    seconds: float
    megabytes: float
    percent: float

    @property
    def problems(self) -> list[str]:
        """What is not as it must be."""
        large = [f"ten minutes are {self.megabytes:.1f} MB"] * (self.megabytes >= MOST_MB)
        return large + [f"it takes {self.percent:.2f} % of a core"] * (self.percent >= MOST_PERCENT)


def measure(path: Path, again: Path) -> Cost:
    """Record a recording's steps and decisions once more, synced as often as live, and count the processor's time."""
    recording = open_recording(path)
    lines = [json.dumps(line) for line in recording.decisions()]
    part = Part(again, recording.sensors, {"origin_ns": str(recording.origin_ns)}, recording.epoch_ns)
    spent_ns = 0
    first_ns = synced_ns = last_ns = None
    for step in recording.steps():
        begin_ns = time.process_time_ns()
        part.step(step)
        first_ns = step.now_ns if first_ns is None else first_ns
        synced_ns = first_ns if synced_ns is None else synced_ns
        if step.now_ns - synced_ns >= SYNC_S * 1e9:
            for line in lines[: len(lines) and 2]:
                part.decision(line, step.now_ns)
            del lines[:2]
            part.sync()
            synced_ns = step.now_ns
        spent_ns += time.process_time_ns() - begin_ns
        last_ns = step.now_ns
    part.finish()
    seconds = ((last_ns or 0) - (first_ns or 0)) / 1e9
    size = again.stat().st_size
    return Cost(round(seconds, 1), round(size / 1e6 / seconds * TEN_MINUTES_S, 2), round(spent_ns / 1e7 / seconds, 2))
