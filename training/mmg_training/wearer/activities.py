"""What there is to do: a table. A new activity is a row here, an arm movement, a voice and a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mmg_training.wearer.rhythms import Beats, bursts, contact, groups, rhythm, silence, steady

Posture = Literal["sitting", "standing"]


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
PLACES = SEATS + ("sink", "corridor", "street", "kitchen", "room", "doorway", "stairs", "workshop")
STAND: tuple[Posture, ...] = ("standing",)
SIT: tuple[Posture, ...] = ("sitting",)
EITHER: tuple[Posture, ...] = ("sitting", "standing")

ACTIVITIES: dict[str, Activity] = {
    "still": Activity(EITHER, PLACES, (3, 15), silence, 1.7),
    "walking": Activity(STAND, ("corridor", "street"), (4, 18), rhythm(lambda s: s.step_hz), 1.3),
    "running": Activity(STAND, ("street", "corridor"), (4, 16), rhythm(lambda s: s.run_hz)),
    "sitting_down": Activity(STAND, SEATS, (2, 3), contact(0.75), 0.0, after="sitting"),
    "standing_up": Activity(SIT, SEATS, (2, 3), contact(0.3), 0.0, after="standing"),
    "typing": Activity(SIT, ("desk",), (4, 20), bursts, 1.2),
    "clapping": Activity(EITHER, ("sofa", "desk", "corridor", "room"), (4, 12), rhythm(lambda s: s.clap_hz), 1.2),
    "washing_hands": Activity(STAND, ("sink", "kitchen"), (5, 16), rhythm(lambda s: s.rub_hz, 0.12)),
    "brushing_teeth": Activity(STAND, ("sink", "corridor"), (6, 20), rhythm(lambda s: s.stroke_hz, 0.08)),
    "knocking": Activity(STAND, ("doorway", "corridor"), (3, 8), groups((2, 6), (2.0, 5.5), (0.6, 2.2))),
    "sweeping": Activity(
        STAND, ("kitchen", "room", "corridor", "street", "stairs", "workshop"), (5, 18), steady(0.5, 1.4)
    ),
    "drinking": Activity(EITHER, ("desk", "sofa", "kitchen", "room", "workshop"), (4, 12), steady(0.28, 0.42, 0.15)),
    "climbing_stairs": Activity(STAND, ("stairs",), (4, 14), rhythm(lambda s: 0.88 * s.step_hz, 0.05)),
    "jumping_jacks": Activity(STAND, ("room", "street"), (4, 12), steady(1.6, 2.4, 0.03)),
    "waving": Activity(EITHER, ("street", "doorway", "stairs", "sofa", "desk"), (3, 6), steady(1.2, 2.8)),
    "writing": Activity(SIT, ("desk",), (5, 20), groups((3, 9), (2.0, 4.5), (0.2, 0.9))),
    "using_phone": Activity(
        EITHER, ("sofa", "desk", "corridor", "street", "stairs"), (5, 20), groups((1, 6), (2, 4), (0.5, 2))
    ),
    "turning_pages": Activity(SIT, SEATS, (5, 20), steady(0.3, 0.6, 0.2)),
    "chopping": Activity(STAND, ("kitchen",), (5, 16), groups((4, 14), (1.6, 4.6), (0.4, 1.4))),
    "stirring": Activity(STAND, ("kitchen",), (5, 16), steady(0.7, 2.5, 0.08)),
    "whisking": Activity(STAND, ("kitchen",), (5, 14), steady(1.6, 4.2)),
    "pouring": Activity(STAND, ("kitchen", "room"), (3, 8), steady(0.26, 0.4, 0.1)),
    "wiping_table": Activity(STAND, ("kitchen", "room", "workshop", "sink"), (4, 14), steady(1.1, 3.4, 0.1)),
    "ironing": Activity(STAND, ("room", "kitchen"), (6, 18), steady(0.8, 2.6, 0.12)),
    "folding_laundry": Activity(STAND, ("room",), (6, 18), steady(0.35, 0.65, 0.2)),
    "vacuuming": Activity(STAND, ("room", "corridor"), (6, 18), steady(0.8, 2.2, 0.1)),
    "drying_hands": Activity(STAND, ("sink", "kitchen"), (3, 8), rhythm(lambda s: 0.9 * s.rub_hz, 0.15)),
    "shaving": Activity(STAND, ("sink", "room"), (6, 18), steady(0.8, 3.0, 0.2)),
    "combing_hair": Activity(STAND, ("sink", "room"), (4, 12), steady(0.5, 1.6, 0.15)),
    "hammering": Activity(STAND, ("workshop", "room"), (4, 12), groups((3, 9), (1.4, 3.8), (0.5, 1.6))),
    "sawing": Activity(STAND, ("workshop", "room"), (5, 16), steady(1.0, 2.8)),
    "drumming": Activity(SIT, SEATS, (5, 18), groups((4, 16), (1.8, 5.5), (0.1, 0.6))),
}
TRANSITION = {"sitting": "sitting_down", "standing": "standing_up"}

EVERYDAY: tuple[str, ...] = tuple(ACTIVITIES)[:12]
"""What the starter tells apart."""

NOVEL: tuple[str, ...] = (
    "climbing_stairs",
    "writing",
    "whisking",
    "pouring",
    "ironing",
    "vacuuming",
    "drying_hands",
    "shaving",
    "hammering",
    "drumming",
)
"""What few-shot learning meets for the first time. Each has a twin in BASE or here for at least one sensor: the shaver
moves as the toothbrush, the hammer sounds as the knock on the door, the towel moves as the soap, the pen is as quiet as
the phone, the iron travels as the cloth and the drum is struck as the nail."""

BASE: tuple[str, ...] = tuple(label for label in ACTIVITIES if label not in (*NOVEL, *TRANSITION.values()))
"""What a model is trained on before that. Sitting down and standing up are left out: they do not last a clip."""

BENCHMARK: tuple[str, ...] = BASE + NOVEL
"""All that a clip can show."""
