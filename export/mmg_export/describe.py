"""The manifest of an exported model, in the bundle's words, from its spec and its files."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import msgspec
import torch
from mmg.bundle.golden import GOLDEN
from mmg.bundle.manifest import Backend, CarriedState, Encoder, Manifest, Modality, Precision, Tensor
from mmg.bundle.manifest import Fusion as FusionPart
from mmg.bundle.unknown import UNKNOWN_FILE, pack
from mmg.bundle.writer import describe_file, describe_stored
from mmg.version import installed_version
from torch.utils.flop_counter import FlopCounterMode

from mmg_export.parts import FUSION, SAMPLES, TOKENS, Part, fusion_part, run_part, state_names
from mmg_export.spec import Sensor, Spec

SUFFIXES = {"onnx": "onnx", "litert": "tflite"}
HALF = ", weights of fp32 as float16"
"""What the exporter's name in the manifest ends with, where they are stored so."""


@dataclass(frozen=True)
class MadeFile:
    """One model file. error: the largest difference of any output from the golden one, once it was measured."""

    part: str
    backend: Backend
    precision: Precision
    data: bytes
    error: float | None = None

    @property
    def path(self) -> str:
        """Where it lies in the bundle: ``imu.onnx``, ``imu.int8.tflite``."""
        middle = "" if self.precision == "fp32" else f".{self.precision}"
        return f"{self.part}{middle}.{SUFFIXES[self.backend]}"


@dataclass(frozen=True)
class Cost:
    """parameters: trained numbers. macs: multiply-accumulates of one run, in convolutions and matrix products."""

    parameters: int
    macs: int


def cost_of(part: Part) -> Cost:
    """Counted while it runs once, by torch's own counter."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one operator that the counter does not know
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of flags that mkldnn.flags sets too, for GPUs
            with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
                run_part(part, part.inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return Cost(sum(weight.numel() for weight in part.module.parameters()), counter.get_total_flops() // 2)


def costs_of(parts: Mapping[str, Part], fusion: torch.nn.Module, spec: Spec) -> dict[str, Cost]:
    """Of every part; the fusion's with the whole context of every sensor."""
    whole = fusion_part(fusion, spec, count=spec.most_tokens, masked=False)
    return {name: cost_of(part) for name, part in {**parts, FUSION: whole}.items()}


def describe(
    spec: Spec,
    files: Sequence[MadeFile],
    costs: Mapping[str, Cost],
    golden: bytes,
    extra_tools: Mapping[str, str],
    *,
    half: bool = False,
) -> Manifest:
    """The manifest of these files. half: whether those of fp32 have their weights as float16."""
    tools = {**spec.provenance.tools, "torch": version("torch"), **extra_tools}
    return Manifest(
        schema="mmg-bundle/1",
        name=spec.name,
        version=spec.version,
        labels=spec.labels,
        hop_s=spec.hop_s,
        context_hops=spec.context_hops,
        modalities=tuple(_modality(name, spec, files, costs[name]) for name in spec.sensors),
        fusion=FusionPart(
            token_dim=spec.token_dim,
            embedding_dim=spec.embedding_dim,
            files=_files_of(FUSION, files),
            parameters=costs[FUSION].parameters,
            macs=costs[FUSION].macs,
        ),
        subsets=spec.subsets,
        provenance=msgspec.structs.replace(
            spec.provenance,
            exporter=f"mmg_export {installed_version()}{HALF if half else ''}",
            tools=dict(sorted(tools.items())),
        ),
        golden=describe_stored(GOLDEN, golden),
        unknown=describe_stored(UNKNOWN_FILE, pack(spec.unknown)) if spec.unknown else None,
    )


def _modality(name: str, spec: Spec, files: Sequence[MadeFile], cost: Cost) -> Modality:
    sensor = spec.sensors[name]
    return Modality(
        name=name,
        kind=sensor.kind,
        rate_hz=float(sensor.rate_hz),
        channels=sensor.channels,
        frame=sensor.frame,
        encoder=Encoder(
            kind="window" if sensor.window_s else "streaming",
            tokens_per_hop=sensor.tokens_per_hop,
            input=Tensor(
                name=SAMPLES, shape=sensor.shape(spec.hop_s), dtype="uint8" if sensor.kind == "video" else "float32"
            ),
            output=Tensor(name=TOKENS, shape=(1, sensor.tokens_per_hop, spec.token_dim)),
            states=_states(sensor),
            window_s=sensor.window_s,
            files=_files_of(name, files),
            parameters=cost.parameters,
            macs=cost.macs,
        ),
    )


def _states(sensor: Sensor) -> tuple[CarriedState, ...]:
    named = zip(state_names(sensor), sensor.states, strict=True)
    return tuple(CarriedState(input=before, output=after, shape=tuple(shape)) for (before, after), shape in named)


def _files_of(part: str, files: Sequence[MadeFile]) -> tuple:  # type: ignore[type-arg]
    return tuple(
        describe_file(file.backend, file.precision, file.path, file.data, file.error)
        for file in files
        if file.part == part
    )
