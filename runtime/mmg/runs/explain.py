"""What a recording is understood as: read to its end, decided on never."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mmg.bundle import Modality
from mmg.engine.health.advice import advise
from mmg.runs.look_ahead import LOOK_AHEAD_S, LookAhead, read_as
from mmg.sources import Recording
from mmg.streams import HopGrid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mmg.types import Chunk, Reached

GAP_S = 0.25
"""Half a hop, which streams bridge; what is longer costs hops, unless the model's own samples are as far apart."""
WINDOW_NS = 500_000_000
FEWEST_IN_WINDOW = 4
"""Samples whose spread tells whether they are steady."""
MOST_WINDOWS = 20_000
"""That are kept of a recording, however long it is."""


@dataclass
class Explanation:
    """What was read from one recording.

    understood: which column or stream feeds which channel, in which unit, and how that is known.
    samples, seconds, rate_hz: all of it; the rate is that of the median step.
    gaps, longest_gap_s: pauses of over a quarter of a second, and over two of the model's samples.
    levels: what the values are like, by name.
    doubts: what cannot be right, and what to type.
    losses, notes: as the recording counts and tells them.
    """

    modality: str
    url: str
    understood: list[str]
    start_s: float | None
    samples: int = 0
    seconds: float = 0.0
    rate_hz: float = 0.0
    gaps: int = 0
    longest_gap_s: float = 0.0
    levels: dict[str, float] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)
    losses: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For a person."""
        start = "" if self.start_s is None else f", from {self.start_s:.3f} s on its own clock"
        gaps = f"{self.gaps} gaps, the longest {self.longest_gap_s:.2f} s" if self.gaps else "no gaps"
        rate = f"{self.rate_hz:.{4 if self.rate_hz < 1000 else 6}g}"
        lost = [f"{count} {kind.replace('_', ' ')}" for kind, count in self.losses.items() if count]
        return [
            f"{self.modality}: {self.url}",
            *(f"  {line}" for line in self.understood),
            f"  {self.samples} samples in {self.seconds:.2f} s at {rate} Hz, {gaps}{start}",
            *(f"  {name}: {value:.3g}" for name, value in self.levels.items()),
            *(f"  doubted: {doubt}" for doubt in self.doubts),
            *([f"  lost: {', '.join(lost)}"] if lost else []),
            *(f"  note: {note}" for note in self.notes),
        ]


def explain(recording: Recording, modality: Modality, hop_ns: int, progress: Reached) -> Explanation:
    """Read a recording to its end. progress: called with the seconds that are read. Raises SourceError."""
    start_ns = recording.start_ns
    ahead = LookAhead(recording, modality, start_ns or 0, HopGrid(start_ns or 0, hop_ns), LOOK_AHEAD_S)
    told = Explanation(
        modality.name,
        recording.url,
        list(getattr(recording, "understood", ())),
        None if start_ns is None else start_ns / 1e9,
    )
    levels = LEVELS[modality.kind](modality)
    gap_ns = max(GAP_S, 2 / modality.rate_hz) * 1e9
    steps: list[NDArray[np.int64]] = []
    first_ns = last_ns = None
    for chunk in recording.chunks(start_ns or 0, WINDOW_NS):
        ahead.take(chunk)
        times = chunk.times_ns
        first_ns = int(times[0]) if first_ns is None else first_ns
        between = np.diff(times, prepend=times[0] if last_ns is None else last_ns)
        steps.append(between[1:] if last_ns is None else between)
        last_ns = int(times[-1])
        told.samples += len(times)
        told.rate_hz = chunk.rate_hz
        levels.take(chunk)
        if len(steps) > 1000 or len(between) > 1000:
            steps = [_count_gaps(told, np.concatenate(steps), gap_ns)]
        progress((last_ns - first_ns) / 1e9, recording.duration_s, f"{modality.name} read")
    if first_ns is not None and last_ns is not None:
        told.seconds = (last_ns - first_ns) / 1e9
        rest = _count_gaps(told, np.concatenate(steps), gap_ns)
        if not told.rate_hz and len(rest):
            told.rate_hz = 1e9 / float(np.median(rest))
    told.levels = levels.told()
    told.doubts = [advise(finding, read_as(recording)) for finding in ahead.findings()]
    told.losses, told.notes = dict(recording.losses), list(recording.notes)
    return told


def _count_gaps(told: Explanation, steps: NDArray[np.int64], gap_ns: float) -> NDArray[np.int64]:
    """Count the long steps, and keep some for the median."""
    long = steps[steps > gap_ns]
    told.gaps += len(long)
    told.longest_gap_s = max(told.longest_gap_s, float(long.max()) / 1e9 if len(long) else 0.0)
    kept: NDArray[np.int64] = steps[steps <= gap_ns][:10_000]
    return kept


class _Windows:
    """Figures of a recording's windows: of so many that every second one is enough, every second one is kept."""

    def __init__(self) -> None:
        self._kept: list[tuple[float, ...]] = []
        self._every = self._seen = 1

    def add(self, *figures: float) -> None:
        if self._seen % self._every == 0:
            self._kept.append(figures)
            if len(self._kept) >= MOST_WINDOWS:
                self._kept, self._every = self._kept[1::2], self._every * 2
        self._seen += 1

    def all(self) -> NDArray[np.float64]:
        """``(N, K)``."""
        return np.array(self._kept, np.float64)


