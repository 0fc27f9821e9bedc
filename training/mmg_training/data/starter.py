"""Everyday activities: virtual wearers with all three modalities, and real recordings of one modality each."""

from __future__ import annotations

from collections.abc import Callable

from mmg_training import data
from mmg_training.config import DataConfig
from mmg_training.data import motion, sounds, virtual
from mmg_training.data.sessions import Dataset, NamedTest, Pool, Session
from mmg_training.metrics import DataSource
from mmg_training.task import Task
from mmg_training.wearer import EVERYDAY
from mmg_training.wearer.people import held_out_subjects, training_subjects

TASK = Task("everyday", EVERYDAY)
ANCHORED = 0.6


def load(config: DataConfig, say: Callable[[str], None]) -> Dataset:
    """Whatever real recordings are there join the virtual wearers; ``say`` names those that are not."""
    people, others = training_subjects(config.subjects), held_out_subjects(config.held_out)
    hours = len(people) * config.sessions * config.session_s / 3600
    say(f"rendering {len(people)} and {len(others)} virtual wearers, {config.sessions} x {config.session_s:g} s each")
    half = len(others) // 2
    simulated = virtual.simulate_all(TASK, people, config.sessions, config.session_s, say)
    pools, extra = [Pool("virtual wearer", 1 - config.real_share, simulated)], []
    sources = [
        DataSource(
            name="virtual wearer",
            what=f"{hours:.1f} h of {len(people)} simulated wearers, IMU, sound and video of one timeline",
            licence="Apache-2.0, made by mmg_training.wearer",
        )
    ]
    real: list[tuple[DataSource, tuple[Session, ...]]] = []
    backgrounds = []
    root = data.recordings(config)
    if (root / "sp-sw-har").is_dir():
        recorded = motion.load(root / "sp-sw-har", TASK)
        real.append((motion.SOURCE, tuple(one for one in recorded if one.subject not in motion.TEST_SUBJECTS)))
        for device in ("phone", "watch"):
            held = [one for one in recorded if one.subject in motion.TEST_SUBJECTS and one.source.endswith(device)]
            extra.append(NamedTest(f"sp-sw-har {device}, subjects 12 to 15", "real", tuple(held)))
    for name, read, source, test_name in (
        ("footsteps", sounds.footsteps, sounds.FOOTSTEPS, "footsteps on other grounds, put together"),
        ("keystrokes", sounds.keystrokes, sounds.KEYSTROKES, "keystrokes, keys j to m"),
        ("esc10", sounds.surroundings, sounds.SURROUNDINGS, "ESC-10, fold 3, as still"),
    ):
        if (root / name).is_dir():
            training, test = read(root / name, TASK)
            real.append((source, training))
            extra.append(NamedTest(test_name, "real", test))
            if name == "esc10":
                backgrounds = [one.samples["audio"] for one in training]
    for name in ("sp-sw-har", "footsteps", "keystrokes", "esc10"):
        if not (root / name).is_dir():
            say(f"no {name} in {root}: left out")
    pools += [Pool(source.name, config.real_share / len(real), sessions, ANCHORED) for source, sessions in real]
    return Dataset(
        task=TASK,
        training=tuple(pools),
        calibration=virtual.simulate_all(TASK, others[:half], config.sessions, config.session_s, say),
        test=virtual.simulate_all(TASK, others[half:], config.sessions, config.session_s, say),
        extra=tuple(extra),
        sources=(*sources, *(source for source, _ in real)),
        held_out=f"virtual wearers {others[half]} to {others[-1]} (temperatures: {others[0]} to {others[half - 1]})",
        backgrounds=tuple(backgrounds),
    )
