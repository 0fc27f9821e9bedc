"""What there is to do: a table. A new activity is a row here, an arm movement, a voice and a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mmg_training.wearer.subject import Floats, Subject

Posture = Literal["sitting", "standing"]
Beats = Callable[[np.random.Generator, Subject, float, float], Floats]


def rhythm(pace: Callable[[Subject], float], jitter: float = 0.04) -> Beats:
    """Beats at a person's pace, each session segment a little faster or slower."""

    def beats(rng: np.random.Generator, subject: Subject, start_s: float, end_s: float) -> Floats:
        hz = pace(subject) * rng.uniform(0.88, 1.12)
        count = int((end_s - start_s) * hz * 1.3) + 3
        times = start_s + rng.uniform(0, 1 / hz) + np.cumsum(rng.normal(1.0, jitter, count).clip(0.6, 1.4)) / hz
        strengths = rng.lognormal(0.0, 0.18, count)
        return np.stack((times, strengths), axis=1)[times < end_s]

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


@dataclass(frozen=True)
class Activity:
    """One row: where it can happen, how long it takes (seconds, shortest and longest) and how often it is chosen.

    after: the posture that it leaves behind where it changes it.
    """

    postures: tuple[Posture, ...]
    places: tuple[str, ...]
    duration_s: tuple[float, float]
    beats: Beats
    weight: float = 1.0
    after: Posture | None = None


SEATS = ("desk", "sofa")

ACTIVITIES: dict[str, Activity] = {
    "still": Activity(("sitting", "standing"), ("desk", "sofa", "sink", "corridor", "street"), (3, 15), silence, 1.7),
    "walking": Activity(("standing",), ("corridor", "street"), (4, 18), rhythm(lambda s: s.step_hz), 1.3),
    "running": Activity(("standing",), ("street", "corridor"), (4, 16), rhythm(lambda s: s.run_hz)),
    "typing": Activity(("sitting",), ("desk",), (4, 20), bursts, 1.2),
    "clapping": Activity(
        ("sitting", "standing"), ("sofa", "desk", "corridor"), (4, 12), rhythm(lambda s: s.clap_hz), 1.2
    ),
    "washing_hands": Activity(("standing",), ("sink",), (5, 16), rhythm(lambda s: s.rub_hz, 0.12)),
    "brushing_teeth": Activity(("standing",), ("sink",), (6, 20), rhythm(lambda s: s.stroke_hz, 0.08)),
    "sitting_down": Activity(("standing",), SEATS, (2, 3), contact(0.75), 0.0, after="sitting"),
    "standing_up": Activity(("sitting",), SEATS, (2, 3), contact(0.3), 0.0, after="standing"),
}
TRANSITION = {"sitting": "sitting_down", "standing": "standing_up"}
