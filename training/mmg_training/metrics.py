"""What a training run measured and used: ``metrics.json``, which the exporter quotes and never computes again."""

from __future__ import annotations

from pathlib import Path

import msgspec
from mmg.errors import ConfigError


class SubsetScore(msgspec.Struct, frozen=True, kw_only=True):
    """Held-out sessions with exactly these modalities; the temperature was fitted on others."""

    modalities: tuple[str, ...]
    temperature: float
    accuracy: float
    macro_f1: float
    ece: float
    samples: int
    recall: dict[str, float]


class ExtraScore(msgspec.Struct, frozen=True, kw_only=True):
    """A further test; ``kind``: real, class-paired or simulated. ece: with the subset's temperature."""

    name: str
    kind: str
    modalities: tuple[str, ...]
    accuracy: float
    ece: float
    samples: int
    recall: dict[str, float]


class DataSource(msgspec.Struct, frozen=True, kw_only=True):
    """Something trained on: what it is, how much of it and under which licence. modalities: what it has; empty for all
    of the set's."""

    name: str
    what: str
    licence: str
    modalities: tuple[str, ...] = ()


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """created: ISO date and time, UTC. weights_sha256: of the file that was measured. tools: name -> version. wall_s:
    how long the training took, after ``--resume`` only its last part, on ``device``. held_out: who is measured in
    ``subsets``. extra: further tests. limits: what the data do not show."""

    created: str
    seed: int
    config_sha256: str
    weights_sha256: str
    device: str
    wall_s: float
    tools: dict[str, str]
    data: tuple[DataSource, ...]
    held_out: str
    subsets: tuple[SubsetScore, ...] = ()
    extra: tuple[ExtraScore, ...] = ()
    limits: tuple[str, ...] = ()


def save(metrics: Metrics, path: Path) -> None:
    """Write it as indented JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(metrics), indent=2) + b"\n")


def load(path: Path) -> Metrics:
    """Raises ConfigError where the file is missing or is not such metrics."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Metrics)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; train first: mmg-train") from error
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
