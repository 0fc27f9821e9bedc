"""UTD-MHAD: 27 actions of eight people, IMU and depth really recorded together; one person is left out, or the settings
name who is trained on and who is tested (as published: odd subjects and even ones).

The trials are in ``inertial_*.npz`` and ``depth_*.npz``, however many files these are.

The nominal rates disagree (the IMU lasts 1.58 times the video), so a trial is brought to one length by normalised time:
each is a clip of ``CONTEXT_HOPS`` hops. Research use; cite Chen, Jafari, Kehtarnavaz, ICIP 2015.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mmg.errors import ConfigError
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from mmg_training import data
from mmg_training.config import DataConfig
from mmg_training.data.sessions import TICKS_PER_HOP, Dataset, Pool, Session
from mmg_training.data.signals import open_arrays
from mmg_training.data.split import Named, Parts, counted, split
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
SUBJECTS = range(1, 9)
NOVEL_LABELS, SPLITS = 10, 5
TASK = Task("utd-mhad", ACTIONS, ("imu", "video"), video_fps=6, frame=(48, 32), clips=True)
CLIP = re.compile(r"a(\d+)_s(\d+)_t(\d+)")
"""How a trial is named: action and subject, from 1, and which of its repeats."""
SEEN = (60, 80)
"""Rows and columns of a picture."""
TOP = 10
"""The first row of the pictures; the feet are at about 57."""


def load(config: DataConfig, report: Callable[[str], None]) -> Dataset:
    """Train on all people but the one left out, or on all (``leave_out`` 0), or as the settings of ``SplitConfig`` name
    them. With a split of the actions train on its base actions only and keep the novel ones for episodes: of all
    people, or, where the settings name parts, of the test's alone. Raises ConfigError."""
    root = data.require(data.recordings(config), "utd-mhad")
    sessions = read(root, TASK)
    if config.split >= SPLITS:
        raise ConfigError(f"data.split: {config.split} is not one of 0 to {SPLITS - 1}, or -1 for all labels")
    parts = _parts(sessions, config, root, report)
    novel = set(novel_labels(config.split)) if config.split >= 0 else set()

    def base(some: Sequence[Session]) -> tuple[Session, ...]:
        return tuple(one for one in some if one.labels[0] not in novel)

    asked = parts.test if config.named else sessions
    training, task = list(base(parts.training)), TASK
    people = counted([str(one.subject) for one in training]) or "nobody"
    if config.reverse:
        task = replace(TASK, labels=(*ACTIONS, *(f"{name}, backward" for name in ACTIONS)))
        training += [backward(session) for session in training if ACTIONS[session.labels[0]] not in TWINS]
    return Dataset(
        task=task,
        kind="real",
        training=(Pool("utd-mhad", 1.0, tuple(training)),),
        calibration=base(parts.validation),
        test=base(parts.test),
        novel=tuple(one for one in asked if one.labels[0] in novel),
        sources=(
            DataSource(name="UTD-MHAD", what=f"IMU and depth of subjects {people}", licence="research use, Chen 2015"),
        ),
        limits=("Clips cut out by hand, of one room and one kind of sensor; a trial is brought to one length.",),
        held_out=_held_out(parts.test, config),
    )


def _parts(
    sessions: Sequence[Session], config: DataConfig, root: Path, report: Callable[[str], None]
) -> Parts[Session]:
    """As the settings name them, else with one person left out."""
    if config.named:
        return split(sessions, called, config, root, report)
    people = sorted({one.subject for one in sessions})
    if config.leave_out not in (0, *people):
        raise ConfigError(f"data.leave_out: {config.leave_out} is not one of 0, {', '.join(map(str, people))}")
    kept = tuple(one for one in sessions if one.subject != config.leave_out)
    return Parts(kept, (), tuple(one for one in sessions if one.subject == config.leave_out), "people")


def called(session: Session) -> Named:
    """The person's number, and the trial's name and which of the repeats it is."""
    trial = session.source.removeprefix("utd-mhad ")
    return Named(str(session.subject), (trial, trial.rpartition("_t")[2]))


def _held_out(test: Sequence[Session], config: DataConfig) -> str:
    people = sorted({one.subject for one in test})
    if not people:
        return ""
    trials = " (some trials)" if {"test_trials", "test_list"} & set(config.named) else ""
    return f"subject{'s' if len(people) > 1 else ''} {counted([str(one) for one in people])} of UTD-MHAD{trials}"


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
    with ExitStack() as files:
        inertial, depth = (_trials(root, kind, files) for kind in ("inertial", "depth"))
        for key in sorted(set(inertial) & set(depth)):
            name, turns, frames = CLIP.fullmatch(key), inertial[key][key], depth[key][key]
            if name is None or not _is_trial(int(name[1]), int(name[2]), turns, frames):
                shapes = f"{turns.shape} and {frames.shape}"
                raise ConfigError(f"data: {root}: {key!r}, of {shapes}, is not a trial of UTD-MHAD, such as a1_s1_t1")
            sessions.append(
                Session(
                    f"utd-mhad {key}",
                    int(name[2]),
                    np.full(CONTEXT_HOPS * TICKS_PER_HOP + 1, int(name[1]) - 1, np.int16),
                    {
                        "imu": motion(turns, CONTEXT_HOPS * task.samples_per_hop("imu")),
                        "video": pictures(frames, CONTEXT_HOPS * task.samples_per_hop("video"), task.frame),
                    },
                )
            )
    if not sessions:
        raise ConfigError(f"data: {root}: its two kinds of files have no trial in common")
    return tuple(sessions)


def _trials(root: Path, kind: str, files: ExitStack) -> dict[str, NpzFile]:
    """Every trial's name, and the file of this kind that has it. Raises ConfigError where there is none, or where two
    have the same trial."""
    found: dict[str, NpzFile] = {}
    paths = sorted(root.glob(f"{kind}_*.npz"))
    if not paths:
        raise ConfigError(f"data: utd-mhad cannot be read: there is no {kind}_*.npz in {root}")
    for path in paths:
        arrays = files.enter_context(open_arrays(path))
        if both := sorted(set(arrays.files) & set(found)):
            raise ConfigError(f"data: {path}: {both[0]!r} is in another {kind}_*.npz beside it too")
        found |= dict.fromkeys(arrays.files, arrays)
    return found


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
    number = ACTIONS.index(action) + 1
    with ExitStack() as files:
        trials = _trials(root, "inertial", files)
        return {key: trials[key][key] for key in sorted(trials) if key.startswith(f"a{number}_")}


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
