"""Virtual wearers as sessions of many activities, or as clips of one; all simulated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmg_training.data.cache import cached
from mmg_training.data.sessions import TICK_S, Session
from mmg_training.task import AUDIO_HZ, CONTEXT_HOPS, HOP_S, IMU_HZ, Task
from mmg_training.wearer import Subject, Timeline, clip, plan, render_frames, render_imu, render_sound


def simulate(task: Task, subject: int, seed: int, session_s: float) -> Session:
    """One session of a virtual wearer with all the task's modalities."""
    return render(task, plan(Subject.numbered(subject), seed, session_s, task.labels))


def simulate_all(
    task: Task, subjects: range, sessions: int, session_s: float, report: Callable[[str], None]
) -> tuple[Session, ...]:
    """``sessions`` of each subject; no two sessions share a seed."""

    def render_all() -> Iterator[Session]:
        for subject in subjects:
            for number in range(sessions):
                yield simulate(task, subject, 1000 * subject + number, session_s)

    return cached(f"sessions {task} {subjects} {sessions} {session_s}", render_all, report)


def simulate_clips(
    task: Task, subjects: range, labels: Sequence[str], each: int, report: Callable[[str], None]
) -> tuple[Session, ...]:
    """``each`` clips of every label by every subject."""

    def render_all() -> Iterator[Session]:
        for subject in subjects:
            for label in labels:
                for take in range(each):
                    seed = 10_000 * subject + 100 * task.labels.index(label) + take
                    yield render(task, clip(Subject.numbered(subject), seed, label, CONTEXT_HOPS * HOP_S))

    return cached(f"clips {task} {subjects} {labels} {each}", render_all, report)


def render(task: Task, timeline: Timeline) -> Session:
    """All the task's modalities of a timeline."""
    ticks = np.linspace(0.0, timeline.duration_s, round(timeline.duration_s / TICK_S) + 1)
    makers: dict[str, Callable[[], NDArray[Any]]] = {
        "imu": lambda: render_imu(timeline, IMU_HZ),
        "audio": lambda: (render_sound(timeline, AUDIO_HZ) * 32767).round().astype(np.int16),
        "video": lambda: render_frames(timeline, task.video_fps, task.frame),
    }
    return Session(
        "virtual wearer",
        timeline.subject.number,
        np.array([task.labels.index(label) for label in timeline.labels(ticks)], dtype=np.int16),
        {name: makers[name]() for name in task.modalities},
    )
