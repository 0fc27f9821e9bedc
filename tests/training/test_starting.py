"""Training that begins with another run's weights, labels that are not everywhere, and data sets of other packages."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mmg import Bundle
from mmg.errors import ConfigError
from mmg_training import checkpoint, data
from mmg_training.batches import Batches
from mmg_training.config import DataConfig, TrainConfig
from mmg_training.data.parts import told, trained_sha256
from mmg_training.data.sessions import UNLABELLED, Dataset, Pool
from mmg_training.data.starter import WEARER
from mmg_training.data.virtual import simulate
from mmg_training.evaluation.decide import decide, subjects_of
from mmg_training.evaluation.engine import decide_with_engine
from mmg_training.evaluation.subsets import by_model, measurable, score_subsets
from mmg_training.metrics import NOTHING_HELD_OUT
from mmg_training.models.multimodal import MultimodalModel
from mmg_training.own import STARTER_RUN, own_settings, starter_model
from mmg_training.starting import start_from, with_start
from mmg_training.task import Task
from mmg_training.train import train
from training.synthetic_data import TASK, TINY, dataset, session


def fresh(labels: tuple[str, ...], modalities: tuple[str, ...]) -> MultimodalModel:
    torch.manual_seed(0)
    return MultimodalModel(Task("own", labels, modalities), starter_model()).eval()


def moved(seed: int = 0) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return {"imu": torch.randn(2, 200, 6, generator=rng), "audio": torch.randn(2, 64_000, 1, generator=rng) * 0.1}


@torch.no_grad()
def logits(model: MultimodalModel, names: tuple[str, ...]) -> torch.Tensor:
    tokens = model.encode({name: values for name, values in moved().items() if name in names})
    present = torch.zeros(2, len(model.task.modalities), 8, dtype=torch.bool)
    present[:, [model.task.modalities.index(name) for name in names]] = True
    return model.fuse(tokens, torch.arange(2), torch.full((2,), 7), present)[0]


@pytest.mark.parametrize("names", [("imu",), ("audio",), ("imu", "audio")])
def test_labels_that_the_starter_knows_are_decided_as_it_does(names: tuple[str, ...]) -> None:
    starter, _ = checkpoint.load(STARTER_RUN)
    starter.fusion.members = []  # each label by itself, without the kinds that are summed to it: no others have them
    model = fresh(("walking", "juggling", "still"), ("imu", "audio"))
    start_from(model, "starter")
    kept = [starter.task.labels.index(label) for label in ("walking", "still")]
    torch.testing.assert_close(logits(model, names)[:, [0, 2]], logits(starter, names)[:, kept])


def test_the_checkpoint_decides_as_the_bundle_that_mmg_carries() -> None:
    starter, _ = checkpoint.load(STARTER_RUN)
    with Bundle.open("starter") as bundle:
        assert bundle.manifest.labels == starter.task.labels
        made = simulate(replace(WEARER, modalities=("imu",)), 1003, 5, 12.0)
        ours = decide(starter, [made], ("imu",))
        theirs = decide_with_engine(bundle, starter.task, [made], ("imu",))
    assert (ours.logits.argmax(1) == theirs.logits.argmax(1)).all()


def test_a_run_of_another_size_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    checkpoint.save(tmp_path, MultimodalModel(TASK, TINY.model), TINY)
    with pytest.raises(ConfigError, match="has a model of another size"):
        start_from(fresh(("a", "b"), ("imu",)), str(tmp_path))
    checkpoint.save(tmp_path / "audio", MultimodalModel(replace(TASK, modalities=("audio",)), TINY.model), TINY)
    with pytest.raises(ConfigError, match="knows no imu"):
        start_from(MultimodalModel(TASK, TINY.model), str(tmp_path / "audio"))


def test_training_begins_there(tmp_path: Path) -> None:
    torch.manual_seed(5)
    checkpoint.save(tmp_path, MultimodalModel(TASK, TINY.model), TINY)
    still = replace(TINY, steps=1, learning_rate=0.0, weight_decay=0.0, start=str(tmp_path))
    trained, begun = train(still, dataset()), checkpoint.load(tmp_path)[0]
    for name, value in begun.named_parameters():
        torch.testing.assert_close(dict(trained.named_parameters())[name], value, msg=name)


def test_a_run_to_begin_with_that_may_have_seen_who_is_held_out_is_told(tmp_path: Path) -> None:
    made, run = dataset(), tmp_path / "first"
    began = replace(TINY, start=str(run))
    assert "first, which is not there to look at: it may have seen them." in told(with_start(made, began)).measured
    torch.manual_seed(0)
    model = MultimodalModel(TASK, TINY.model)
    checkpoint.save(run, model, TINY, trained_sha256(made))
    assert with_start(made, began).begun == ""
    fewer = replace(made, training=made.training[:1])
    sentence = "Training began with first, of other recordings of this data set: it may have seen them."
    assert told(with_start(fewer, began)).lines[-1].endswith(sentence)
    assert with_start(replace(fewer, test=()), began).begun == sentence
    assert told(with_start(replace(fewer, test=()), began)).measured == NOTHING_HELD_OUT
    checkpoint.save(tmp_path / "second", model, began, trained_sha256(fewer))
    assert with_start(fewer, replace(TINY, start=str(tmp_path / "second"))).begun == sentence  # by way of the first
    checkpoint.save(run, model, replace(TINY, data=DataConfig(set="paired")), "another set's")
    assert with_start(fewer, began).begun == ""
    assert with_start(fewer, replace(TINY, start="starter")).begun == ""


def test_own_settings_are_whole_and_name_a_bundle(tmp_path: Path) -> None:
    config = own_settings(tmp_path / "my days!", keep=True, modalities=(), allow_video=False, hold_out=("ann",))
    assert config.name == "my-days"
    assert (config.data.set, config.data.keep, config.data.hold_out) == ("folder", True, ("ann",))
    assert dataclasses.asdict(config.model) == dataclasses.asdict(checkpoint.load(STARTER_RUN)[0].config)


def test_what_has_no_label_is_neither_drawn_as_one_nor_counted() -> None:
    labels = np.full(17, UNLABELLED, np.int16)
    labels[10:] = 1
    partly, whole = replace(session(1, 1), labels=labels), session(0, 0)
    made = Dataset(TASK, "made up", (Pool("partly", 1.0, (partly, whole), anchored=1.0),), (), (partly, whole))
    assert len(Batches(made, TINY).moments[0]) == 2
    torch.manual_seed(0)
    model = MultimodalModel(TASK, TINY.model).eval()
    decided = by_model(model)(made.test, [("imu",)])[("imu",)]
    assert decided.labels.tolist() == [1] * 3 + [0] * 8
    assert len(subjects_of(TASK, made.test)) == 11
    assert {one.samples for one in score_subsets(model, [made.test], made.test)} == {11}


def test_each_subset_is_measured_on_the_sessions_that_have_it() -> None:
    whole, silent = session(0, 0), session(1, 1).without(["audio", "video"])
    torch.manual_seed(0)
    model = MultimodalModel(TASK, TINY.model).eval()
    assert set(measurable(TASK, [whole, silent])) == set(TASK.subsets())
    assert measurable(TASK, [silent]) == (("imu",),)
    assert measurable(TASK, []) == ()
    samples = {one.modalities: one.samples for one in score_subsets(model, [], [whole, silent])}
    assert samples[("imu",)] == 16
    assert samples[("imu", "audio")] == 8


PACKAGE = """
from mmg_training.data.sessions import Dataset
from mmg_training.task import Task

