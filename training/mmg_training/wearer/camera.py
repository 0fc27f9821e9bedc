"""What a small camera at the temple sees: the place, the wearer's hands, the bob of the walk and the light."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mmg_training.wearer.arm import wander
from mmg_training.wearer.canvas import Canvas
from mmg_training.wearer.scenes import SCENES, Decor
from mmg_training.wearer.subject import Floats, Subject
from mmg_training.wearer.timeline import Segment, Timeline

SALT = 4
TAU = 2 * np.pi
SPEED_M_S = {"walking": 1.35, "running": 2.9}
BOB = {"walking": 0.05, "running": 0.12}


def render_frames(timeline: Timeline, fps: int, frame: tuple[int, int]) -> NDArray[np.uint8]:
    """Frames (round(duration * fps), H, W, 3) uint8 RGB; frame k is taken at k / fps seconds."""
    subject, rng = timeline.subject, timeline.rng(SALT)
    times_s = np.arange(round(timeline.duration_s * fps)) / fps
    decors = {place: Decor(int(rng.integers(1 << 31))) for place in SCENES}
    look = np.stack([wander(rng, times_s, 0.03, 0.5, size) for size in (0.12, 0.09)], 1) + _aside(timeline, times_s)
    steady = np.stack([wander(rng, times_s, 0.5, 3, 0.012) for _ in range(3)], 1)
    tint, grain = rng.uniform(0.85, 1.15, 3), rng.uniform(0.005, 0.04)
    dimness = rng.uniform(0.1, 0.5) if rng.random() < 0.2 else 1.0
    out = np.zeros((len(times_s), *frame, 3), dtype=np.uint8)
    ends = np.array([segment.end_s for segment in timeline.segments])
    for k, time_s in enumerate(times_s):
        segment = timeline.segments[min(int(np.searchsorted(ends, time_s, side="right")), len(ends) - 1)]
        shift, tilt = _pose(segment, time_s)
        canvas = Canvas(*frame, (shift[0] + look[k, 0] + steady[k, 0], shift[1] + look[k, 1] + steady[k, 1]), tilt)
        SCENES[segment.place](canvas, decors[segment.place], SPEED_M_S.get(segment.label, 0.0) * time_s)
        if hands := HANDS.get(segment.label):
            hands(canvas, segment, subject, time_s)
        light = subject.light * dimness * (1 + 0.08 * np.sin(TAU * 0.11 * time_s))
        picture = canvas.pixels * tint * light + rng.normal(0, grain, canvas.pixels.shape)
        out[k] = (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)
    return out


def _aside(timeline: Timeline, times_s: Floats) -> Floats:
    """Looks away from what the hands do."""
    out = np.zeros((len(times_s), 2))
    for distraction in timeline.distractions:
        if distraction.kind == "gaze":
            rng = np.random.default_rng((distraction.variant, SALT))
            x = (times_s - distraction.start_s) / (distraction.end_s - distraction.start_s)
            window = np.clip(4 * np.minimum(x, 1 - x), 0, 1)
            out += window[:, None] * np.array([rng.normal(0, 0.7), -rng.uniform(0.2, 0.9)])
    return out


def _pose(segment: Segment, time_s: float) -> tuple[tuple[float, float], float]:
    """Where the head points: (aside, down) and its tilt."""
    rng, at = segment.rng(SALT), np.array([time_s])
    aside, down, tilt = rng.normal(0, 0.12), rng.normal(0.0, 0.1), rng.normal(0, 0.04)
    if segment.label in ("typing", "washing_hands", "clapping"):
        down += rng.uniform(-0.1, 0.35)
    if bob := BOB.get(segment.label):
        phase = np.pi * float(segment.phase(at)[0])
        size = bob * rng.uniform(0.6, 1.4)
        return (aside + 0.6 * size * np.sin(phase), down + size * np.cos(2 * phase)), tilt + 0.3 * size * np.sin(phase)
    if segment.label in ("sitting_down", "standing_up"):
        gone = float(segment.progress(at)[0])
        risen = gone if segment.label == "standing_up" else 1 - gone
        # From higher up the furniture is lower in the picture; on the way the trunk leans forward.
        return (aside, down - 0.45 * risen + rng.uniform(0.25, 0.6) * np.sin(np.pi * gone)), tilt
    if segment.posture == "standing" and segment.place in ("desk", "sofa"):
        down -= 0.45
    return (aside, down), tilt


def _hand(canvas: Canvas, subject: Subject, x: float, y: float, angle: float = 0.0) -> None:
    side = 1 if x > 0 else -1
    canvas.ellipse((x + 0.22 * side, y + 0.42), (0.15, 0.42), subject.sleeve, angle - 0.5 * side)
    canvas.ellipse((x, y), (0.17, 0.2), subject.skin, angle)


def _idle(canvas: Canvas, segment: Segment, subject: Subject, time_s: float) -> None:
    rng = segment.rng(SALT + 1)
    if segment.posture == "sitting" and rng.random() < 0.6:
        sway = 0.01 * np.sin(TAU * 0.3 * time_s)
        for side in (-1, 1):
            if rng.random() < 0.8:
                _hand(canvas, subject, side * rng.uniform(0.2, 0.6), rng.uniform(0.6, 0.95) + sway)


def _typing(canvas: Canvas, segment: Segment, subject: Subject, time_s: float) -> None:
    rng = segment.rng(SALT + 1)
    spread, near = rng.uniform(0.2, 0.4), rng.uniform(0.68, 0.85)
    since = time_s - segment.beats[:, 0]
    striking = float(np.exp(-np.abs(since) / 0.15).max()) if len(since) else 0.0
    for side in (-1, 1):
        # The hands travel with the text, a little differently at every stroke.
        number = int((since > 0).sum())
        travel = 0.08 * np.sin(2.4 * number + side)
        _hand(canvas, subject, side * spread + travel, near - 0.06 * striking * (number % 2 == (side > 0)))


def _clapping(canvas: Canvas, segment: Segment, subject: Subject, time_s: float) -> None:
    rng = segment.rng(SALT + 1)
    apart = 0.1 + rng.uniform(0.15, 0.35) * (0.5 - 0.5 * np.cos(TAU * float(segment.phase(np.array([time_s]))[0])))
    height = rng.uniform(0.35, 0.8)
    for side in (-1, 1):
        _hand(canvas, subject, side * apart, height, -0.3 * side)


def _washing(canvas: Canvas, segment: Segment, subject: Subject, time_s: float) -> None:
    rng = segment.rng(SALT + 1)
    rub = 0.08 * np.sin(TAU * float(segment.phase(np.array([time_s]))[0]))
    canvas.rectangle((0.0, 0.55), (0.035, 0.2), np.array([0.75, 0.85, 0.95]))
    height = rng.uniform(0.55, 0.7)
    _hand(canvas, subject, 0.09, height + rub, 0.5)
    _hand(canvas, subject, -0.09, height - rub, -0.5)


def _brushing(canvas: Canvas, segment: Segment, subject: Subject, time_s: float) -> None:
    rng = segment.rng(SALT + 1)
    stroke = 0.06 * np.sin(TAU * float(segment.phase(np.array([time_s]))[0]))
    side = 1 if rng.random() < 0.8 else -1
    x, y = side * rng.uniform(0.1, 0.4), rng.uniform(0.75, 1.0)
    canvas.rectangle((x - 0.15 * side + stroke, y - 0.15), (0.2, 0.025), np.array([0.9, 0.3, 0.3]))
    _hand(canvas, subject, x + stroke, y)
    # In the mirror the same hand, smaller.
    canvas.ellipse((0.12 * side + 0.5 * stroke, -0.3), (0.08, 0.07), subject.skin)


Hands = Callable[[Canvas, Segment, Subject, float], None]
HANDS: dict[str, Hands] = {
    "still": _idle,
    "typing": _typing,
    "clapping": _clapping,
    "washing_hands": _washing,
    "brushing_teeth": _brushing,
}
