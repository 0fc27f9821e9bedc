"""Sessions: stretches of recorded or simulated time with whichever modalities there are, and the activity all along."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmg_training.contract import AUDIO_HZ, FRAME, IMU_HZ, LABELS, MODALITIES, VIDEO_FPS
from mmg_training.wearer import Subject, plan, render_frames, render_imu, render_sound

# Labels and cuts are on a grid of 4 a second, on which every modality has whole samples.
TICK_S = 0.25
TICKS_PER_HOP = 2
HELD_OUT_FROM = 1000
DEMO_SUBJECT = 9002


@dataclass(frozen=True)
class Session:
    """imu: (T, 6) float32 at 50 Hz; audio: (T,) int16 at 16 kHz; video: (T, 48, 64, 3) uint8 at 4 fps; None where there
    is none. labels: (ticks + 1,) int8, the activity at each tick. source and subject say whose it is."""

    source: str
    subject: int
    labels: NDArray[np.int8]
    imu: NDArray[np.float32] | None = None
    audio: NDArray[np.int16] | None = None
    video: NDArray[np.uint8] | None = None

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those that are there."""
        return tuple(name for name in MODALITIES if getattr(self, name) is not None)

    @property
    def hops(self) -> int:
        """Whole hops in it."""
        return (len(self.labels) - 1) // TICKS_PER_HOP

    def cut(self, tick: int, hops: int) -> tuple[dict[str, NDArray[np.generic]], NDArray[np.int64]]:
        """``hops`` hops from a tick on: samples (imu (T, 6), audio (T,), video (T, H, W, 3)) and the label (hops,) at
        the middle of each hop."""
        ticks = hops * TICKS_PER_HOP
        middles = np.arange(tick + 1, tick + ticks, TICKS_PER_HOP)
        samples = {}
        for name, rate in (("imu", IMU_HZ), ("audio", AUDIO_HZ), ("video", VIDEO_FPS)):
            if (array := getattr(self, name)) is not None:
                # Half a sample is nothing to a network, and the label's tick is kept whole.
                first = int(tick * TICK_S * rate)
                samples[name] = array[first : first + round(ticks * TICK_S * rate)]
        return samples, self.labels[middles].astype(np.int64)


def simulate(subject: int, seed: int, session_s: float) -> Session:
    """One session of a virtual wearer with all three modalities."""
    timeline = plan(Subject.numbered(subject), seed, session_s)
    ticks = np.linspace(0.0, session_s, round(session_s / TICK_S) + 1)
    sound = render_sound(timeline, AUDIO_HZ)
    return Session(
        source="virtual wearer",
        subject=subject,
        labels=np.array([LABELS.index(label) for label in timeline.labels(ticks)], dtype=np.int8),
        imu=render_imu(timeline, IMU_HZ),
        audio=(sound * 32767).round().astype(np.int16),
        video=render_frames(timeline, VIDEO_FPS, FRAME),
    )


def simulate_all(subjects: Iterable[int], sessions: int, session_s: float) -> Iterator[Session]:
    """``sessions`` of each subject; no two sessions share a seed."""
    for subject in subjects:
        for number in range(sessions):
            yield simulate(subject, 1000 * subject + number, session_s)


def training_subjects(count: int) -> range:
    """The virtual wearers to train on."""
    return range(min(count, HELD_OUT_FROM))


def held_out_subjects(count: int) -> range:
    """The virtual wearers to measure on: never among those trained on, and never the one of the demo."""
    return range(HELD_OUT_FROM, HELD_OUT_FROM + count)
