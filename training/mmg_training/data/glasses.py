"""ClassyGlass: 48 people who wear glasses with an IMU in the right temple. IMU alone, CC BY 4.0."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from mmg.errors import ConfigError

from mmg_training.data.sessions import TICK_S, UNLABELLED, Session
from mmg_training.data.signals import open_arrays
from mmg_training.metrics import DataSource
from mmg_training.task import IMU_HZ, Task

KINDS: dict[str, tuple[str, ...]] = {
    "reading": ("desk_work", "still"),
    "writing": ("writing", "still"),
    "typing": ("desk_work", "still"),
    "browsing": ("desk_work", "still"),
    "computer": ("desk_work", "still"),
    "standing": ("still",),
    "walking": ("walking",),
    "running": ("running",),
    "stairs": ("stairs",),
    "picking_up_seated": ("picking_up",),
    "picking_up_standing": ("picking_up",),
    "sit_to_stand": (),
    "moving_head": (),
}
"""Each kind that is trained with, and its labels, of which the first that a task has counts. Without one it is an
auxiliary class only: sitting down and standing up over and over has no label of one moment."""
NEAR_UNKNOWN = ("timed_up_and_go", "moving_chair", "donning_seated", "donning_standing")
"""In no training at all: movements of the same people that a model must not take for one of its labels."""
TEST_USERS = (3, 8, 14, 17, 21, 102, 106, 111, 117, 124)
SETTLING_S = 3.0
"""Left out at both ends of a file, where people begin and end."""
SOURCE = DataSource(
    name="ClassyGlass",
    what=f"glasses' IMU of 38 people, alone: {', '.join(KINDS).replace('_', ' ')}",
    licence="CC BY 4.0, ClassyGlass (MU-Smart)",
    modalities=("imu",),
)
KEY = re.compile(r"u(\d+)_\w+?_([a-z].*)")


def load(root: Path, task: Task) -> dict[str, tuple[Session, ...]]:
    """All recordings by kind, near unknowns among them; a session's subject is its user's number. A kind whose labels
    the task lacks is unlabelled, as are near unknowns. Raises ConfigError."""
    path, found = root / "recordings.npz", dict[str, list[Session]]()
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
            known = [task.labels.index(label) for label in KINDS.get(named[2], ()) if label in task.labels]
            index = known[0] if known else UNLABELLED
            labels = np.full(int(len(imu) / IMU_HZ / TICK_S) + 1, index, np.int16)
            session = Session(f"classyglass {named[2]}", int(named[1]), labels, {"imu": imu})
            found.setdefault(named[2], []).append(session)
    return {kind: tuple(sessions) for kind, sessions in found.items()}


def training(recorded: dict[str, tuple[Session, ...]]) -> tuple[Session, ...]:
    """What may be trained with: no held-out person, no near unknown."""
    return tuple(one for kind in KINDS for one in recorded.get(kind, ()) if one.subject not in TEST_USERS)


def test(recorded: dict[str, tuple[Session, ...]]) -> tuple[Session, ...]:
    """The held-out people's sessions with a label."""
    return tuple(one for one in held_out(recorded, tuple(KINDS)) if one.labels[0] != UNLABELLED)


def near_unknown(recorded: dict[str, tuple[Session, ...]]) -> tuple[Session, ...]:
    """The held-out people's sessions of kinds that are in no training."""
    return held_out(recorded, NEAR_UNKNOWN)


def held_out(recorded: dict[str, tuple[Session, ...]], kinds: Sequence[str]) -> tuple[Session, ...]:
    """The held-out people's sessions of these kinds."""
    return tuple(one for kind in kinds for one in recorded.get(kind, ()) if one.subject in TEST_USERS)


def by_kind(recorded: dict[str, tuple[Session, ...]], task: Task) -> tuple[Session, ...]:
    """The training sessions with their kind as label, for a task whose labels are kinds."""
    return tuple(
        replace(one, labels=np.full_like(one.labels, task.labels.index(kind)))
        for kind in KINDS
        for one in recorded.get(kind, ())
        if one.subject not in TEST_USERS
    )
