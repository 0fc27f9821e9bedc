"""One session of one person: what is done when, where, and every beat of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmg_training.wearer.activities import Posture
from mmg_training.wearer.subject import Floats, Subject

LEAD = 10


@dataclass(frozen=True)
class Segment:
    """One activity from start to end. beats: (n, 2), times in seconds and strengths about 1. variant: what seeds
    the choices that each renderer makes for this segment. posture: that at its start."""

    start_s: float
    end_s: float
    label: str
    posture: Posture
    place: str
    beats: Floats
    variant: int

    def phase(self, times_s: Floats) -> Floats:
        """How many beats have passed at these times, in fractions of a beat; before the first one it is negative."""
        if len(self.beats) < 2:
            return np.zeros_like(times_s)
        knots = self._knots()
        return np.interp(times_s, knots, np.arange(len(knots)) - LEAD)

    def pace_hz(self, times_s: Floats) -> Floats:
        """How fast the phase goes at these times, in beats a second: 0 where there are not two beats."""
        if len(self.beats) < 2:
            return np.zeros_like(times_s)
        knots = self._knots()
        index = np.searchsorted(knots, times_s).clip(1, len(knots) - 1)
        paces: Floats = (1 / np.diff(knots))[index - 1]
        return paces

    def _knots(self) -> Floats:
        """Beat times, with some more at the mean pace before and after."""
        beats = self.beats[:, 0]
        more = np.arange(1, LEAD + 1) * float(np.diff(beats).mean())
        return np.concatenate((beats[0] - more[::-1], beats, beats[-1] + more))

    def progress(self, times_s: Floats) -> Floats:
        """0 at the start, 1 at the end, smooth between: minimum jerk (Flash and Hogan, 1985)."""
        x = np.clip((times_s - self.start_s) / (self.end_s - self.start_s), 0.0, 1.0)
        return x**3 * (10 - 15 * x + 6 * x**2)

    def rng(self, salt: int) -> np.random.Generator:
        """The choices of one renderer for this segment."""
        return np.random.default_rng((self.variant, salt))


@dataclass(frozen=True)
class Distraction:
    """Something that is not the activity: a sound from elsewhere, an idle move of the arm, a look aside."""

    start_s: float
    end_s: float
    kind: str
    variant: int


@dataclass(frozen=True)
class Timeline:
    """A whole session, its segments without gaps."""

    subject: Subject
    seed: int
    duration_s: float
    segments: tuple[Segment, ...]
    distractions: tuple[Distraction, ...]

    def labels(self, times_s: Floats) -> list[str]:
        """What is done at these times."""
        ends = np.array([segment.end_s for segment in self.segments])
        index = np.searchsorted(ends, times_s, side="right").clip(max=len(ends) - 1)
        return [self.segments[i].label for i in index]

    def rng(self, salt: int) -> np.random.Generator:
        """The choices of one renderer for the whole session."""
        return np.random.default_rng((self.seed, self.subject.number, salt))
