"""The real recordings of the starter, motion and sound apart: what is trained on, what is measured, and what is none of
the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from mmg.errors import ConfigError
from numpy.typing import NDArray

from mmg_training.augment import random_rotations
from mmg_training.data import glasses, motion, sounds, utd_mhad
from mmg_training.data.sessions import TICKS_PER_HOP, UNLABELLED, NamedTest, Pool, Session
from mmg_training.metrics import DataSource
from mmg_training.task import CONTEXT_HOPS, Task

SETS = ("sp-sw-har", "classyglass", "footsteps", "keystrokes", "esc10", "utd-mhad")
ANCHORED = 0.6
RUNS = 0.1
"""Runs made from walks, beside each device's recordings."""
GLASSES, FOOTSTEPS = 2.0, 1.5
"""Their part of real motion and sound, where each other source has 1."""
WALKS = 60
"""Of each kind on each ground, and as many of noise."""
PEAKS = {"full scale": 1.0, "-20 dBFS": 0.1, "-40 dBFS": 0.01}
UTD = {"clap": "clapping", "knock": "knocking", "jog": "running", "walk": "walking"}
"""Actions of UTD-MHAD that are among the labels; it is never trained on."""
UTD_ALIKE = ("sit_to_stand", "stand_to_sit")
"""They are what the labels standing up and sitting down are, at the thigh: neither known nor other life."""


@dataclass(frozen=True)
class Real:
    """What one kind of sensor has. tests: measured; known: other people still, to fit what is known on; unknown: in no
    training."""

    pools: list[Pool] = field(default_factory=list)
    tests: list[NamedTest] = field(default_factory=list)
    sources: list[DataSource] = field(default_factory=list)
    backgrounds: tuple[NDArray[np.int16], ...] = ()
    known: list[NamedTest] = field(default_factory=list)
    unknown: list[NamedTest] = field(default_factory=list)


def motion_in(root: Path, task: Task) -> Real:
    """Phone, watch and glasses, each a pool."""
    made = Real()
    if (root / "sp-sw-har").is_dir():
        _devices(motion.load(root / "sp-sw-har", task), task, made)
    if (root / "classyglass").is_dir():
        _glasses(glasses.load(root / "classyglass", task), task, made)
    return made


def _devices(recorded: Sequence[Session], task: Task, made: Real) -> None:
    def of(sessions: Sequence[Session], subjects: Sequence[int]) -> tuple[Session, ...]:
        return tuple(one for one in sessions if one.subject in subjects)

    apart = (*motion.TEST_SUBJECTS, *motion.CALIBRATION_SUBJECTS)
    for device in ("phone", "watch"):
        own = [one for one in recorded if one.source.endswith(device)]
        training = tuple(one for one in own if one.subject not in apart)
        made.pools.append(Pool(f"sp-sw-har {device}", 1.0, training, ANCHORED))
        made.pools.append(Pool(f"running made from walking, {device}", RUNS, motion.as_running(training, task)))
        name = f"sp-sw-har {device}, subjects 12 to 15"
        made.tests.append(NamedTest(name, "real", of(own, motion.TEST_SUBJECTS)))
    made.known.append(NamedTest("sp-sw-har, subject 11", "real", of(recorded, motion.CALIBRATION_SUBJECTS)))
    made.sources.append(motion.SOURCE)


def _glasses(recorded: dict[str, tuple[Session, ...]], task: Task, made: Real) -> None:
    labelled = [kind for kind, label in glasses.KINDS.items() if label]

    def of(users: Sequence[int], kinds: Sequence[str]) -> tuple[Session, ...]:
        return tuple(one.of_labels(task) for one in glasses.of_users(recorded, users, kinds) if one.hops)

    made.pools.append(Pool("ClassyGlass", GLASSES, glasses.training(recorded), anchored=1.0))
    test = of(glasses.TEST_USERS, labelled)
    made.tests.append(NamedTest("ClassyGlass, ten other people", "real", test))
    turned = tuple(_turned(one, number) for number, one in enumerate(test))
    made.tests.append(
        NamedTest("ClassyGlass, ten other people, each file turned at random", "real", turned, elsewhere=True)
    )
    made.known.append(NamedTest("ClassyGlass, five others", "real", of(glasses.CALIBRATION_USERS, labelled)))
    for kind in glasses.NEAR_UNKNOWN:
        name = f"ClassyGlass, {kind.replace('_', ' ')}"
        made.unknown.append(NamedTest(name, "real", of(glasses.TEST_USERS, (kind,))))
    made.sources.append(glasses.SOURCE)


