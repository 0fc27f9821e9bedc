"""A bundle whose tiny models show, in a decision's embedding, of which samples each token was made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from mmg.bundle import Manifest, Modality, describe_file, write_bundle
from mmg.bundle.manifest import CarriedState, Channel, Encoder, Fusion, Provenance, Subset, Tensor
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

HOP_S, CONTEXT_HOPS = 0.5, 8
IMU_HZ, SOUND_HZ, VIDEO_HZ = 50.0, 1000.0, 4.0
FRAME = (6, 8)
LABELS = ("still", "walking", "running")
IMU_CHANNELS = tuple(
    Channel(name=name, unit="rad/s" if name[0] == "g" else "m/s^2") for name in ("ax", "ay", "az", "gx", "gy", "gz")
)
PLACES = {"imu": slice(0, 7), "audio": slice(7, 11), "video": slice(11, 14)}
"""Where in a token, and so in the embedding, each modality's numbers are; the last is how many hops were carried on.

Before it the IMU has the mean of each channel, the sound its first and last sample and their mean, the video the number
that each frame's first pixel spells.
"""
WIDTH = 14
PIXEL = (1.0, 256.0, 65536.0)


def write_days_bundle(path: Path) -> None:
    """Write it as a folder. Raises BundleError."""
    models = {"imu": _imu_model(), "audio": _sound_model(), "video": _video_model()}
    shapes = {
        "imu": (1, round(IMU_HZ * HOP_S), len(IMU_CHANNELS)),
        "audio": (1, round(SOUND_HZ * HOP_S), 1),
        "video": (1, round(VIDEO_HZ * HOP_S), *FRAME, 3),
    }
    modalities = (
        _modality("imu", "signal", IMU_HZ, IMU_CHANNELS, shapes["imu"], models["imu"]),
        _modality("audio", "audio", SOUND_HZ, (Channel(name="mono", unit="fs"),), shapes["audio"], models["audio"]),
        _modality("video", "video", VIDEO_HZ, (), shapes["video"], models["video"]),
    )
    fusion = _fusion_model()
    manifest = Manifest(
        schema="mmg-bundle/1",
        name="days",
        version="1.0.0",
        labels=LABELS,
        hop_s=HOP_S,
        context_hops=CONTEXT_HOPS,
        modalities=modalities,
        fusion=Fusion(
            token_dim=WIDTH, embedding_dim=WIDTH, files=(describe_file("onnx", "fp32", "fusion.onnx", fusion),)
        ),
        subsets=(Subset(modalities=("imu",), temperature=1.0, accuracy=0.5),),
        provenance=Provenance(
            exporter="mmg_tools.days", created="2026-01-01", tools={}, training={}, data="", licence=""
        ),
    )
    files = {f"{name}.onnx": model for name, model in models.items()}
    write_bundle(path, manifest, files | {"fusion.onnx": fusion})


def _modality(
    name: str,
    kind: Literal["signal", "audio", "video"],
    rate_hz: float,
    channels: tuple[Channel, ...],
    shape: tuple[int, ...],
    model: bytes,
) -> Modality:
    encoder = Encoder(
        kind="streaming",
        tokens_per_hop=1,
        input=Tensor(name="samples", shape=shape, dtype="uint8" if kind == "video" else "float32"),
        output=Tensor(name="tokens", shape=(1, 1, WIDTH)),
        files=(describe_file("onnx", "fp32", f"{name}.onnx", model),),
        states=(CarriedState(input="past", output="next_past", shape=(1, 1, 1)),),
    )
    frame = FRAME if kind == "video" else None
    return Modality(name=name, kind=kind, rate_hz=rate_hz, channels=channels, encoder=encoder, frame=frame)


def _imu_model() -> bytes:
    nodes = [helper.make_node("ReduceMean", ["samples"], ["seen"], axes=[1], keepdims=1)]
    return _encoder("imu", nodes, (1, round(IMU_HZ * HOP_S), 6), {}, TensorProto.FLOAT)


def _sound_model() -> bytes:
    count = round(SOUND_HZ * HOP_S)
    nodes = [
        helper.make_node("Gather", ["samples", "ends"], ["columns"], axis=1),
        helper.make_node("Transpose", ["columns"], ["rows"], perm=[0, 2, 1]),
        helper.make_node("ReduceMean", ["samples"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Concat", ["rows", "mean"], ["seen"], axis=2),
    ]
    return _encoder("audio", nodes, (1, count, 1), {"ends": np.array([0, count - 1], np.int64)}, TensorProto.FLOAT)


def _video_model() -> bytes:
    count = round(VIDEO_HZ * HOP_S)
    nodes = [
        helper.make_node("Slice", ["samples", "begin", "end", "axes"], ["corner"]),
        helper.make_node("Cast", ["corner"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["numbers", "shape"], ["pixels"]),
        helper.make_node("MatMul", ["pixels", "powers"], ["column"]),
        helper.make_node("Transpose", ["column"], ["seen"], perm=[0, 2, 1]),
    ]
    weights: dict[str, NDArray[Any]] = {
        "begin": np.array([0, 0], np.int64),
        "end": np.array([1, 1], np.int64),
        "axes": np.array([2, 3], np.int64),
        "shape": np.array([1, count, 3], np.int64),
        "powers": np.array(PIXEL, np.float32)[:, None],
    }
    return _encoder("video", nodes, (1, count, *FRAME, 3), weights, TensorProto.UINT8)


def _encoder(
    name: str, nodes: list[onnx.NodeProto], shape: tuple[int, ...], weights: dict[str, NDArray[Any]], kind: int
) -> bytes:
    """``seen`` ``(1, 1, F)`` and the number of hops before it go to this modality's places; the state counts hops."""
    place = PLACES[name]
    spread = np.zeros((place.stop - place.start, WIDTH), np.float32)
    spread[np.arange(len(spread)), np.arange(place.start, place.stop)] = 1
    nodes = [
        *nodes,
        helper.make_node("Concat", ["seen", "past"], ["features"], axis=2),
        helper.make_node("MatMul", ["features", "spread"], ["tokens"]),
        helper.make_node("Add", ["past", "one"], ["next_past"]),
    ]
    inputs = {"samples": shape, "past": (1, 1, 1)}
    outputs = {"tokens": (1, 1, WIDTH), "next_past": (1, 1, 1)}
    all_weights = weights | {"spread": spread, "one": np.array(1, np.float32)}
    return _model(nodes, inputs, outputs, all_weights, {"samples": kind})


