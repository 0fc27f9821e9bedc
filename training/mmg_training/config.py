"""The settings of one training run, read from TOML and kept as JSON beside the weights."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from mmg.errors import ConfigError
from mmg_device_profiles.toml import read_toml

from mmg_training.models.sizes import SIZES, ModelConfig
from mmg_training.ranges import AMOUNT, Count, Positive, Range, Share, Words
from mmg_training.splitting import SplitConfig
from mmg_training.task import CONTEXT_HOPS, HOP_S
from mmg_training.wearer.people import DEMO_SUBJECT, HELD_OUT_FROM

T = TypeVar("T")


@dataclass(frozen=True)
class DataConfig(SplitConfig):
    """set: a name in ``mmg_training.data.load``. root: where recordings are; empty for ``MMG_DATA``, else
    ``../shared/data``.

    modalities: those trained with, empty for all of the set's. labelled: those whose labels are used, empty for all;
    the others are seen only in unlabelled pairs. apart: these pairs are other sessions than the labelled ones, which
    then have the labelled modalities only; each gets half of the training's. leave_out: the person to measure on, where
    the set leaves one out. split: -1 trains on all labels, a split's number only on that split's base labels. subjects
    and held_out: virtual wearers to train and to measure on, each ``sessions`` sessions of ``session_s`` seconds.
    real_share: the share of a batch's sequences that are real recordings, where the set has both. reverse: clips played
    backward are labels of their own (utd-mhad): more classes, for few-shot. Who is trained on and who is tested may be
    named instead of left out: ``SplitConfig`` has these settings.

    For folder: hold_out, the people or else the sessions to measure on, ``all`` for all, empty for a choice of its own.
    keep: the starter's labels stay, and virtual wearers who show them join the training. names: the labels, in order;
    empty for those of the folder. allow_video: whether video may be opened.
    """

    set: str = "starter"
    root: str = ""
    modalities: tuple[str, ...] = ()
    labelled: tuple[str, ...] = ()
    apart: bool = False
    leave_out: int = 7
    split: Annotated[int, Range(-1)] = -1
    subjects: Annotated[int, Range(1, HELD_OUT_FROM)] = 60
    held_out: Annotated[int, Range(2, DEMO_SUBJECT - HELD_OUT_FROM)] = 16
    sessions: Count = 2
    session_s: Annotated[float, Range(CONTEXT_HOPS * HOP_S)] = 60.0
    real_share: Share = 0.3
    reverse: bool = False
    hold_out: tuple[str, ...] = ()
    keep: bool = False
    names: tuple[str, ...] = ()
    allow_video: bool = False


@dataclass(frozen=True)
class LossConfig:
    """The weight of each part of the objective; a part at zero is not computed.

    labels: cross-entropy with the labels. alone: the same of the linear reading of each modality's own tokens, which
    keeps a strong modality from silencing a weak one. clip, sequence and hops: contrastive alignment of two
    modalities' embeddings, of their sequences, and of single hops among all of the batch, at ``temperature``.
    prototypes: the prototypical loss across modalities, cosines times ``scale``. distil: towards all labelled
    modalities together, or towards the run ``teacher`` where one is given, at ``soften``.
    """

    labels: float = 1.0
    alone: float = 0.0
    clip: float = 0.0
    sequence: float = 0.0
    hops: float = 0.0
    prototypes: float = 0.0
    distil: float = 0.0
    temperature: Positive = 0.1
    scale: Positive = 10.0
    soften: Positive = 2.0
    label_smoothing: Share = 0.05
    teacher: str = ""


@dataclass(frozen=True)
class DropoutConfig:
    """modality: the probability that a context loses each of its modalities (one always stays). stretch: that a
    modality loses a stretch of hops. full_context: that a context is all its hops long."""

    modality: Share = 0.4
    stretch: Share = 0.2
    full_context: Share = 0.6


@dataclass(frozen=True)
class AugmentConfig:
    """pace: how much time is bent, and crop: by how much of the whole each end is moved; for clips only: labels stay.

    IMU: turn, rad of small turns; any_turn and no_gyro, probabilities of any turn at all and of a lost gyro; strength,
    spread of the logarithm of the movement's strength; noise and bias, m/s^2 (a fifth of the noise in rad/s).
    audio: background, the probability of one; tone, spread in dB of a random colouring; level, that a sequence's peak
    is set anew, anything from -60 dBFS to full scale, whatever its source. video: mirror, whether pictures are mirrored
    too; shift, pixels; zoom, stretch (of the width alone), gain and colour, spreads of logarithms; roll, rad, of the
    camera, and as much shear;
    light, grain and slope (of the light across the picture), of 255; erase, the probability of a box without anything.
    """

    pace: float = 0.0
    crop: float = 0.0
    turn: float = 0.25
    any_turn: Share = 0.35
    no_gyro: Share = 0.25
    strength: float = 0.03
    noise: float = 0.05
    bias: float = 0.0
    background: Share = 0.25
    tone: float = 0.0
    level: Share = 0.0
    mirror: bool = True
    shift: float = 3.0
    zoom: float = 0.05
    gain: float = 0.2
    colour: float = 0.1
    light: float = 8.0
    stretch: float = 0.0
    roll: float = 0.0
    slope: float = 0.0
    grain: float = 0.0
    erase: Share = 0.0


@dataclass(frozen=True)
class TrainConfig:
    """steps of ``batch`` sequences of ``sequence_hops`` hops, and ``contexts`` decisions a sequence.

    name and version: of the bundle that is made of it. seed: of everything random. learning_rate: AdamW's, after
    ``warmup_steps`` of a straight rise; weight_decay: AdamW's, of weights only. learning_rate_end: the part of the
    learning rate that is left at the end. An average of weights that still move lies in a flatter place than where they
    come to rest, which new people profit from (SWAD, Cha et al. 2021). ema: how much of the averaged weights stays at
    each step; the average is what is kept. save_every: steps between two checkpoints to resume from. start: a run
    whose weights training begins with, or ``starter``; empty for fresh ones.
    """

    name: str = "model"
    version: str = "0.1.0"
    seed: Annotated[int, Range(0, 2**31)] = 1
    steps: Count = 900
    batch: Count = 32
    sequence_hops: Count = 16
    contexts: Count = 8
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    learning_rate_end: Share = 0.0
    warmup_steps: Annotated[int, Range(0)] = 50
    ema: Share = 0.99
    save_every: Count = 200
    start: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    dropout: DropoutConfig = field(default_factory=DropoutConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)

    def sha256(self) -> str:
        """A digest that changes with any setting."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()


