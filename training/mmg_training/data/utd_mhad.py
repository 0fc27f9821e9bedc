"""UTD-MHAD: 27 actions of four people, IMU and depth really recorded together; one person is left out.

The nominal rates disagree (the IMU lasts 1.58 times the video), so a trial is brought to one length by normalised time:
each is a clip of ``CONTEXT_HOPS`` hops. Research use; cite Chen, Jafari, Kehtarnavaz, ICIP 2015.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mmg.errors import ConfigError
from numpy.typing import NDArray

from mmg_training import data
from mmg_training.config import DataConfig
from mmg_training.data.sessions import TICKS_PER_HOP, Dataset, Pool, Session
from mmg_training.data.signals import open_arrays
from mmg_training.metrics import DataSource
from mmg_training.models.imu import GRAVITY
from mmg_training.task import CONTEXT_HOPS, Task

ACTIONS = (
    "swipe_left",
    "swipe_right",
    "wave",
    "clap",
    "throw",
    "cross_arms",
    "basketball_shoot",
    "draw_x",
    "draw_circle_clockwise",
    "draw_circle_counterclockwise",
    "draw_triangle",
    "bowling",
    "boxing",
    "baseball_swing",
    "tennis_swing",
    "arm_curl",
    "tennis_serve",
    "push",
    "knock",
    "catch",
    "pick_up_and_throw",
    "jog",
    "walk",
    "sit_to_stand",
    "stand_to_sit",
    "lunge",
    "squat",
)
TWINS = (
    "swipe_left",
    "swipe_right",
    "draw_circle_clockwise",
    "draw_circle_counterclockwise",
    "sit_to_stand",
    "stand_to_sit",
)
"""One of a pair, played backward, is like the other, which may be a novel one: these are never reversed."""
SUBJECTS = (1, 3, 5, 7)
NOVEL_LABELS, SPLITS = 10, 5
TASK = Task("utd-mhad", ACTIONS, ("imu", "video"), video_fps=6, frame=(48, 32), clips=True)
CLIP = re.compile(r"a(\d+)_s(\d+)_t\d+")
"""How a trial is named: action and subject, from 1, and which of its repeats."""
SEEN = (60, 80)
"""Rows and columns of a picture."""
TOP = 10
"""The first row of the pictures; the feet are at about 57."""


def load(config: DataConfig, _report: Callable[[str], None]) -> Dataset:
    """Train on three people and test on the one left out, or train on all four (``leave_out`` 0). With a split of the
    actions train on its base actions only and keep the novel ones, of all people, for episodes. Nobody is left to fit
    temperatures on. Raises ConfigError."""
    sessions = read(data.require(data.recordings(config), "utd-mhad"), TASK)
    if config.leave_out not in (0, *SUBJECTS):
        raise ConfigError(f"data.leave_out: {config.leave_out} is not one of 0, {', '.join(map(str, SUBJECTS))}")
    if config.split >= SPLITS:
        raise ConfigError(f"data.split: {config.split} is not one of 0 to {SPLITS - 1}, or -1 for all labels")
    novel = set(novel_labels(config.split)) if config.split >= 0 else set()
    base = [session for session in sessions if session.labels[0] not in novel]
    training = [session for session in base if session.subject != config.leave_out]
    people = ", ".join(str(number) for number in SUBJECTS if number != config.leave_out)
    task = TASK
    if config.reverse:
        task = replace(TASK, labels=(*ACTIONS, *(f"{name}, backward" for name in ACTIONS)))
        training += [backward(session) for session in training if ACTIONS[session.labels[0]] not in TWINS]
    return Dataset(
        task=task,
        kind="real",
        training=(Pool("utd-mhad", 1.0, tuple(training)),),
        test=tuple(session for session in base if session.subject == config.leave_out),
        novel=tuple(session for session in sessions if session.labels[0] in novel),
        sources=(
            DataSource(name="UTD-MHAD", what=f"IMU and depth of subjects {people}", licence="research use, Chen 2015"),
        ),
        limits=("Clips cut out by hand, of one room and one kind of sensor; a trial is brought to one length.",),
        held_out=f"subject {config.leave_out} of UTD-MHAD" if config.leave_out else "nobody",
    )


def backward(session: Session) -> Session:
    """The clip played from its end, another label: accelerations keep their sign, turns change it."""
    flipped = {name: values[::-1] for name, values in session.samples.items()}
    flipped["imu"] = flipped["imu"] * np.array([1, 1, 1, -1, -1, -1], np.float32)
    return replace(session, labels=session.labels + np.int16(len(ACTIONS)), samples=flipped)


def novel_labels(split: int) -> tuple[int, ...]:
    """The actions that split ``split`` keeps for few-shot episodes."""
    return tuple(sorted(np.random.default_rng((split, 0x5711)).permutation(len(ACTIONS))[:NOVEL_LABELS].tolist()))


def read(root: Path, task: Task) -> tuple[Session, ...]:
    """Every trial with both modalities, as a clip. Raises ConfigError where the files hold something else."""
    sessions = []
    with (
        open_arrays(root / "inertial_odd_subjects.npz") as inertial,
        open_arrays(root / "depth_odd_subjects.npz") as depth,
    ):
        for key in sorted(set(inertial.files) & set(depth.files)):
            name, turns, frames = CLIP.fullmatch(key), inertial[key], depth[key]
            if name is None or not _is_trial(int(name[1]), int(name[2]), turns, frames):
                shapes = f"{turns.shape} and {frames.shape}"
                raise ConfigError(f"data: {root}: {key!r}, of {shapes}, is not a trial of UTD-MHAD, such as a1_s1_t1")
            sessions.append(
                Session(
                    "utd-mhad",
                    int(name[2]),
                    np.full(CONTEXT_HOPS * TICKS_PER_HOP + 1, int(name[1]) - 1, np.int16),
                    {
                        "imu": motion(turns, CONTEXT_HOPS * task.samples_per_hop("imu")),
                        "video": pictures(frames, CONTEXT_HOPS * task.samples_per_hop("video"), task.frame),
                    },
                )
            )
    if not sessions:
        raise ConfigError(f"data: {root}: its two files have no trial in common")
    return tuple(sessions)


def _is_trial(action: int, subject: int, turns: NDArray[Any], frames: NDArray[Any]) -> bool:
    """Whether this is what ``motion`` and ``pictures`` take: numbers, and a person to be seen at first."""
    return (
        1 <= action <= len(ACTIONS)
        and subject in SUBJECTS
        and (turns.ndim, frames.ndim, turns.dtype.kind, frames.dtype.kind) == (2, 3, "f", "u")
        and (turns.shape[1], *frames.shape[1:]) == (6, *SEEN)
        and len(turns) > 0
        and bool(frames[:2].any())
    )


def inertial(root: Path, action: str) -> dict[str, NDArray[np.float32]]:
    """The IMU of every trial of one action, as recorded: (T, 6) in g and deg/s at nominal 50 Hz."""
    with open_arrays(root / "inertial_odd_subjects.npz") as arrays:
        number = ACTIONS.index(action) + 1
        return {key: arrays[key] for key in sorted(arrays.files) if key.startswith(f"a{number}_")}


def motion(trial: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """(T, 6) in g and deg/s -> (count, 6) in m/s^2 and rad/s."""
    places = np.linspace(0, len(trial) - 1, count)
    stretched = np.stack([np.interp(places, np.arange(len(trial)), column) for column in trial.T], axis=1)
    scale = [GRAVITY] * 3 + [np.pi / 180] * 3
    made: NDArray[np.float32] = (stretched * scale).astype(np.float32)
    return made


def pictures(trial: NDArray[np.uint8], count: int, frame: tuple[int, int]) -> NDArray[np.uint8]:
    """Depth (T, 60, 80) in units of 16 mm -> (count, H, W, 3), cut out around where the person stood at first: brighter
    is nearer than they were then, 6.4 mm a step, and 0 no return."""
    chosen = trial[np.linspace(0, len(trial) - 1, count).round().astype(int)].astype(np.float32)
    person = trial[:2] > 0
    stood, (height, width) = np.median(trial[:2][person]), frame
    left = int(np.clip(np.median(np.nonzero(person)[2]) - width // 2, 0, trial.shape[2] - width))
    cut = chosen[:, TOP : TOP + height, left : left + width]
    nearness = np.where(cut > 0, np.clip(140 + 2.5 * (stood - cut), 40, 255), 0)
    return np.repeat(nearness.round().astype(np.uint8)[..., None], 3, axis=3)
