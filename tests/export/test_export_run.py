"""``mmg-export`` of a training run: what it writes is what was trained, and it says so only where it is."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
import torch
from conversions import SharedForkServer
from mmg.backends import open_session
from mmg.bundle import Bundle
from mmg.bundle.golden import encoder_error, fusion_error, unpack
from mmg.bundle.verify import check_files
from mmg.errors import ModelError
from mmg_export import cli, parity, proof
from mmg_export.cli import main
from mmg_export.onnx_file import IR_VERSION, OPSET
from mmg_export.parts import FUSION, encoder_part, fusion_part
from mmg_export.streams import follow, random_runs
from mmg_export.trace import Tracer
from mmg_export.trained import CONFIGS, TrainedRun, training_command
from mmg_training import checkpoint
from mmg_training import metrics as metrics_file
from mmg_training.config import TrainConfig, load
from mmg_training.metrics import DataSource, ExtraScore, Metrics, SubsetScore
from mmg_training.models.multimodal import MultimodalModel
from mmg_training.models.sizes import ModelConfig
from mmg_training.task import Task
from torch import nn

TASK = Task("made up", ("still", "walking", "running"))
SMALL = ModelConfig(8, True, 8, 16, (4, 4, 4), 8, token_dim=8, embedding_dim=6, heads=2)
METRICS = Metrics(
    created="2026-01-02T03:04:05Z",
    seed=1,
    config_sha256="0" * 64,
    weights_sha256="",
    device="1 x cpu, 1 thread each",
    wall_s=60.0,
    tools={"torch": "x"},
    data=(DataSource(name="nothing", what="random weights", licence="none"),),
    held_out="nobody",
    limits=("Random weights know nothing.",),
    subsets=(
        SubsetScore(
            modalities=("imu",),
            temperature=1.5,
            accuracy=0.5,
            macro_f1=0.4,
            ece=0.1,
            samples=7,
            recall={"still": 0.25},
        ),
    ),
    extra=(
        ExtraScore(
            name="somebody",
            kind="real",
            modalities=("imu",),
            accuracy=0.75,
            ece=0.2,
            samples=9,
            recall={"walking": 0.5},
        ),
    ),
)


def save_metrics(run: Path) -> None:
    """Of whatever weights are there."""
    metrics_file.save(msgspec.structs.replace(METRICS, weights_sha256=checkpoint.sha256(run)), run / checkpoint.METRICS)


@pytest.fixture(scope="module")
def model() -> MultimodalModel:
    torch.manual_seed(0)
    made = MultimodalModel(TASK, SMALL)
    for module in made.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.normal_(module.running_mean, std=0.3)  # type: ignore[arg-type]
            nn.init.normal_(module.bias)
    return made.eval()


@pytest.fixture(scope="module")
def run(model: MultimodalModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    checkpoint.save(folder, model, TrainConfig(name="small", model=SMALL))
    save_metrics(folder)
    return folder


QUICK = ["--backends", "onnx", "--no-data", "--hops", "20"]


@pytest.fixture(scope="module")
def bundle(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle") / "small"
    assert main([str(run), "-o", str(out), *QUICK]) == 0
    return out


def refuse(arguments: list[str], capsys: pytest.CaptureFixture[str], *, code: int = 2) -> str:
    """The last line of a command that ends with this exit code."""
    assert main(arguments) == code
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_the_bundle_opens_and_its_files_are_whole(bundle: Path) -> None:
    with Bundle.open(bundle) as opened:
        manifest = opened.manifest
        assert tuple(modality.name for modality in manifest.modalities) == TASK.modalities
        assert manifest.labels == TASK.labels
        assert all(opened.read(file) for file in manifest.stored())
        assert manifest.temperature(("imu",)) == 1.5
        assert manifest.provenance.created == METRICS.created


def test_one_modality_again_gives_the_same_bytes(
    run: Path,
    bundle: Path,
    shared_conversions: SharedForkServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("mmg.cli.progress.AFTER_S", 0.0)
    # Nothing is taken from what is shared.
    monkeypatch.setattr(shared_conversions, "folder", tmp_path / "anew")
    monkeypatch.setattr("mmg_export.bundle.Tracer", Tracer)
    before = shared_conversions.started
    assert main([str(run), "-o", str(tmp_path / "imu.mmg"), "--modalities", "imu", *QUICK]) == 0
    with Bundle.open(tmp_path / "imu.mmg") as opened:
        assert [modality.name for modality in opened.manifest.modalities] == ["imu"]
        assert {subset.modalities for subset in opened.manifest.subsets} == {("imu",)}
        (file,) = opened.manifest.modalities[0].encoder.files
        assert opened.read(file) == (bundle / file.path).read_bytes()
    assert shared_conversions.started == before + 2
    assert (tmp_path / "imu.report.json").exists()
    told = capsys.readouterr().err
    assert re.search(r"mmg-export: +0.0 s  exporting: 0 s so far\n", told)
    assert re.search(r"s  imu streamed: 0 of \d+ hops, 0 s so far\n", told)
    assert re.search(r"s  made for onnx: 0 of \d files, 0 s so far\n", told)
    assert re.search(r"s  fusion compared: 0 of \d+ hops, 0 s so far\n", told)


def test_a_modality_that_is_not_the_first_is_decided_as_the_whole_model_does(
    run: Path, model: MultimodalModel, tmp_path: Path
) -> None:
    assert main([str(run), "-o", str(tmp_path / "audio"), "--modalities", "audio", *QUICK]) == 0
    card = (tmp_path / "audio" / "MODEL_CARD.md").read_text()
    assert "What a wearer is doing, from the microphone:\n" in card
    assert "imu" not in card.lower()
    assert "--precisions fp32 --modalities audio\n" in card
    noise = torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        wanted, _ = model.fusion(noise, torch.full((1, 3), 1), torch.tensor([[0, 1, 2]]))
    with Bundle.open(tmp_path / "audio") as opened:
        session = open_session("onnx", opened.read(opened.manifest.fusion.files[0]), "fusion")
        feeds = {
            "tokens": noise.numpy(),
            "modality": np.zeros((1, 3), np.int32),
            "age": np.array([[0, 1, 2]], np.int32),
        }
        got, _ = session.run(["logits", "embedding"], feeds)
    assert np.allclose(got, wanted, atol=1e-5)


def test_the_manifest_names_the_tensors_of_the_files(bundle: Path) -> None:
    with Bundle.open(bundle) as opened:
        for modality in opened.manifest.modalities:
            graph = onnx.load_from_string(opened.read(modality.encoder.files[0])).graph
            shapes = {value.name: _shape(value) for value in (*graph.input, *graph.output)}
            encoder = modality.encoder
            assert shapes[encoder.input.name] == encoder.input.shape
            assert shapes[encoder.output.name] == encoder.output.shape
            for state in encoder.states:
                assert shapes[state.input] == shapes[state.output] == state.shape


def test_files_carry_no_metadata_and_load_in_older_runtimes(bundle: Path) -> None:
    for path in bundle.glob("*.onnx"):
        file = onnx.load(path)
        assert file.ir_version <= IR_VERSION
        assert file.opset_import[0].version == OPSET
        assert not file.graph.value_info
        assert not file.metadata_props
        assert not any(node.metadata_props or node.doc_string for node in file.graph.node)


def test_the_golden_runs_are_those_of_the_modules(bundle: Path, model: MultimodalModel) -> None:
    with Bundle.open(bundle) as opened:
        manifest = opened.manifest
        assert manifest.golden is not None
        golden = unpack(opened.read(manifest.golden), manifest, str(bundle))
        for modality in manifest.modalities:
            file = modality.encoder.files[0]
            error = encoder_error(modality, manifest, open_session("onnx", opened.read(file), file.path), golden)
            assert file.error == pytest.approx(error, rel=0.01)
            assert 0 < error < 1e-4
        file = manifest.fusion.files[0]
        assert fusion_error(manifest, open_session("onnx", opened.read(file), file.path), golden) < 1e-4
    samples, tokens = golden.encoders["imu"]
    with torch.no_grad():
        whole, _ = model.encoder("imu")(torch.tensor(samples[:, 0]).flatten(0, 1)[None], model.encoder("imu").initial())
    assert torch.allclose(torch.tensor(tokens).flatten(0, 1), whole[0], atol=1e-5)


@pytest.mark.parametrize("name", [*TASK.modalities, FUSION])
def test_parity_fails_when_weights_differ(run: Path, bundle: Path, name: str) -> None:
    trained = TrainedRun(run)
    encoders, fusion, spec = (
        trained.encoders(TASK.modalities),
        trained.fusion(TASK.modalities),
        trained.spec(TASK.modalities),
    )
    if name == FUSION:
        fusion = copy.deepcopy(fusion)
        with torch.no_grad():
            fusion.age.mul_(1.05)  # type: ignore[operator]
    else:
        with torch.no_grad():
            list(encoders[name].parameters())[-2].add_(0.01)
    parts = {key: encoder_part(key, module, spec) for key, module in encoders.items()}
    runs = {key: random_runs(key, spec, 12, 1) for key in parts}
    stream = follow(parts, fusion_part(fusion, spec), spec, runs, lambda _: None)
    with Bundle.open(bundle) as opened:
        files = {file.path.partition(".")[0]: file for file in opened.manifest.files()}
        sessions = {key: open_session("onnx", opened.read(file), key) for key, file in files.items()}
        errors = parity.measure(sessions, spec, stream)
    found = {**errors.tokens, FUSION: errors.logits}
    for key in (*TASK.modalities, FUSION):
        if key in (name, FUSION):
            with pytest.raises(ModelError, match=f"{key}: the exported file differs"):
                parity.require(key, found[key], parity.TOLERANCES["onnx"])
        else:
            parity.require(key, found[key], parity.TOLERANCES["onnx"])


def test_an_error_that_is_not_a_number_fails() -> None:
    with pytest.raises(ModelError):
        parity.require("imu", float("nan"), 1.0)


def test_a_file_above_tolerance_ends_the_export(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(parity.TOLERANCES, "onnx", 0.0)
    monkeypatch.setattr(parity, "whole_error", lambda *_: None)
    arguments = [str(run), "-o", str(tmp_path / "out"), "--modalities", "imu", *QUICK]
    said = refuse(arguments, capsys, code=4)
    assert "imu, onnx: the exported file differs from the trained module by" in said
    assert not (tmp_path / "out").exists()


def test_the_report_says_what_was_measured(bundle: Path) -> None:
    report = json.loads((bundle.parent / "small.report.json").read_text())
    assert {(one["part"], one["backend"]) for one in report["files"]} == {
        (part, "onnx") for part in (*TASK.modalities, FUSION)
    }
    assert all(one["bytes"] == (bundle / f"{one['part']}.onnx").stat().st_size for one in report["files"])
    (variant,) = report["variants"]
    assert variant["random_hops"] == 20
    assert 0 < variant["random_error"] < 1e-4
    assert set(report["streaming"]) == set(TASK.modalities)
    assert all(0 <= error < 1e-4 for error in report["streaming"].values())
    assert any(report["streaming"].values())
    assert report["half"] is False
    told = (bundle.parent / "small.report.md").read_text()
    assert "| onnx fp32 | " in told
    assert "float16" not in told


def test_weights_stored_as_float16_are_half_and_told(run: Path, bundle: Path, tmp_path: Path) -> None:
    assert main([str(run), "-o", str(tmp_path / "half"), "--half", *QUICK]) == 0
    report = json.loads((tmp_path / "half.report.json").read_text())
    assert report["half"] is True
    assert 1e-4 < report["variants"][0]["random_error"] < 1e-2
    assert "weights stored as float16" in (tmp_path / "half.report.md").read_text()
    for part in (*TASK.modalities, FUSION):
        data, whole = ((folder / f"{part}.onnx").read_bytes() for folder in (tmp_path / "half", bundle))
        assert len(data) < len(whole)
        kinds = {one.data_type for one in onnx.load_from_string(data).graph.initializer if len(one.dims) >= 2}
        assert kinds == {onnx.TensorProto.FLOAT16}
    assert "--precisions fp32 --half\n" in (tmp_path / "half" / "MODEL_CARD.md").read_text()
    assert "float16" not in (bundle / "MODEL_CARD.md").read_text()
    with Bundle.open(tmp_path / "half") as opened:
        assert opened.manifest.provenance.exporter.endswith(", weights of fp32 as float16")
        assert {one.result for one in check_files(opened, lambda _: None)} == {"ok"}


def test_float16_that_decides_otherwise_ends_the_export(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "AGREEMENT", 1.1)
    said = refuse([str(run), "-o", str(tmp_path / "out"), "--half", "--modalities", "imu", *QUICK], capsys, code=4)
    assert "onnx: with weights as float16 only 100.0% of the decisions are the same" in said
    assert "leave out --half" in said
    assert not (tmp_path / "out").exists()


def test_with_float16_the_files_are_proven_as_they_were_converted(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(parity.TOLERANCES, "onnx", 1e-9)
    monkeypatch.setattr(parity, "whole_error", lambda *_: None)
    said = refuse([str(run), "-o", str(tmp_path / "out"), "--half", "--modalities", "imu", *QUICK], capsys, code=4)
    assert "the exported file differs from the trained module by" in said


def test_a_part_costs_what_it_multiplies(bundle: Path, model: MultimodalModel) -> None:
    with Bundle.open(bundle) as opened:
        fusion = opened.manifest.fusion
    assert fusion.parameters == sum(weight.numel() for weight in model.fusion.parameters())
    # 33 tokens of width 8: four projections, attention and the perceptron in a block; in the last one, of which only
    # the class token is read, three projections of all tokens and the rest of one; two heads, and the readings.
    first, last = 33 * 8 * 8 * 8 + 2 * 33 * 33 * 8, 33 * 3 * 8 * 8 + 5 * 8 * 8 + 2 * 33 * 8
    assert fusion.macs == first + last + 8 * 3 + 8 * 6 + 3 * 32 * 8 + 3 * 8 * 3


def test_a_baseline_is_not_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = TrainConfig(model=replace(SMALL, fusion="concatenation"))
    checkpoint.save(tmp_path / "run", MultimodalModel(TASK, config.model), config)
    save_metrics(tmp_path / "run")
    said = refuse([str(tmp_path / "run"), "-o", str(tmp_path / "out"), *QUICK], capsys, code=4)
    assert "only a transformer is exported" in said


def test_a_task_of_two_modalities_and_faster_pictures_is_exported(tmp_path: Path) -> None:
    task = Task("depth", ("a", "b"), ("imu", "video"), video_fps=8, clips=True)
    checkpoint.save(tmp_path / "run", MultimodalModel(task, SMALL), TrainConfig(model=SMALL))
    save_metrics(tmp_path / "run")
    assert main([str(tmp_path / "run"), "-o", str(tmp_path / "out"), *QUICK]) == 0
    with Bundle.open(tmp_path / "out") as opened:
        video = opened.manifest.modalities[1]
        assert (video.rate_hz, video.encoder.input.shape) == (8.0, (4, 48, 64, 3))


def test_the_card_quotes_what_was_measured(bundle: Path) -> None:
    card = (bundle / "MODEL_CARD.md").read_text()
    assert "| imu | 0.500 | 0.400 | 0.100 | 1.50 | 7 |" in card
    assert "| somebody | real | imu | 0.750 | 0.200 | 9 | walking 0.50 |" in card
    assert "| nothing | random weights | none |" in card
    assert "\n- Random weights know nothing.\n- It always answers" in card
    assert "minutes on 1 x cpu, 1 thread each." in card


def test_metrics_of_other_weights_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(1)
    checkpoint.save(tmp_path, MultimodalModel(TASK, SMALL), TrainConfig(model=SMALL))
    metrics_file.save(METRICS, tmp_path / checkpoint.METRICS)
    said = refuse([str(tmp_path), "-o", str(tmp_path / "out"), *QUICK], capsys, code=4)
    assert "was measured with other weights" in said


def test_a_run_without_metrics_is_refused(tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (checkpoint.WEIGHTS, checkpoint.CONFIG):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    assert "train first" in refuse([str(tmp_path), "-o", str(tmp_path / "out"), *QUICK], capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--modalities", "imu,lidar"], "--modalities lidar: the run has imu, audio, video"),
        (["--backends", "tensorrt"], "'tensorrt' is not one of onnx, litert"),
        (["--precisions", "fp32,int8"], "--no-data: int8 is calibrated"),
        (["--evaluate"], "--no-data: int8 is calibrated, and accuracy measured"),
        (["--hops", "0"], "--hops must be at least 1"),
        (["--limit", "2"], "--limit from 0 to 1"),
    ],
)
def test_requests_that_cannot_be(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], problem: str
) -> None:
    assert problem in refuse([str(run), "-o", str(tmp_path / "out"), *QUICK, *flags], capsys)


def test_a_folder_that_is_not_there_is_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refuse([str(run), "-o", str(tmp_path / "none" / "out.mmg"), *QUICK], capsys)
    assert f"there is no folder {tmp_path / 'none'}" in said


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)


def test_the_training_command_names_a_file_that_holds_the_settings_or_none() -> None:
    config = load(CONFIGS / "utd_mhad.toml")
    assert training_command(config) == "mmg-train training/configs/utd_mhad.toml --out runs/utd-mhad"
    assert training_command(replace(config, steps=3)).startswith("mmg-train CONFIG.toml --out runs/utd-mhad")


def test_without_litert_torch_onnx_alone_is_exported_and_this_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "find_spec", lambda name: None if name == "litert_torch" else name)
    assert cli._installed() == ("onnx",)
    assert "its converter is not installed" in capsys.readouterr().err


def test_without_torch_the_command_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys, importlib.util; find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'torch' else find(name, *rest)\n"
        "from mmg_export.cli import main\n"
        f"code = main(['run', '-o', {str(tmp_path / 'x.mmg')!r}])\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules; sys.exit(code)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines()[-1].startswith("mmg-export: torch is not installed; in the project's folder: pip")
