"""Makes timelines: a session of many activities, or a clip of one."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from mmg_training.wearer.activities import ACTIVITIES, EVERYDAY, SEATS, TRANSITION, Posture
from mmg_training.wearer.subject import Subject
from mmg_training.wearer.timeline import Distraction, Segment, Timeline

DISTRACTIONS = ("knocks", "tap", "steps", "speech", "fidget", "gaze")
DISTRACTIONS_PER_MINUTE = 9.0


def plan(subject: Subject, seed: int, duration_s: float, activities: Sequence[str] = EVERYDAY) -> Timeline:
    """A day in the life, cut to ``duration_s``: activities fit the posture, and a change of posture is an activity.

    Where ``activities`` lacks sitting down or standing up, no change of posture is shown: the next activity just
    starts in a posture that fits it. Raises ValueError where there is nothing else to do.
    """
    rng = np.random.default_rng((seed, subject.number))
    shown = set(TRANSITION.values()) <= set(activities)
    posture: Posture = "sitting" if rng.random() < 0.5 else "standing"
    place = str(rng.choice(SEATS)) if posture == "sitting" else "corridor"
    segments: list[Segment] = []
    now_s, previous = 0.0, ""

    def append(label: str) -> None:
        nonlocal now_s
        activity = ACTIVITIES[label]
        end_s = now_s + rng.uniform(*activity.duration_s)
        segments.append(_segment(rng, subject, label, posture, place, now_s, end_s))
        now_s = end_s

    while now_s < duration_s:
        previous = label = _next(rng, activities, previous)
        activity = ACTIVITIES[label]
        wanted: Posture = posture if posture in activity.postures else activity.postures[0]
        # Somebody who only ever stood up to go somewhere would leave the transitions too rare to learn.
        if wanted == posture and len(activity.postures) == 2 and rng.random() < 0.4:
            wanted = "standing" if posture == "sitting" else "sitting"
        if shown and wanted != posture:
            place = place if posture == "sitting" else _place(rng, activity.places, seats=True)
            append(TRANSITION[wanted])
        elif shown and posture == "sitting" and place not in activity.places:
            append(TRANSITION["standing"])
            posture, place = "standing", _place(rng, activity.places, seats=True)
            append(TRANSITION["sitting"])
        posture = wanted
        if place not in activity.places or (posture == "standing" and rng.random() < 0.5):
            place = _place(rng, activity.places, seats=posture == "sitting")
        elif not shown and posture == "sitting" and place not in SEATS:
            place = _place(rng, activity.places, seats=True)
        append(label)
    kept = tuple(segment for segment in segments if segment.start_s < duration_s)
    return Timeline(subject, seed, duration_s, kept, _distract(rng, duration_s))


def clip(subject: Subject, seed: int, label: str, duration_s: float) -> Timeline:
    """One activity from end to end, already under way at the start; a transition takes the whole clip.

    Two labels of one seed are two sessions: they share the person, not the room or the weather.
    """
    activity = ACTIVITIES[label]
    own_seed = zlib.crc32(f"{label} {seed}".encode())
    rng = np.random.default_rng((own_seed, subject.number))
    posture = activity.postures[int(rng.integers(len(activity.postures)))]
    place = _place(rng, activity.places, seats=posture == "sitting")
    segment = _segment(rng, subject, label, posture, place, 0.0, duration_s)
    return Timeline(subject, own_seed, duration_s, (segment,), _distract(rng, duration_s))


def _segment(
    rng: np.random.Generator,
    subject: Subject,
    label: str,
    posture: Posture,
    place: str,
    start_s: float,
    end_s: float,
) -> Segment:
    beats = ACTIVITIES[label].beats(rng, subject, start_s, end_s)
    return Segment(start_s, end_s, label, posture, place, beats, int(rng.integers(1 << 31)))


def _next(rng: np.random.Generator, activities: Sequence[str], previous: str) -> str:
    names = [name for name in activities if name != previous and ACTIVITIES[name].weight]
    if not names and previous:
        return previous
    if not names:
        raise ValueError(f"nothing to plan with: {', '.join(activities) or 'no activities'}")
    weights = np.array([ACTIVITIES[name].weight for name in names])
    return str(rng.choice(names, p=weights / weights.sum()))


def _place(rng: np.random.Generator, places: tuple[str, ...], seats: bool) -> str:
    fitting = [place for place in places if (place in SEATS) == seats]
    return str(rng.choice(fitting or (SEATS if seats else places)))


def _distract(rng: np.random.Generator, duration_s: float) -> tuple[Distraction, ...]:
    found = []
    for _ in range(rng.poisson(DISTRACTIONS_PER_MINUTE * duration_s / 60)):
        start_s = rng.uniform(0, duration_s)
        kind = str(rng.choice(DISTRACTIONS))
        found.append(Distraction(start_s, start_s + rng.uniform(1.0, 6.0), kind, int(rng.integers(1 << 31))))
    return tuple(sorted(found, key=lambda distraction: distraction.start_s))
