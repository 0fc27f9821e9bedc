"""The manifest of an exported model: what was trained, said in the bundle's words."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

from mmg.bundle.manifest import (
    CarriedState,
    Channel,
    Encoder,
    Manifest,
    Modality,
    Provenance,
    Subset,
    Tensor,
)
from mmg.bundle.manifest import Fusion as FusionPart
from mmg.bundle.writer import describe_file
from mmg_training.config import TrainConfig
from mmg_training.metrics import Metrics
from mmg_training.models.multimodal import MultimodalModel
from mmg_training.task import CONTEXT_HOPS, HOP_S, TOKENS_PER_HOP

from mmg_export.graphs import state_names

ACCELERATION = tuple(Channel(name=name, unit="m/s^2") for name in ("ax", "ay", "az"))
TURN_RATE = tuple(Channel(name=name, unit="rad/s", optional=True) for name in ("gx", "gy", "gz"))
LICENCE = "Apache-2.0"


def path_of(part: str) -> str:
    """Where a part's file lies in the bundle."""
    return f"{part}.onnx"


def manifest(model: MultimodalModel, config: TrainConfig, metrics: Metrics, files: Mapping[str, bytes]) -> Manifest:
    """``files`` maps each modality and ``fusion`` to ONNX bytes."""
    task = model.task
    return Manifest(
        schema="mmg-bundle/1",
        name=config.name,
        version=config.version,
        labels=task.labels,
        hop_s=HOP_S,
        context_hops=CONTEXT_HOPS,
        modalities=tuple(_modality(name, model, files[name]) for name in task.modalities),
        fusion=FusionPart(
            token_dim=model.config.token_dim,
            embedding_dim=model.config.embedding_dim,
            files=(describe_file("onnx", "fp32", path_of("fusion"), files["fusion"]),),
        ),
        subsets=tuple(
            Subset(
                modalities=score.modalities,
                temperature=round(score.temperature, 4),
                accuracy=round(score.accuracy, 4),
                ece=round(score.ece, 4),
                samples=score.samples,
            )
            for score in metrics.subsets
        ),
        provenance=provenance(config, metrics),
    )


def provenance(config: TrainConfig, metrics: Metrics) -> Provenance:
    """Who made it, with what and from what; nothing in it depends on when it was exported."""
    return Provenance(
        exporter=f"mmg_export {version('mmg')}",
        created=metrics.created,
        tools={**metrics.tools, "onnx": version("onnx"), "onnxscript": version("onnxscript")},
        training={
            "config": config.name,
            "config_sha256": metrics.config_sha256,
            "seed": str(metrics.seed),
            "command": f"mmg-train training/configs/{config.name}.toml --out runs/{config.name}",
        },
        data="; ".join(f"{source.name} ({source.licence})" for source in metrics.data),
        licence=LICENCE,
    )


def _modality(name: str, model: MultimodalModel, data: bytes) -> Modality:
    encoder, task = model.encoder(name), model.task
    video = name == "video"
    shape = task.hop_shape(name) if video else (1, *task.hop_shape(name))
    kinds = {"imu": "signal", "audio": "audio", "video": "video"}
    channels = {"imu": ACCELERATION + TURN_RATE, "audio": (Channel(name="mono", unit="fs"),), "video": ()}
    return Modality(
        name=name,
        kind=kinds[name],  # type: ignore[arg-type]
        rate_hz=float(task.rate_hz(name)),
        channels=channels[name],
        frame=task.frame if video else None,
        encoder=Encoder(
            kind="streaming",
            tokens_per_hop=TOKENS_PER_HOP[name],
            input=Tensor(
                name="samples",
                shape=shape,
                dtype="uint8" if video else "float32",
            ),
            output=Tensor(name="tokens", shape=(1, TOKENS_PER_HOP[name], model.config.token_dim)),
            states=tuple(
                CarriedState(input=before, output=after, shape=size)
                for (before, after), size in zip(state_names(encoder), encoder.state_shapes, strict=True)
            ),
            files=(describe_file("onnx", "fp32", path_of(name), data),),
        ),
    )
