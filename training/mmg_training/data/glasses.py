"""ClassyGlass: 48 people who wear glasses with an IMU in the right temple. IMU alone, CC BY 4.0."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmg.errors import ConfigError

from mmg_training.data.sessions import TICK_S, UNLABELLED, Session
from mmg_training.data.signals import open_arrays
from mmg_training.metrics import DataSource
from mmg_training.task import IMU_HZ, Task

KINDS: dict[str, str] = {
    "reading": "still",
    "writing": "still",
    "typing": "still",
    "browsing": "still",
    "computer": "still",
    "standing": "still",
    "walking": "walking",
    "running": "running",
    "stairs": "stairs",
    "picking_up_seated": "",
    "picking_up_standing": "",
    "sit_to_stand": "",
    "moving_head": "",
}
"""Each kind that is trained with, and its label. Whoever reads, writes, types or browses holds the head still: typing
is known by wrist and ear. Without a label it is known as a kind only: sitting down and standing up over and over has no
label of one moment, and the files of picking up are half pauses."""
NEAR_UNKNOWN = ("timed_up_and_go", "moving_chair", "donning_seated", "donning_standing")
"""In no training at all: movements of the same people that a model must not take for one of its labels."""
TEST_USERS = (3, 8, 14, 17, 21, 102, 106, 111, 117, 124)
CALIBRATION_USERS = (5, 13, 20, 105, 114)
"""In no training, nor measured: what is known and what is not is told apart by them."""
SETTLING_S = 3.0
"""Left out at both ends of a file, where people begin and end."""
SOURCE = DataSource(
    name="ClassyGlass",
    what=f"glasses' IMU of 33 people, alone: {', '.join(KINDS).replace('_', ' ')}",
    licence="CC BY 4.0, ClassyGlass (MU-Smart)",
    modalities=("imu",),
)
KEY = re.compile(r"u(\d+)_\w+?_([a-z].*)")


def kinds_of(labels: Sequence[str]) -> dict[str, int]:
    """The classes that are no label themselves, and the index of each one's label, -1 where it has none."""
    return {class_of(kind): labels.index(label) if label else -1 for kind, label in KINDS.items() if kind != label}


def class_of(kind: str) -> str:
    """What a kind is called among the classes: a head that types is no hand that types."""
    return kind if KINDS[kind] == kind else f"head {kind}"


def load(root: Path, task: Task) -> dict[str, tuple[Session, ...]]:
    """All recordings by kind, near unknowns among them, which are unlabelled; a session's label is its kind, its
    subject its user's number. Raises ConfigError."""
    path, found = root / "recordings.npz", dict[str, list[Session]]()
    classes = (*task.labels, *task.kinds)
    with open_arrays(path) as arrays:
        for key in sorted(arrays.files):
            named = KEY.fullmatch(key)
            if named is None or named[2] not in {*KINDS, *NEAR_UNKNOWN}:
                raise ConfigError(f"data: {path} has {key}, which is no uUSER_EXPERIMENT_KIND of a known kind")
            imu = arrays[key].astype(np.float32)
            if imu.ndim != 2 or imu.shape[1] != 6 or not np.isfinite(imu).all():
                raise ConfigError(f"data: {path}: {key} is not (T, 6) finite numbers")
            cut = round(SETTLING_S * IMU_HZ)
            imu = imu[cut : max(cut, len(imu) - cut)]
            index = classes.index(class_of(named[2])) if named[2] in KINDS else UNLABELLED
            labels = np.full(int(len(imu) / IMU_HZ / TICK_S) + 1, index, np.int16)
            session = Session(f"classyglass {named[2]}", int(named[1]), labels, {"imu": imu})
            found.setdefault(named[2], []).append(session)
    return {kind: tuple(sessions) for kind, sessions in found.items()}


def training(recorded: dict[str, tuple[Session, ...]]) -> tuple[Session, ...]:
    """What may be trained with: nobody who is held out, no near unknown."""
    apart = (*TEST_USERS, *CALIBRATION_USERS)
    return tuple(one for kind in KINDS for one in recorded.get(kind, ()) if one.subject not in apart)


def of_users(
    recorded: dict[str, tuple[Session, ...]], users: Sequence[int], kinds: Sequence[str]
) -> tuple[Session, ...]:
    """These users' sessions of these kinds."""
    return tuple(one for kind in kinds for one in recorded.get(kind, ()) if one.subject in users)
