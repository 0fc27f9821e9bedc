"""Training: dropout, recordings, calibration, and the command from settings to metrics."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mmg.errors import ConfigError
from mmg_training import checkpoint
from mmg_training import metrics as metrics_file
from mmg_training.augment import random_rotation
from mmg_training.batches import Batches
from mmg_training.config import DataConfig, TrainConfig, load
from mmg_training.contract import CONTEXT_HOPS, LABELS
from mmg_training.dropout import context_mask, drop_modalities
from mmg_training.evaluate import calibration_error, fit_temperature
from mmg_training.models.audio import AudioConfig
from mmg_training.models.imu import ImuConfig
from mmg_training.models.multimodal import ModelConfig
from mmg_training.models.video import VideoConfig
from mmg_training.recordings import TEST_SUBJECTS, folder, load_all, load_motion, resample
from mmg_training.sessions import Session, simulate
from mmg_training.train import forward, main, train

TINY = TrainConfig(
    steps=2,
    batch=4,
    sequence_hops=3,
    contexts=4,
    warmup_steps=1,
    data=DataConfig(2, 2, 1, 8.0, real_share=0.5),
    model=ModelConfig(imu=ImuConfig(width=8), audio=AudioConfig(width=8), video=VideoConfig(widths=(4, 4, 4))),
)


@pytest.fixture(scope="module")
def simulated() -> list[Session]:
    return [simulate(subject, subject, 8.0) for subject in range(2)]


def imu_only(session: Session) -> Session:
    return replace(session, source="real", audio=None, video=None)


def test_dropout_keeps_at_least_one_and_hits_the_rate() -> None:
    available = np.ones((40_000, 3), bool)
    kept = drop_modalities(np.random.default_rng(0), available, 0.4)
    assert kept.any(axis=1).all()
    # Where all three would go, one comes back: each is dropped p - p^3 / 3 of the time.
    np.testing.assert_allclose(1 - kept.mean(axis=0), 0.4 - 0.4**3 / 3, atol=0.01)


def test_dropout_never_invents_a_modality() -> None:
    available = np.array([[True, False, False], [False, True, True]] * 500)
    kept = drop_modalities(np.random.default_rng(0), available, 0.9)
    assert not (kept & ~available).any()
    assert kept.any(axis=1).all()


def test_every_kept_modality_keeps_a_hop_and_contexts_have_every_length() -> None:
    kept = np.random.default_rng(0).random((5000, 3)) < 0.7
    mask = context_mask(np.random.default_rng(1), kept, 0.3, 0.5)
    np.testing.assert_array_equal(mask.any(axis=2), kept)
    lengths = {int(hops) for hops in mask.any(axis=1).sum(axis=1)}
    assert lengths >= set(range(1, CONTEXT_HOPS + 1))


def test_no_stretch_is_dropped_when_none_is_asked_for() -> None:
    mask = context_mask(np.random.default_rng(0), np.ones((100, 3), bool), 0.0, 1.0)
    assert mask.all()


def test_a_batch_mixes_sequences_with_and_without_sound(simulated: list[Session]) -> None:
    batches = Batches(simulated, [imu_only(simulated[0])], replace(TINY, batch=16))
    batch = batches.draw()
    assert len(batch.rows["imu"]) == 16
    assert 0 < len(batch.rows["audio"]) < 16
    silent = [row for row in range(16) if row not in batch.rows["audio"]]
    assert not batch.present[torch.isin(batch.row, torch.tensor(silent)), 1:].any()
    logits = forward(train(replace(TINY, steps=1), simulated, []), batch, TINY.sequence_hops)
    assert logits.shape == (16 * TINY.contexts, len(LABELS))
    assert torch.isfinite(logits).all()


def test_a_cut_has_the_label_of_the_middle_of_each_hop(simulated: list[Session]) -> None:
    session = replace(simulated[0], labels=np.arange(33, dtype=np.int8))
    samples, labels = session.cut(4, 3)
    np.testing.assert_array_equal(labels, [5, 7, 9])
    assert {name: len(values) for name, values in samples.items()} == {"imu": 75, "audio": 24_000, "video": 6}


def test_the_same_seed_trains_the_same_weights(simulated: list[Session]) -> None:
    first, again = (train(TINY, simulated, []).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_a_random_rotation_is_one() -> None:
    turn = random_rotation(np.random.default_rng(0))
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1.0)


def test_resampling_a_straight_line_gives_the_middle_of_each_box() -> None:
    times_s = np.array([0.0, 0.007, 0.007, 0.019, 0.031, 0.05, 0.06])
    line = (3.0 * times_s)[:, None].astype(np.float32)
    np.testing.assert_allclose(resample(times_s, line, 50)[:, 0], 3.0 * np.array([0.01, 0.03, 0.05]), atol=1e-6)


def test_samples_of_one_time_are_averaged() -> None:
    times_s = np.array([0.0, 0.01, 0.01, 0.02])
    values = np.array([[0.0], [1.0], [3.0], [4.0]], np.float32)
    np.testing.assert_allclose(resample(times_s, values, 50), [[2.0]], atol=1e-6)


def test_missing_recordings_are_said_and_left_out(tmp_path: Path) -> None:
    said: list[str] = []
    assert load_all(tmp_path, said.append) == []
    assert len(said) == 4


@pytest.mark.skipif(not (folder() / "sp-sw-har").is_dir(), reason="MMG_DATA has no sp-sw-har")
def test_no_recorded_person_is_on_both_sides_of_the_split() -> None:
    motion = load_motion(folder() / "sp-sw-har")
    training, test = ({session.subject for session in part} for part in (motion.training, motion.test))
    assert test == set(TEST_SUBJECTS)
    assert not training & test
    assert {session.source for session in motion.test} == {"sp-sw-har phone", "sp-sw-har watch"}
    assert all(session.imu is not None and len(session.imu) >= 25 * session.hops for session in motion.training)


def test_the_fitted_temperature_undoes_a_scale() -> None:
    noise = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4000, 5, generator=noise)
    labels = torch.multinomial(torch.softmax(logits, 1), 1, generator=noise)[:, 0]
    assert fit_temperature(3 * logits, labels) == pytest.approx(3.0, rel=0.15)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    probabilities = torch.tensor([[0.8, 0.2]]).repeat(10, 1)
    labels = torch.tensor([0] * 5 + [1] * 5)
    assert calibration_error(probabilities, labels) == pytest.approx(0.3, abs=1e-6)


def test_settings_refuse_a_key_that_they_do_not_know(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text("[data]\nsubject = 3\n")
    with pytest.raises(ConfigError, match="subject: is not a setting"):
        load(path)


def test_settings_refuse_a_value_of_another_type(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text('steps = "many"\n')
    with pytest.raises(ConfigError, match="steps: 'many' is not int"):
        load(path)


def test_the_command_trains_measures_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMG_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    settings = tmp_path / "tiny.toml"
    settings.write_text(
        "steps = 2\nbatch = 2\nsequence_hops = 4\ncontexts = 2\nwarmup_steps = 1\n"
        "[model.video]\nwidths = [4, 4, 4]\n"
        "[data]\nsubjects = 2\nheld_out = 2\nsessions = 1\nsession_s = 6.0\n"
    )
    assert main([str(settings), "--out", str(tmp_path / "run")]) == 0
    model, config = checkpoint.load(tmp_path / "run")
    assert config.steps == 2
    assert not model.training
    metrics = metrics_file.load(tmp_path / "run" / checkpoint.METRICS)
    assert metrics.created == "1970-01-01T00:00:00Z"
    assert [score.samples for score in metrics.simulated] == [12] * 7
    assert metrics.real == ()


def test_a_cut_checkpoint_is_refused(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, train(replace(TINY, steps=0), [], []), TINY)
    weights = tmp_path / checkpoint.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ConfigError, match="not a whole checkpoint"):
        checkpoint.load(tmp_path)


def test_settings_survive_their_json(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, train(replace(TINY, steps=0), [], []), TINY)
    assert checkpoint.load(tmp_path)[1] == TINY
    assert json.loads((tmp_path / checkpoint.CONFIG).read_text())["batch"] == TINY.batch
