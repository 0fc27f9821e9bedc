"""Your own recordings: a folder of sessions, each with labels and a word on who and where."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from mmg.cli.progress import counted
from mmg.errors import ConfigError
from mmg.printable import encodable
from numpy.typing import NDArray

from mmg_training.config import DataConfig
from mmg_training.data.folder.found import UNKNOWN, find_sessions
from mmg_training.data.folder.pieces import pieces_of, too_short_s
from mmg_training.data.folder.reading import Read, read_sessions, sensors_of
from mmg_training.data.folder.split import NOT_FITTED, Described, Split, shown, split
from mmg_training.data.sessions import UNLABELLED, Dataset, NamedTest, Pool, Session
from mmg_training.data.virtual import simulate_all
from mmg_training.metrics import DataSource
from mmg_training.task import MODALITIES, Task
from mmg_training.wearer import EVERYDAY
from mmg_training.wearer.people import DEMO_SUBJECT, held_out_subjects, training_subjects

ANCHORED = 0.7
"""A label that was recorded for a minute is to be seen as often as one of ten minutes, nearly."""
REHEARSED = 0.4
"""The share of virtual wearers where the starter's labels are kept: what is never shown again is forgotten."""
LEAST_LABELS = 2
TOLD_S = 5.0
"""What is lost at the ends of sensors is not worth a line."""
KIND = "own recordings"
FIRST = DEMO_SUBJECT + 1
"""The number of the first person: beyond every virtual wearer, so that nobody is taken for one of them."""
FITTED_ON_WEARERS = "The confidence was fitted on virtual wearers alone."


def load(config: DataConfig, report: Callable[[str], None]) -> Dataset:
    """The sessions in ``config.root``, split as the settings name the parts, else by person where all are named and
    there are several, else by session.

    ``report`` gets what is left out and why. Raises ConfigError where nothing is left to train on.
    """
    if not config.root:
        raise ConfigError("data.root: name the folder of your sessions")
    root = Path(config.root)
    read = read_all(root, config.modalities, config.allow_video, report)
    usable = [one for one in read if any(one.seconds().values())]
    if not usable:
        raise ConfigError(f"{root}: no session has both a sensor and labels: mmg-data {root} says what is wrong")
    described = [one.described() for one in usable]
    for name in sorted({label for one in described for label in one.seconds} - shown(described)):
        report(f"{name}: is left out, as no half second has it and a sensor")
    parted = split(described, config.hold_out, config, root, report)
    names = _names(config, described, parted)
    modalities = tuple(name for name in (config.modalities or MODALITIES) if any(name in one.samples for one in usable))
    task = Task(encodable(root.resolve().name), names, modalities)
    subjects = _subjects(usable)
    sessions = {
        one.session.name: pieces_of(one, task, subjects[one.session.name], _ticks(one, names)) for one in usable
    }
    lost_s = too_short_s([piece for name in parted.training for piece in sessions[name]])
    if lost_s > TOLD_S:
        report(f"{lost_s:.0f} s are in stretches too short to learn from: a sensor paused, or a label stands alone")
    training = _joined(sessions, parted.training)
    pools = (Pool(KIND, 1.0, training, ANCHORED),) if training else ()
    made = Dataset(
        task=task,
        kind=KIND,
        training=pools,
        calibration=_joined(sessions, parted.calibration),
        test=_joined(sessions, parted.test),
        sources=(_source(root, usable, modalities),),
        held_out=parted.held_out,
        limits=(*parted.limits, *_where(usable)),
        people={subjects[one.session.name]: one.session.person for one in usable},
    )
    return _rehearsed(made, config, report) if config.keep else made


def read_all(root: Path, modalities: Sequence[str], allow_video: bool, report: Callable[[str], None]) -> list[Read]:
    """Every session of the folder; ``report`` gets what is wrong with each. Raises ConfigError."""
    sensors, sessions, read = sensors_of(modalities, allow_video), find_sessions(root), list[Read]()
    for one in counted(report, "read", read_sessions(sessions, sensors), len(sessions), "sessions"):
        for line in one.problems:
            report(f"{one.session.name}: {line}")
        read.append(one)
    return read


