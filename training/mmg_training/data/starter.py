"""Everyday activities: virtual wearers with all three modalities, and real recordings of one modality each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mmg_training import data
from mmg_training.config import DataConfig
from mmg_training.data import glasses, real, sounds, virtual
from mmg_training.data.sessions import UNLABELLED, Dataset, NamedTest, Pool, Session
from mmg_training.metrics import DataSource
from mmg_training.task import Task
from mmg_training.wearer import EVERYDAY
from mmg_training.wearer.activities import ACTIVITIES
from mmg_training.wearer.people import held_out_subjects, training_subjects

LABELS = (*EVERYDAY, "stairs")
"""What the virtual wearer shows, and what only real recordings do."""
KINDS = {**glasses.kinds_of(LABELS), **dict.fromkeys(sounds.KINDS, -1)}
WEARER = Task("everyday", EVERYDAY)
TASK = Task("everyday", LABELS, kinds=tuple(KINDS), kinds_of=tuple(KINDS.values()))
OTHER_LIFE = Task("other life", tuple(one for one in ACTIVITIES if one not in (*EVERYDAY, "climbing_stairs")))
"""What the virtual wearer does that is none of the labels, in no training."""
MOTION_SHARE = 0.6
"""Of the real recordings' share: sound has the rest."""
LIMITS = (
    "About a third of what was trained on is a simulation. The figures on simulated wearers say that the networks "
    "learnt that simulation, not how well they do on people: only the rows under Further tests that are real say "
    "something about that.",
    "Real recordings were used one modality at a time; no set at hand holds IMU and sound recorded together. No real "
    "video was used at all.",
    "What rests on real recordings: by IMU still, walking, running, stairs (these four worn on the head), sitting down "
    "and standing up (wrist and pocket); by sound walking, running and typing. Every other label, and every label by "
    "video, rests on the simulation alone; stairs are known by IMU only.",
    "Whoever reads, writes, types or browses in glasses is still: the head knows nothing of the hands. Picking things "
    "up, moving the head and sitting down over and over have no label, and are to be none of these.",
    "Transitions (sitting down, standing up) are decided while they happen, so a decision near their edges is often "
    "that of the neighbour.",
    "Runs made from recorded walks were added after jogging in UTD-MHAD was seen to fail: that row is no independent "
    "test. Nor are those of sp-sw-har: how much motion a batch has was settled with subjects 12 to 15 in view. How "
    "much a modality's linear reading counts in what is none of these, and how many directions are looked at, was "
    "settled with the tests of it in view.",
    "What is none of these is calibrated on virtual wearers and few people: by sound on one key of the one typist "
    "who is trained on. Of other people and places more of what is known is refused than was asked for.",
)


def load(config: DataConfig, report: Callable[[str], None]) -> Dataset:
    """Whatever real recordings are there join the virtual wearers; ``report`` names those that are not."""
    people, others = training_subjects(config.subjects), held_out_subjects(config.held_out)
    report(
        f"rendering {len(people)} and {len(others)} virtual wearers, {config.sessions} x {config.session_s:g} s each"
    )
    half, root = len(others) // 2, data.recordings(config)
    for name in real.SETS:
        if not (root / name).is_dir():
            report(f"no {name} in {root}: left out")
    hours = len(people) * config.sessions * config.session_s / 3600
    simulated = DataSource(
        name="virtual wearer",
        what=f"{hours:.1f} h of {len(people)} simulated wearers, IMU, sound and video of one timeline",
        licence="Apache-2.0, made by mmg_training.wearer",
    )
    moving, heard, actions = real.motion_in(root, TASK), real.sound_in(root, TASK), real.actions_in(root, TASK)
    shares = [(one.pools, share) for one, share in ((moving, MOTION_SHARE), (heard, 1 - MOTION_SHARE)) if one.pools]
    share_real = config.real_share if shares else 0.0
    whole = sum(share for _, share in shares)
    weights = [sum(pool.share for pool in pools) for pools, _ in shares]

    def simulate(task: Task, subjects: range, sessions: int) -> tuple[Session, ...]:
        return virtual.simulate_all(task, subjects, sessions, config.session_s, report)

    return Dataset(
        task=TASK,
        kind="simulated",
        training=(
            Pool("virtual wearer", 1 - share_real, simulate(WEARER, people, config.sessions)),
            *(
                replace(pool, share=pool.share * share_real * share / whole / weight)
                for (pools, share), weight in zip(shares, weights, strict=True)
                for pool in pools
            ),
        ),
        calibration=simulate(WEARER, others[:half], config.sessions),
        test=simulate(WEARER, others[half:], config.sessions),
        extra=(*moving.tests, *heard.tests, *actions.tests),
        known=(*moving.known, *heard.known),
        unknown=(
            *moving.unknown,
            *actions.unknown,
            *heard.unknown,
            _other_life(simulate(OTHER_LIFE, others[half:], 1)),
        ),
        sources=(simulated, *moving.sources, *heard.sources),
        held_out=f"virtual wearers {others[half]} to {others[-1]} (temperatures: {others[0]} to {others[half - 1]})",
        backgrounds=heard.backgrounds,
        limits=LIMITS,
    )


def _other_life(sessions: tuple[Session, ...]) -> NamedTest:
    unlabelled = tuple(replace(one, labels=one.labels * 0 + UNLABELLED) for one in sessions)
    return NamedTest("other activities of virtual wearers", "simulated", unlabelled)
