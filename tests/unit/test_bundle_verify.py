"""Verifying a bundle: each file has one verdict, and a wrong one stops none of the others."""

from __future__ import annotations

import math
import struct
import sys
from pathlib import Path

import pytest
from fakes import matrix, mean_encoder, signal_modality, tiny_manifest, write_tiny_bundle
from goldens import golden_manifest, tiny_golden, write_golden_bundle
from mmg.bundle import Bundle, ModelFile, describe_file, write_bundle
from mmg.bundle.golden import GOLDEN, pack
from mmg.bundle.manifest import Backend, Precision
from mmg.bundle.verify import Checked, check_files, limit_of
from mmg.errors import BackendUnavailable
from msgspec.structs import replace

PATHS = [GOLDEN, "imu.onnx", "audio.onnx", "video.onnx", "fusion.onnx"]


def verify(path: Path) -> dict[str, Checked]:
    with Bundle.open(path) as bundle:
        started: list[str] = []
        checked = list(check_files(bundle, started.append))
    assert [one.path for one in checked] == started
    return {one.path: one for one in checked}


def results(path: Path) -> dict[str, str]:
    return {name: one.result for name, one in verify(path).items()}


def with_imu_file(path: Path, data: bytes, precision: Precision = "fp32", error: float | None = None) -> Path:
    """A bundle with golden arrays whose IMU encoder has this one file."""
    modality = signal_modality()
    file = describe_file("onnx", precision, "imu.onnx", data, error)
    modality = replace(modality, encoder=replace(modality.encoder, files=(file,)))
    manifest, files = golden_manifest(modality)
    write_bundle(path, manifest, files | {"imu.onnx": data})
    return path


def test_every_file_of_a_right_bundle_is_ok_and_timed(tmp_path: Path) -> None:
    checked = verify(write_golden_bundle(tmp_path / "bundle.mmg"))
    assert list(checked) == PATHS
    assert {one.result for one in checked.values()} == {"ok"}
    for name in PATHS[1:]:
        one = checked[name]
        assert (one.backend, one.precision, one.limit) == ("onnx", "fp32", 1e-4)
        assert one.error is not None
        assert one.error < 1e-6
        assert one.run_ms is not None
        assert 0 < one.run_ms < 1000


def test_without_golden_arrays_only_hashes_are_compared(tmp_path: Path) -> None:
    checked = verify(write_tiny_bundle(tmp_path / "bundle"))
    assert list(checked) == PATHS[1:]
    assert {one.result for one in checked.values()} == {"hashed"}
    assert {one.error for one in checked.values()} == {None}


