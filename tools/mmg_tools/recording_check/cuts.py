"""A recording that is split, or cut at any byte: it decides what the whole one does, as far as it goes."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmg.cli.progress import counted
from mmg.cli.reporting import Reporter
from mmg.errors import SourceError
from mmg.recording.part import Part
from mmg.recording.reader import open_recording
from mmg.recording.recorder import SYNC_S, part_path
from mmg.runs.step import Step

from mmg_tools.recording_check.live import Live, replay

PARTS = 7
REPLAYED = 10
"""Of the cuts, those that are decided on again; of all of them the steps are compared."""
MOST_LOST_S = 2 * SYNC_S


@dataclass
class Cuts:
    """unreadable: cuts inside the file's first words, from which nothing can come. lost_s: the longest time of which
    the samples were on the disk and are not read from the cut file."""

    tried: int = 0
    unreadable: int = 0
    different: int = 0
    replayed: int = 0
    replays_different: int = 0
    lost_s: float = 0.0

    @property
    def problems(self) -> list[str]:
        """What is not as it must be."""
        wrong = [f"{self.different} cut files hold other steps"] * bool(self.different)
        wrong += [f"{self.replays_different} cut files decide otherwise"] * bool(self.replays_different)
        return wrong + [f"a cut takes {self.lost_s:.1f} s"] * (self.lost_s > MOST_LOST_S)


def check_cuts(live: Live, folder: Path, count: int, seed: int, report: Reporter) -> Cuts:
    """Cut the file at so many random bytes."""
    data, chance, cuts = live.path.read_bytes(), random.Random(seed), Cuts()
    whole = [(_digest(step), step.now_ns) for step in open_recording(live.path).steps()]
    ends = _steps_before(live.path, whole)
    for number in counted(report, "cut", range(count), count, "times"):
        at = chance.randrange(1, len(data))
        path = folder / "cut.mcap"
        path.write_bytes(data[:at])
        cuts.tried += 1
        try:
            steps = [_digest(step) for step in open_recording(path).steps()]
        except SourceError:
            cuts.unreadable += 1
            continue
        cuts.different += steps != [digest for digest, _ in whole[: len(steps)]]
        written_ns = max((now_ns for end, now_ns in ends if end <= at), default=whole[0][1])
        read_ns = whole[len(steps) - 1][1] if steps else whole[0][1]
        cuts.lost_s = round(max(cuts.lost_s, (written_ns - read_ns) / 1e9), 2)
        if number < REPLAYED and len(steps) > len(whole) // 10:
            cuts.replayed += 1
            lines = replay(path)
            cuts.replays_different += not lines or lines != live.lines[: len(lines)]
    return cuts


def check_split(live: Live, folder: Path) -> dict[str, Any]:
    """The same steps in several files, replayed from the first of them."""
    recording = open_recording(live.path)
    steps = list(recording.steps())
    size = -(-len(steps) // PARTS)
    for number in range(PARTS):
        metadata = {**_told(recording.metadata), "part": str(number)}
        part = Part(part_path(folder / "split.mcap", number), recording.sensors, metadata, recording.epoch_ns)
        for step in steps[number * size : (number + 1) * size]:
            part.step(step)
        part.finish()
    return {"parts": PARTS, "equal": replay(part_path(folder / "split.mcap", 0)) == live.lines}


def _told(metadata: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if key not in ("schema", "epoch_ns", "sensors")}


def _digest(step: Step) -> str:
    found = hashlib.sha256(repr((step.now_ns, step.statuses, step.read_as)).encode())
    for chunk in step.chunks:
        found.update(repr((chunk.modality, chunk.rate_hz, chunk.dropped)).encode())
        found.update(chunk.samples.tobytes())
        found.update(chunk.times_ns.tobytes())
    return found.hexdigest()


def _steps_before(path: Path, whole: list[tuple[str, int]]) -> list[tuple[int, int]]:
    """Where each synced part of the file ends, and the time of the newest step in it."""
    from mcap.reader import make_reader

    epoch_ns = open_recording(path).epoch_ns
    with path.open("rb") as file:
        summary = make_reader(file).get_summary()
    if summary is None:
        return []
    times_ns = [now_ns for _, now_ns in whole]
    found = []
    for index in summary.chunk_indexes:
        before = [now_ns for now_ns in times_ns if now_ns + epoch_ns <= index.message_end_time]
        end = index.chunk_start_offset + index.chunk_length
        found.append((end, before[-1] if before else times_ns[0]))
    return found
