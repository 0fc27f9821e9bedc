"""A study: many trainings that differ by named settings, by fold and by seed, as a TOML file lists them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import mmg
import msgspec
from mmg.errors import ConfigError
from mmg_device_profiles.toml import read_toml

from mmg_training.config import TrainConfig, build, load, override
from mmg_training.evaluation.fewshot import SCORES, FewshotConfig
from mmg_training.metrics import Split

SETTINGS, RESULTS, PREDICTIONS, LOG = "settings.json", "results.json", "predictions.npz", "log.txt"


@dataclass(frozen=True)
class EvaluateConfig:
    """What is measured of each run beside its subsets; few-shot where the data set has new labels."""

    missing: bool = True
    fewshot: FewshotConfig = field(default_factory=FewshotConfig)


@dataclass(frozen=True)
class StudyConfig:
    """base: the settings that every run starts from, a path from the study file's folder; the study's table ``set``
    changes some of them. full: the variant that the
    ``ablations`` are compared with. train_subsets: variants that differ in ``data.modalities``, for the table of
    trained with against tested on. late_fusion: those of one modality each whose probabilities are averaged."""

    base: str = ""
    seeds: tuple[int, ...] = (1,)
    full: str = ""
    ablations: tuple[str, ...] = ()
    train_subsets: tuple[str, ...] = ()
    late_fusion: tuple[str, ...] = ()
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)


@dataclass(frozen=True)
class Run:
    """One training: a variant in a fold (the settings that make it, as text; empty without folds) with a seed."""

    variant: str
    fold: str
    seed: int
    config: TrainConfig
    folder: Path

    @property
    def name(self) -> str:
        """As it is told to a reader."""
        return ", ".join(part for part in (self.variant, self.fold, f"seed {self.seed}") if part)


@dataclass(frozen=True)
class Study:
    """A study file as read."""

    config: StudyConfig
    base: TrainConfig
    variants: dict[str, dict[str, Any]]
    fold_key: str
    folds: tuple[Any, ...]


class SubsetFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A subset's figures on what the run's fold holds out."""

    modalities: tuple[str, ...]
    accuracy: float
    macro_f1: float
    ece: float


class FewshotFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A pair's mean accuracy over episodes, half of its 95 % interval over them, and the share of these with support
    and query of different people."""

    support: tuple[str, ...]
    query: tuple[str, ...]
    shots: int
    accuracy: float
    apart: float
    half: float | None = None


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """``results.json`` of one run. settings: the SHA-256 of all that it depends on. kind: real, class-paired or
    simulated. split: who is in which part. missing: modality or ``all`` -> accuracy at each of ``rates``."""

    settings: str
    kind: str
    held_out: str
    labels: int
    modalities: tuple[str, ...]
    wall_s: float
    subsets: tuple[SubsetFigures, ...]
    fewshot: tuple[FewshotFigures, ...] = ()
    rates: tuple[float, ...] = ()
    missing: dict[str, tuple[float, ...]] = {}
    split: Split | None = None


def read(path: Path) -> Study:
    """Raises ConfigError naming what is wrong in the file."""
    try:
        table = read_toml(path)
    except OSError as error:
        raise ConfigError(f"study {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"study {path}: {error}") from error
    variants, folds, shared = table.pop("variants", {}), table.pop("folds", {}), table.pop("set", {})
    folds = flat(folds) if isinstance(folds, Mapping) else folds
    config = build(StudyConfig, table, str(path))
    if not config.base or not config.seeds:
        raise ConfigError(f"study {path}: needs base, the settings to start from, and seeds")
    if len(set(config.seeds)) < len(config.seeds):
        raise ConfigError(f"study {path}: seeds: one appears twice")
    if not isinstance(variants, Mapping) or not variants or not all(isinstance(v, Mapping) for v in variants.values()):
        raise ConfigError(f"study {path}: needs variants, each a table of settings such as [variants.all]")
    if not isinstance(folds, Mapping) or len(folds) > 1 or not all(isinstance(v, list) and v for v in folds.values()):
        raise ConfigError(f"study {path}: folds: must be one setting with a list of values, as in data.leave_out")
    if config.evaluate.fewshot.score not in SCORES:
        raise ConfigError(f"study {path}: evaluate.fewshot.score: is not one of {', '.join(SCORES)}")
    for name in (
        *((config.full,) if config.full else ()),
        *config.ablations,
        *config.train_subsets,
        *config.late_fusion,
    ):
        if name not in variants:
            raise ConfigError(f"study {path}: {name!r} is not one of its variants ({', '.join(variants)})")
    if config.ablations and not config.full:
        raise ConfigError(f"study {path}: ablations: needs full, the variant to compare with")
    for name in variants:
        if not name.replace("-", "").replace("_", "").isalnum():
            raise ConfigError(f"study {path}: variants.{name}: a name of letters, digits, - and _ only")
    if not isinstance(shared, Mapping):
        raise ConfigError(f"study {path}: set: must be a table of settings such as data.test_people")
    changes = {name: flat(table) for name, table in variants.items()}
    fold_key, values = next(iter(folds.items()), ("", []))
    base = override(load(path.parent / config.base), flat(shared), f"study {path}: set")
    return Study(config, base, changes, fold_key, tuple(values))


def plan(study: Study, out: Path, settings: Mapping[str, Any]) -> list[Run]:
    """Every run of the study, variants one after another; ``settings`` change the base. Raises ConfigError, also where
    two places say a setting, and where an ablation takes away what the full variant does not have."""
    own = {"seed": "seeds", study.fold_key: "folds"}
    varied = {key: f"variants.{variant}" for variant, changes in study.variants.items() for key in changes}
    for key in settings:
        if place := (varied | own).get(key):
            raise ConfigError(f"--set {key}: the study's own {place} sets it; change it there")
    for key, variant in varied.items():
        if key in own:
            raise ConfigError(f"{variant}: {key}: the study's own {own[key]} sets it")
    runs = []
    for variant, changes in study.variants.items():
        for value in study.folds or (None,):
            fold = {study.fold_key: value} if study.fold_key else {}
            name = " ".join(f"{key.rsplit('.', 1)[-1]}-{_word(value)}" for key, value in fold.items())
            for seed in study.config.seeds:
                dotted = {**settings, **changes, **fold, "seed": seed}
                config = override(study.base, dotted, f"variants.{variant}")
                runs.append(Run(variant, name, seed, config, out / variant / name / f"seed-{seed}"))
    first = {run.variant: run.config for run in reversed(runs)}
    for name in study.config.ablations:
        if first[name] == first[study.config.full]:
            raise ConfigError(f"variants.{name}: changes nothing: the settings of {study.config.full} lack it already")
    return runs


def flat(table: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Dotted settings of a table: ``data.modalities = [...]`` means the same with quotes around the key and without."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {before + key: value}
    return found


def _word(value: Any) -> str:
    """A fold's value in a name of a folder."""
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def digest(config: TrainConfig, evaluate: EvaluateConfig) -> str:
    """What a run's results depend on: its settings' SHA-256, and how it is measured."""
    return f"{config.sha256()} {json.dumps(dataclasses.asdict(evaluate), sort_keys=True)}"


@cache
def code_digest() -> str:
    """The SHA-256 of mmg's code, on which a run's results depend too: of this package, and of the device's, whose
    sources, features and engine it uses."""
    digest = hashlib.sha256()
    for package in (Path(__file__).resolve().parent.parent, Path(mmg.__file__).resolve().parent):
        for path in sorted(package.rglob("*.py")):
            digest.update(f"{path.relative_to(package.parent)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def results_of(run: Run, evaluate: EvaluateConfig) -> Results | None:
    """The run's results, where it is done with these very settings."""
    try:
        results = msgspec.json.decode((run.folder / RESULTS).read_bytes(), type=Results)
    except (OSError, msgspec.DecodeError):
        return None
    return results if results.settings == digest(run.config, evaluate) else None
