"""A scenario: what a virtual wearer does for some minutes, and what its sensors would have measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmg.errors import ConfigError
from mmg_training.wearer import Subject, Timeline, plan, render_frames, render_imu, render_sound
from mmg_training.wearer.people import DEMO_SUBJECT, HELD_OUT_FROM
from mmg_training.wearer.record import (
    FRAME,
    IMU_HZ,
    VIDEO_FPS,
    write_imu,
    write_sound,
    write_truth,
    write_video,
)
from numpy.typing import NDArray

SOUND_HZ = 16_000
GRID_HZ = 50
"""A scenario lasts a whole number of these, so that all its sensors have whole samples and loop together."""
LONGEST_S = 3600.0
SUBJECT, SEED = DEMO_SUBJECT + 1, 3
"""Somebody on whom no model was trained, on a day that has all twelve activities in its first 300 s."""


@dataclass(frozen=True)
class Scenario:
    """imu: (T, 6) float32, m/s^2 and rad/s at 100 Hz. sound: (N,) int16 at 16 kHz. labels: (T,), the activity at each
    IMU sample. frames: (F, 96, 128, 3) uint8 at 8 Hz; None where no video was asked for."""

    timeline: Timeline
    imu: NDArray[np.float32]
    sound: NDArray[np.int16]
    labels: tuple[str, ...]
    frames: NDArray[np.uint8] | None = None

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.imu) / IMU_HZ

    def label_at(self, t_s: float) -> str:
        """What is done ``t_s`` after the beginning; beyond the end it begins anew."""
        return self.labels[int(t_s * IMU_HZ) % len(self.labels)]

    def save(self, folder: Path) -> None:
        """Write imu.csv, audio.wav (16 bits, lossless), truth.csv and, where there are frames, video.mp4.

        Raises ConfigError where a library to write them is missing, OSError.
        """
        folder.mkdir(parents=True, exist_ok=True)
        write_imu(self.imu, folder / "imu.csv")
        write_sound(self.sound, folder / "audio.wav", SOUND_HZ)
        write_truth(self.timeline, folder / "truth.csv")
        if self.frames is not None:
            write_video(self.frames, folder / "video.mp4")


def render(subject: int = SUBJECT, seed: int = SEED, seconds: float = 300.0, *, video: bool = False) -> Scenario:
    """Render a scenario: seconds of work for 300 s, many more with ``video``. The same numbers give the same arrays.

    seconds: rounded to whole 20 ms. Raises ConfigError for a subject that models are trained on, and for a length
    beyond 0.02 s to an hour: longer plays loop.
    """
    if subject < HELD_OUT_FROM:
        raise ConfigError(f"subject {subject}: models are trained on the virtual wearers below {HELD_OUT_FROM}")
    if not 1 / GRID_HZ <= seconds <= LONGEST_S:
        raise ConfigError(f"{seconds:g} s: a scenario lasts {1 / GRID_HZ:g} to {LONGEST_S:g} s; a longer play loops")
    timeline = plan(Subject.numbered(subject), seed, round(seconds * GRID_HZ) / GRID_HZ)
    imu = render_imu(timeline, IMU_HZ)
    return Scenario(
        timeline=timeline,
        imu=imu,
        sound=(render_sound(timeline, SOUND_HZ) * 32767).round().astype(np.int16),
        labels=tuple(timeline.labels(np.arange(len(imu)) / IMU_HZ)),
        frames=render_frames(timeline, VIDEO_FPS, FRAME) if video else None,
    )
