"""How a forearm moves: the pieces that the movements of all activities are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mmg_training.wearer.subject import Floats, Subject
from mmg_training.wearer.timeline import Segment

TAU = 2 * np.pi
# Roll, pitch and yaw of the forearm in rad at rest: pitch -1.3 hangs down, 0 lies on a table, positive points up.
HANGING, LAP, TABLE, BENT, RAISED, FORWARD = (
    np.array(angles)
    for angles in (
        (0.0, -1.25, 0.0),
        (0.3, -0.35, 0.2),
        (0.0, 0.05, 0.3),
        (0.9, 0.1, 0.2),
        (1.1, 0.75, -0.3),
        (0.3, -0.4, 0.1),
    )
)


@dataclass
class Motion:
    """angles: (T, 3) roll, pitch, yaw in rad. force: (T, 3) acceleration in m/s^2, x ahead, z up, gravity left out."""

    angles: Floats
    force: Floats


Movement = Callable[[Floats, Segment, Subject, np.random.Generator], Motion]
Triple = tuple[float, float, float]


def wander(rng: np.random.Generator, times_s: Floats, slowest_hz: float, fastest_hz: float, size: float) -> Floats:
    """An aimless slow movement (T,): five sines of random pace and phase, root mean square ``size``."""
    hz, phase = rng.uniform(slowest_hz, fastest_hz, 5), rng.uniform(0, TAU, 5)
    waves: Floats = np.sin(TAU * hz * times_s[:, None] + phase).sum(1) * (size * np.sqrt(2 / 5))
    return waves


def wander3(rng: np.random.Generator, times_s: Floats, slowest_hz: float, fastest_hz: float, size: float) -> Floats:
    """One aimless movement an axis (T, 3)."""
    return np.stack([wander(rng, times_s, slowest_hz, fastest_hz, size) for _ in range(3)], 1)


def knocks(times_s: Floats, beats: Floats, ring_hz: float, decay_s: float, delay_s: float = 0.0) -> Floats:
    """What hits leave at the wrist (T,): a decaying oscillation after each beat, peaking near its strength."""
    out = np.zeros_like(times_s)
    for time_s, strength in beats:
        first, last = np.searchsorted(times_s, (time_s + delay_s, time_s + delay_s + 6 * decay_s))
        since = times_s[first:last] - time_s - delay_s
        out[first:last] += strength * np.exp(-since / decay_s) * np.cos(TAU * ring_hz * since)
    return out


def rest(t: Floats, base: Floats, rng: np.random.Generator, spread: float = 0.35, tremor: float = 0.012) -> Motion:
    """An arm that is held in one pose: it breathes and trembles."""
    angles = base + rng.normal(0, spread, 3) + wander3(rng, t, 0.05, 0.5, 0.02)
    breath = 0.02 * np.sin(TAU * rng.uniform(0.2, 0.35) * t + rng.uniform(0, TAU))
    return Motion(angles + breath[:, None] * rng.normal(0, 0.5, 3), wander3(rng, t, 5, 11, tremor * 2))


def seat(segment: Segment) -> Floats:
    """Where an idle arm lies (3,)."""
    if segment.posture == "standing":
        return HANGING
    return TABLE if segment.place == "desk" else LAP


def one_handed(movement: Movement) -> Movement:
    """Done with the hand that wears the sensor or, by the person's habit, with the other one.

    The idle arm hangs, lies or holds on, and feels of the work what comes through the trunk.
    """

    def move(t: Floats, segment: Segment, subject: Subject, rng: np.random.Generator) -> Motion:
        if rng.random() < subject.leads:
            return movement(t, segment, subject, rng)
        work = movement(t, segment, subject, rng)
        motion = rest(t, seat(segment) if rng.random() < 0.4 else FORWARD, rng)
        motion.force += rng.uniform(0.05, 0.2) * (work.force @ rng.normal(0, 0.6, (3, 3)))
        motion.angles += wander3(rng, t, 0.2, 2.0, rng.uniform(0.01, 0.05))
        return motion

    return move


def stroke(
    base: Floats, reach_m: Triple, turn: Triple, *, cycles: float = 1.0, circle: float = 0.0, texture: float = 0.0
) -> Movement:
    """Work that goes to and fro.

    reach_m, turn: how far the wrist goes (ahead, aside, up) and turns (roll, pitch, yaw) to either side. cycles: how
    many to and fro in a beat. circle: 0 along a line, 1 round. texture: m/s^2 of what the surface or a motor adds.
    """

    def move(t: Floats, segment: Segment, _subject: Subject, rng: np.random.Generator) -> Motion:
        motion = rest(t, base, rng)
        omega = TAU * cycles * segment.pace_hz(t)[:, None]
        lag = circle * np.array([0.0, np.pi / 2, 0.8]) + rng.normal(0, 0.25, 3)
        phase = TAU * cycles * segment.phase(t)[:, None] + lag
        # Longer strokes are slower: the reach gives way above 1.5 Hz.
        size = rng.uniform(0.3, 1.4) * (1 + 0.2 * wander(rng, t, 0.1, 0.6, 1.0))[:, None]
        size = size / (1 + (omega / 9.5) ** 2) ** 0.5
        motion.angles += size * np.array(turn) * np.sin(phase)
        motion.force -= size * np.array(reach_m) * omega**2 * (np.sin(phase) + rng.normal(0, 0.2) * np.sin(2 * phase))
        motion.angles += wander3(rng, t, 0.05, 0.4, rng.uniform(0.02, 0.12))
        if texture:
            rough = texture * rng.uniform(0.4, 1.6) * np.abs(np.cos(phase))
            motion.force += rough * rng.standard_normal(motion.force.shape)
        return motion

    return move


def struck(base: Floats, turn: Triple, reach_m: Triple, hit: tuple[float, float], along: Triple) -> Movement:
    """Work that hits something at every beat.

    turn: half of the swing (roll, pitch, yaw), far from the target between beats. hit: weakest and strongest jolt in
    m/s^2. along: its direction (ahead, aside, up).
    """

    def move(t: Floats, segment: Segment, subject: Subject, rng: np.random.Generator) -> Motion:
        motion = rest(t, base, rng)
        omega, phase = TAU * segment.pace_hz(t)[:, None], TAU * segment.phase(t)[:, None]
        size = rng.uniform(0.3, 1.4) / (1 + (omega / 16) ** 2)
        motion.angles -= size * np.array(turn) * np.cos(phase)
        motion.force += size * np.array(reach_m) * omega**2 * np.cos(phase)
        jolt = knocks(t, segment.beats, rng.uniform(12, 24), rng.uniform(0.015, 0.03))
        aim = np.array(along) + rng.normal(0, 0.25, 3)
        motion.force += (subject.impact * rng.uniform(*hit)) * jolt[:, None] * aim
        return motion

    return move


def bumps(t: Floats, beats: Floats, rise_s: float, hold_s: float) -> Floats:
    """(T,): 0 at rest, 1 for ``hold_s`` around each beat, smooth between."""
    out = np.zeros_like(t)
    for time_s, _ in beats:
        x = np.clip((hold_s / 2 + rise_s - np.abs(t - time_s)) / rise_s, 0, 1)
        out = np.maximum(out, x * x * x * (10 - 15 * x + 6 * x * x))
    return out


def lift(base: Floats, turn: Triple, reach_m: Triple, rise_s: tuple[float, float], hold_s: Triple) -> Movement:
    """A slow move there and back around each beat: the cup to the mouth, the page over.

    turn, reach_m: (roll, pitch, yaw) and (ahead, aside, up) of the far end. hold_s: shortest and longest stay there,
    and how much of the turn is done only there.
    """

    def move(t: Floats, segment: Segment, _subject: Subject, rng: np.random.Generator) -> Motion:
        motion = rest(t, base, rng)
        rise, hold = rng.uniform(*rise_s), rng.uniform(*hold_s[:2])
        out = bumps(t, segment.beats, rise, hold)
        late = bumps(t, segment.beats, 0.6 * rise, 0.6 * hold)
        size = rng.uniform(0.7, 1.3)
        motion.angles += size * np.array(turn) * ((1 - hold_s[2]) * out + hold_s[2] * late)[:, None]
        if len(t) > 2:
            motion.force += size * np.array(reach_m) * np.gradient(np.gradient(out, t), t)[:, None]
        motion.force += wander3(rng, t, 1, 6, rng.uniform(0.03, 0.15))
        return motion

    return move
