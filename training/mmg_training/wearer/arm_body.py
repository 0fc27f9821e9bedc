"""Arms while the whole body moves or rests."""

from __future__ import annotations

import numpy as np

from mmg_training.wearer.arm import (
    BENT,
    HANGING,
    LAP,
    RAISED,
    TABLE,
    TAU,
    Motion,
    Movement,
    knocks,
    one_handed,
    rest,
    seat,
    stroke,
    wander3,
)
from mmg_training.wearer.subject import Floats, Subject
from mmg_training.wearer.timeline import Segment


def _still(t: Floats, segment: Segment, _subject: Subject, rng: np.random.Generator) -> Motion:
    motion = rest(t, seat(segment), rng)
    if segment.place == "desk" and rng.random() < 0.5:
        # Reading, pointing or holding a pen: restless as somebody who types.
        motion.angles += wander3(rng, t, 0.5, 3.0, rng.uniform(0.005, 0.03))
        motion.force += wander3(rng, t, 3, 9, rng.uniform(0.02, 0.1))
    return motion


def _gait(t: Floats, segment: Segment, motion: Motion, swing: float, bounce: float, hit: Floats) -> Motion:
    phase = np.pi * segment.phase(t)
    motion.angles[:, 1] += swing * np.sin(phase)
    motion.angles[:, 2] += 0.3 * swing * np.sin(phase + 0.7)
    motion.force[:, 0] += 2.0 * swing * np.cos(phase) + 0.35 * hit
    motion.force[:, 1] += 0.25 * bounce * np.sin(phase)
    motion.force[:, 2] += bounce * (np.cos(2 * phase) + 0.3 * np.cos(4 * phase + 0.5)) + hit
    return motion


def _walking(t: Floats, segment: Segment, subject: Subject, rng: np.random.Generator) -> Motion:
    carrying = rng.random() < 0.25
    motion = rest(t, BENT if carrying else HANGING, rng)
    hit = subject.impact * rng.uniform(1.2, 2.5) * knocks(t, segment.beats, rng.uniform(8, 13), 0.05, 0.03)
    return _gait(t, segment, motion, subject.swing * (0.2 if carrying else 1.0), rng.uniform(0.8, 2.2), hit)


def _running(t: Floats, segment: Segment, subject: Subject, rng: np.random.Generator) -> Motion:
    motion = rest(t, BENT, rng)
    hit = subject.impact * rng.uniform(4, 9) * knocks(t, segment.beats, rng.uniform(9, 15), 0.045, 0.02)
    return _gait(t, segment, motion, rng.uniform(0.25, 0.7), rng.uniform(4, 8), hit)


def _climbing(t: Floats, segment: Segment, subject: Subject, rng: np.random.Generator) -> Motion:
    railing = rng.random() < 0.3
    motion = rest(t, BENT if railing else HANGING, rng)
    hit = subject.impact * rng.uniform(1.0, 2.8) * knocks(t, segment.beats, rng.uniform(8, 13), 0.05, 0.03)
    motion = _gait(t, segment, motion, (0.15 if railing else 0.8) * subject.swing, rng.uniform(0.8, 2.0), hit)
    # Each step lifts the body, so it is pushed for longer than it falls.
    motion.force[:, 2] += rng.uniform(0.4, 1.4) * np.sin(TAU * segment.phase(t) + 0.6)
    return motion


def _jumping(t: Floats, segment: Segment, subject: Subject, rng: np.random.Generator) -> Motion:
    # A beat is a landing: arms down at the even ones, up at the odd ones.
    motion, phase = rest(t, np.array([0.2, -0.1, 0.0]), rng), np.pi * segment.phase(t)
    size, bounce = rng.uniform(0.7, 1.25), rng.uniform(3, 8)
    motion.angles[:, 1] -= size * np.cos(phase)
    motion.angles[:, 0] -= 0.4 * size * np.cos(phase)
    motion.force[:, 1] += rng.uniform(4, 9) * size * np.cos(phase)
    hit = subject.impact * rng.uniform(3, 9) * knocks(t, segment.beats, rng.uniform(9, 15), 0.045, 0.02)
    motion.force[:, 2] += bounce * np.cos(2 * phase) + hit
    return motion


def _transition(t: Floats, segment: Segment, _subject: Subject, rng: np.random.Generator) -> Motion:
    down = segment.label == "sitting_down"
    seated = (TABLE if segment.place == "desk" else LAP) + rng.normal(0, 0.2, 3)
    here, there = (HANGING, seated) if down else (seated, HANGING)
    motion = rest(t, np.zeros(3), rng, spread=0.1, tremor=0.04)
    gone = segment.progress(t)[:, None]
    # Hands go to the knees or the armrest on the way.
    reach = np.sin(np.pi * gone) * np.array([0.2, rng.uniform(-0.2, 0.7), 0.15]) * rng.choice([0.4, 1.0])
    motion.angles += here * (1 - gone) + there * gone + reach
    span = segment.end_s - segment.start_s
    x = np.clip((t - segment.start_s) / span, 0, 1)
    drop = rng.uniform(0.3, 0.5) * (-1 if down else 1)
    motion.force[:, 2] += drop / span**2 * (60 * x - 180 * x**2 + 120 * x**3)
    motion.force[:, 0] += rng.uniform(0.3, 0.9) * np.sin(TAU * x) * (1 if down else -1)
    motion.force[:, 2] += rng.uniform(0.5, 3.0) * knocks(t, segment.beats, rng.uniform(5, 10), 0.06)
    return motion


BODY: dict[str, Movement] = {
    "still": _still,
    "walking": _walking,
    "running": _running,
    "climbing_stairs": _climbing,
    "jumping_jacks": _jumping,
    "sitting_down": _transition,
    "standing_up": _transition,
    "waving": one_handed(stroke(RAISED + np.array([0.0, 0.3, 0.2]), (0.02, 0.07, 0.01), (0.25, 0.1, 0.4))),
}
