"""The engine with models that are not what their bundle says, and with two forms of the same model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import (
    EMBEDDING_DIM,
    HOP_S,
    LABELS,
    TOKEN_DIM,
    Shape,
    audio_chunk,
    audio_modality,
    imu_chunk,
    matrix,
    mean_encoder,
    onnx_model,
    signal_modality,
    streaming_mean_encoder,
    tiny_files,
    tiny_manifest,
    write_tiny_bundle,
)
from mmg.bundle import Bundle, Modality, describe_file, write_bundle
from mmg.engine import Engine
from mmg.errors import BundleError, ModelError, ShapeMismatch
from mmg.types import Decision
from msgspec.structs import replace
from onnx import TensorProto, helper

COUNT = 25
TOKENS: dict[str, Shape] = {"tokens": (1, 1, TOKEN_DIM)}


def imu_engine(tmp_path: Path, data: bytes, modality: Modality | None = None) -> Engine:
    """An engine on a bundle whose ``imu.onnx`` is this, with the right hash, loaded by a first chunk."""
    modality = modality or signal_modality(data)
    with Bundle.open(write_tiny_bundle(tmp_path / "bundle.mmg", modality, imu=data)) as bundle:
        engine = Engine(bundle, ["imu"])
        assert engine.push(imu_chunk(0, 0)) == []
        return engine


def fusion_engine(tmp_path: Path, data: bytes) -> Engine:
    """An engine on a bundle whose ``fusion.onnx`` is this, with the right hash."""
    manifest = tiny_manifest(signal_modality())
    fusion = replace(manifest.fusion, files=(describe_file("onnx", "fp32", "fusion.onnx", data),))
    manifest = replace(manifest, fusion=fusion)
    write_bundle(tmp_path / "bundle", manifest, tiny_files(manifest) | {"fusion.onnx": data})
    return Engine(Bundle.open(tmp_path / "bundle"), ["imu"])


def encoder_of(inputs: dict[str, Shape], outputs: dict[str, Shape], *, output: str = "tokens") -> bytes:
    """An encoder like ``mean_encoder`` with other names or declared shapes; every input counts."""
    first, *others = inputs
    nodes = [helper.make_node("ReduceMean", [first], ["mean"], axes=[1], keepdims=1)]
    total = "mean"
    for other in others:
        nodes.append(helper.make_node("Add", [total, other], [f"{total}+"]))
        total += "+"
    nodes.append(helper.make_node("MatMul", [total, "weight"], [output]))
    return onnx_model(nodes, inputs, outputs, {"weight": matrix(6, TOKEN_DIM)})


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (encoder_of({"samples": (1, COUNT - 1, 6)}, TOKENS), "samples"),
        (encoder_of({"samples": (COUNT, 1, 6)}, {"tokens": (COUNT, 1, TOKEN_DIM)}), "samples"),
        (encoder_of({"signal": (1, COUNT, 6)}, TOKENS), "input"),
        (encoder_of({"samples": (1, COUNT, 6), "gain": (1,)}, TOKENS), "inputs"),
        (encoder_of({"samples": (1, COUNT, 6)}, {"features": (1, 1, TOKEN_DIM)}, output="features"), "output"),
        (mean_encoder(COUNT * 2, 6), "samples"),
    ],
    ids=["fewer samples", "transposed", "another input", "one input more", "another output", "a window's encoder"],
)
def test_an_encoder_whose_declared_tensors_are_not_the_manifests_is_refused(
    tmp_path: Path, data: bytes, what: str
) -> None:
    with pytest.raises(ShapeMismatch) as caught:
        imu_engine(tmp_path, data)
    assert caught.value.name.startswith("imu encoder")
    assert caught.value.name.endswith(what)


def test_an_encoder_that_declares_another_output_shape_is_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["samples"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("MatMul", ["mean", "weight"], ["tokens"]),
    ]
    data = onnx_model(
        nodes,
        {"samples": (1, COUNT, 6)},
        {"tokens": (1, 1, TOKEN_DIM + 1)},
        {"weight": matrix(6, TOKEN_DIM + 1)},
    )
    with pytest.raises(ShapeMismatch) as caught:
        imu_engine(tmp_path, data)
    assert (caught.value.expected, caught.value.got) == ([1, 1, TOKEN_DIM], [1, 1, TOKEN_DIM + 1])


def test_an_encoder_that_gives_another_shape_than_it_declared_is_refused(tmp_path: Path) -> None:
    # The output's size depends on the data, so that no declaration can tell.
    nodes = [
        helper.make_node("Reshape", ["samples", "flat"], ["row"]),
        helper.make_node("NonZero", ["row"], ["places"]),
        helper.make_node("Cast", ["places"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["numbers", "axis"], ["tokens"]),
    ]
    weights: dict[str, Any] = {"flat": np.array([-1], np.int64), "axis": np.array([0], np.int64)}
    data = onnx_model(nodes, {"samples": (1, COUNT, 6)}, {"tokens": (1, 1, "n")}, weights)
    with pytest.raises(ShapeMismatch, match="imu encoder, output tokens"):
        imu_engine(tmp_path, data)


def test_an_encoder_whose_shape_changes_with_the_data_is_an_error_when_it_does(tmp_path: Path) -> None:
    # As many tokens as there are numbers other than -1 among the first four: four of zeros, and one of the chunk.
    nodes = [
        helper.make_node("Reshape", ["samples", "flat"], ["row"]),
        helper.make_node("Slice", ["row", "begin", "end"], ["four"]),
        helper.make_node("Add", ["four", "one"], ["more"]),
        helper.make_node("NonZero", ["more"], ["places"]),
        helper.make_node("Cast", ["places"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["numbers", "axis"], ["tokens"]),
    ]
    weights: dict[str, Any] = {
        "flat": np.array([-1], np.int64),
        "begin": np.array([0], np.int64),
        "end": np.array([4], np.int64),
        "one": np.array([1], np.float32),
        "axis": np.array([0], np.int64),
    }
    engine = imu_engine(tmp_path, onnx_model(nodes, {"samples": (1, COUNT, 6)}, {"tokens": (1, 1, "n")}, weights))
    chunk = imu_chunk(0, 2)
    chunk.samples[:, 1:] = -1
    chunk.samples[::2, 0] = 9.8
    with pytest.raises(ModelError, match=r"bundle .*: imu.onnx: onnxruntime cannot run it"):
        engine.push(chunk)


def test_an_encoder_whose_state_has_another_shape_is_refused(tmp_path: Path) -> None:
    modality = signal_modality(state_hops=4)
    data = streaming_mean_encoder(COUNT, 6, 3)
    file = describe_file("onnx", "fp32", "imu.onnx", data)
    modality = replace(modality, encoder=replace(modality.encoder, files=(file,)))
    with pytest.raises(ShapeMismatch, match="imu encoder, input past"):
        imu_engine(tmp_path, data, modality)


def test_a_state_that_the_model_lacks_is_refused(tmp_path: Path) -> None:
    modality = signal_modality(mean_encoder(COUNT, 6), state_hops=4)
    with pytest.raises(ShapeMismatch, match="past"):
        imu_engine(tmp_path, mean_encoder(COUNT, 6), modality)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"not a model", "is not an ONNX file"),
        (b"\x08\x08" * 50, "onnxruntime cannot load it"),
        (mean_encoder(COUNT, 6)[:-10], "is not an ONNX file"),
    ],
)
def test_a_file_that_is_no_model_is_refused_though_its_hash_is_right(tmp_path: Path, data: bytes, why: str) -> None:
    with pytest.raises(ModelError, match=rf"bundle .*: imu.onnx: {why}"):
        imu_engine(tmp_path, data)


def test_a_backend_that_the_bundle_has_no_file_for_is_refused(tmp_path: Path) -> None:
    with (
        Bundle.open(write_tiny_bundle(tmp_path / "bundle", signal_modality())) as bundle,
        pytest.raises(BundleError, match="imu encoder: has no fp32 file for backend litert"),
    ):
        Engine(bundle, ["imu"], backend="litert")


# --- fusion --------------------------------------------------------------------------------------------------------


def fusion_of(inputs: dict[str, Shape], outputs: dict[str, Shape], token_dim: int = TOKEN_DIM) -> bytes:
    """A fusion that takes the mean of its tokens and ignores all else."""
    nodes = [
        helper.make_node("ReduceMean", ["tokens"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "to_embedding"], ["embedding"]),
        helper.make_node("MatMul", ["mean", "to_logits"], ["logits"]),
    ]
    weights = {"to_embedding": matrix(token_dim, EMBEDDING_DIM), "to_logits": matrix(token_dim, len(LABELS))}
    integers = {name: int(TensorProto.INT32) for name in inputs if name != "tokens"}
    return onnx_model(nodes, inputs, outputs, weights, integers)


FUSION_IN: dict[str, Shape] = {"tokens": (1, "N", TOKEN_DIM), "modality": (1, "N"), "age": (1, "N")}
FUSION_OUT: dict[str, Shape] = {"logits": (1, len(LABELS)), "embedding": (1, EMBEDDING_DIM)}


WIDER: dict[str, Shape] = FUSION_IN | {"tokens": (1, "N", TOKEN_DIM + 1)}
FIXED: dict[str, Shape] = {"tokens": (1, 3, TOKEN_DIM), "modality": (1, 3), "age": (1, 3)}


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (fusion_of({"tokens": (1, "N", TOKEN_DIM), "modality": (1, "N")}, FUSION_OUT), "input"),
        (fusion_of(FUSION_IN | {"mask": (1, "N")}, FUSION_OUT), "inputs"),
        (fusion_of(WIDER, FUSION_OUT, TOKEN_DIM + 1), "input tokens"),
        (fusion_of(FIXED, FUSION_OUT), "input tokens"),
        (fusion_of(FUSION_IN, {"logits": (1, len(LABELS))}), "output"),
    ],
    ids=["no age", "a mask more", "other tokens", "a fixed number of tokens", "no embedding"],
)
def test_a_fusion_with_other_tensors_is_refused(tmp_path: Path, data: bytes, what: str) -> None:
    with pytest.raises(ShapeMismatch) as caught:
        fusion_engine(tmp_path, data)
    assert caught.value.name == f"fusion, {what}"


def test_a_fusion_that_gives_another_embedding_than_it_declared_is_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["tokens"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "to_logits"], ["logits"]),
        helper.make_node("Reshape", ["tokens", "flat"], ["row"]),
        helper.make_node("NonZero", ["row"], ["places"]),
        helper.make_node("Cast", ["places"], ["embedding"], to=TensorProto.FLOAT),
    ]
    weights: dict[str, Any] = {"to_logits": matrix(TOKEN_DIM, len(LABELS)), "flat": np.array([-1], np.int64)}
    integers = {"modality": int(TensorProto.INT32), "age": int(TensorProto.INT32)}
    outputs: dict[str, Shape] = {"logits": (1, len(LABELS)), "embedding": (1, "n")}
    with pytest.raises(ShapeMismatch, match="fusion, output embedding"):
        fusion_engine(tmp_path, onnx_model(nodes, FUSION_IN, outputs, weights, integers))


# --- what encoders give --------------------------------------------------------------------------------------------


def test_an_encoder_that_gives_nan_makes_its_modality_faulty_and_stops_nobody(tmp_path: Path) -> None:
    data = mean_encoder(COUNT, 6, scale=float("nan"))
    path = write_tiny_bundle(tmp_path / "bundle", signal_modality(data), audio_modality(), imu=data)
    engine = Engine(Bundle.open(path), ["imu", "audio"])
    decisions = engine.push(imu_chunk(0, 4)) + engine.push(audio_chunk(0, 4))
    assert len(decisions) == 7
    for decision in decisions:
        assert decision.modalities == ("audio",)
        assert decision.sensors["imu"].state == "faulty"
        assert "not finite" in decision.sensors["imu"].reason
        assert np.isfinite(list(decision.scores.values())).all()


def test_an_encoder_that_gives_nan_and_is_alone_gives_no_decision(tmp_path: Path) -> None:
    engine = imu_engine(tmp_path, mean_encoder(COUNT, 6, scale=float("nan")))
    assert engine.push(imu_chunk(0, 4)) == []
    assert engine.advance(10**10) == []


WINDOW_HOPS = 3


@pytest.mark.parametrize("context_hops", [1, 4])
def test_a_window_encoder_and_its_streaming_form_decide_alike_once_the_window_is_full(
    tmp_path: Path, context_hops: int
) -> None:
    def decide(name: str, modality: Modality) -> list[Decision]:
        path = write_tiny_bundle(tmp_path / name, modality, context_hops=context_hops)
        engine = Engine(Bundle.open(path), ["imu"])
        return [decision for k in range(40) for decision in engine.push(imu_chunk(k * 0.25, 0.25))]

    window = decide("window", signal_modality(window_hops=WINDOW_HOPS))
    streaming = decide("streaming", signal_modality(state_hops=WINDOW_HOPS))
    assert [decision.hop for decision in streaming] == list(range(19))
    assert [decision.hop for decision in window] == list(range(WINDOW_HOPS - 1, 19))
    # What the two saw before the window was full has left the context by then.
    full = WINDOW_HOPS - 1 + context_hops - 1
    assert [d for d in window if d.hop >= full] == [d for d in streaming if d.hop >= full]
    assert len({decision.embedding for decision in window}) == len(window)


def test_a_window_warms_up_again_after_a_gap(tmp_path: Path) -> None:
    path = write_tiny_bundle(tmp_path / "bundle", signal_modality(window_hops=WINDOW_HOPS), audio_modality())
    engine = Engine(Bundle.open(path), ["imu", "audio"])
    engine.push(imu_chunk(0, 5))
    engine.push(imu_chunk(7, 5))
    decisions = engine.push(audio_chunk(0, 12))
    states = [decision.sensors["imu"].state for decision in decisions]
    gap = round(7 / HOP_S)
    assert states[:WINDOW_HOPS] == ["warming", "warming", "live"]
    assert states[gap : gap + WINDOW_HOPS] == ["warming", "warming", "live"]
    assert "stale" in states[round(5 / HOP_S) : gap]


def test_a_provider_with_memory_of_its_own_is_given_each_hop_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, chunks = mean_encoder(COUNT, 6), [imu_chunk(begin_s, 2) for begin_s in (0, 2, 4)]
    for folder in ("bound", "copied"):
        (tmp_path / folder).mkdir()
    bound = imu_engine(tmp_path / "bound", data)
    monkeypatch.setattr("mmg.backends.onnx.ON_HOST", set())
    copied = imu_engine(tmp_path / "copied", data)
    decisions = [bound.push(chunk) for chunk in chunks]
    assert sum(map(len, decisions)) > 8
    assert [copied.push(chunk) for chunk in chunks] == decisions


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_logit_that_is_not_finite_is_an_error_whichever_it_is(tmp_path: Path, value: float) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["tokens"], ["embedding"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["embedding", "to_logits"], ["finite"]),
        helper.make_node("Add", ["finite", "bias"], ["logits"]),
    ]
    weights: dict[str, Any] = {
        "to_logits": matrix(TOKEN_DIM, len(LABELS)),
        "bias": np.array([[0, value, 0]], np.float32),
    }
    integers = {"modality": int(TensorProto.INT32), "age": int(TensorProto.INT32)}
    outputs: dict[str, Shape] = {"logits": (1, len(LABELS)), "embedding": (1, TOKEN_DIM)}
    engine = fusion_engine(tmp_path, onnx_model(nodes, FUSION_IN, outputs, weights, integers))
    with pytest.raises(ModelError, match="the logits are not finite"):
        engine.push(imu_chunk(0, 4))
