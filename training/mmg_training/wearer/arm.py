"""How the forearm moves in each activity: its angles and the acceleration of the wrist."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mmg_training.wearer.subject import Floats, Subject
from mmg_training.wearer.timeline import Segment

TAU = 2 * np.pi
# Roll, pitch and yaw of the forearm in rad at rest: pitch -1.3 hangs down, 0 lies on a table, positive points up.
HANGING, LAP, TABLE, BENT, RAISED = (
    np.array(angles)
    for angles in ((0.0, -1.25, 0.0), (0.3, -0.35, 0.2), (0.0, 0.05, 0.3), (0.9, 0.1, 0.2), (1.1, 0.75, -0.3))
)


@dataclass
class Motion:
    """angles: (T, 3) roll, pitch, yaw in rad. force: (T, 3) acceleration in m/s^2, x ahead, z up, gravity left out."""

    angles: Floats
    force: Floats


Movement = Callable[[Floats, Segment, Subject, np.random.Generator], Motion]


def wander(rng: np.random.Generator, times_s: Floats, slowest_hz: float, fastest_hz: float, size: float) -> Floats:
    """An aimless slow movement (T,): five sines of random pace and phase, root mean square ``size``."""
    hz, phase = rng.uniform(slowest_hz, fastest_hz, 5), rng.uniform(0, TAU, 5)
    waves: Floats = np.sin(TAU * hz * times_s[:, None] + phase).sum(1) * (size * np.sqrt(2 / 5))
    return waves


def knocks(times_s: Floats, beats: Floats, ring_hz: float, decay_s: float, delay_s: float = 0.0) -> Floats:
    """What hits leave at the wrist (T,): a decaying oscillation after each beat, peaking near its strength."""
    out = np.zeros_like(times_s)
    for time_s, strength in beats:
        first, last = np.searchsorted(times_s, (time_s + delay_s, time_s + delay_s + 6 * decay_s))
        since = times_s[first:last] - time_s - delay_s
        out[first:last] += strength * np.exp(-since / decay_s) * np.cos(TAU * ring_hz * since)
    return out


def _rest(t: Floats, base: Floats, rng: np.random.Generator, spread: float = 0.25, tremor: float = 0.012) -> Motion:
    angles = base + rng.normal(0, spread, 3) + np.stack([wander(rng, t, 0.05, 0.5, 0.02) for _ in range(3)], 1)
    breath = 0.02 * np.sin(TAU * rng.uniform(0.2, 0.35) * t + rng.uniform(0, TAU))
    force = np.stack([wander(rng, t, 5, 11, tremor * 2) for _ in range(3)], 1)
    return Motion(angles + breath[:, None] * rng.normal(0, 0.5, 3), force)


def _still(t: Floats, segment: Segment, _subject: Subject, rng: np.random.Generator) -> Motion:
    seated = TABLE if segment.place == "desk" else LAP
    motion = _rest(t, seated if segment.posture == "sitting" else HANGING, rng)
    if segment.place == "desk" and rng.random() < 0.5:
        # Reading, pointing or holding a pen: restless as somebody who types.
        motion.angles += np.stack([wander(rng, t, 0.5, 3.0, rng.uniform(0.005, 0.03)) for _ in range(3)], 1)
        motion.force += np.stack([wander(rng, t, 3, 9, rng.uniform(0.02, 0.1)) for _ in range(3)], 1)
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
    motion = _rest(t, BENT if carrying else HANGING, rng)
    hit = subject.impact * rng.uniform(1.2, 2.5) * knocks(t, segment.beats, rng.uniform(8, 13), 0.05, 0.03)
    return _gait(t, segment, motion, subject.swing * (0.2 if carrying else 1.0), rng.uniform(0.8, 2.2), hit)


def _running(t: Floats, segment: Segment, subject: Subject, rng: np.random.Generator) -> Motion:
    motion = _rest(t, BENT, rng)
    hit = subject.impact * rng.uniform(4, 9) * knocks(t, segment.beats, rng.uniform(9, 15), 0.045, 0.02)
    return _gait(t, segment, motion, rng.uniform(0.25, 0.7), rng.uniform(4, 8), hit)


def _typing(t: Floats, segment: Segment, subject: Subject, rng: np.random.Generator) -> Motion:
    motion = _rest(t, TABLE, rng)
    hit = knocks(t, segment.beats, rng.uniform(14, 24), 0.025) * rng.uniform(0.06, 0.4) * subject.impact
    motion.force += hit[:, None] * rng.normal(0, 0.6, 3) + hit[:, None] * np.array([0, 0, 0.7])
    motion.angles += np.stack([wander(rng, t, 0.8, 3.5, rng.uniform(0.008, 0.03)) for _ in range(3)], 1)
    return motion


def _clapping(t: Floats, segment: Segment, subject: Subject, rng: np.random.Generator) -> Motion:
    motion = _rest(t, BENT + np.array([0.3, 0.2, 0]), rng)
    size = rng.uniform(0.12, 0.4)
    motion.angles[:, 2] += size * np.cos(TAU * segment.phase(t))
    motion.angles[:, 0] += 0.4 * size * np.cos(TAU * segment.phase(t) + 0.5)
    motion.force[:, 1] += 12 * size * np.cos(TAU * segment.phase(t))
    hit = subject.impact * rng.uniform(5, 16) * knocks(t, segment.beats, rng.uniform(14, 24), 0.02)
    motion.force += hit[:, None] * np.array([0.3, 1.0, 0.2])
    return motion


def _washing(t: Floats, segment: Segment, _subject: Subject, rng: np.random.Generator) -> Motion:
    motion = _rest(t, TABLE + np.array([0.5, -0.25, 0]), rng)
    phase, size = TAU * segment.phase(t), rng.uniform(0.08, 0.3)
    effort = 0.6 + 0.4 * np.sin(TAU * rng.uniform(0.1, 0.3) * t + rng.uniform(0, TAU))
    lag = rng.uniform(0, TAU, 3)
    motion.angles += (size * effort)[:, None] * np.array([1.0, 0.4, 0.7]) * np.sin(phase[:, None] + lag)
    motion.force += (8 * size * effort)[:, None] * np.array([1.0, 0.6, 0.4]) * np.sin(phase[:, None] - lag)
    motion.force += np.stack([wander(rng, t, 2, 7, 0.3) for _ in range(3)], 1)
    return motion


def _brushing(t: Floats, segment: Segment, _subject: Subject, rng: np.random.Generator) -> Motion:
    # One in three brushes with the hand that does not wear the sensor, which hangs or rests then.
    if rng.random() < 0.33:
        motion = _rest(t, HANGING if rng.random() < 0.5 else TABLE, rng)
        motion.force += 0.15 * np.sin(TAU * segment.phase(t))[:, None] * rng.normal(0, 1, 3)
        return motion
    motion = _rest(t, RAISED, rng)
    phase, size = TAU * segment.phase(t), rng.uniform(0.05, 0.22)
    change = 0.35 * np.sign(np.sin(TAU * rng.uniform(0.1, 0.3) * t + rng.uniform(0, TAU)))
    motion.angles += size * np.array([0.5, 0.5, 1.0]) * np.sin(phase)[:, None]
    motion.angles[:, 0] += np.convolve(change, np.ones(60) / 60, mode="same")
    motion.force += 14 * size * np.array([1.0, 0.5, 0.3]) * np.sin(phase + 0.4)[:, None]
    return motion


def _transition(t: Floats, segment: Segment, _subject: Subject, rng: np.random.Generator) -> Motion:
    down = segment.label == "sitting_down"
    seat = (TABLE if segment.place == "desk" else LAP) + rng.normal(0, 0.2, 3)
    here, there = (HANGING, seat) if down else (seat, HANGING)
    motion = _rest(t, np.zeros(3), rng, spread=0.1, tremor=0.04)
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


MOVEMENTS: dict[str, Movement] = {
    "still": _still,
    "walking": _walking,
    "running": _running,
    "typing": _typing,
    "clapping": _clapping,
    "washing_hands": _washing,
    "brushing_teeth": _brushing,
    "sitting_down": _transition,
    "standing_up": _transition,
}
