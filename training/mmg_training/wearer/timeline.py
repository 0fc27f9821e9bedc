"""One session of one person: what is done when, where, and every beat of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmg_training.wearer.activities import ACTIVITIES, SEATS, TRANSITION, Posture
from mmg_training.wearer.subject import Floats, Subject

DISTRACTIONS = ("knocks", "tap", "steps", "speech", "fidget", "gaze")
DISTRACTIONS_PER_MINUTE = 7.0


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
        beats = self.beats[:, 0]
        if len(beats) < 2:
            return np.zeros_like(times_s)
        step = float(np.diff(beats).mean())
        knots = np.concatenate(([beats[0] - 10 * step], beats, [beats[-1] + 10 * step]))
        numbers = np.concatenate(([-10], np.arange(len(beats)), [len(beats) + 9]))
        return np.interp(times_s, knots, numbers)

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


def plan(subject: Subject, seed: int, duration_s: float) -> Timeline:
    """A day in the life, cut to ``duration_s``: activities fit the posture, and a change of posture is an activity."""
    rng = np.random.default_rng((seed, subject.number))
    posture: Posture = "sitting" if rng.random() < 0.5 else "standing"
    place = str(rng.choice(SEATS)) if posture == "sitting" else "corridor"
    segments: list[Segment] = []
    now_s, previous = 0.0, ""
    while now_s < duration_s:
        label = _next(rng, previous)
        activity = ACTIVITIES[label]
        wanted: Posture = posture if posture in activity.postures else activity.postures[0]
        # Somebody who only ever stood up to go somewhere would leave the transitions too rare to learn.
        if wanted == posture and len(activity.postures) == 2 and rng.random() < 0.4:
            wanted = "standing" if posture == "sitting" else "sitting"
        if wanted != posture:
            place = place if posture == "sitting" else _place(rng, activity.places, seats=True)
            now_s = _append(segments, rng, subject, TRANSITION[wanted], posture, place, now_s)
            posture = wanted
        elif posture == "sitting" and place not in activity.places:
            now_s = _append(segments, rng, subject, TRANSITION["standing"], posture, place, now_s)
            place = _place(rng, activity.places, seats=True)
            now_s = _append(segments, rng, subject, TRANSITION["sitting"], "standing", place, now_s)
        if place not in activity.places or (posture == "standing" and rng.random() < 0.5):
            place = _place(rng, activity.places, seats=posture == "sitting")
        now_s = _append(segments, rng, subject, label, posture, place, now_s)
        previous = label
    kept = tuple(segment for segment in segments if segment.start_s < duration_s)
    return Timeline(subject, seed, duration_s, kept, _distract(rng, duration_s))


def _next(rng: np.random.Generator, previous: str) -> str:
    names = [name for name in ACTIVITIES if name != previous]
    weights = np.array([ACTIVITIES[name].weight for name in names])
    return str(rng.choice(names, p=weights / weights.sum()))


def _place(rng: np.random.Generator, places: tuple[str, ...], seats: bool) -> str:
    fitting = [place for place in places if (place in SEATS) == seats]
    return str(rng.choice(fitting or (SEATS if seats else places)))


def _append(
    segments: list[Segment],
    rng: np.random.Generator,
    subject: Subject,
    label: str,
    posture: Posture,
    place: str,
    start_s: float,
) -> float:
    activity = ACTIVITIES[label]
    end_s = start_s + rng.uniform(*activity.duration_s)
    beats = activity.beats(rng, subject, start_s, end_s)
    segments.append(Segment(start_s, end_s, label, posture, place, beats, int(rng.integers(1 << 31))))
    return end_s


def _distract(rng: np.random.Generator, duration_s: float) -> tuple[Distraction, ...]:
    found = []
    for _ in range(rng.poisson(DISTRACTIONS_PER_MINUTE * duration_s / 60)):
        start_s = rng.uniform(0, duration_s)
        kind = str(rng.choice(DISTRACTIONS))
        found.append(Distraction(start_s, start_s + rng.uniform(1.0, 6.0), kind, int(rng.integers(1 << 31))))
    return tuple(sorted(found, key=lambda distraction: distraction.start_s))