def _names(config: DataConfig, usable: Sequence[Described], parted: Split) -> tuple[str, ...]:
    """The labels in the order of the logits. Raises ConfigError where they are too few."""
    if config.names:
        return config.names
    learnt = shown(one for one in usable if one.name in parted.training) or shown(usable)
    if config.keep:
        return (*EVERYDAY, *sorted(learnt - set(EVERYDAY)))
    if parted.training and len(learnt) < LEAST_LABELS:
        raise ConfigError(f"{config.root}: a model needs two labels at least, and {learnt.pop()} is labelled")
    return tuple(sorted(learnt))


def _subjects(usable: Sequence[Read]) -> dict[str, int]:
    """Session -> the number of its person, from ``FIRST`` on; below nothing, each its own, where nobody says who it
    is."""
    people = sorted({one.session.person for one in usable})
    return {
        one.session.name: -1 - place if one.session.person == UNKNOWN else FIRST + people.index(one.session.person)
        for place, one in enumerate(usable)
    }


def _rehearsed(data: Dataset, config: DataConfig, report: Callable[[str], None]) -> Dataset:
    """With virtual wearers who show what the starter knows, and some of them to measure that on."""
    task = Task("everyday", EVERYDAY, data.task.modalities)
    people, others = training_subjects(config.subjects), held_out_subjects(config.held_out)
    report(f"rendering {len(people) + len(others)} virtual wearers who show the starter's labels (once: they are kept)")
    shown = simulate_all(task, people, config.sessions, config.session_s, report)
    asked = simulate_all(task, others, config.sessions, config.session_s, report)
    pools = tuple(replace(pool, share=pool.share * (1 - REHEARSED)) for pool in data.training)
    half = len(others) // 2
    calibrating, measured = asked[: half * config.sessions], asked[half * config.sessions :]
    fitted, name = (
        f"the starter's labels, virtual wearers {some[0]} to {some[-1]}" for some in (others[:half], others[half:])
    )
    return replace(
        data,
        training=(*pools, Pool("virtual wearer", REHEARSED, shown)) if pools else (),
        extra=(NamedTest(name, "simulated", measured),),
        known=(NamedTest(fitted, "simulated", calibrating),),
        sources=(
            *data.sources,
            DataSource(name="virtual wearer", what=f"{len(people)} simulated wearers", licence="Apache-2.0"),
        ),
        limits=(
            *(FITTED_ON_WEARERS if one == NOT_FITTED else one for one in data.limits),
            "What it does of the starter's labels was measured on a simulation.",
        ),
    )


def _ticks(read: Read, names: Sequence[str]) -> NDArray[np.int16]:
    return read.ticks({name: number for number, name in enumerate(names)})


def _joined(sessions: Mapping[str, Sequence[Session]], names: Sequence[str]) -> tuple[Session, ...]:
    return tuple(piece for name in names for piece in sessions[name] if (piece.labels[1::2] != UNLABELLED).any())


def _source(root: Path, usable: Sequence[Read], modalities: tuple[str, ...]) -> DataSource:
    hours = sum(one.duration_s for one in usable) / 3600
    people = {one.session.person for one in usable}
    what = f"{hours:.2f} h, {len(usable)} sessions of {len(people)} {'people' if len(people) > 1 else 'person'}"
    return DataSource(
        name=f"own recordings ({encodable(root.resolve().name)})",
        what=what,
        licence="their owner's",
        modalities=modalities,
    )


def _where(usable: Sequence[Read]) -> tuple[str, ...]:
    """What a reader of the model card must know of the people and places."""
    places = {one.session.place for one in usable} - {""}
    return (f"Recorded in one place: {next(iter(places))}.",) if len(places) == 1 else ()
