"""int8 beside fp32: it is measured with whatever the caller measures accuracy with, and left out where it loses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from mmg import Bundle
from mmg.engine import Engine
from mmg.errors import BundleError
from mmg_export import export_bundle
from mmg_export.report import Report
from own_modules import MeanFusion, Ppg, seeded, spec

PULSE = np.sin(np.arange(64 * 20) / 10)[:, None].astype(np.float32)


def export(out: Path, int8_accuracy: float, said: list[str]) -> Report:
    def evaluate(bundle: Bundle, backend: str, precision: str) -> Mapping[tuple[str, ...], float]:
        # What is measured is the files themselves, and by the engine.
        Engine(bundle, ["ppg"], backend=backend, precision=precision)
        return {("ppg",): 0.9 if precision == "fp32" else int8_accuracy}

    return export_bundle(
        out,
        encoders={"ppg": seeded(Ppg)},
        fusion=seeded(MeanFusion),
        spec=spec(),
        precisions=("fp32", "int8"),
        recorded={"ppg": PULSE},
        evaluate=evaluate,
        hops=20,
        say=said.append,
    )


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


def test_int8_that_loses_more_is_left_out_and_told(tmp_path: Path) -> None:
    said: list[str] = []
    report = export(tmp_path / "own.mmg", 0.889, said)
    refused = {one.precision: one.refused for one in report.variants}
    assert refused == {"fp32": "", "int8": "loses 0.011 on ppg, above 0.01"}
    assert "onnx int8 is left out: loses 0.011 on ppg, above 0.01" in said
    with Bundle.open(tmp_path / "own.mmg") as bundle:
        assert {file.precision for file in bundle.manifest.files()} == {"fp32"}
        assert bundle.manifest.subsets[0].variants == {"onnx-fp32": 0.9}
        with pytest.raises(BundleError, match="has not all of ppg and fusion in int8"):
            Engine(bundle, ["ppg"], precision="int8")
