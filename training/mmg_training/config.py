"""The settings of one training run, read from TOML and kept as JSON beside the weights."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mmg.errors import ConfigError

from mmg_training.models.multimodal import ModelConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


@dataclass(frozen=True)
class DataConfig:
    """subjects: virtual wearers to train on, numbered from 0. held_out: those to measure on, numbered from
    ``HELD_OUT_FROM``. Each has ``sessions`` sessions of ``session_s`` seconds. real_share: the share of a batch's
    sequences that are real recordings, on average."""

    subjects: int = 60
    held_out: int = 16
    sessions: int = 2
    session_s: float = 60.0
    real_share: float = 0.3


@dataclass(frozen=True)
class TrainConfig:
    """steps of ``batch`` sequences of ``sequence_hops`` hops, and ``contexts`` decisions a sequence.

    modality_dropout: the probability that a context loses each of its modalities (one always stays).
    stretch_dropout: that a modality loses a stretch of hops. full_context: that a context is all its hops long.
    """

    name: str = "first"
    version: str = "0.1.0"
    seed: int = 1
    steps: int = 900
    batch: int = 32
    sequence_hops: int = 16
    contexts: int = 8
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup_steps: int = 50
    label_smoothing: float = 0.05
    modality_dropout: float = 0.4
    stretch_dropout: float = 0.2
    full_context: float = 0.6
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)

    def sha256(self) -> str:
        """A digest that changes with any setting."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()


def load(path: Path) -> TrainConfig:
    """Settings from a TOML file; what it leaves out keeps its default. Raises ConfigError."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"config {path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"config {path}: not TOML: {error}") from error
    return build(TrainConfig, table, str(path))


def build(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """A (nested) settings dataclass from plain tables. Raises ConfigError naming a key that is unknown or misfits."""
    types = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in table.items():
        place = f"{where}: {key}"
        if key not in types:
            raise ConfigError(f"{place}: is not a setting; there are {', '.join(types)}")
        wanted = types[key]
        if dataclasses.is_dataclass(wanted):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{place}: must be a table")
            values[key] = build(typing.cast(type[Any], wanted), value, place)
        elif typing.get_origin(wanted) is tuple:
            values[key] = tuple(value)
        elif isinstance(value, (int, float) if wanted is float else wanted):
            values[key] = wanted(value)
        else:
            raise ConfigError(f"{place}: {value!r} is not {wanted.__name__}")
    return kind(**values)
