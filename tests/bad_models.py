"""Models that nobody should run, made by the tests: encoders of the tiny bundle's IMU, and bundles that hold them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from fakes import (
    HOP_S,
    IMU_CHANNELS,
    IMU_HZ,
    TOKEN_DIM,
    audio_modality,
    matrix,
    mean_encoder,
    onnx_model,
    signal_modality,
    tiny_files,
    tiny_manifest,
)
from mmg.bundle import Bundle, Manifest, ModelFile, write_bundle
from msgspec.structs import replace
from numpy.typing import NDArray
from onnx import TensorProto, helper

COUNT, CHANNELS = round(IMU_HZ * HOP_S), len(IMU_CHANNELS)


def endless() -> bytes:
    """A loop whose condition stays true, and whose count is the largest that there is."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["in"], ["out"])],
        "body",
        [
            helper.make_tensor_value_info("at", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("in", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("out", TensorProto.FLOAT, [1]),
        ],
    )
    weights = {"count": np.array(2**63 - 1), "yes": np.array(True), "zero": np.zeros(1, np.float32)}
    return _with_addend([helper.make_node("Loop", ["count", "yes", "zero"], ["more"], body=body)], weights)


def bomb() -> bytes:
    """A tensor of 100 GB."""
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["many"]),
        helper.make_node("ReduceMean", ["many"], ["more"], keepdims=1),
    ]
    return _with_addend(nodes, {"size": np.array([25_000_000_000])})


def elsewhere() -> bytes:
    """Its weights are in a file of the current folder."""
    model = onnx.load_from_string(mean_encoder(COUNT, CHANNELS))
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="weights.bin")
    return bytes(model.SerializeToString())


def foreign() -> bytes:
    """An operator of a domain that nobody knows."""
    model = onnx.load_from_string(mean_encoder(COUNT, CHANNELS))
    model.graph.node[0].domain = "com.example"
    return bytes(model.SerializeToString())


def write_bad_bundle(path: Path, data: bytes) -> Path:
    """A tiny bundle whose IMU's encoder this is, with a right hash; its microphone's is good."""
    manifest = tiny_manifest(signal_modality(data), audio_modality())
    write_bundle(path, manifest, tiny_files(manifest) | {"imu.onnx": data})
    return path


def write_starter_with(path: Path, name: str, data: bytes) -> Path:
    """The starter with this file in the place of one of its own, and a right hash."""

    def named(files: tuple[ModelFile, ...]) -> tuple[ModelFile, ...]:
        digest = hashlib.sha256(data).hexdigest()
        return tuple(replace(f, bytes=len(data), sha256=digest) if f.path == name else f for f in files)

    with Bundle.open("starter") as bundle:
        contents = {file.path: bundle.read(file) for file in bundle.manifest.stored()}
        manifest: Manifest = bundle.manifest
    modalities = tuple(
        replace(one, encoder=replace(one.encoder, files=named(one.encoder.files))) for one in manifest.modalities
    )
    fusion = replace(manifest.fusion, files=named(manifest.fusion.files))
    write_bundle(path, replace(manifest, modalities=modalities, fusion=fusion), contents | {name: data})
    return path


def _with_addend(nodes: list[onnx.NodeProto], weights: dict[str, NDArray[Any]]) -> bytes:
    """An encoder like ``mean_encoder`` that adds the one number ``more`` to its tokens."""
    return onnx_model(
        [
            helper.make_node("ReduceMean", ["samples"], ["mean"], axes=[1], keepdims=1),
            *nodes,
            helper.make_node("MatMul", ["mean", "weight"], ["product"]),
            helper.make_node("Add", ["product", "more"], ["tokens"]),
        ],
        {"samples": (1, COUNT, CHANNELS)},
        {"tokens": (1, 1, TOKEN_DIM)},
        {"weight": matrix(CHANNELS, TOKEN_DIM), **weights},
    )
