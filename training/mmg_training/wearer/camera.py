"""What a small camera at the temple sees: the place, the wearer's hands, the bob of the walk and the light."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmg_training.wearer.arm import wander
from mmg_training.wearer.canvas import Canvas
from mmg_training.wearer.hands import HANDS, Hands
from mmg_training.wearer.hands_tools import TOOLS
from mmg_training.wearer.rooms import SCENES
from mmg_training.wearer.scenes import Decor
from mmg_training.wearer.subject import Floats
from mmg_training.wearer.timeline import Segment, Timeline

SALT = 4
TAU = 2 * np.pi
SPEED_M_S = {"walking": 1.35, "running": 2.9, "climbing_stairs": 0.5}
BOB = {"walking": 0.05, "running": 0.12, "climbing_stairs": 0.05, "jumping_jacks": 0.15}
LOOKS_DOWN = ("typing", "washing_hands", "clapping", "drying_hands", *(set(TOOLS) - {"sweeping", "vacuuming"}))
PICTURES: dict[str, Hands] = {**HANDS, **TOOLS}
LOOKS_ELSEWHERE = 0.2
"""How often somebody does something without looking at it."""


def render_frames(timeline: Timeline, fps: int, frame: tuple[int, int]) -> NDArray[np.uint8]:
    """Frames (round(duration * fps), H, W, 3) uint8 RGB; frame k is taken at k / fps seconds."""
    subject, rng = timeline.subject, timeline.rng(SALT)
    times_s = np.arange(round(timeline.duration_s * fps)) / fps
    seeds = dict(zip(SCENES, rng.integers(1 << 31, size=len(SCENES)), strict=True))
    decors = {place: Decor(int(seeds[place])) for place in {segment.place for segment in timeline.segments}}
    look = np.stack([wander(rng, times_s, 0.03, 0.5, size) for size in (0.12, 0.09)], 1) + _aside(timeline, times_s)
    look += np.stack([wander(rng, times_s, 0.5, 3, 0.012) for _ in range(2)], 1)
    tint, grain = rng.uniform(0.85, 1.15, 3), rng.uniform(0.005, 0.04)
    dimness = rng.uniform(0.2, 0.5) if rng.random() < 0.15 else 1.0
    out = np.zeros((len(times_s), *frame, 3), dtype=np.uint8)
    ends = np.array([segment.end_s for segment in timeline.segments])
    for k, time_s in enumerate(times_s):
        segment = timeline.segments[min(int(np.searchsorted(ends, time_s, side="right")), len(ends) - 1)]
        shift, tilt = _pose(segment, time_s)
        canvas = Canvas(*frame, (shift[0] + look[k, 0], shift[1] + look[k, 1]), tilt)
        SCENES[segment.place](canvas, decors[segment.place], SPEED_M_S.get(segment.label, 0.0) * time_s)
        if hands := PICTURES.get(segment.label):
            hands(canvas, segment, subject, time_s)
        light = subject.light * dimness * (1 + 0.08 * np.sin(TAU * 0.11 * time_s))
        picture = canvas.pixels * (255 * light * tint).astype(np.float32)
        picture += np.float32(255 * grain) * rng.standard_normal(picture.shape, np.float32)
        out[k] = np.rint(np.minimum(np.maximum(picture, 0), 255))
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
    if segment.label in LOOKS_DOWN:
        down += rng.uniform(-0.1, 0.35)
    if rng.random() < LOOKS_ELSEWHERE:
        aside, down = aside + rng.normal(0, 0.4), down - rng.uniform(0.3, 0.8)
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
