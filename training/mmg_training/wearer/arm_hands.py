"""Arms while the hands are busy with each other, with the face or with small things."""

from __future__ import annotations

import numpy as np

from mmg_training.wearer.arm import (
    BENT,
    RAISED,
    TABLE,
    TAU,
    Motion,
    Movement,
    knocks,
    lift,
    one_handed,
    rest,
    seat,
    stroke,
    wander3,
)
from mmg_training.wearer.subject import Floats, Subject
from mmg_training.wearer.timeline import Segment


def _typing(t: Floats, segment: Segment, subject: Subject, rng: np.random.Generator) -> Motion:
    motion = rest(t, TABLE, rng)
    hit = knocks(t, segment.beats, rng.uniform(14, 24), 0.025) * rng.uniform(0.06, 0.4) * subject.impact
    motion.force += hit[:, None] * rng.normal(0, 0.6, 3) + hit[:, None] * np.array([0, 0, 0.7])
    motion.angles += wander3(rng, t, 0.8, 3.5, rng.uniform(0.008, 0.03))
    return motion


def _phone(t: Floats, segment: Segment, _subject: Subject, rng: np.random.Generator) -> Motion:
    held = BENT + np.array([0.3, 0.25, 0.2])
    motion = rest(t, held if rng.random() < 0.7 else seat(segment), rng)
    hit = knocks(t, segment.beats, rng.uniform(12, 22), 0.03) * rng.uniform(0.02, 0.2)
    motion.force += hit[:, None] * rng.normal(0, 0.7, 3)
    motion.angles += wander3(rng, t, 0.3, 2.5, rng.uniform(0.005, 0.03))
    return motion


def _clapping(t: Floats, segment: Segment, subject: Subject, rng: np.random.Generator) -> Motion:
    motion = rest(t, BENT + np.array([0.3, 0.2, 0]), rng)
    size = rng.uniform(0.12, 0.4)
    motion.angles[:, 2] += size * np.cos(TAU * segment.phase(t))
    motion.angles[:, 0] += 0.4 * size * np.cos(TAU * segment.phase(t) + 0.5)
    motion.force[:, 1] += 12 * size * np.cos(TAU * segment.phase(t))
    hit = subject.impact * rng.uniform(5, 16) * knocks(t, segment.beats, rng.uniform(14, 24), 0.02)
    motion.force += hit[:, None] * np.array([0.3, 1.0, 0.2])
    return motion


def _rubbing(t: Floats, segment: Segment, _subject: Subject, rng: np.random.Generator) -> Motion:
    # Soap or towel: the wrists do the same, a little higher with a towel.
    up = 0.25 if segment.label == "drying_hands" else 0.0
    motion = rest(t, TABLE + np.array([0.5, -0.25 + up, 0]), rng)
    phase, size = TAU * segment.phase(t), rng.uniform(0.08, 0.3)
    effort = 0.6 + 0.4 * np.sin(TAU * rng.uniform(0.1, 0.3) * t + rng.uniform(0, TAU))
    lag = rng.uniform(0, TAU, 3)
    motion.angles += (size * effort)[:, None] * np.array([1.0, 0.4, 0.7]) * np.sin(phase[:, None] + lag)
    motion.force += (8 * size * effort)[:, None] * np.array([1.0, 0.6, 0.4]) * np.sin(phase[:, None] - lag)
    motion.force += wander3(rng, t, 2, 7, 0.3)
    return motion


def _brushing(t: Floats, segment: Segment, _subject: Subject, rng: np.random.Generator) -> Motion:
    motion = rest(t, RAISED, rng)
    phase, size = TAU * segment.phase(t), rng.uniform(0.05, 0.22)
    change = 0.35 * np.sign(np.sin(TAU * rng.uniform(0.1, 0.3) * t + rng.uniform(0, TAU)))
    motion.angles += size * np.array([0.5, 0.5, 1.0]) * np.sin(phase)[:, None]
    # min: a segment that only just reaches into the session is shorter than the window.
    window = min(60, len(t))
    if window:
        motion.angles[:, 0] += np.convolve(change, np.ones(window) / window, mode="same")
    motion.force += 14 * size * np.array([1.0, 0.5, 0.3]) * np.sin(phase + 0.4)[:, None]
    return motion


HANDS: dict[str, Movement] = {
    "typing": _typing,
    "using_phone": _phone,
    "clapping": _clapping,
    "washing_hands": _rubbing,
    "drying_hands": _rubbing,
    "brushing_teeth": one_handed(_brushing),
    "shaving": one_handed(stroke(RAISED, (0.03, 0.015, 0.04), (0.2, 0.12, 0.2), circle=0.5, texture=0.12)),
    "combing_hair": one_handed(stroke(RAISED + np.array([0.0, 0.35, -0.2]), (0.05, 0.03, 0.08), (0.2, 0.35, 0.2))),
    "writing": one_handed(stroke(TABLE, (0.003, 0.004, 0.001), (0.03, 0.02, 0.05), circle=0.6, texture=0.05)),
    "turning_pages": one_handed(lift(TABLE, (0.5, 0.1, -0.5), (0.0, 0.12, 0.03), (0.35, 0.7), (0.0, 0.2, 0.3))),
    "drinking": one_handed(lift(BENT, (0.4, 0.75, -0.3), (0.05, 0.05, 0.25), (0.5, 1.0), (0.5, 1.4, 0.4))),
}
