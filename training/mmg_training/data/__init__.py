"""What is trained and measured on: a file a source; ``load`` puts them together to the data set of a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from mmg.errors import ConfigError

from mmg_training.config import DataConfig
from mmg_training.data.sessions import Dataset, Session

SETS = {
    "starter": "everyday activities: the virtual wearer, and real recordings of one modality each",
    "benchmark": "30 activities of the virtual wearer in clips, base and novel (simulated)",
    "utd-mhad": "27 actions, IMU and depth recorded together, one person left out (real)",
    "paired": "real IMU with real sound of the same activity by others (class-paired)",
    "ego4d": "Ego4D or MMG-Ego4D, for those who hold its licence (real)",
}


def load(config: DataConfig, say: Callable[[str], None]) -> Dataset:
    """The data set ``config.set``; ``say`` gets lines about what is slow or left out. Raises ConfigError where its name
    is unknown or it is not there."""
    if config.set not in SETS:
        raise ConfigError(f"data.set: {config.set!r} is none of {', '.join(SETS)}")
    module = import_module(f"mmg_training.data.{config.set.replace('-', '_')}")
    data: Dataset = module.load(config, say)
    known = config.modalities or data.task.modalities
    for name in config.labelled:
        if name not in known:
            raise ConfigError(f"data.labelled: {name!r} is none of {', '.join(known)}")
    return _only(data, config.modalities) if config.modalities else data


def _only(data: Dataset, names: tuple[str, ...]) -> Dataset:
    """Training sessions lose every other modality; what is measured keeps them. Raises ConfigError."""
    if unknown := [name for name in names if name not in data.task.modalities]:
        raise ConfigError(f"data.modalities: {unknown[0]!r} is none of {', '.join(data.task.modalities)}")
    others = [name for name in data.task.modalities if name not in names]
    kept = (
        replace(pool, sessions=tuple(one for one in map(_without(others), pool.sessions) if one.samples))
        for pool in data.training
    )
    return replace(data, training=tuple(pool for pool in kept if pool.sessions))


def _without(names: Sequence[str]) -> Callable[[Session], Session]:
    return lambda session: session.without(names)


def recordings(config: DataConfig) -> Path:
    """The folder of recordings: the config's, else the environment's ``MMG_DATA``, else ``../shared/data``."""
    return Path(config.root or os.environ.get("MMG_DATA", "../shared/data"))


def require(root: Path, name: str) -> Path:
    """The folder of one set. Raises ConfigError where it is not there."""
    if not (root / name).is_dir():
        raise ConfigError(f"data: no {name} in {root}; set data.root, or MMG_DATA, to the folder that holds it")
    return root / name
