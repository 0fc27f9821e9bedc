"""Training: batches, dropout, the objective, resuming, calibration."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mmg.errors import ConfigError
from mmg_training import checkpoint
from mmg_training.batches import Batch, Batches
from mmg_training.config import (
    AugmentConfig,
    DataConfig,
    DropoutConfig,
    LossConfig,
    TrainConfig,
)
from mmg_training.data.parts import trained_sha256
from mmg_training.data.sessions import UNLABELLED, Dataset, Pool, Session
from mmg_training.dropout import context_mask, drop_modalities
from mmg_training.evaluation.decide import decide
from mmg_training.evaluation.scores import calibration_error, fit_temperature
from mmg_training.models.multimodal import MultimodalModel
from mmg_training.objective import Objective
from mmg_training.task import CONTEXT_HOPS
from mmg_training.train import StepLog, learning_rate_factor, train
from terminals import Terminal
from torch import Tensor
from training.synthetic_data import CLIPS, TASK, TINY, dataset, saved, session


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


def test_a_batch_mixes_sequences_with_and_without_sound() -> None:
    batch = Batches(dataset(), replace(TINY, batch=16)).draw(1)
    assert len(batch.rows["imu"]) == 16
    assert 0 < len(batch.rows["audio"]) < 16
    silent = [row for row in range(16) if row not in batch.rows["audio"]]
    assert not batch.present[torch.isin(batch.row, torch.tensor(silent)), 1:].any()
    assert not batch.available[silent, 1:].any()


def test_a_batch_is_a_function_of_its_step() -> None:
    batches = Batches(dataset(), TINY)
    first, second, again = (batches.draw(step) for step in (1, 2, 1))
    assert torch.equal(first.samples["imu"], again.samples["imu"])
    assert torch.equal(first.present, again.present)
    assert not torch.equal(first.samples["imu"], second.samples["imu"])
    other = Batches(dataset(), TINY, process=1).draw(1)
    assert not torch.equal(first.samples["imu"], other.samples["imu"])


def test_clips_are_decided_at_their_end() -> None:
    batch = Batches(dataset(CLIPS), replace(TINY, sequence_hops=8)).draw(1)
    assert (batch.hop == 7).all()


def test_an_anchored_pool_shows_a_rare_label_more_often() -> None:
    labels = np.zeros(401, np.int16)
    labels[200:204] = 1
    rare = Session("made up", 0, labels, {"imu": np.zeros((5000, 6), np.float32)})

    def share(anchored: float) -> float:
        batches = Batches(Dataset(TASK, "simulated", (Pool("rare", 1.0, (rare,), anchored),)), replace(TINY, batch=32))
        seen = torch.cat([(batches.draw(step).labels == 1).any(dim=1) for step in range(1, 21)])
        return float(seen.float().mean())

    assert share(0.0) < 0.1
    assert 0.3 < share(1.0) < 0.7  # half the anchors, less those that fall between the middles of hops


def test_every_session_comes_once_in_each_round() -> None:
    seen = []
    for number in range(12):
        samples = {"imu": np.full((200, 6), number, np.float32)}
        seen.append(Session("made up", number, np.full(17, number % 3, np.int16), samples))
    quiet = AugmentConfig(turn=0.0, any_turn=0.0, no_gyro=0.0, strength=0.0, noise=0.0)
    config = replace(TINY, batch=6, sequence_hops=8, augment=quiet)
    batches = Batches(Dataset(TASK, "simulated", (Pool("all", 1.0, tuple(seen)),)), config)
    drawn = torch.cat([batches.draw(step).samples["imu"][:, 0, 0] for step in (1, 2, 3, 4)]).round().int().tolist()
    assert sorted(drawn[:12]) == sorted(drawn[12:]) == list(range(12))
    assert drawn[:12] != drawn[12:]


def test_labels_of_a_modality_that_is_not_labelled_are_never_used() -> None:
    config = replace(TINY, batch=16, data=DataConfig(labelled=("imu",)))
    batch = Batches(dataset(), config).draw(1)
    assert not batch.present[:, 1:].any()
    assert batch.present[:, 0].any(dim=1).all()


def test_no_loss_uses_the_labels_of_a_modality_that_is_not_labelled() -> None:
    """With labels in the IMU alone, other labels change no gradient of another encoder but through the pairs."""
    config = replace(TINY, batch=24, data=DataConfig(labelled=("imu",)), loss=replace(TINY.loss, distil=0.0))
    batch = Batches(dataset(), config).draw(1)
    shuffled = replace(batch, labels=(batch.labels + 1) % 3, label=(batch.label + 1) % 3)

    def gradients(drawn: Batch) -> list[Tensor]:
        torch.manual_seed(0)
        model = MultimodalModel(TASK, config.model)
        torch.stack(list(Objective(model, config.loss, ("imu",))(drawn, 1.0).values())).sum().backward()  # type: ignore[no-untyped-call]
        return [weight.grad for weight in model.encoder("video").parameters() if weight.grad is not None]

    first, other = gradients(batch), gradients(shuffled)
    assert first
    assert any(bool(one.abs().sum() > 0) for one in first)
    for one, two in zip(first, other, strict=True):
        torch.testing.assert_close(one, two, atol=0, rtol=0)


def test_only_the_chosen_parts_of_the_loss_are_computed() -> None:
    torch.manual_seed(0)
    model, batch = MultimodalModel(TASK, TINY.model), Batches(dataset(), replace(TINY, batch=24)).draw(1)
    plain = Objective(model, LossConfig(), TASK.modalities)(batch, 1.0)
    assert set(plain) == {"labels"}
    full = Objective(model, TINY.loss, TASK.modalities)(batch, 1.0)
    assert set(full) == {"labels", "alone", "clip", "sequence", "hops", "prototypes", "distil"}
    assert all(torch.isfinite(part) and part > 0 for part in full.values())
    twice = Objective(model.eval(), replace(TINY.loss, sequence=0.2), TASK.modalities)(batch, 1.0)
    once = Objective(model.eval(), TINY.loss, TASK.modalities)(batch, 1.0)
    torch.testing.assert_close(twice["sequence"], 2 * once["sequence"])


def test_the_teacher_is_frozen() -> None:
    torch.manual_seed(0)
    model, teacher = MultimodalModel(TASK, TINY.model), MultimodalModel(TASK, TINY.model)
    objective = Objective(model, LossConfig(labels=0.0, distil=1.0), TASK.modalities, teacher).train()
    sum(objective(Batches(dataset(), TINY).draw(1), 1.0).values()).backward()
    assert not teacher.training
    assert all(weight.grad is None for weight in teacher.parameters())
    assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.parameters())
    assert not any(name.startswith("frozen") for name, _ in objective.named_parameters())


def test_a_teacher_teaches_the_kinds_that_a_label_is_made_of_too() -> None:
    torch.manual_seed(0)
    task = replace(TASK, kinds=("d",), kinds_of=(0,))
    model = MultimodalModel(task, TINY.model)
    teacher = MultimodalModel(task, TINY.model)
    teacher.load_state_dict(model.state_dict())
    objective = Objective(model, LossConfig(labels=0.0, distil=1.0), TASK.modalities, teacher)
    batch = Batches(dataset(task), TINY).draw(1)
    taught = objective._teach(batch)
    assert taught.shape == (TINY.batch, 4)
    assert objective.train()(batch, 1.0)["distil"] > 0


def test_training_learns_what_can_be_learnt() -> None:
    config = replace(TINY, steps=60, learning_rate=1e-2, dropout=DropoutConfig(full_context=1.0), ema=0.9)
    model = train(config, dataset())
    made = [decide(model, dataset().test, names) for names in TASK.subsets()]
    right = [float((one.logits.argmax(1) == one.labels).float().mean()) for one in made]
    assert np.mean(right) > 0.55  # a third by chance


def test_a_cut_has_the_label_of_the_middle_of_each_hop() -> None:
    made = replace(session(0, 0), labels=np.arange(17, dtype=np.int16))
    samples, labels = made.cut(TASK, 4, 3)
    np.testing.assert_array_equal(labels, [5, 7, 9])
    assert {name: len(values) for name, values in samples.items()} == {"imu": 75, "audio": 24_000, "video": 6}


def weights(model: MultimodalModel) -> dict[str, Tensor]:
    return model.state_dict()


def test_the_same_seed_trains_the_same_weights() -> None:
    first, again = (weights(train(TINY, dataset())) for _ in range(2))
    other = weights(train(replace(TINY, seed=2), dataset()))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path: Path) -> None:
    uninterrupted = weights(train(TINY, dataset()))

    def stop(step: int, _parts: dict[str, float]) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(TINY, dataset(), out=tmp_path, watch=stop)
    steps: list[int] = []
    resumed = weights(train(TINY, dataset(), out=tmp_path, resume=True, watch=lambda step, _: steps.append(step)))
    assert steps == [3, 4]
    assert all(torch.equal(uninterrupted[name], resumed[name]) for name in resumed)


def test_training_on_a_terminal_shows_a_bar_below_the_lines_of_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(80)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    monkeypatch.setattr("mmg.cli.progress.AFTER_S", 0.0)
    log = StepLog(TrainConfig(name="tiny", steps=100))
    log(50, {"loss": 1.5})  # a run that goes on
    line, bar = terminal.screen()
    assert line.startswith("mmg-train: step 50/100: loss 1.500, ")
    assert re.match(r"mmg-train: training:  (49|50)%\|", bar)
    log.close()
    assert terminal.screen() == [line, ""]
    terminal.close()


def test_training_elsewhere_tells_the_lines_of_its_steps_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mmg.cli.progress.AFTER_S", 0.0)
    log = StepLog(TrainConfig(name="tiny", steps=25))
    for step in range(1, 26):
        log(step, {"loss": 1.0})
    log.close()
    assert capsys.readouterr().err == "mmg-train: step 25/25: loss 1.000, 0 s to go\n"


def test_progress_of_other_settings_is_refused(tmp_path: Path) -> None:
    train(TINY, dataset(), out=tmp_path)
    with pytest.raises(ConfigError, match="other settings"):
        train(replace(TINY, seed=2), dataset(), out=tmp_path, resume=True)


def test_progress_on_other_recordings_is_refused(tmp_path: Path) -> None:
    whole = dataset()
    train(TINY, whole, out=tmp_path)
    pool = whole.training[0]
    fewer = replace(whole, training=(replace(pool, sessions=pool.sessions[1:]), *whole.training[1:]))
    with pytest.raises(ConfigError, match=r"other recordings than there are now.*leave out --resume"):
        train(TINY, fewer, out=tmp_path, resume=True)
    train(TINY, replace(whole, test=whole.test[1:]), out=tmp_path, resume=True)  # who is measured does not matter


def test_the_same_recordings_have_the_same_digest_in_whatever_order_their_sensors_are() -> None:
    made = dataset()
    pool = made.training[0]
    turned = tuple(replace(one, samples=dict(sorted(one.samples.items()))) for one in pool.sessions)
    assert list(turned[0].samples) != list(pool.sessions[0].samples)
    others = (replace(pool, sessions=turned), *made.training[1:])
    assert trained_sha256(replace(made, training=others)) == trained_sha256(made)


def test_cut_progress_is_refused(tmp_path: Path) -> None:
    train(TINY, dataset(), out=tmp_path)
    path = tmp_path / checkpoint.RESUME
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ConfigError, match="leave out --resume"):
        train(TINY, dataset(), out=tmp_path, resume=True)


def test_two_processes_train_together(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests'); from pathlib import Path\n"
        "import training.synthetic_data as made; from mmg_training.train import train\n"
        "from lightning_fabric import Fabric\n"
        "fabric = Fabric(accelerator='cpu', devices=2, strategy='ddp_find_unused_parameters_true'); fabric.launch()\n"
        "model = train(made.TINY, made.dataset(), fabric=fabric)\n"
        "total = float(sum(w.detach().double().abs().sum() for w in model.parameters()))\n"
        f"Path(r'{tmp_path}', str(fabric.global_rank)).write_text(repr(total))\n"
    )
    script = tmp_path / "together.py"
    script.write_text(code)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, str(script)], check=True, timeout=120, env=environment, capture_output=True)
    first, second = (float((tmp_path / rank).read_text()) for rank in "01")
    assert first == pytest.approx(second, rel=1e-6)
    alone = float(sum(value.detach().double().abs().sum() for value in train(TINY, dataset()).parameters()))
    assert first != pytest.approx(alone, rel=1e-6)


def test_the_learning_rate_rises_then_falls_to_what_is_left() -> None:
    for left in (0.0, 0.35):
        config = replace(TINY, steps=100, warmup_steps=10, learning_rate_end=left)
        factors = [learning_rate_factor(step, config) for step in range(101)]
        np.testing.assert_allclose(factors[:11], [*np.arange(1, 11) / 10, 1.0])
        assert (np.diff(factors[10:]) < 0).all()
        assert factors[55] == pytest.approx((1 + left) / 2)  # half way down
        assert factors[100] == pytest.approx(left)


def test_prototypes_of_changing_labels_are_of_the_last_hop() -> None:
    torch.manual_seed(0)
    objective = Objective(MultimodalModel(TASK, TINY.model), LossConfig(prototypes=1.0), TASK.modalities).eval()
    batch = Batches(dataset(count=3), replace(TINY, batch=12)).draw(1)
    asked: list[tuple[int, ...]] = []
    whole = objective._prototypes

    def listen(batch: Batch, values: dict[str, Tensor], way: tuple[str, str]) -> Tensor:
        asked.extend(tuple(value.shape[1:2]) for value in values.values())
        return whole(batch, values, way)

    objective._prototypes = listen  # type: ignore[method-assign, assignment]
    objective(batch, 1.0)
    assert set(asked) == {(1,)}
    objective.model.task = CLIPS
    objective(batch, 1.0)
    assert set(asked) == {(1,), (3,)}


def test_the_fitted_temperature_undoes_a_scale() -> None:
    noise = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4000, 5, generator=noise)
    labels = torch.multinomial(torch.softmax(logits, 1), 1, generator=noise)[:, 0]
    assert fit_temperature(3 * logits, labels) == pytest.approx(3.0, rel=0.15)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    probabilities = torch.tensor([[0.8, 0.2]]).repeat(10, 1)
    labels = torch.tensor([0] * 5 + [1] * 5)
    assert calibration_error(probabilities, labels) == pytest.approx(0.3, abs=1e-6)


def test_a_batch_without_a_label_is_a_step_like_any_other() -> None:
    whole = dataset()
    bare = tuple(replace(one, labels=np.full_like(one.labels, UNLABELLED)) for one in whole.training[0].sessions)
    config = replace(TINY, loss=LossConfig())
    first, last = (train(config, replace(whole, training=(Pool("bare", 1.0, bare),))).state_dict() for _ in range(2))
    assert all(torch.equal(value, last[name]) for name, value in first.items())


def test_a_training_that_runs_away_ends_in_one_line() -> None:
    with pytest.raises(ConfigError, match="step 1: the gradient is no longer a number; lower learning_rate"):
        train(replace(TINY, augment=AugmentConfig(strength=1e30)), dataset())


def test_a_last_step_that_leaves_no_numbers_ends_in_one_line() -> None:
    with pytest.raises(ConfigError, match="the trained model gives no numbers any more; lower learning_rate"):
        train(replace(TINY, steps=1, learning_rate=1e8), dataset())


@pytest.mark.parametrize("content", [b"\xff", b'{"config": 5, "task": {}}'])
def test_damaged_settings_of_a_run_end_in_one_line(tmp_path: Path, content: bytes) -> None:
    saved(tmp_path)
    (tmp_path / checkpoint.CONFIG).write_bytes(content)
    with pytest.raises(ConfigError, match="is not a whole checkpoint"):
        checkpoint.load(tmp_path)


def test_settings_of_a_run_are_replaced_in_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path)
    before = (tmp_path / checkpoint.CONFIG).read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(tmp_path, MultimodalModel(TASK, TINY.model), replace(TINY, seed=2))
    assert (tmp_path / checkpoint.CONFIG).read_bytes() == before


def test_a_teacher_that_saw_what_is_held_out_is_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    own = replace(TINY, loss=replace(TINY.loss, teacher=str(tmp_path)))
    train(replace(own, steps=1), dataset())
    with pytest.raises(ConfigError, match=r"data\.leave_out = 7, not 3"):
        train(replace(own, data=replace(own.data, leave_out=3)), dataset())
    with pytest.raises(ConfigError, match=r"data\.labelled = \(\), not \('imu',\)"):
        train(replace(own, data=replace(own.data, labelled=("imu",))), dataset())
    with pytest.raises(ConfigError, match=r"loss\.distil at 0"):
        train(replace(own, loss=replace(own.loss, distil=0.0)), dataset())
    with pytest.raises(ConfigError, match="in another form"):
        train(own, dataset(replace(TASK, labels=("c", "b", "a"))))
    folder = replace(own, data=DataConfig(set="folder"))
    checkpoint.save(tmp_path, MultimodalModel(TASK, TINY.model), folder, trained_sha256(dataset()))
    train(replace(folder, steps=1), dataset())
    with pytest.raises(ConfigError, match="on other recordings than there are now"):
        train(folder, dataset(count=5))


def test_unlabelled_sequences_are_aligned_and_never_asked_for_a_label() -> None:
    known = tuple(session(number % 3, number, CLIPS) for number in range(6))
    parted = tuple(
        one.without(["video"]) if number % 2 else replace(one, labels=np.full_like(one.labels, -1))
        for number, one in enumerate(known)
    )
    config = replace(TINY, batch=12, data=DataConfig(labelled=("imu", "audio"), apart=True))
    data = replace(dataset(CLIPS), training=(Pool("parted", 1.0, parted),))
    batch = Batches(data, config).draw(1)
    unlabelled = (batch.labels[:, -1] < 0).nonzero()[:, 0]
    assert 0 < len(unlabelled) < 12
    assert not torch.isin(batch.row, unlabelled).any()
    assert torch.equal(batch.rows["video"], unlabelled)
    parts = Objective(MultimodalModel(CLIPS, TINY.model), TINY.loss, config.data.labelled)(batch, 1.0)
    assert all(torch.isfinite(part) and part > 0 for part in parts.values())


def test_a_cut_checkpoint_is_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    weights = tmp_path / checkpoint.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ConfigError, match="not a whole checkpoint"):
        checkpoint.load(tmp_path)
