"""int8 beside fp32: it is measured with whatever the caller measures accuracy with, and left out where it loses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmg import Bundle
from mmg.engine import Engine
from mmg.errors import BundleError, ConfigError
from mmg_export import export_bundle, proof
from mmg_export.report import Report
from own_modules import MeanFusion, Ppg, seeded, spec

PULSE = np.sin(np.arange(64 * 20) / 10)[:, None].astype(np.float32)


def export(out: Path, int8_accuracy: float | None, said: list[str]) -> Report:
    def evaluate(bundle: Bundle, backend: str, precision: str) -> Mapping[tuple[str, ...], float]:
        # What is measured is the files themselves, and by the engine.
        Engine(bundle, ["ppg"], backend=backend, precision=precision)
        return {("ppg",): 0.9 if precision == "fp32" or int8_accuracy is None else int8_accuracy}

    return export_bundle(
        out,
        encoders={"ppg": seeded(Ppg)},
        fusion=seeded(MeanFusion),
        spec=spec(),
        precisions=("fp32", "int8"),
        recorded={"ppg": PULSE},
        evaluate=evaluate if int8_accuracy is not None else None,
        hops=20,
        progress=said.append,
    )


def test_the_starter_in_int8_is_small_and_as_good() -> None:
    with Bundle.open("starter") as bundle:
        sizes = {
            precision: sum(file.bytes for file in bundle.manifest.files() if file.precision == precision)
            for precision in ("fp32", "int8")
        }
        assert sizes["fp32"] >= 1.5 * sizes["int8"] > 0  # fp32 has its weights as float16
        assert len(bundle.manifest.subsets) == 7
        for subset in bundle.manifest.subsets:
            assert subset.variants["onnx-int8"] >= subset.variants["onnx-fp32"] - 0.01


def test_int8_within_the_limit_is_in_the_bundle_with_its_accuracy(tmp_path: Path) -> None:
    said: list[str] = []
    report = export(tmp_path / "own.mmg", 0.89, said)
    assert [one.refused for one in report.variants] == ["", ""]
    with Bundle.open(tmp_path / "own.mmg") as bundle:
        (subset,) = bundle.manifest.subsets
        assert subset.variants == {"onnx-fp32": 0.9, "onnx-int8": 0.89}
        sizes = {file.precision: file.bytes for file in bundle.manifest.fusion.files}
        assert set(sizes) == {"fp32", "int8"}
        Engine(bundle, ["ppg"], precision="int8")
    assert "quantise for onnx, calibrated with 40 hops" in said


def test_int8_that_is_not_measured_must_decide_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmg_export.proof.AGREEMENT", 1.01)
    said: list[str] = []
    report = export(tmp_path / "own.mmg", None, said)
    assert "of the hops, below 101%" in report.variants[1].refused
    with Bundle.open(tmp_path / "own.mmg") as bundle:
        assert {file.precision for file in bundle.manifest.files()} == {"fp32"}


def test_accuracy_that_is_not_a_number_is_no_accuracy(tmp_path: Path) -> None:
    report = export(tmp_path / "own.mmg", float("nan"), [])
    assert report.variants[1].refused.startswith("loses nan on ppg")


@pytest.mark.parametrize("given", [np.float64(0.5), np.float32(0.5), torch.tensor(0.5), 1])
def test_an_accuracy_of_numpy_s_or_torch_s_is_a_number(given: Any) -> None:
    ((names, accuracy),) = proof._accuracy({("ppg",): given}, spec()).items()
    assert names == ("ppg",)
    assert type(accuracy) is float
    assert accuracy == float(given)


@pytest.mark.parametrize("given", [None, [0.5], {"ppg": 0.5}, {("ppg", "ppg"): 0.5}, {("ppg",): None}, {("ppg",): 93}])
def test_what_is_no_accuracy_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"evaluate must give a mapping such as \{\('ppg',\): 0.9\}"):
        proof._accuracy(given, spec())


def test_fp32_whose_accuracy_is_not_a_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="an accuracy that is not a number for onnx fp32"):
        export_bundle(
            tmp_path / "own.mmg",
            encoders={"ppg": seeded(Ppg)},
            fusion=seeded(MeanFusion),
            spec=spec(),
            evaluate=lambda *_: {("ppg",): math.nan},
            hops=20,
        )


def test_int8_that_loses_more_is_left_out_and_told(tmp_path: Path) -> None:
    said: list[str] = []
    report = export(tmp_path / "own.mmg", 0.889, said)
    refused = {one.precision: one.refused for one in report.variants}
    assert refused == {"fp32": "", "int8": "loses 0.011 on ppg, above 0.01"}
    assert "onnx int8 is left out: loses 0.011 on ppg, above 0.01" in said
    with Bundle.open(tmp_path / "own.mmg") as bundle:
        assert {file.precision for file in bundle.manifest.files()} == {"fp32"}
        assert bundle.manifest.subsets[0].variants == {"onnx-fp32": 0.9}
        with pytest.raises(BundleError, match="does not have all of ppg and fusion in int8"):
            Engine(bundle, ["ppg"], precision="int8")