def load(path: Path) -> TrainConfig:
    """Settings from a TOML file; what it leaves out keeps its default. Raises ConfigError."""
    try:
        table = read_toml(path)
    except OSError as error:
        raise ConfigError(f"config {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"config {path}: {error}") from error
    return build(TrainConfig, table, str(path))


def parse_setting(text: str, flag: str) -> tuple[str, Any]:
    """``key=value`` with the value as in JSON, or else a plain word. Raises ConfigError."""
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"{flag} {text}: is not KEY=VALUE")
    try:
        return key, json.loads(value)
    except (ValueError, RecursionError):  # a huge number and deep nesting too
        return key, value


def override(config: T, settings: Mapping[str, Any], where: str) -> T:
    """``config`` with dotted settings changed, as in ``{"data.leave_out": 3}``. Raises ConfigError."""
    table, settings = dataclasses.asdict(config), dict(settings)  # type: ignore[call-overload]
    if "model" in table and "model.size" in settings:  # before all the others, wherever it stands
        table["model"] |= _widths(settings.pop("model.size"), where)
    for dotted, value in settings.items():
        *path, last = dotted.split(".")
        inner = table
        for key in path:
            if not isinstance(inner.get(key), dict):
                raise ConfigError(f"{where}: {dotted}: is not a setting")
            inner = inner[key]
        inner[last] = value
    return build(type(config), table, where)


def build(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """A (nested) settings dataclass from plain tables. Raises ConfigError naming a key that is unknown, misfits or is
    out of its range."""
    types = typing.get_type_hints(kind, include_extras=True)
    values: dict[str, Any] = {}
    if kind is ModelConfig and "size" in table:
        table = dict(table)
        values = _widths(table.pop("size"), where)
    for key, value in table.items():
        place = f"{where}: {key}"
        if key not in types:
            raise ConfigError(f"{place}: is not a setting; there are {', '.join(types)}")
        wanted, limits = _limits(types[key])
        if isinstance(limits, Words):
            values[key] = limits.read(value, place)
            continue
        if dataclasses.is_dataclass(wanted):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{place}: must be a table")
            values[key] = build(typing.cast(type[Any], wanted), value, place)
        elif typing.get_origin(wanted) is tuple:
            items, item = typing.cast("list[Any]", value), typing.get_args(wanted)[0]
            if not isinstance(value, (list, tuple)) or not all(isinstance(one, item) for one in items):
                raise ConfigError(f"{place}: {value!r} is not a list of {item.__name__}")
            length = len(typing.get_args(wanted))
            if typing.get_args(wanted)[-1] is not Ellipsis and len(items) != length:
                raise ConfigError(f"{place}: {value!r} does not have {length} items")
            values[key] = tuple(items)
        elif isinstance(value, (int, float) if wanted is float else wanted) and not (
            isinstance(value, bool) and wanted is not bool
        ):
            values[key] = wanted(value)
        else:
            raise ConfigError(f"{place}: {value!r} is not {wanted.__name__}")
        if limits is not None and isinstance(values[key], (int, float)):
            limits.check(values[key], place)
    return kind(**values)


def _widths(size: object, where: str) -> dict[str, Any]:
    """The model's settings in which the sizes differ, as this one has them."""
    if not isinstance(size, str) or size not in SIZES:
        raise ConfigError(f"{where}: size: {size!r} is not one of {', '.join(SIZES)}")
    sizes = [dataclasses.asdict(one) for one in SIZES.values()]
    return {
        key: value
        for key, value in dataclasses.asdict(SIZES[size]).items()
        if any(other[key] != value for other in sizes)
    }


def _limits(annotated: Any) -> tuple[Any, Range | Words | None]:
    """The type of a setting, and its mark where it has one."""
    if typing.get_origin(annotated) is Annotated:
        return typing.get_args(annotated)[:2]
    return annotated, AMOUNT if annotated is float else None
