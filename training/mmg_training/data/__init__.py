"""What is trained and measured on: a file a source; ``load`` puts them together to the data set of a run."""

from __future__ import annotations

import os
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from mmg.errors import ConfigError

from mmg_training.config import DataConfig
from mmg_training.data.sessions import UNLABELLED, Dataset, Session
from mmg_training.splitting import SplitConfig

Loader = Callable[[DataConfig, Callable[[str], None]], Dataset]
SETS = {
    "starter": "everyday activities: the virtual wearer, and real recordings of one modality each",
    "benchmark": "30 activities of the virtual wearer in clips, base and novel (simulated)",
    "utd-mhad": "27 actions, IMU and depth recorded together, people apart (real)",
    "paired": "real IMU with real sound of the same activity by others (class-paired)",
    "ego4d": "Ego4D or MMG-Ego4D, for those who hold its licence (real)",
    "folder": "your own recordings: a folder of sessions with labels",
}
PLUG_INS = "mmg.datasets"
"""The group of entry points under which other packages give data sets, each a ``load`` as these have."""

ONLY = {
    "leave_out": ("utd-mhad",),
    "split": ("utd-mhad", "benchmark", "ego4d"),
    "reverse": ("utd-mhad",),
    **{setting.name: ("utd-mhad", "ego4d", "folder") for setting in fields(SplitConfig)},
    "hold_out": ("folder",),
    "keep": ("folder",),
    "names": ("folder",),
    "allow_video": ("folder",),
}
"""Settings that some sets alone have a use for."""


def load(config: DataConfig, report: Callable[[str], None]) -> Dataset:
    """The data set ``config.set``; ``report`` gets lines about what is slow or left out.

    Raises ConfigError where its name is unknown or it is not there.
    """
    for key, sets in ONLY.items():
        if config.set in SETS and config.set not in sets and getattr(config, key) != getattr(DataConfig(), key):
            raise ConfigError(f"data.{key}: is for {' and '.join(sets)}, and {config.set} has no use for it")
    loader = _loader(config.set)
    try:
        data = loader(config, report)
    except (OSError, BadZipFile, zlib.error) as error:
        raise ConfigError(f"data: {config.set} in {recordings(config)} cannot be read: {error}") from error
    known = config.modalities or data.task.modalities
    for name in config.labelled:
        if name not in known:
            raise ConfigError(f"data.labelled: {name!r} is not one of {', '.join(known)}")
    if config.apart and not 0 < len(config.labelled) < len(known):
        raise ConfigError("data.apart: needs data.labelled, and a modality that is not among them")
    if config.modalities:
        data = _only(data, config.modalities)
    return _apart(data, config.labelled) if config.apart else data


def _loader(name: str) -> Loader:
    """``load`` of one of ``SETS``, or of a package's entry point. Raises ConfigError."""
    if name in SETS:
        found: Loader = import_module(f"mmg_training.data.{name.replace('-', '_')}").load
        return found
    others = {one.name: one for one in entry_points(group=PLUG_INS)}
    if name not in others:
        raise ConfigError(f"data.set: {name!r} is not one of {', '.join((*SETS, *sorted(others)))}")
    try:
        plugged = others[name].load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"data.set: {name}: its package gives no {others[name].value}: {error}") from error
    if not callable(plugged):
        raise ConfigError(f"data.set: {name}: {others[name].value} is no function load(config, report)")

    def load_plugged(config: DataConfig, report: Callable[[str], None]) -> Dataset:
        made = plugged(config, report)
        if not isinstance(made, Dataset):
            raise ConfigError(f"data.set: {name}: {others[name].value} gave a {type(made).__name__}, and no Dataset")
        return made

    return load_plugged


def _apart(data: Dataset, labelled: tuple[str, ...]) -> Dataset:
    """Of the training sessions that begin with a label, every other one keeps the labels and only the labelled
    modalities; the others keep all modalities and no labels. Raises ConfigError where the set is not made of single
    clips with all modalities."""
    clips = [one for pool in data.training for one in pool.sessions if not pool.anchored]
    if not data.task.clips or len(clips) < sum(len(pool.sessions) for pool in data.training):
        raise ConfigError("data.apart: is for sets of clips that are drawn evenly: utd-mhad and benchmark")
    if any(set(one.samples) != set(data.task.modalities) for one in clips):
        raise ConfigError("data.apart: needs clips with all modalities")
    others = [name for name in data.task.modalities if name not in labelled]
    seen: Counter[int] = Counter()

    def parted(session: Session) -> Session:
        label = int(session.labels[0])
        seen[label] += 1
        if seen[label] % 2:
            return session.without(others)
        return replace(session, labels=np.full_like(session.labels, UNLABELLED))

    pools = (replace(pool, sessions=tuple(map(parted, pool.sessions))) for pool in data.training)
    return replace(data, training=tuple(pools))


def _only(data: Dataset, names: tuple[str, ...]) -> Dataset:
    """Without every other modality, in the task too, so that no encoder stays untrained. Raises ConfigError."""
    if unknown := [name for name in names if name not in data.task.modalities]:
        raise ConfigError(f"data.modalities: {unknown[0]!r} is not one of {', '.join(data.task.modalities)}")
    others = [name for name in data.task.modalities if name not in names]

    def narrowed(sessions: Sequence[Session]) -> tuple[Session, ...]:
        return tuple(kept for session in sessions if (kept := session.without(others)).samples)

    pools = (replace(pool, sessions=narrowed(pool.sessions)) for pool in data.training)
    tests = (replace(test, sessions=narrowed(test.sessions)) for test in data.extra)
    return replace(
        data,
        task=replace(data.task, modalities=tuple(name for name in data.task.modalities if name in names)),
        training=tuple(pool for pool in pools if pool.sessions),
        calibration=narrowed(data.calibration),
        test=narrowed(data.test),
        novel=narrowed(data.novel),
        extra=tuple(test for test in tests if test.sessions),
        sources=tuple(one for one in data.sources if not one.modalities or set(one.modalities) & set(names)),
    )


def recordings(config: DataConfig) -> Path:
    """The folder of recordings: the config's, else the environment's ``MMG_DATA``, else ``../shared/data``."""
    return Path(config.root or os.environ.get("MMG_DATA", "../shared/data"))


def require(root: Path, name: str) -> Path:
    """The folder of one set. Raises ConfigError where it is not there."""
    if not (root / name).is_dir():
        raise ConfigError(f"data: no {name} in {root}; set data.root, or MMG_DATA, to the folder that holds it")
    return root / name
