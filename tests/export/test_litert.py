"""The LiteRT backend on converted modules: its free dimension, what it refuses, and the whole way to decisions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mmg import Bundle, Chunk, Engine
from mmg.backends import open_session
from mmg.backends.litert import LitertSession
from mmg.bundle.golden import encoder_error, fusion_error, unpack
from mmg.errors import ModelError, NoRuntime, ShapeMismatch
from mmg.types import Decision
from mmg_export import export_bundle
from mmg_export.parts import fusion_part, run_part, token_counts
from mmg_export.report import Report
from own_modules import LABELS, PPG, TOKEN_DIM, Carrying, MeanFusion, seeded, spec

STREAMING = spec(replace(PPG, states=((1, 1, 6),)))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    out = tmp_path_factory.mktemp("litert") / "own.mmg"
    pulse = np.sin(np.arange(64 * 30) / 10)[:, None].astype(np.float32)
    report = export_bundle(
        out,
        encoders={"ppg": seeded(Carrying)},
        fusion=seeded(MeanFusion),
        spec=STREAMING,
        backends=("onnx", "litert"),
        precisions=("fp32", "int8"),
        recorded={"ppg": pulse},
        hops=50,
    )
    return out, report


@pytest.fixture
def bundle(exported: tuple[Path, Report]) -> Bundle:
    return Bundle.open(exported[0])


def fusion_bytes(bundle: Bundle) -> bytes:
    (file,) = [f for f in bundle.manifest.fusion.files if (f.backend, f.precision) == ("litert", "fp32")]
    return bundle.read(file)


def test_all_four_variants_are_there_and_near(exported: tuple[Path, Report], bundle: Bundle) -> None:
    errors = {(one.backend, one.precision): one.random_error or 0.0 for one in exported[1].variants}
    assert set(errors) == {(b, p) for b in ("onnx", "litert") for p in ("fp32", "int8")}
    assert all(0 < errors[backend, "fp32"] < 1e-5 for backend in ("onnx", "litert"))
    assert all(0 < errors[backend, "int8"] < 0.1 for backend in ("onnx", "litert"))
    manifest = bundle.manifest
    assert manifest.golden is not None
    golden = unpack(bundle.read(manifest.golden), manifest, "own")
    (ppg,) = manifest.modalities
    for file in ppg.encoder.files:
        session = open_session(file.backend, bundle.read(file), file.path)
        assert file.error == pytest.approx(encoder_error(ppg, manifest, session, golden), rel=0.01, abs=1e-9)
    for file in manifest.fusion.files:
        session = open_session(file.backend, bundle.read(file), file.path)
        assert file.error == pytest.approx(fusion_error(manifest, session, golden), rel=0.01, abs=1e-9)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8])
def test_any_number_of_tokens_gives_what_the_module_gives(bundle: Bundle, count: int) -> None:
    assert token_counts(STREAMING) == (4, 8)
    session = open_session("litert", fusion_bytes(bundle), "fusion")
    assert session.inputs["tokens"] == (1, "N", TOKEN_DIM)
    noise = np.random.default_rng(count)
    feeds = {
        "tokens": noise.standard_normal((1, count, TOKEN_DIM)).astype(np.float32),
        "modality": np.zeros((1, count), np.int32),
        "age": np.arange(count, dtype=np.int32)[None],
    }
    wanted = run_part(
        fusion_part(seeded(MeanFusion), STREAMING), {name: torch.tensor(value) for name, value in feeds.items()}
    )
    feeds["present"] = np.ones((1, count), np.float32)
    for _ in range(2):  # nothing stays from the run before
        logits, embedding = session.run(["logits", "embedding"], feeds)
        assert np.allclose(logits, wanted["logits"], atol=1e-5)
        assert np.allclose(embedding, wanted["embedding"], atol=1e-5)


def test_what_does_not_fit_is_refused_and_not_resized(bundle: Bundle) -> None:
    session = LitertSession(fusion_bytes(bundle), "fusion", threads=1)
    good = {
        "tokens": np.zeros((1, 2, TOKEN_DIM), np.float32),
        "modality": np.zeros((1, 2), np.int32),
        "age": np.zeros((1, 2), np.int32),
        "present": np.ones((1, 2), np.float32),
    }
    session.run(["logits"], good)
    for name, value in (
        ("tokens", np.zeros((1, 2, TOKEN_DIM + 1), np.float32)),
        ("tokens", np.zeros((2, 2, TOKEN_DIM), np.float32)),
        ("tokens", np.zeros((1, 9, TOKEN_DIM), np.float32)),
        ("age", np.zeros((2,), np.int32)),
    ):
        with pytest.raises(ShapeMismatch, match="fusion, input"):
            session.run(["logits"], {**good, name: value})
    with pytest.raises(ShapeMismatch, match="fusion, inputs"):
        session.run(["logits"], {name: value for name, value in good.items() if name != "age"})
    with pytest.raises(ModelError, match="LiteRT cannot run it"):
        session.run(["logits"], {**good, "age": np.zeros((1, 2), np.float32)})
    with pytest.raises(ModelError, match="LiteRT cannot run it"):
        session.run(["nothing"], good)


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x1c\x00\x00\x00TFL3" + bytes(100)])
def test_what_is_no_model_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match="imu encoder: LiteRT cannot load it"):
        LitertSession(data, "imu encoder", threads=1)


def decide(bundle: Bundle, backend: str, precision: str = "fp32") -> list[Decision]:
    engine = Engine(bundle, ["ppg"], backend=backend, precision=precision)
    times_ns = (np.arange(64 * 20) * 1e9 / 64).astype(np.int64)
    samples = np.sin(np.arange(64 * 20) / 7)[:, None].astype(np.float32)
    return engine.push(Chunk("ppg", samples, times_ns))


def test_both_backends_and_precisions_decide_the_same(bundle: Bundle) -> None:
    whole = decide(bundle, "onnx")
    assert len(whole) > 30
    assert whole[0].label in LABELS
    for backend, precision, near in (("litert", "fp32", 1e-5), ("onnx", "int8", 0.02), ("litert", "int8", 0.02)):
        for one, other in zip(whole, decide(bundle, backend, precision), strict=True):
            assert one.hop == other.hop
            assert all(abs(one.scores[label] - other.scores[label]) < near for label in LABELS)


def test_auto_takes_what_is_installed_and_of_both_the_preferred(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Engine(bundle, ["ppg"]).variant.backend == "onnx"
    assert Engine(bundle, ["ppg"], preferred_backend="litert").variant.backend == "litert"
    monkeypatch.setattr("mmg.engine.variant.is_installed", lambda backend: backend == "litert")
    assert Engine(bundle, ["ppg"]).variant.backend == "litert"
    assert Engine(bundle, ["ppg"], preferred_backend="onnx").variant.backend == "litert"
    monkeypatch.setattr("mmg.engine.variant.is_installed", lambda _: False)
    with pytest.raises(NoRuntime, match=r"choose one: .* install onnxruntime, or .* install ai-edge-litert$"):
        Engine(bundle, ["ppg"])