def _turned(session: Session, seed: int) -> Session:
    """The same with the sensor mounted any way round."""
    rotation = random_rotations(torch.Generator().manual_seed(seed), 1)[0].numpy()
    imu = session.samples["imu"]
    return replace(session, samples={"imu": np.concatenate((imu[:, :3] @ rotation.T, imu[:, 3:] @ rotation.T), axis=1)})


def sound_in(root: Path, task: Task) -> Real:
    """Footsteps, key strokes and surroundings, each a pool; what is measured, at several levels."""
    made, backgrounds = Real(), tuple[NDArray[np.int16], ...]()
    if (root / "footsteps").is_dir():
        training, test = sounds.footsteps(root / "footsteps", task, WALKS, WALKS)
        made.pools.append(Pool(sounds.FOOTSTEPS.name, FOOTSTEPS, training, ANCHORED))
        made.tests.append(NamedTest("footsteps on other grounds, put together", "real", test))
        made.sources.append(sounds.FOOTSTEPS)
    if (root / "keystrokes").is_dir():
        training, test = sounds.keystrokes(root / "keystrokes", task)
        made.pools.append(Pool(sounds.KEYSTROKES.name, 1.0, training, ANCHORED))
        made.tests.extend(_at_levels("keystrokes, keys j to m", test))
        other_key, _ = sounds.keystrokes(root / "keystrokes", task, calibration=True)
        made.known.append(NamedTest("keystrokes, key i", "real", other_key))
        made.sources.append(sounds.KEYSTROKES)
    if (root / "esc10").is_dir():
        training, _ = sounds.surroundings(root / "esc10", task, sounds.KINDS)
        made.pools.append(Pool(sounds.SURROUNDINGS.name, 1.0, training, ANCHORED))
        backgrounds = tuple(one.samples["audio"] for one in training)
        for kinds, told in ((sounds.UNKNOWN_KINDS, ""), (sounds.HUMAN_KINDS, " (kinds of training)")):
            _, test = sounds.surroundings(root / "esc10", task, kinds)
            test = tuple(replace(one, labels=np.full_like(one.labels, UNLABELLED)) for one in test)
            name = f"ESC-10, {', '.join(kinds).replace('_', ' ')} of fold 3{told}"
            made.unknown.extend(_at_levels(name, test))
        made.sources.append(sounds.SURROUNDINGS)
    return replace(made, backgrounds=backgrounds)


def _at_levels(name: str, sessions: Sequence[Session]) -> list[NamedTest]:
    return [
        NamedTest(f"{name}, at {level}", "real", tuple(sounds.at_peak(one, peak) for one in sessions))
        for level, peak in PEAKS.items()
    ]


def actions_in(root: Path, task: Task) -> Real:
    """UTD-MHAD's actions by the IMU alone, at its nominal rate, whole hops of each trial: those of a label, and those
    of none."""
    made = Real()
    if not (root / "utd-mhad").is_dir():
        return made
    for action, label in UTD.items():
        test = _trials(root, action, task, task.labels.index(label))
        made.tests.append(NamedTest(f"UTD-MHAD {action}, never trained on", "real", test, elsewhere=True))
    others = [action for action in utd_mhad.ACTIONS if action not in (*UTD, *UTD_ALIKE)]
    trials = [trial for action in others for trial in _trials(root, action, task, UNLABELLED)]
    made.unknown.append(NamedTest(f"UTD-MHAD, {len(others)} other actions", "real", tuple(trials)))
    return made


def _trials(root: Path, action: str, task: Task, label: int) -> tuple[Session, ...]:
    sessions = []
    for key, trial in utd_mhad.inertial(root / "utd-mhad", action).items():
        named = utd_mhad.CLIP.fullmatch(key)
        if named is None:
            raise ConfigError(f"data: {root / 'utd-mhad'}: {key!r} is not a trial of UTD-MHAD, such as a1_s1_t1")
        imu = utd_mhad.motion(trial, len(trial))
        hops = min(CONTEXT_HOPS, len(imu) // task.samples_per_hop("imu"))
        labels = np.full(hops * TICKS_PER_HOP + 1, label, np.int16)
        sessions.append(Session(f"utd-mhad {key}", int(named[2]), labels, {"imu": imu}))
    return tuple(sessions)
