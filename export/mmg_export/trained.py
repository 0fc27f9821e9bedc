"""A run of ``mmg-train`` as the exporter takes it: its modules, its spec, recordings of its data, and its accuracy."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import mmg_training
import numpy as np
from mmg.bundle import Bundle, Manifest
from mmg.bundle.manifest import Channel, Provenance, Subset
from mmg.bundle.unknown import Statistics
from mmg.errors import ModelError
from mmg_training import checkpoint, data, unknown
from mmg_training import metrics as metrics_file
from mmg_training.config import TrainConfig, load
from mmg_training.data.sessions import Dataset
from mmg_training.evaluation.engine import by_engine
from mmg_training.evaluation.scores import accuracy
from mmg_training.evaluation.subsets import measurable
from mmg_training.metrics import Metrics
from mmg_training.models.causal import StreamingEncoder
from mmg_training.models.fusion import Fusion
from mmg_training.models.multimodal import MultimodalModel
from mmg_training.task import CONTEXT_HOPS, HOP_S, TOKENS_PER_HOP, subsets_of
from torch import Tensor, nn

from mmg_export.card import card
from mmg_export.proof import Evaluate
from mmg_export.spec import Sensor, Spec
from mmg_export.streams import RECORDED_HOPS, Array

ACCELERATION = tuple(Channel(name=name, unit="m/s^2") for name in ("ax", "ay", "az"))
TURN_RATE = tuple(Channel(name=name, unit="rad/s", optional=True) for name in ("gx", "gy", "gz"))
LICENCE = "Apache-2.0"
CONFIGS = Path(mmg_training.__file__).parents[1] / "configs"


class HopEncoder(nn.Module):
    """One hop with flat arguments, batch norms folded: ``(samples, *states) -> (tokens, *next states)``."""

    def __init__(self, encoder: StreamingEncoder) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).eval()
        self.encoder.fold()
        self.eval()

    def forward(self, samples: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        tokens, following = self.encoder(samples, states)
        return tokens, *following


class TrainedRun:
    """What a folder of ``mmg-train`` holds. Raises ConfigError, ModelError where it is not whole."""

    def __init__(self, run: Path) -> None:
        self.model, self.config = checkpoint.load(run)
        self.metrics = metrics_file.load(run / checkpoint.METRICS)
        if self.metrics.weights_sha256 != checkpoint.sha256(run):
            raise ModelError(
                f"{run / checkpoint.METRICS}: was measured with other weights than {checkpoint.WEIGHTS} has: one of "
                "them is damaged or of another run; train again: mmg-train"
            )
        if not isinstance(self.model.fusion, Fusion):
            kind = type(self.model.fusion).__name__.lower()
            raise ModelError(f"the fusion is a {kind}, a baseline: only a transformer is exported")
        self.unknown = unknown.load(run, self.metrics, self.model.config.token_dim)

    def encoders(self, names: Sequence[str]) -> dict[str, nn.Module]:
        """The modules of some modalities."""
        return {name: HopEncoder(self.model.encoder(name)) for name in names}

    def fusion(self, names: Sequence[str]) -> nn.Module:
        """The fusion's module for some modalities, which have other numbers then than in the whole model."""
        fusion = copy.deepcopy(self.model.fusion)
        assert isinstance(fusion, Fusion)
        rows = [self.model.task.modalities.index(name) for name in names]
        for table in ("modality", "reading", "reading_bias"):
            setattr(fusion, table, nn.Parameter(getattr(fusion, table).detach()[rows].clone()))
        return fusion.eval()

    def spec(self, names: Sequence[str]) -> Spec:
        """What these modules take and give, with the figures that the run measured."""
        return Spec(
            name=self.config.name,
            version=self.config.version,
            labels=self.model.task.labels,
            sensors={name: _sensor(self.model, name) for name in names},
            token_dim=self.model.config.token_dim,
            embedding_dim=self.model.config.embedding_dim,
            hop_s=HOP_S,
            context_hops=CONTEXT_HOPS,
            subsets=_subsets(self.metrics, names),
            unknown=self._statistics(names),
            provenance=_provenance(self.config, self.metrics),
        )

    def _statistics(self, names: Sequence[str]) -> dict[str, Statistics]:
        """Of the modalities that a subset of these has a fit of."""
        used = {name for fitted in self.unknown.fits if set(fitted) <= set(names) for name in fitted}
        return {name: one for name, one in self.unknown.statistics.items() if name in used}

    def card(self, manifest: Manifest) -> str:
        """The text of the model card."""
        return card(manifest, self.metrics, self.model.task.modalities)

    def dataset(self, progress: Callable[[str], None]) -> Dataset:
        """The data that it was trained on, with what was held out. Raises ConfigError where they are not there."""
        return data.load(self.config.data, progress)

    def recordings(self, dataset: Dataset, names: Sequence[str]) -> dict[str, Array]:
        """Sessions one after another from which nothing is measured, those for calibration or else for training: what
        an encoder takes, (T, C) or frames. Empty where no session has all of the modalities."""
        unmeasured = dataset.calibration or [one for pool in dataset.training for one in pool.sessions]
        sessions = [one for one in unmeasured if set(names) <= set(one.samples)]
        found: dict[str, list[Array]] = {name: [] for name in names}
        hops = 0
        for session in sessions:
            # A stretch of each: more people, and not more of the first.
            count = min(session.hops, max(1, -(-RECORDED_HOPS // len(sessions))))
            cut = session.cut(self.model.task, 0, count)[0]
            for name in names:
                found[name].append(_as_input(name, cut[name]))
            hops += count
        return {name: np.concatenate(parts) for name, parts in found.items()} if hops else {}

    def evaluator(self, dataset: Dataset, progress: Callable[[str], None]) -> Evaluate:
        """Gives the accuracy of each subset on the held-out sessions, by the engine."""

        def evaluate(bundle: Bundle, backend: str, precision: str) -> Mapping[tuple[str, ...], float]:
            names = tuple(one.name for one in bundle.manifest.modalities)
            subsets = [one for one in measurable(self.model.task, dataset.test) if set(one) <= set(names)]
            decide = by_engine(bundle, self.model.task, progress, backend, precision)
            made = decide(dataset.test, subsets)
            return {one: accuracy(decisions.logits, decisions.labels) for one, decisions in made.items()}

        return evaluate


def _as_input(name: str, values: Array) -> Array:
    return values.astype(np.float32)[:, None] / np.float32(32768) if name == "audio" else values


def _sensor(model: MultimodalModel, name: str) -> Sensor:
    task = model.task
    channels = {"imu": ACCELERATION + TURN_RATE, "audio": (Channel(name="mono", unit="fs"),), "video": ()}
    kinds = {"imu": "signal", "audio": "audio", "video": "video"}
    return Sensor(
        rate_hz=float(task.rate_hz(name)),
        channels=channels[name],
        kind=kinds[name],  # type: ignore[arg-type]
        frame=task.frame if name == "video" else None,
        tokens_per_hop=TOKENS_PER_HOP[name],
        states=model.encoder(name).state_shapes,
    )


def _subsets(metrics: Metrics, names: Sequence[str]) -> tuple[Subset, ...]:
    kept = set(subsets_of(tuple(names)))
    return tuple(
        Subset(
            modalities=score.modalities,
            temperature=round(score.temperature, 4),
            accuracy=round(score.accuracy, 4),
            ece=round(score.ece, 4),
            samples=score.samples,
            unknown=score.unknown,
        )
        for score in metrics.subsets
        if score.modalities in kept
    )


def training_command(config: TrainConfig) -> str:
    """What trains it anew: from the settings file that comes with mmg, where one holds these very settings."""
    if config.data.set == "folder" and config.start:
        return f"mmg-train --data FOLDER --labels {'keep' if config.data.keep else 'replace'} --out runs/{config.name}"
    for path in sorted(CONFIGS.glob("*.toml")):
        if load(path) == config:
            return f"mmg-train training/configs/{path.name} --out runs/{config.name}"
    return f"mmg-train CONFIG.toml --out runs/{config.name}  # CONFIG: what the run's config.json says"


def _provenance(config: TrainConfig, metrics: Metrics) -> Provenance:
    """Who made it, with what and from what; nothing in it depends on when it was exported."""
    return Provenance(
        exporter="",
        created=metrics.created,
        tools=metrics.tools,
        training={
            "config": config.name,
            "config_sha256": metrics.config_sha256,
            "seed": str(metrics.seed),
            "command": training_command(config),
        },
        data="; ".join(f"{source.name} ({source.licence})" for source in metrics.data),
        licence=LICENCE,
    )
