"""Shared test material: tiny real models, tiny valid bundles, and chunks of made-up sensors.

The models are real ONNX graphs of a few nodes whose answers can be worked out by hand: an encoder's token is the mean
of its samples times a fixed matrix, and the fusion weighs tokens by age and tells modalities apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from mmg.bundle import Manifest, Modality, describe_file, write_bundle
from mmg.bundle.manifest import CarriedState, Channel, Encoder, Fusion, Provenance, Subset, Tensor
from mmg.types import Chunk
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

LABELS = ("still", "walking", "running")
HOP_S = 0.5
TOKEN_DIM, EMBEDDING_DIM = 4, 4
IMU_HZ, AUDIO_HZ, VIDEO_HZ = 50.0, 8000.0, 4.0
FRAME = (6, 8)
G_M_S2 = 9.80665
IMU_CHANNELS = (
    *(Channel(name=name, unit="m/s^2") for name in ("ax", "ay", "az")),
    *(Channel(name=name, unit="rad/s") for name in ("gx", "gy", "gz")),
)

# Sources look at a modality's samples and never at its encoder.
UNUSED_ENCODER = Encoder(
    kind="streaming",
    tokens_per_hop=1,
    input=Tensor(name="x", shape=(1,)),
    output=Tensor(name="y", shape=(1,)),
    files=(),
)

Shape = Sequence[int | str]


# --- models --------------------------------------------------------------------------------------------------------


def onnx_model(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Shape],
    outputs: dict[str, Shape],
    weights: dict[str, NDArray[Any]],
    types: dict[str, int] | None = None,
) -> bytes:
    """A graph as bytes; tensors are float32 unless ``types`` says otherwise."""
    types = types or {}

    def values(shapes: dict[str, Shape]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, types.get(name, TensorProto.FLOAT), shape)
            for name, shape in shapes.items()
        ]

    initializers = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(list(nodes), "tiny", values(inputs), values(outputs), initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def matrix(rows: int, columns: int) -> NDArray[np.float32]:
    """A fixed matrix in which every entry differs."""
    return np.sin(np.arange(1, rows * columns + 1, dtype=np.float64)).reshape(rows, columns).astype(np.float32)


def mean_encoder(samples: int, channels: int, *, scale: float = 1.0) -> bytes:
    """``(1, T, C)`` -> ``(1, 1, TOKEN_DIM)``: the mean over time, times a matrix. NaN everywhere for a NaN scale."""
    nodes = [
        helper.make_node("ReduceMean", ["samples"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("MatMul", ["mean", "weight"], ["tokens"]),
    ]
    weights = {"weight": matrix(channels, TOKEN_DIM) * np.float32(scale)}
    return onnx_model(nodes, {"samples": (1, samples, channels)}, {"tokens": (1, 1, TOKEN_DIM)}, weights)


def endless_encoder(samples: int, channels: int) -> bytes:
    """As ``mean_encoder`` for samples that are all zero; for others it does not end: a ``Loop`` sums up nothing."""

    def scalar(name: str, kind: int, shape: Shape = ()) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    body = helper.make_graph(
        [
            helper.make_node("Identity", ["again"], ["still_again"]),
            helper.make_node("Mul", ["sum", "zero"], ["next_sum"]),
        ],
        "round",
        [scalar("round", TensorProto.INT64), scalar("again", TensorProto.BOOL), scalar("sum", TensorProto.FLOAT)],
        [scalar("still_again", TensorProto.BOOL), scalar("next_sum", TensorProto.FLOAT)],
    )
    nodes = [
        helper.make_node("Abs", ["samples"], ["sizes"]),
        helper.make_node("ReduceMax", ["sizes"], ["largest"], keepdims=0),
        helper.make_node("Greater", ["largest", "zero"], ["is_anything"]),
        helper.make_node("Loop", ["rounds", "is_anything", "zero"], ["nothing"], body=body),
        helper.make_node("ReduceMean", ["samples"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("MatMul", ["mean", "weight"], ["product"]),
        helper.make_node("Add", ["product", "nothing"], ["tokens"]),
    ]
    weights: dict[str, NDArray[Any]] = {
        "weight": matrix(channels, TOKEN_DIM),
        "zero": np.array(0, np.float32),
        "rounds": np.array(np.iinfo(np.int64).max, np.int64),
    }
    return onnx_model(nodes, {"samples": (1, samples, channels)}, {"tokens": (1, 1, TOKEN_DIM)}, weights)


def streaming_mean_encoder(samples: int, channels: int, hops: int) -> bytes:
    """The mean over the last ``hops`` hops, one hop at a time: the state is the samples of the hops before."""
    past = samples * (hops - 1)
    nodes = [
        helper.make_node("Concat", ["past", "samples"], ["window"], axis=1),
        helper.make_node("Slice", ["window", "begin", "end", "axis"], ["next_past"]),
        helper.make_node("ReduceMean", ["window"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("MatMul", ["mean", "weight"], ["tokens"]),
    ]
    weights: dict[str, NDArray[Any]] = {
        "weight": matrix(channels, TOKEN_DIM),
        "begin": np.array([samples], np.int64),
        "end": np.array([samples * hops], np.int64),
        "axis": np.array([1], np.int64),
    }
    inputs: dict[str, Shape] = {"samples": (1, samples, channels), "past": (1, past, channels)}
    return onnx_model(nodes, inputs, {"tokens": (1, 1, TOKEN_DIM), "next_past": (1, past, channels)}, weights)


def frame_encoder(frames: int) -> bytes:
    """``(1, T, H, W, 3)`` uint8 -> ``(1, 1, TOKEN_DIM)``: the mean colour, times a matrix."""
    nodes = [
        helper.make_node("Cast", ["samples"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["numbers", "unit"], ["colours"]),
        helper.make_node("ReduceMean", ["colours"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "weight"], ["flat"]),
        helper.make_node("Unsqueeze", ["flat", "axis"], ["tokens"]),
    ]
    weights: dict[str, NDArray[Any]] = {
        "unit": np.array(1 / 255, np.float32),
        "weight": matrix(3, TOKEN_DIM),
        "axis": np.array([1], np.int64),
    }
    inputs: dict[str, Shape] = {"samples": (1, frames, *FRAME, 3)}
    return onnx_model(nodes, inputs, {"tokens": (1, 1, TOKEN_DIM)}, weights, {"samples": TensorProto.UINT8})


def fusion_model() -> bytes:
    """Any number of tokens -> logits and embedding: the mean of ``token / (1 + age) + modality / 10``."""
    nodes = [
        helper.make_node("Cast", ["age"], ["hops"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["hops", "one"], ["older"]),
        helper.make_node("Unsqueeze", ["older", "axis"], ["divisor"]),
        helper.make_node("Div", ["tokens", "divisor"], ["weighed"]),
        helper.make_node("Cast", ["modality"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["number", "tenth"], ["small"]),
        helper.make_node("Unsqueeze", ["small", "axis"], ["offset"]),
        helper.make_node("Add", ["weighed", "offset"], ["told_apart"]),
        helper.make_node("ReduceMean", ["told_apart"], ["embedding"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["embedding", "weight"], ["logits"]),
    ]
    weights: dict[str, NDArray[Any]] = {
        "one": np.array(1, np.float32),
        "tenth": np.array(0.1, np.float32),
        "axis": np.array([2], np.int64),
        "weight": matrix(EMBEDDING_DIM, len(LABELS)),
    }
    inputs: dict[str, Shape] = {"tokens": (1, "N", TOKEN_DIM), "modality": (1, "N"), "age": (1, "N")}
    outputs: dict[str, Shape] = {"logits": (1, len(LABELS)), "embedding": (1, EMBEDDING_DIM)}
    return onnx_model(nodes, inputs, outputs, weights, {"modality": TensorProto.INT32, "age": TensorProto.INT32})


# --- manifests and bundles -----------------------------------------------------------------------------------------


def signal_modality(
    data: bytes | None = None, *, window_hops: int = 0, state_hops: int = 0, rate_hz: float = IMU_HZ
) -> Modality:
    """An IMU: a plain encoder of one hop, or one with a window of so many hops, or with a state of them."""
    count, channels = round(rate_hz * HOP_S), len(IMU_CHANNELS)
    states: tuple[CarriedState, ...] = ()
    if state_hops:
        data = data or streaming_mean_encoder(count, channels, state_hops)
        states = (CarriedState(input="past", output="next_past", shape=(1, count * (state_hops - 1), channels)),)
    samples = count * (window_hops or 1)
    encoder = Encoder(
        kind="window" if window_hops else "streaming",
        tokens_per_hop=1,
        input=Tensor(name="samples", shape=(1, samples, channels)),
        output=Tensor(name="tokens", shape=(1, 1, TOKEN_DIM)),
        files=(describe_file("onnx", "fp32", "imu.onnx", data or mean_encoder(samples, channels)),),
        states=states,
        window_s=window_hops * HOP_S,
    )
    return Modality(name="imu", kind="signal", rate_hz=rate_hz, channels=IMU_CHANNELS, encoder=encoder)


def audio_modality(rate_hz: float = AUDIO_HZ) -> Modality:
    """A microphone."""
    count = round(rate_hz * HOP_S)
    encoder = Encoder(
        kind="streaming",
        tokens_per_hop=1,
        input=Tensor(name="samples", shape=(1, count, 1)),
        output=Tensor(name="tokens", shape=(1, 1, TOKEN_DIM)),
        files=(describe_file("onnx", "fp32", "audio.onnx", mean_encoder(count, 1)),),
    )
    channels = (Channel(name="mono", unit="fs"),)
    return Modality(name="audio", kind="audio", rate_hz=rate_hz, channels=channels, encoder=encoder)


def video_modality() -> Modality:
    """A camera."""
    frames = round(VIDEO_HZ * HOP_S)
    encoder = Encoder(
        kind="streaming",
        tokens_per_hop=1,
        input=Tensor(name="samples", shape=(1, frames, *FRAME, 3), dtype="uint8"),
        output=Tensor(name="tokens", shape=(1, 1, TOKEN_DIM)),
        files=(describe_file("onnx", "fp32", "video.onnx", frame_encoder(frames)),),
    )
    return Modality(name="video", kind="video", rate_hz=VIDEO_HZ, channels=(), encoder=encoder, frame=FRAME)


def tiny_manifest(*modalities: Modality, context_hops: int = 4) -> Manifest:
    """A valid manifest of these modalities, by default a streaming IMU with a state, a microphone and a camera."""
    return Manifest(
        schema="mmg-bundle/1",
        name="tiny",
        version="0.0.1",
        labels=LABELS,
        hop_s=HOP_S,
        context_hops=context_hops,
        modalities=modalities or (signal_modality(state_hops=4), audio_modality(), video_modality()),
        fusion=Fusion(
            token_dim=TOKEN_DIM,
            embedding_dim=EMBEDDING_DIM,
            files=(describe_file("onnx", "fp32", "fusion.onnx", fusion_model()),),
        ),
        subsets=(Subset(modalities=((modalities[0].name if modalities else "imu"),), temperature=1.5, accuracy=0.9),),
        provenance=Provenance(
            exporter="fakes", created="2026-01-01", tools={"onnx": onnx.__version__}, training={}, data="", licence=""
        ),
    )


def tiny_files(manifest: Manifest) -> dict[str, bytes]:
    """The bytes that ``tiny_manifest`` of the modalities in this module describes."""
    files = {"fusion.onnx": fusion_model()}
    for modality in manifest.modalities:
        shape = modality.encoder.input.shape
        if modality.kind == "video":
            files["video.onnx"] = frame_encoder(shape[1])
        elif modality.encoder.states:
            hops = modality.encoder.states[0].shape[1] // shape[1] + 1
            files[f"{modality.name}.onnx"] = streaming_mean_encoder(shape[1], shape[2], hops)
        else:
            files[f"{modality.name}.onnx"] = mean_encoder(shape[1], shape[2])
    return files


def write_tiny_bundle(path: Path, *modalities: Modality, context_hops: int = 4, **files: bytes) -> Path:
    """Write a tiny valid bundle, a zip where ``path`` ends in .mmg. ``imu=data`` replaces ``imu.onnx``, and so on."""
    manifest = tiny_manifest(*modalities, context_hops=context_hops)
    replaced = {f"{name}.onnx": data for name, data in files.items()}
    write_bundle(path, manifest, tiny_files(manifest) | replaced)
    return path


# --- chunks --------------------------------------------------------------------------------------------------------


def times_ns(begin_s: float, count: int, rate_hz: float) -> NDArray[np.int64]:
    """Capture times of ``count`` samples at an even rate."""
    return np.asarray(np.round((begin_s + np.arange(count) / rate_hz) * 1e9), np.int64)


def walking(seconds: NDArray[np.float64], *, step_hz: float = 1.8, strength: float = 3.0) -> NDArray[np.float32]:
    """Accelerations (m/s^2) and rates of turn (rad/s) ``(T, 6)`` of a walk at these instants: no two are alike."""
    phase = 2 * np.pi * step_hz * seconds
    noise = np.sin(seconds * 7919.0) * 0.05
    columns = (
        strength * 0.5 * np.sin(phase / 2) + noise,
        strength * 0.4 * np.cos(phase) - noise,
        G_M_S2 + strength * np.sin(phase) + 0.3 * strength * np.sin(2 * phase) + noise,
        0.8 * np.sin(phase / 2 + 0.3) + noise,
        0.5 * np.cos(phase / 2) + noise,
        0.3 * np.sin(phase) - noise,
    )
    return np.stack(columns, axis=1).astype(np.float32)


def imu_chunk(begin_s: float, seconds: float, rate_hz: float = IMU_HZ) -> Chunk:
    """A stretch of a walk."""
    times = times_ns(begin_s, round(seconds * rate_hz), rate_hz)
    return Chunk("imu", walking(times / 1e9), times, rate_hz)


def audio_chunk(begin_s: float, seconds: float, rate_hz: float = AUDIO_HZ, *, tone_hz: float = 440.0) -> Chunk:
    """A stretch of a tone of amplitude 0.5 whose phase is zero at time zero."""
    count = round(seconds * rate_hz)
    instants = begin_s + np.arange(count) / rate_hz
    sound = 0.5 * np.sin(2 * np.pi * tone_hz * instants)
    return Chunk("audio", sound[:, None].astype(np.float32), times_ns(begin_s, count, rate_hz), rate_hz)


def video_chunk(begin_s: float, seconds: float, rate_hz: float = VIDEO_HZ) -> Chunk:
    """Frames of one grey each, which tells the frame's number: 20, 21, 22, ... from time zero on."""
    times = times_ns(begin_s, round(seconds * rate_hz), rate_hz)
    greys = (20 + np.round(times / 1e9 * rate_hz).astype(np.int64) % 200).astype(np.uint8)
    return Chunk("video", np.tile(greys[:, None, None, None], (1, *FRAME, 3)), times, rate_hz)


def cut(chunk: Chunk, places: Sequence[int]) -> Iterator[Chunk]:
    """The same samples in several chunks; what was lost before them stays before the first."""
    edges = [0, *sorted({place for place in places if 0 < place < len(chunk.times_ns)}), len(chunk.times_ns)]
    for number, (begin, end) in enumerate(pairwise(edges)):
        dropped = chunk.dropped if number == 0 else 0
        yield Chunk(chunk.modality, chunk.samples[begin:end], chunk.times_ns[begin:end], chunk.rate_hz, dropped)
