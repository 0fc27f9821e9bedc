"""The exporter: what it writes is what was trained, and it says so only where it is."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import msgspec
import onnx
import pytest
import torch
from mmg.bundle import Bundle
from mmg.errors import ConfigError, ModelError
from mmg_export import parity
from mmg_export.export import export, main
from mmg_export.graphs import IR_VERSION, export_encoder, export_fusion, highest_rank
from mmg_training import checkpoint
from mmg_training import metrics as metrics_file
from mmg_training.config import TrainConfig
from mmg_training.metrics import DataSource, ExtraScore, Metrics, SubsetScore
from mmg_training.models.fusion import Fusion
from mmg_training.models.multimodal import ModelConfig, MultimodalModel
from mmg_training.task import Task
from onnx import TensorProto, helper
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


@pytest.fixture(scope="module")
def bundle(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle") / "small"
    assert main([str(run), "-o", str(out)]) == 0
    return out


def test_the_bundle_opens_and_its_files_are_whole(bundle: Path) -> None:
    with Bundle.open(bundle) as opened:
        manifest = opened.manifest
        assert tuple(modality.name for modality in manifest.modalities) == TASK.modalities
        assert manifest.labels == TASK.labels
        assert all(opened.read(file) for file in manifest.files())
        assert manifest.temperature(("imu",)) == 1.5
        assert manifest.provenance.created == METRICS.created


def test_exporting_again_gives_the_same_bytes(run: Path, bundle: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "again")
    for path in bundle.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


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
        assert 18 <= file.opset_import[0].version <= 20
        assert not file.graph.value_info
        assert not file.metadata_props
        assert not any(node.metadata_props or node.doc_string for node in file.graph.node)


def test_no_tensor_has_more_than_four_axes(bundle: Path) -> None:
    for path in bundle.glob("*.onnx"):
        assert highest_rank(onnx.load(path)) <= 4


def test_a_fifth_axis_is_noticed() -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 3])
    shape = helper.make_tensor("shape", TensorProto.INT64, [5], [1, 1, 2, 3, 1])
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["wide"]), helper.make_node("Relu", ["wide"], ["y"])]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 2, 3, 1])
    graph = helper.make_graph(nodes, "five", [value], [out], [shape])
    assert highest_rank(helper.make_model(graph)) == 5


@pytest.mark.parametrize("name", TASK.modalities)
def test_parity_fails_when_an_encoders_weights_differ(model: MultimodalModel, name: str) -> None:
    encoder = model.encoder(name)
    samples = parity.random_hops(TASK, name, 1, seed=0)
    data = export_encoder(encoder, samples if name == "video" else samples[None])
    parity.require(name, parity.encoder_error(TASK, name, encoder, data))
    other = copy.deepcopy(encoder)
    with torch.no_grad():
        list(other.parameters())[-2].add_(0.01)
    with pytest.raises(ModelError, match=f"{name}: the exported file differs"):
        parity.require(name, parity.encoder_error(TASK, name, other, data))


def test_parity_fails_when_the_fusions_weights_differ(model: MultimodalModel) -> None:
    fusion = model.fusion
    assert isinstance(fusion, Fusion)
    data = export_fusion(fusion)
    parity.require("fusion", parity.fusion_error(fusion, data, len(TASK.modalities)))
    other = copy.deepcopy(fusion)
    with torch.no_grad():
        other.age.mul_(1.05)
    with pytest.raises(ModelError, match="fusion: the exported file differs"):
        parity.require("fusion", parity.fusion_error(other, data, len(TASK.modalities)))


def test_a_baseline_is_not_exported(tmp_path: Path) -> None:
    config = TrainConfig(model=replace(SMALL, fusion="concatenation"))
    checkpoint.save(tmp_path / "run", MultimodalModel(TASK, config.model), config)
    save_metrics(tmp_path / "run")
    with pytest.raises(ModelError, match="only a transformer is exported"):
        export(tmp_path / "run", tmp_path / "out")


def test_a_task_of_two_modalities_and_faster_pictures_is_exported(tmp_path: Path) -> None:
    task = Task("depth", ("a", "b"), ("imu", "video"), video_fps=8, clips=True)
    checkpoint.save(tmp_path / "run", MultimodalModel(task, SMALL), TrainConfig(model=SMALL))
    save_metrics(tmp_path / "run")
    export(tmp_path / "run", tmp_path / "out")
    with Bundle.open(tmp_path / "out") as opened:
        video = opened.manifest.modalities[1]
        assert (video.rate_hz, video.encoder.input.shape) == (8.0, (4, 48, 64, 3))


def test_an_error_that_is_not_a_number_fails() -> None:
    with pytest.raises(ModelError):
        parity.require("imu", float("nan"))


def test_the_card_quotes_what_was_measured(bundle: Path) -> None:
    card = (bundle / "MODEL_CARD.md").read_text()
    assert "| imu | 0.500 | 0.400 | 0.100 | 1.50 | 7 |" in card
    assert "| somebody | real | imu | 0.750 | 0.200 | 9 | walking 0.50 |" in card
    assert "| nothing | random weights | none |" in card
    assert "\n- Random weights know nothing.\n- It always answers" in card
    assert "minutes on 1 x cpu, 1 thread each." in card


def test_metrics_of_other_weights_are_refused(tmp_path: Path) -> None:
    torch.manual_seed(1)
    checkpoint.save(tmp_path, MultimodalModel(TASK, SMALL), TrainConfig(model=SMALL))
    metrics_file.save(METRICS, tmp_path / checkpoint.METRICS)
    with pytest.raises(ModelError, match="was measured with other weights"):
        export(tmp_path, tmp_path / "out")


def test_a_run_without_metrics_is_refused(tmp_path: Path, run: Path) -> None:
    for name in (checkpoint.WEIGHTS, checkpoint.CONFIG):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    with pytest.raises(ConfigError, match="train first"):
        export(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)
