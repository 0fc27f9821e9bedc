"""The wearer's own hands in the picture: empty, at each other, at the face."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmg_training.wearer.canvas import Canvas
from mmg_training.wearer.subject import Subject
from mmg_training.wearer.timeline import Segment

SALT = 5
TAU = 2 * np.pi
Hands = Callable[[Canvas, Segment, Subject, float], None]


def hand(canvas: Canvas, subject: Subject, x: float, y: float, angle: float = 0.0) -> None:
    """A hand, and the sleeve that leads to it from below."""
    side = 1 if x > 0 else -1
    canvas.ellipse((x + 0.22 * side, y + 0.42), (0.15, 0.42), subject.sleeve, angle - 0.5 * side)
    canvas.ellipse((x, y), (0.17, 0.2), subject.skin, angle)


def phase_at(segment: Segment, time_s: float) -> float:
    """Beats so far, in fractions of a beat."""
    return float(segment.phase(np.array([time_s]))[0])


def _idle(canvas: Canvas, segment: Segment, subject: Subject, time_s: float) -> None:
    rng = segment.rng(SALT)
    if segment.posture == "sitting" and rng.random() < 0.6:
        sway = 0.01 * np.sin(TAU * 0.3 * time_s)
        for side in (-1, 1):
            if rng.random() < 0.8:
                hand(canvas, subject, side * rng.uniform(0.2, 0.6), rng.uniform(0.6, 0.95) + sway)


def _typing(canvas: Canvas, segment: Segment, subject: Subject, time_s: float) -> None:
    rng = segment.rng(SALT)
    spread, near = rng.uniform(0.2, 0.4), rng.uniform(0.68, 0.85)
    since = time_s - segment.beats[:, 0]
    striking = float(np.exp(-np.abs(since) / 0.15).max()) if len(since) else 0.0
    for side in (-1, 1):
        # The hands travel with the text, a little differently at every stroke.
        number = int((since > 0).sum())
        travel = 0.08 * np.sin(2.4 * number + side)
        hand(canvas, subject, side * spread + travel, near - 0.06 * striking * (number % 2 == (side > 0)))


def _clapping(canvas: Canvas, segment: Segment, subject: Subject, time_s: float) -> None:
    rng = segment.rng(SALT)
    apart = 0.1 + rng.uniform(0.15, 0.35) * (0.5 - 0.5 * np.cos(TAU * phase_at(segment, time_s)))
    height = rng.uniform(0.35, 0.8)
    for side in (-1, 1):
        hand(canvas, subject, side * apart, height, -0.3 * side)


def _washing(canvas: Canvas, segment: Segment, subject: Subject, time_s: float) -> None:
    rng = segment.rng(SALT)
    rub = 0.08 * np.sin(TAU * phase_at(segment, time_s))
    canvas.rectangle((0.0, 0.55), (0.035, 0.2), np.array([0.75, 0.85, 0.95]))
    height = rng.uniform(0.55, 0.7)
    hand(canvas, subject, 0.09, height + rub, 0.5)
    hand(canvas, subject, -0.09, height - rub, -0.5)


def _drying(canvas: Canvas, segment: Segment, subject: Subject, time_s: float) -> None:
    rng = segment.rng(SALT)
    rub = 0.08 * np.sin(TAU * phase_at(segment, time_s))
    height, towel = rng.uniform(0.5, 0.75), rng.uniform(0.2, 0.95, 3)
    hand(canvas, subject, 0.12, height + rub, 0.5)
    hand(canvas, subject, -0.12, height - rub, -0.5)
    canvas.ellipse((0.6 * rub, height + 0.1), (rng.uniform(0.1, 0.26), rng.uniform(0.12, 0.3)), towel, rub)


def _at_the_face(tool: float, mirrored_y: float, stroke: tuple[float, float]) -> Hands:
    """A hand at the lower edge at most, and the same one, smaller, in the mirror. tool: length of what it holds."""

    def hands(canvas: Canvas, segment: Segment, subject: Subject, time_s: float) -> None:
        rng = segment.rng(SALT)
        moved = np.sin(TAU * phase_at(segment, time_s))
        side = 1 if rng.random() < 0.8 else -1
        x, y, colour = side * rng.uniform(0.1, 0.45), rng.uniform(0.75, 1.15), rng.uniform(0.05, 0.95, 3)
        x, y = x + stroke[0] * moved, y + stroke[1] * moved
        canvas.bar((x, y - 0.12), (x - tool * side, y - 0.18), 0.03, colour)
        hand(canvas, subject, x, y)
        if segment.place == "sink":
            mirrored = 0.12 * side + 0.5 * stroke[0] * moved, mirrored_y + 0.5 * stroke[1] * moved
            canvas.ellipse(mirrored, (0.08, 0.07), subject.skin)

    return hands


def _waving(canvas: Canvas, segment: Segment, subject: Subject, time_s: float) -> None:
    rng = segment.rng(SALT)
    side = 1 if rng.random() < 0.7 else -1
    x, y = side * rng.uniform(0.5, 1.3), rng.uniform(-0.3, 0.5)
    hand(canvas, subject, x + 0.15 * np.sin(TAU * phase_at(segment, time_s)), y)


def _jumping(canvas: Canvas, segment: Segment, subject: Subject, time_s: float) -> None:
    up = 0.5 - 0.5 * np.cos(np.pi * phase_at(segment, time_s))
    for side in (-1, 1):
        hand(canvas, subject, side * (0.3 + 1.2 * np.sin(np.pi * up)), 1.3 - 2.2 * up)


def _knocking(canvas: Canvas, segment: Segment, subject: Subject, time_s: float) -> None:
    rng = segment.rng(SALT)
    side = 1 if rng.random() < 0.8 else -1
    near = 0.5 - 0.5 * np.cos(TAU * phase_at(segment, time_s))
    x, y = side * (rng.uniform(0.05, 0.4) + 0.06 * near), rng.uniform(0.0, 0.5) + 0.1 * near
    hand(canvas, subject, x, y, 0.3 * side)


HANDS: dict[str, Hands] = {
    "still": _idle,
    "typing": _typing,
    "clapping": _clapping,
    "washing_hands": _washing,
    "drying_hands": _drying,
    "brushing_teeth": _at_the_face(0.35, -0.3, (0.06, 0.0)),
    "shaving": _at_the_face(0.12, -0.35, (0.05, 0.06)),
    "combing_hair": _at_the_face(0.2, -0.65, (0.08, 0.1)),
    "waving": _waving,
    "jumping_jacks": _jumping,
    "knocking": _knocking,
}
