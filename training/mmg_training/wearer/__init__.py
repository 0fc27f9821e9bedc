"""A virtual wearer: one timeline of what somebody does, rendered as wrist IMU, sound and small egocentric frames.

All three are rendered from the same beats (footfalls, key strokes, claps), so they are synchronous as they are on a
person. It needs numpy only, and the same subject and seed give the same arrays.
"""

from mmg_training.wearer.activities import BASE, BENCHMARK, EVERYDAY, NOVEL
from mmg_training.wearer.camera import render_frames
from mmg_training.wearer.imu import render_imu
from mmg_training.wearer.planner import clip, plan
from mmg_training.wearer.sound import render_sound
from mmg_training.wearer.subject import Subject
from mmg_training.wearer.timeline import Segment, Timeline

__all__ = [
    "BASE",
    "BENCHMARK",
    "EVERYDAY",
    "NOVEL",
    "Segment",
    "Subject",
    "Timeline",
    "clip",
    "plan",
    "render_frames",
    "render_imu",
    "render_sound",
]