def load(config, report):
    report(f"reading {config.root}")
    return Dataset(Task("gestures", ("wave", "point"), ("imu",)), "real", training=())

def load_nothing(config, report):
    return None
"""
POINTS = "[mmg.datasets]\ngestures = fake_gestures:load\nnothing = fake_gestures:load_nothing\ngone = fake_gone:load\n"


@pytest.fixture
def _fake_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package on the path, as pip leaves one."""
    about = tmp_path / "fake_gestures-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-gestures\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(POINTS)
    (tmp_path / "fake_gestures.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "fake_gestures", raising=False)


@pytest.mark.usefixtures("_fake_package")
def test_a_package_brings_a_data_set_by_an_entry_point() -> None:
    told: list[str] = []
    made = data.load(DataConfig(set="gestures", root="somewhere", leave_out=3), told.append)
    assert made.task.labels == ("wave", "point")
    assert told == ["reading somewhere"]


@pytest.mark.usefixtures("_fake_package")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone", "its package gives no fake_gone:load"),
        ("nothing", "gave a NoneType, and no Dataset"),
        ("other", "'other' is not one of .*, folder, .*gestures"),
    ],
)
def test_a_data_set_that_its_package_does_not_give_is_told(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        data.load(DataConfig(set=name), lambda _: None)


def test_a_setting_of_a_folder_is_for_a_folder() -> None:
    with pytest.raises(ConfigError, match=r"data.keep: is for folder"):
        data.load(DataConfig(set="starter", keep=True), lambda _: None)
    assert TrainConfig().start == ""