@pytest.mark.parametrize("name", PATHS)
def test_an_altered_file_fails_and_the_others_are_verified(tmp_path: Path, name: str) -> None:
    path = write_golden_bundle(tmp_path / "bundle")
    data = (path / name).read_bytes()
    (path / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    checked = verify(path)
    assert checked[name].result == "failed"
    assert "SHA-256" in checked[name].reason
    others = "hashed" if name == GOLDEN else "ok"
    assert {one.result for one in checked.values() if one.path != name} == {others}


def test_a_missing_file_fails(tmp_path: Path) -> None:
    path = write_golden_bundle(tmp_path / "bundle")
    (path / "audio.onnx").unlink()
    assert results(path) == dict.fromkeys(PATHS, "ok") | {"audio.onnx": "failed"}


def test_golden_arrays_that_are_none_fail(tmp_path: Path) -> None:
    checked = verify(write_golden_bundle(tmp_path / "bundle", golden=b"no arrays"))
    assert checked[GOLDEN].result == "failed"
    assert {one.result for one in checked.values()} == {"failed", "hashed"}


def test_a_model_that_is_too_far_from_golden_fails(tmp_path: Path) -> None:
    one = verify(with_imu_file(tmp_path / "bundle", mean_encoder(25, 6, scale=1.01)))["imu.onnx"]
    assert (one.result, one.reason, one.limit) == ("failed", "too far from the golden outputs", 1e-4)
    samples, _ = tiny_golden(tiny_manifest(signal_modality())).encoders["imu"]
    assert one.error == pytest.approx(abs(samples.mean(axis=2) @ matrix(6, 4)).max() * 0.01, rel=1e-3)


def test_a_model_whose_outputs_are_not_finite_fails(tmp_path: Path) -> None:
    one = verify(with_imu_file(tmp_path / "bundle", mean_encoder(25, 6, scale=math.nan)))["imu.onnx"]
    assert (one.result, one.reason, one.error) == ("failed", "an output is not finite", math.inf)


@pytest.mark.parametrize("data", [b"no model", mean_encoder(26, 6)], ids=["no model", "another shape"])
def test_a_model_that_cannot_be_loaded_or_has_another_shape_fails(tmp_path: Path, data: bytes) -> None:
    checked = verify(with_imu_file(tmp_path / "bundle", data))
    assert checked["imu.onnx"].result == "failed"
    assert checked["imu.onnx"].reason
    assert checked["fusion.onnx"].result == "ok"


@pytest.mark.parametrize(("measured", "result"), [(None, "failed"), (0.001, "failed"), (0.02, "ok")])
def test_an_int8_file_may_be_twice_as_far_off_as_it_was_where_it_was_exported(
    tmp_path: Path, measured: float | None, result: str
) -> None:
    data = mean_encoder(25, 6, scale=1.05)
    one = verify(with_imu_file(tmp_path / "bundle", data, "int8", measured))["imu.onnx"]
    assert one.error is not None
    assert 0.003 < one.error < 0.04
    assert one.result == result


def file(backend: Backend, precision: Precision, error: float | None) -> ModelFile:
    return ModelFile(backend=backend, precision=precision, path="m", bytes=1, sha256="0" * 64, error=error)


def test_the_limit_is_that_of_the_backend_and_precision() -> None:
    assert limit_of(file("onnx", "fp32", None)) == 1e-4
    assert limit_of(file("onnx", "fp32", 5e-5)) == 1e-4
    assert limit_of(file("litert", "fp32", 9e-4)) == 1.8e-3
    assert limit_of(file("litert", "fp32", 1e-6)) == 1e-3
    assert limit_of(file("onnx", "fp32", 0.004)) == 0.008  # its weights are stored as float16
    assert limit_of(file("litert", "int8", None)) == 1e-3
    assert limit_of(file("litert", "int8", 1e-5)) == 1e-3
    assert limit_of(file("onnx", "int8", 0.25)) == 0.5


def test_a_backend_that_is_not_installed_is_skipped_once_the_hash_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_golden_bundle(tmp_path / "bundle")
    (path / "fusion.onnx").write_bytes(bytes((path / "fusion.onnx").stat().st_size))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    checked = verify(path)
    skipped = dict.fromkeys(PATHS[1:4], "skipped")
    assert results(path) == {GOLDEN: "ok", **skipped, "fusion.onnx": "failed"}
    assert checked["imu.onnx"].reason == str(BackendUnavailable("onnxruntime", "onnxruntime"))


def test_a_file_for_litert_is_opened_by_litert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modality = signal_modality()
    data = struct.pack("<I4sHHi", 12, b"TFL3", 4, 4, 4)  # a table without anything in it
    files = (*modality.encoder.files, describe_file("litert", "fp32", "imu.tflite", data))
    modality = replace(modality, encoder=replace(modality.encoder, files=files))
    manifest, contents = golden_manifest(modality)
    write_bundle(tmp_path / "bundle", manifest, contents | {"imu.tflite": data})
    for package in ("ai_edge_litert", "tflite_runtime"):
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.setitem(sys.modules, f"{package}.interpreter", None)
    checked = verify(tmp_path / "bundle")
    assert (checked["imu.tflite"].result, checked["imu.onnx"].result) == ("skipped", "ok")
    assert "pip install" in checked["imu.tflite"].reason


def test_golden_arrays_of_another_bundle_fail(tmp_path: Path) -> None:
    other = pack(tiny_golden(tiny_manifest(signal_modality(window_hops=2))))
    checked = verify(write_golden_bundle(tmp_path / "bundle", signal_modality(), golden=other))
    assert checked[GOLDEN].result == "failed"
    assert "imu/samples" in checked[GOLDEN].reason
