"""The official protocols: parts that settings name, few-shot with people who are in no training, another data set."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from mmg import Bundle
from mmg.errors import ConfigError
from mmg_export.card import card
from mmg_export.cli import main as export
from mmg_training import checkpoint, data
from mmg_training import metrics as metrics_file
from mmg_training.batches import Batches
from mmg_training.cli.evaluate import main as evaluate
from mmg_training.cli.train import main as train
from mmg_training.config import DataConfig, TrainConfig, build
from mmg_training.data.parts import told
from mmg_training.data.real import actions_in
from mmg_training.data.sessions import Dataset, NamedTest, Session
from mmg_training.data.starter import TASK as STARTER
from mmg_training.evaluation.other_set import as_known
from mmg_training.evaluation.subsets import by_model, subset_table
from mmg_training.metrics import NOTHING_HELD_OUT, Metrics
from mmg_training.models.multimodal import MultimodalModel
from mmg_training.task import Task
from training.tiny import TINY
from training.utd_tree import names, write_trials


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_trials(tmp_path_factory.mktemp("both"))


def settings(root: Path, **changes: Any) -> DataConfig:
    return build(DataConfig, {"set": "utd-mhad", "root": str(root), **changes}, "--set")


def load(root: Path, **changes: Any) -> Dataset:
    return data.load(settings(root, **changes), lambda _: None)


def people(sessions: Any) -> set[int]:
    return {one.subject for one in sessions}


def trained(made: Dataset) -> list[Session]:
    return [one for pool in made.training for one in pool.sessions]


# --- UTD-MHAD ------------------------------------------------------------------------------------------------------


def test_a_folder_with_both_halves_is_run_as_published(root: Path) -> None:
    made = load(root, train_people="odd", test_people="even")
    assert (people(trained(made)), people(made.test)) == ({1, 3, 5, 7}, {2, 4, 6, 8})
    assert len(trained(made)) == len(made.test) == len(names((1, 3, 5, 7)))
    assert made.held_out == "subjects 2, 4, 6 and 8 of UTD-MHAD"
    assert "subjects 1, 3, 5 and 7" in made.sources[0].what


def test_the_odd_half_may_be_cut_in_two(tmp_path: Path) -> None:
    write_trials(tmp_path, {"a": (1, 3), "b": (5, 7)})
    made = load(tmp_path, train_people=[1, 3], test_people=[5, 7])
    assert (people(trained(made)), people(made.test)) == ({1, 3}, {5, 7})
    with pytest.raises(ConfigError, match=r"data\.test_people: even is not in .*; there are 1, 3, 5 and 7"):
        load(tmp_path, train_people="odd", test_people="even")


def test_one_person_may_still_be_left_out_of_either_half(root: Path) -> None:
    made = load(root, leave_out=4)
    assert (people(made.test), people(trained(made))) == ({4}, {1, 2, 3, 5, 6, 7, 8})


def test_nobody_is_trained_on_and_tested(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"^data\.test_people: person 3 is named in data\.train_people too"):
        load(root, train_people="odd", test_people=[2, 3])


def test_whose_trial_it_is_is_known_where_its_imu_alone_is_measured(root: Path) -> None:
    [others] = actions_in(root, STARTER).unknown
    assert people(others.sessions) == set(range(1, 9))


def test_a_trial_in_two_files_is_told(tmp_path: Path) -> None:
    write_trials(tmp_path, {"a": (1, 3), "b": (3, 5)})
    with pytest.raises(ConfigError, match=r"inertial_b\.npz: 'a\d+_s3_t1' is in another inertial_\*\.npz"):
        load(tmp_path)


def test_validation_fits_the_temperatures(root: Path) -> None:
    made = load(root, validation_people=[7], test_people="even")
    assert (people(trained(made)), people(made.calibration)) == ({1, 3, 5}, {7})


def test_a_list_in_the_data_sets_folder_names_the_trials(tmp_path: Path) -> None:
    write_trials(tmp_path, {"odd_subjects": (1, 3, 5, 7)})
    (tmp_path / "utd-mhad" / "test.txt").write_text("\n".join(names((5,))[:4]))
    made = load(tmp_path, test_list="test.txt")
    assert [one.source for one in made.test] == sorted(f"utd-mhad {name}" for name in names((5,))[:4])
    assert len(trained(made)) == len(names((1, 3, 5, 7))) - 4
    assert told(made).measured == "Test: subject 5 of UTD-MHAD (some trials), of whom 5 are trained on too."


@pytest.mark.parametrize("name", ["starter", "benchmark", "paired"])
def test_a_set_with_parts_of_its_own_refuses_others(name: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.test_people: is for .*utd-mhad.*, and \w+ has no use for it"):
        data.load(DataConfig(set=name, test_people=("1",)), lambda _: None)


# --- few-shot ------------------------------------------------------------------------------------------------------


def test_whose_examples_are_taught_and_asked_is_in_no_training(root: Path) -> None:
    made = load(root, train_people="odd", test_people="even", split=0)
    base, novel = ({int(one.labels[0]) for one in part} for part in (trained(made), made.novel))
    assert people(made.novel) == {2, 4, 6, 8}
    assert people(trained(made)) == {1, 3, 5, 7}
    assert novel
    assert not base & novel
    assert told(made).episodes == (
        "Few-shot: 2, 4, 6 and 8, who are in no training, with labels that training does not have."
    )


def test_no_batch_has_a_sample_of_the_people_of_the_episodes(root: Path) -> None:
    made = load(root, train_people="odd", test_people="even", split=0)
    asked = {one.samples["imu"].tobytes() for one in (*made.novel, *made.test)}
    drawn: set[bytes] = set()
    batches = Batches(made, TrainConfig(batch=8, sequence_hops=8, contexts=1, data=settings(root)))
    batches.augment = lambda _rng, cuts, *_: cuts  # type: ignore[assignment]
    for step in range(1, 9):
        drawn |= {row.numpy().tobytes() for row in batches.draw(step).samples["imu"]}
    assert drawn == {one.samples["imu"].tobytes() for one in trained(made)}
    assert not drawn & asked


def test_people_who_are_in_training_with_other_labels_are_told(root: Path) -> None:
    split = told(load(root, leave_out=0, split=0))
    assert split.episodes == (
        "Few-shot: 1, 2, 3, 4, 5, 6, 7 and 8, of whom 1, 2, 3, 4, 5, 6, 7 and 8 are in training, with labels that "
        "training does not have."
    )


# --- nothing held out ----------------------------------------------------------------------------------------------


def test_a_run_without_a_held_out_part_says_so_and_is_measured_on_other_people(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "odd.toml"
    file.write_text(
        f"steps = 1\nbatch = 2\nsequence_hops = 8\ncontexts = 1\n[data]\nset = 'utd-mhad'\nroot = '{root}'\n"
        "train_people = 'odd'\n[model]\nimu_width = 8\nvideo_widths = [4, 4, 4]\nvideo_width = 8\ntoken_dim = 8\n"
        "embedding_dim = 8\nheads = 2\nlayers = 1\n"
    )
    assert train([str(file), "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().err
    assert said.count(NOTHING_HELD_OUT) == 1
    assert f"nothing was measured: mmg-eval {tmp_path / 'run'} --config OTHER.toml measures it on another set" in said
    metrics = metrics_file.load(tmp_path / "run" / checkpoint.METRICS)
    assert metrics.split is not None
    assert metrics.split.lines[0] == "Trained on: 1, 3, 5 and 7."
    assert metrics.split.lines[-1] == NOTHING_HELD_OUT
    exported = [str(tmp_path / "run"), "-o", str(tmp_path / "odd.mmg"), "--backends", "onnx", "--evaluate"]
    assert export([*exported, "--precisions", "fp32"]) == 2
    assert "held nothing out to measure accuracy on; leave it out" in capsys.readouterr().err
    assert evaluate([str(tmp_path / "run")]) == 2
    assert "there is nothing to measure: nothing was held out" in capsys.readouterr().err
    options = ["--tables", "subsets", "--json", "-"]
    assert evaluate([str(tmp_path / "run"), *options, "--data", "test_people=even"]) == 0
    notes = json.loads(capsys.readouterr().out)["tables"]["subsets"]["notes"]
    assert notes[0].endswith("but no recording that is measured was trained on.")
    assert notes[1] == "Trained on: 1, 3, 5 and 7."
    assert notes[3] == "Test: subjects 2, 4, 6 and 8 of UTD-MHAD."
    changed = ["--data", "train_people=[1]", "--data", "test_people=[3, 2]"]
    assert evaluate([str(tmp_path / "run"), *options, *changed]) == 0
    notes = json.loads(capsys.readouterr().out)["tables"]["subsets"]["notes"]
    assert notes[0].endswith("which has recordings of 3 that are measured here: it has seen them.")

    changed = ["--tables", "fewshot", "--ways", "3", "--shots", "1", "--data", "test_people=even", "--data", "split=0"]
    assert evaluate([str(tmp_path / "run"), *changed]) == 0
    assert "Few-shot: 2, 4, 6 and 8, who are in no training; its labels are NOT new:" in capsys.readouterr().out


def test_nobody_left_to_train_on_is_told(root: Path) -> None:
    made = load(root, test_people=[1, 2, 3, 4, 5, 6, 7, 8])
    assert told(made).training == ""
    with pytest.raises(ConfigError, match="nobody is left to train on"):
        Batches(made, TrainConfig())


def test_the_model_card_states_the_parts_and_that_there_was_no_test(root: Path) -> None:
    with Bundle.open("starter") as bundle:
        manifest = bundle.manifest
    measured = Metrics(
        created="2026-01-02T03:04:05Z",
        seed=1,
        config_sha256="0" * 64,
        weights_sha256="",
        device="1 x cpu",
        wall_s=60.0,
        tools={},
        data=(),
        held_out="somebody",
    )
    held = msgspec.structs.replace(measured, split=told(load(root, train_people="odd", test_people="even")))
    written = card(manifest, held)
    assert "- Trained on: 1, 3, 5 and 7.\n" in written
    assert "- Test: subjects 2, 4, 6 and 8 of UTD-MHAD.\n" in written
    none = msgspec.structs.replace(measured, split=told(load(root, train_people="odd")))
    written = card(manifest, none)
    assert NOTHING_HELD_OUT in written
    assert "untrained" not in written
    assert "Measured on" not in written


# --- another data set ----------------------------------------------------------------------------------------------


OWN = Task("own", ("walk", "sit", "jump"), ("imu", "video"), frame=(16, 16))
OTHER = Task("other", ("row", "sit", "walk"), ("imu", "audio", "video"), frame=(24, 24), clips=True)


def clip(label: int, subject: int = 1) -> Session:
    samples: dict[str, Any] = {"imu": np.ones((200, 6), np.float32), "audio": np.ones(64000, np.int16)}
    return Session("other", subject, np.full(17, label, np.int16), samples)


def other_set() -> Dataset:
    test = tuple(clip(label, subject) for label in range(3) for subject in range(4))
    return Dataset(OTHER, "real", (), (), test, extra=(NamedTest("rowing", "real", (clip(0),)),), held_out="some")


def test_another_set_is_measured_by_the_labels_and_sensors_of_both() -> None:
    made, sentences = as_known(other_set(), OWN)
    assert made.task == replace(OWN, modalities=("imu",), clips=True)
    assert [int(one.labels[0]) for one in made.test] == [1] * 4 + [0] * 4
    assert {tuple(one.samples) for one in made.test} == {("imu",)}
    assert made.extra == ()
    assert "Shared labels: walk, sit; 2 of the model's 3, of the set's 3." in sentences[1]
    assert "(8 of 12 sessions)" in sentences[1]
    assert "Shared sensors: imu. Left out: audio + video" in sentences[2]


def test_hops_without_a_shared_label_are_not_counted() -> None:
    labels = np.array([0] * 8 + [2] * 9, np.int16)
    walks = replace(clip(2), labels=labels)
    made, _ = as_known(replace(other_set(), task=replace(OTHER, clips=False), test=(walks,)), OWN)
    assert made.test[0].labels.tolist() == [-1] * 8 + [0] * 9
    torch.manual_seed(0)
    made_by = by_model(MultimodalModel(OWN, TINY).eval())(made.test, [("imu",)])
    (row,) = subset_table(made.task, made_by, made.test, {}, "real", ()).rows
    assert row[-1] == 4


@pytest.mark.parametrize(
    ("own", "told_why"),
    [
        (replace(OWN, labels=("swim", "fly")), "other shares no label with own"),
        (replace(OWN, modalities=("video",)), "other shares no sensor in the same form with own"),
        (replace(OWN, labels=("row", "jump")), None),
    ],
)
def test_a_set_that_shares_nothing_is_told(own: Task, told_why: str | None) -> None:
    if told_why is None:
        assert len(as_known(other_set(), own)[0].test) == 4
        return
    with pytest.raises(ConfigError, match=told_why):
        as_known(other_set(), own)


def test_the_command_says_what_labels_are_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    own = DataConfig(set="utd-mhad", train_people=("1",), modalities=("imu",))
    checkpoint.save(tmp_path, MultimodalModel(OWN, TINY).eval(), TrainConfig(model=TINY, data=own))
    asked: list[DataConfig] = []

    def load_other(config: DataConfig, _: object) -> Dataset:
        asked.append(config)
        return other_set()

    monkeypatch.setattr("mmg_training.data.load", load_other)
    assert evaluate([str(tmp_path), "--data", "set=paired"]) == 0
    out = capsys.readouterr().out
    assert out.count("## ") == 1
    assert asked == [DataConfig(set="paired")]
    assert "Measured on other, another data set than it was trained for." in out
    assert "Shared labels: walk, sit;" in out
    assert evaluate([str(tmp_path), "--data", "set=paired", "--tables", "fewshot"]) == 2
    assert "only the labels that are shared can be measured" in capsys.readouterr().err
