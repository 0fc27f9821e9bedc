"""What is none of the labels: fitted on made-up tokens, and on a small trained run from end to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mmg.bundle.unknown import UNKNOWN_FILE
from mmg.bundle.unknown_fit import REFUSED
from mmg.errors import ConfigError
from mmg_training import checkpoint, unknown
from mmg_training import metrics as metrics_file
from mmg_training.config import DataConfig, TrainConfig
from mmg_training.data.sessions import TICKS_PER_HOP, UNLABELLED, Dataset, NamedTest, Pool, Session
from mmg_training.evaluation.decide import Decisions, context_means, decide
from mmg_training.evaluation.unknown import auroc, by_fit, kept_table, unknown_table
from mmg_training.metrics import Metrics, SubsetScore
from mmg_training.models.multimodal import MultimodalModel
from mmg_training.task import CONTEXT_HOPS, Task
from mmg_training.train import train

TASK = Task("two", ("slow", "fast"), ("imu",), kinds=("shaking",), kinds_of=(-1,))
HZ = {"slow": 1.0, "fast": 4.0, "shaking": 9.0}
CONFIG = TrainConfig(steps=150, batch=8, data=DataConfig(modalities=("imu",)), learning_rate=3e-3)

FITTED: dict[tuple[str, ...], float] = {("imu",): 1.0}


def moved(hz: float, label: int, seed: int, hops: int = 24) -> Session:
    rng = np.random.default_rng(seed)
    time_s = np.arange(hops * 25) / 50
    imu = rng.normal(0, 0.05, (len(time_s), 6))
    imu[:, 2] += 9.81
    imu[:, 0] += 4 * np.sin(2 * np.pi * hz * time_s + rng.uniform(0, 6))
    labels = np.full(hops * TICKS_PER_HOP + 1, label, np.int16)
    return Session("made", seed, labels, {"imu": imu.astype(np.float32)})


def sessions(first: int) -> list[Session]:
    classes = (*TASK.labels, *TASK.kinds)
    return [
        moved(HZ[name], number, first + 10 * number + take) for number, name in enumerate(classes) for take in range(4)
    ]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    known = tuple(one for one in sessions(100) if one.labels[0] < len(TASK.labels))
    strange = tuple(moved(HZ["shaking"], UNLABELLED, 300 + take) for take in range(3))
    return Dataset(
        task=TASK,
        kind="simulated",
        training=(Pool("made", 1.0, tuple(sessions(0)), anchored=1.0),),
        calibration=known,
        test=tuple(one for one in sessions(500) if one.labels[0] < len(TASK.labels)),
        extra=(NamedTest("others", "simulated", tuple(sessions(700)[:8])),),
        unknown=(NamedTest("shaken by others", "simulated", strange),),
    )


@pytest.fixture(scope="module")
def model(dataset: Dataset) -> MultimodalModel:
    torch.manual_seed(0)
    return train(CONFIG, dataset)


@pytest.fixture(scope="module")
def told(model: MultimodalModel, dataset: Dataset) -> unknown.Unknown:
    return unknown.fit(model, dataset, CONFIG, FITTED)


def test_the_mean_token_of_a_context_is_that_of_its_last_hops() -> None:
    tokens = torch.randn(2, 12, 3, 5)
    means = context_means(tokens)
    torch.testing.assert_close(means[1, 2], tokens[1, :3].flatten(0, 1).mean(0))
    torch.testing.assert_close(means[1, 11], tokens[1, 12 - CONTEXT_HOPS :].flatten(0, 1).mean(0))


def test_kinds_without_a_label_and_everything_together_are_other_life(told: unknown.Unknown) -> None:
    statistics = told.statistics["imu"]
    assert len(statistics.known.log) == len(TASK.labels)
    assert len(statistics.other.log) == len(TASK.kinds) + 1


def test_a_wide_score_is_refused_as_asked_with_the_weight_that_is_kept(
    model: MultimodalModel, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = len(decide(model, dataset.calibration, ("imu",)).labels)
    wide = np.random.default_rng(0).gamma(2, 8000, (count, 1))
    monkeypatch.setattr(unknown, "scores", lambda *_: wide)
    fit = unknown._fit_subset(model, dataset, ("imu",), {}, 1.0)
    assert fit is not None
    logit = wide[:, 0] * fit.weights["imu"]
    surest = torch.log_softmax(decide(model, dataset.calibration, ("imu",)).logits, dim=1).amax(dim=1).numpy()
    refused = (logit - np.array(fit.thresholds)[:, None] > surest).mean(axis=1)
    np.testing.assert_allclose(refused, REFUSED, atol=0.02)


def test_as_much_of_the_known_is_refused_as_was_asked_for(
    told: unknown.Unknown, model: MultimodalModel, dataset: Dataset
) -> None:
    made = decide(model, dataset.calibration, ("imu",))
    surest = torch.log_softmax(made.logits, dim=1).amax(dim=1).numpy()
    for rate in (0.1, 0.2, 0.4):
        logit = told.logit(("imu",), made.means, rate)
        assert logit is not None
        assert (logit > surest).mean() == pytest.approx(rate, abs=0.02)
    thresholds = told.fits["imu",].thresholds
    assert len(thresholds) == len(REFUSED)
    assert list(thresholds) == sorted(thresholds, reverse=True)


def test_other_life_is_told_from_what_is_known(told: unknown.Unknown, model: MultimodalModel, dataset: Dataset) -> None:
    tell = by_fit(model, told, {})
    (row,) = unknown_table(TASK, tell, dataset, ()).rows
    auc, accepted = row[3], row[5]
    assert isinstance(auc, float)
    assert isinstance(accepted, float)
    assert auc > 0.9
    assert accepted < 0.5
    for row in kept_table(TASK, tell, dataset, ()).rows:  # of others than it was fitted on
        assert isinstance(row[3], float)
        assert row[3] < 0.25
        assert isinstance(row[4], float)
        assert 0.5 < row[4] <= 1 - row[3]


def test_nobody_to_fit_on_and_too_few_labels_tell_nothing(model: MultimodalModel, dataset: Dataset) -> None:
    assert not unknown.fit(model, replace(dataset, calibration=()), CONFIG, FITTED).fits
    named = MultimodalModel(replace(TASK, labels=("slow", "unknown")), CONFIG.model)
    assert not unknown.fit(named, dataset, CONFIG, FITTED).fits
    means, classes = np.random.default_rng(0).normal(size=(400, 8)), np.zeros(400, np.int64)
    assert unknown.statistics(means, classes, [0], TASK, 24, 1.0) is None
    few = unknown.statistics(means, np.arange(400) % 2, [0, 1], TASK, 24, 1.0)
    assert few is not None
    assert few.basis.shape == (8, 8)


def test_only_subsets_that_are_measured_are_fitted_and_only_with_labels_that_training_had(
    model: MultimodalModel, dataset: Dataset
) -> None:
    assert not unknown.fit(model, dataset, CONFIG, {}).statistics
    withheld = replace(CONFIG, data=replace(CONFIG.data, labelled=("audio",)))
    assert not unknown.fit(model, dataset, withheld, FITTED).statistics


def test_a_handful_of_hops_is_no_threshold(model: MultimodalModel, dataset: Dataset) -> None:
    assert not unknown.fit(model, replace(dataset, calibration=dataset.calibration[:1]), CONFIG, FITTED).fits


def test_hops_that_nobody_decided_count_for_nothing(dataset: Dataset) -> None:
    def tell(some: Sequence[Session], _names: tuple[str, ...]) -> Decisions:
        hops = sum(one.hops for one in some)
        margins = torch.full((hops,), torch.nan)
        margins[:4] = torch.tensor([1.0, 1.0, 1.0, -1.0])
        labels = torch.from_numpy(np.concatenate([one.labels[1::TICKS_PER_HOP] for one in some]).astype(np.int64))
        return Decisions(torch.zeros(hops, 2), labels, torch.zeros(hops, 1), {}, {}, margins)

    (row,) = unknown_table(TASK, tell, dataset, ()).rows
    assert (row[5], row[8]) == (0.25, 4)


def test_a_run_keeps_what_was_fitted(told: unknown.Unknown, model: MultimodalModel, tmp_path: Path) -> None:
    score = SubsetScore(
        modalities=("imu",),
        temperature=1.0,
        accuracy=1.0,
        macro_f1=1.0,
        ece=0.0,
        samples=1,
        recall={},
        unknown=told.fits["imu",],
    )
    metrics = Metrics(
        created="",
        seed=0,
        config_sha256="",
        weights_sha256="",
        device="",
        wall_s=0,
        tools={},
        data=(),
        held_out="",
        subsets=(score,),
    )
    unknown.save(tmp_path, told)
    metrics_file.save(metrics, tmp_path / checkpoint.METRICS)
    read = unknown.load(tmp_path, metrics_file.load(tmp_path / checkpoint.METRICS), model.config.token_dim)
    assert read.fits == told.fits
    np.testing.assert_array_equal(read.statistics["imu"].basis, told.statistics["imu"].basis)
    (tmp_path / UNKNOWN_FILE).unlink()
    with pytest.raises(ConfigError, match=r"unknown\.npz.*train again"):
        unknown.load(tmp_path, metrics, model.config.token_dim)


def test_the_area_under_the_curve_counts_ties_half() -> None:
    assert auroc(np.array([0.0, 1.0]), np.array([2.0])) == 1.0
    assert auroc(np.array([0.0, 1.0]), np.array([1.0])) == 0.75
    assert auroc(np.array([0.0, 1.0]), np.array([-1.0])) == 0.0