def _fusion_model() -> bytes:
    """The embedding is the sum of the tokens of age 0."""
    nodes = [
        helper.make_node("Equal", ["age", "zero"], ["is_new"]),
        helper.make_node("Cast", ["is_new"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["tokens", "column"], ["new"]),
        helper.make_node("ReduceSum", ["new", "middle"], ["embedding"], keepdims=0),
        helper.make_node("Tanh", ["embedding"], ["bounded"]),
        helper.make_node("MatMul", ["bounded", "weight"], ["scores"]),
        helper.make_node("Cast", ["modality"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["numbers"], ["highest"], axes=[1], keepdims=1),
        helper.make_node("Add", ["scores", "highest"], ["logits"]),
    ]
    weights: dict[str, NDArray[Any]] = {
        "zero": np.array(0, np.int32),
        "last": np.array([2], np.int64),
        "middle": np.array([1], np.int64),
        "weight": np.sin(np.arange(1, WIDTH * len(LABELS) + 1)).reshape(WIDTH, -1).astype(np.float32),
    }
    inputs: dict[str, Sequence[int | str]] = {"tokens": (1, "N", WIDTH), "modality": (1, "N"), "age": (1, "N")}
    outputs = {"logits": (1, len(LABELS)), "embedding": (1, WIDTH)}
    return _model(nodes, inputs, outputs, weights, {"modality": TensorProto.INT32, "age": TensorProto.INT32})


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Any],
    outputs: dict[str, Any],
    weights: dict[str, NDArray[Any]],
    types: dict[str, int],
) -> bytes:
    """A graph as bytes; tensors are float32 unless ``types`` says otherwise."""

    def values(shapes: dict[str, Any]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, types.get(name, TensorProto.FLOAT), shape)
            for name, shape in shapes.items()
        ]

    stored = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(list(nodes), "days", values(inputs), values(outputs), stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
