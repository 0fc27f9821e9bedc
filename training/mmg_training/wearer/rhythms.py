"""When the beats of an activity fall: times and strengths of footfalls, strokes, knocks and sips."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmg_training.wearer.subject import Floats, Subject

Beats = Callable[[np.random.Generator, Subject, float, float], Floats]


def rhythm(pace: Callable[[Subject], float], jitter: float = 0.04) -> Beats:
    """Beats at a person's pace, each segment a little faster or slower."""

    def beats(rng: np.random.Generator, subject: Subject, start_s: float, end_s: float) -> Floats:
        return _paced(rng, pace(subject) * rng.uniform(0.88, 1.12), jitter, start_s, end_s)

    return beats


PAUSES = 0.06


def steady(slow_hz: float, fast_hz: float, jitter: float = 0.06) -> Beats:
    """Beats at a pace that each segment draws anew, at the person's tempo, with a pause after some of them."""

    def beats(rng: np.random.Generator, subject: Subject, start_s: float, end_s: float) -> Floats:
        return _paced(rng, subject.tempo * rng.uniform(slow_hz, fast_hz), jitter, start_s, end_s, PAUSES)

    return beats


def groups(sizes: tuple[int, int], hz: tuple[float, float], pause_s: tuple[float, float]) -> Beats:
    """A few quick beats, a pause, and so on: the first group may have begun before the start."""

    def beats(rng: np.random.Generator, subject: Subject, start_s: float, end_s: float) -> Floats:
        step_s = 1 / (subject.tempo * rng.uniform(*hz))
        now_s = start_s - rng.uniform(0, sizes[0] * step_s)
        times = []
        while now_s < end_s:
            for _ in range(int(rng.integers(sizes[0], sizes[1] + 1))):
                times.append(now_s)
                now_s += step_s * rng.uniform(0.85, 1.15)
            now_s += rng.uniform(*pause_s)
        inside = np.array([time for time in times if start_s <= time < end_s])
        return np.stack((inside, rng.lognormal(0.0, 0.25, len(inside))), axis=1)

    return beats


def bursts(rng: np.random.Generator, subject: Subject, start_s: float, end_s: float) -> Floats:
    """Key strokes: words of 2 to 12 letters, thinking between them."""
    times, now_s = [], start_s + rng.uniform(0.0, 0.4)
    while now_s < end_s:
        for _ in range(int(rng.integers(2, 13))):
            times.append(now_s)
            now_s += rng.gamma(6.0, 1 / (6.0 * subject.key_hz))
        now_s += float(rng.choice([0.15, 0.4, 1.5], p=[0.6, 0.3, 0.1])) * rng.uniform(0.7, 1.5)
    inside = np.array([time for time in times if time < end_s])
    return np.stack((inside, rng.lognormal(0.0, 0.35, len(inside))), axis=1)


def contact(at: float) -> Beats:
    """One knock, at a fraction of the movement: the seat that is met or left."""

    def beats(rng: np.random.Generator, subject: Subject, start_s: float, end_s: float) -> Floats:
        time_s = start_s + (end_s - start_s) * rng.uniform(at - 0.05, at + 0.05)
        return np.array([[time_s, subject.impact * rng.uniform(0.5, 1.4)]])

    return beats


def silence(_rng: np.random.Generator, _subject: Subject, _start_s: float, _end_s: float) -> Floats:
    """No beats."""
    return np.zeros((0, 2))


def _paced(
    rng: np.random.Generator, hz: float, jitter: float, start_s: float, end_s: float, pauses: float = 0.0
) -> Floats:
    count = int((end_s - start_s) * hz * 1.3) + 3
    steps = rng.normal(1.0, jitter, count).clip(0.6, 1.4) / hz
    steps += (rng.random(count) < pauses) * rng.uniform(0.5, 2.0, count)
    times = start_s + rng.uniform(0, 1 / hz) + np.cumsum(steps) - steps[0]
    strengths = rng.lognormal(0.0, 0.18, count)
    inside: Floats = np.stack((times, strengths), axis=1)[times < end_s]
    return inside