class _Signal:
    """The length of acceleration where it is steady, which is gravity's, and how fast the wearer turns."""

    def __init__(self, modality: Modality) -> None:
        units = [channel.unit for channel in modality.channels]
        self._acceleration = [place for place, unit in enumerate(units) if unit == "m/s^2"]
        self._gyro = [place for place, unit in enumerate(units) if unit == "rad/s"]
        self._lengths, self._turns = _Windows(), _Windows()

    def take(self, chunk: Chunk) -> None:
        if len(self._acceleration) == 3 and len(chunk.samples) >= FEWEST_IN_WINDOW:
            lengths = np.linalg.norm(chunk.samples[:, self._acceleration].astype(np.float64), axis=1)
            self._lengths.add(float(lengths.std()), float(lengths.mean()))
        if self._gyro:
            turns = np.linalg.norm(chunk.samples[:, self._gyro].astype(np.float64), axis=1)
            self._turns.add(float(turns.mean()))

    def told(self) -> dict[str, float]:
        told, lengths, turns = {}, self._lengths.all(), self._turns.all()
        if len(lengths):
            spreads, means = lengths.T
            steadiest = np.argsort(spreads, kind="stable")[: max(len(spreads) // 4, 1)]
            told["gravity where it is steadiest, m/s^2"] = float(np.median(means[steadiest]))
        if len(turns):
            told["turning, median, rad/s"] = float(np.median(turns))
        return told


class _Sound:
    """Levels in dB below full scale."""

    def __init__(self, _modality: Modality) -> None:
        self._power, self._samples, self._peak, self._channels = 0.0, 0, 0.0, 0

    def take(self, chunk: Chunk) -> None:
        self._channels = chunk.samples.shape[1]
        self._power += float((chunk.samples.astype(np.float64) ** 2).sum())
        self._samples += chunk.samples.size
        self._peak = max(self._peak, float(np.abs(chunk.samples).max()))

    def told(self) -> dict[str, float]:
        mean = math.sqrt(self._power / max(self._samples, 1))
        return {
            "channels": self._channels,
            "level, dBFS": 20 * math.log10(max(mean, 1e-9)),
            "peak, dBFS": 20 * math.log10(max(self._peak, 1e-9)),
        }


class _Pictures:
    """How bright they are."""

    def __init__(self, _modality: Modality) -> None:
        self._sum, self._frames = 0.0, 0

    def take(self, chunk: Chunk) -> None:
        self._sum += float(chunk.samples.mean())
        self._frames += 1

    def told(self) -> dict[str, float]:
        return {"brightness, of 255": self._sum / self._frames} if self._frames else {}


LEVELS: dict[str, Any] = {"signal": _Signal, "audio": _Sound, "video": _Pictures}
