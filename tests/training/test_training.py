"""Training: dropout, recordings, calibration, and the command from settings to metrics."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmg.errors import ConfigError
from mmg_training import checkpoint
from mmg_training import metrics as metrics_file
from mmg_training.augment import Augment, at_pace, random_rotations, small_rotations
from mmg_training.batches import Batch, Batches
from mmg_training.cli.train import main
from mmg_training.config import (
    AugmentConfig,
    DataConfig,
    DropoutConfig,
    LossConfig,
    TrainConfig,
    load,
    override,
    parse_setting,
)
from mmg_training.data import load as load_data
from mmg_training.data.sessions import Dataset, Pool, Session
from mmg_training.data.signals import resample
from mmg_training.dropout import context_mask, drop_modalities
from mmg_training.evaluation.decide import decide
from mmg_training.evaluation.scores import calibration_error, fit_temperature
from mmg_training.models.multimodal import ModelConfig, MultimodalModel
from mmg_training.objective import Objective
from mmg_training.task import AUDIO_HZ, CONTEXT_HOPS, IMU_HZ, Task
from mmg_training.train import learning_rate_factor, train
from numpy.typing import NDArray
from torch import Tensor

TASK = Task("made up", ("a", "b", "c"), frame=(16, 16))
CLIPS = replace(TASK, clips=True)
TINY = TrainConfig(
    steps=4,
    batch=6,
    sequence_hops=3,
    contexts=4,
    warmup_steps=1,
    save_every=2,
    loss=LossConfig(alone=0.3, clip=0.1, sequence=0.1, hops=0.1, prototypes=0.1, distil=0.1),
    model=ModelConfig(8, True, 8, 16, (4, 4, 4), 8, token_dim=8, embedding_dim=8, heads=2),
)


def session(label: int, seed: int, task: Task = TASK, hops: int = 8) -> Session:
    """Noise whose strength tells the label."""
    rng, seconds = np.random.default_rng(seed), hops / 2
    strength = 0.3 + label
    frames = rng.integers(0, 60 * (label + 1), (int(seconds * task.video_fps), *task.frame, 3))
    samples: dict[str, NDArray[Any]] = {
        "imu": (strength * rng.standard_normal((int(seconds * IMU_HZ), 6))).astype(np.float32),
        "audio": (3000 * strength * rng.standard_normal(int(seconds * AUDIO_HZ))).clip(-32768, 32767).astype(np.int16),
        "video": frames.astype(np.uint8),
    }
    return Session("made up", seed, np.full(2 * hops + 1, label, np.int16), samples)


def dataset(task: Task = TASK, count: int = 6) -> Dataset:
    whole = tuple(session(number % 3, number, task) for number in range(count))
    silent = tuple(one.without(["audio", "video"]) for one in whole)
    return Dataset(task, "simulated", (Pool("whole", 0.5, whole), Pool("imu only", 0.5, silent)), whole, whole)


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


def test_progress_of_other_settings_is_refused(tmp_path: Path) -> None:
    train(TINY, dataset(), out=tmp_path)
    with pytest.raises(ConfigError, match="other settings"):
        train(replace(TINY, seed=2), dataset(), out=tmp_path, resume=True)


def test_cut_progress_is_refused(tmp_path: Path) -> None:
    train(TINY, dataset(), out=tmp_path)
    path = tmp_path / checkpoint.RESUME
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ConfigError, match="leave out --resume"):
        train(TINY, dataset(), out=tmp_path, resume=True)


@pytest.mark.slow
def test_two_processes_train_together(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests/training'); import test_training as t; from pathlib import Path\n"
        "from lightning_fabric import Fabric\n"
        "fabric = Fabric(accelerator='cpu', devices=2, strategy='ddp_find_unused_parameters_true'); fabric.launch()\n"
        "model = t.train(t.TINY, t.dataset(), fabric=fabric)\n"
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


def test_rotations_are_rotations() -> None:
    rng = torch.Generator().manual_seed(0)
    for turns in (random_rotations(rng, 50), small_rotations(torch.randn(50, 3, generator=rng))):
        torch.testing.assert_close(turns @ turns.transpose(1, 2), torch.eye(3).expand(50, 3, 3), atol=1e-5, rtol=0)
        torch.testing.assert_close(torch.linalg.det(turns), torch.ones(50), atol=1e-5, rtol=0)
    quarter = small_rotations(torch.tensor([[0.0, 0.0, np.pi / 2]]))[0]
    torch.testing.assert_close(
        quarter @ torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]), atol=1e-6, rtol=0
    )


def test_another_pace_keeps_begin_end_and_order() -> None:
    ramp = torch.linspace(0, 1, 200)[None, :, None].expand(20, 200, 6)
    still = torch.zeros(20, 2)
    bent = at_pace(ramp, 0.1 * torch.randn(20, 3, generator=torch.Generator().manual_seed(0)), still)
    torch.testing.assert_close(bent[:, [0, -1]], ramp[:, [0, -1]], atol=1e-4, rtol=0)
    assert (bent.diff(dim=1) >= 0).all()
    assert (bent - ramp).abs().max() > 0.01
    torch.testing.assert_close(at_pace(ramp, torch.zeros(20, 3), still), ramp, atol=1e-4, rtol=0)
    later = at_pace(ramp, torch.zeros(20, 3), torch.tensor([[0.1, 0.0]]).expand(20, 2))
    torch.testing.assert_close(later[:, [0, -1], 0], torch.tensor([[0.1, 1.0]]).expand(20, 2), atol=1e-4, rtol=0)


def test_both_modalities_of_a_sequence_keep_one_pace() -> None:
    ramp = np.linspace(1, 200, 32).astype(np.uint8)
    quiet = dict.fromkeys(("turn", "any_turn", "no_gyro", "strength", "noise", "shift", "zoom", "gain"), 0.0)
    config = AugmentConfig(pace=0.2, colour=0.0, light=0.0, mirror=False, **quiet)
    cuts = {
        "imu": torch.linspace(1, 200, 200)[None, :, None].expand(3, 200, 6).clone(),
        "video": torch.from_numpy(ramp)[None, :, None, None, None].expand(3, 32, 16, 16, 3).clone(),
    }
    rows = {"imu": torch.arange(3), "video": torch.arange(3)}
    made = Augment(config, ())(torch.Generator().manual_seed(1), cuts, rows, 3)
    along = made["imu"][:, torch.linspace(0, 199, 32).round().long(), 0]
    assert (along - made["video"][..., 0, 0, 0].float()).abs().max() < 8
    assert (along - cuts["video"][..., 0, 0, 0].float()).abs().max() > 8


def test_a_moved_and_marked_picture_keeps_what_is_no_return() -> None:
    still = dict.fromkeys(("zoom", "shift", "gain", "colour", "light"), 0.0)
    frames = torch.zeros(40, 2, 32, 24, 3, dtype=torch.uint8)
    frames[:, :, 8:24, 6:18] = 100
    rows, rng = {"video": torch.arange(40)}, torch.Generator().manual_seed(0)

    def made(**settings: float) -> Tensor:
        augment = Augment(AugmentConfig(mirror=False, **{**still, **settings}), ())
        return augment(rng, {"video": frames}, rows, 40)["video"]

    assert torch.equal(made(), frames)
    sloped, grainy = made(slope=20.0), made(grain=20.0)
    for one in (sloped, grainy):
        assert ((one == 0) == (frames == 0)).all()
    steps = sloped[:, 0, 8:24, 12, 0].float().diff(dim=1)
    assert (steps.amax(1) - steps.amin(1) <= 1).all()  # a straight slope, rounded
    assert steps.abs().mean() > 0.3
    assert not torch.equal(grainy[:, 0], grainy[:, 1])
    erased = made(erase=1.0)
    assert ((erased == frames) | (erased == 0)).all()
    assert torch.equal(erased[:, 0], erased[:, 1])
    assert (erased != frames).flatten(1).any(1).float().mean() > 0.5
    # The box stays as large when the camera rolls, but leaves its corners; a wider picture has a wider box.
    rolled = made(roll=0.2)
    assert 0.95 < rolled.float().mean() / frames.float().mean() < 1.05
    assert (rolled[:, 0, 8, 6, 0] < 100).float().mean() > 0.5
    columns = (made(stretch=0.3)[:, 0, 16, :, 0] > 0).sum(1)
    assert columns.min() < 12 < columns.max()


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


def test_resampling_a_straight_line_gives_the_middle_of_each_box() -> None:
    times_s = np.array([0.0, 0.007, 0.007, 0.019, 0.031, 0.05, 0.06])
    line = (3.0 * times_s)[:, None].astype(np.float32)
    np.testing.assert_allclose(resample(times_s, line, 50)[:, 0], 3.0 * np.array([0.01, 0.03, 0.05]), atol=1e-6)


def test_samples_of_one_time_are_averaged() -> None:
    times_s = np.array([0.0, 0.01, 0.01, 0.02])
    values = np.array([[0.0], [1.0], [3.0], [4.0]], np.float32)
    np.testing.assert_allclose(resample(times_s, values, 50), [[2.0]], atol=1e-6)


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


def test_a_setting_is_changed_by_its_dotted_name() -> None:
    assert override(TINY, {"data.leave_out": 3, "loss.clip": 1}, "here").data.leave_out == 3
    with pytest.raises(ConfigError, match="here: data: leave: is not a setting"):
        override(TINY, {"data.leave": 3}, "here")
    with pytest.raises(ConfigError, match=r"steps.x: is not a setting"):
        override(TINY, {"steps.x": 3}, "here")


def test_a_size_is_a_start_for_single_settings(tmp_path: Path) -> None:
    path = tmp_path / "sized.toml"
    path.write_text('[model]\nsize = "small"\nlayers = 3\n')
    assert load(path).model.token_dim == 32
    assert load(path).model.layers == 3
    assert override(TINY, {"model.size": "small"}, "here").model.token_dim == 32
    path.write_text('[model]\nsize = "huge"\n')
    with pytest.raises(ConfigError, match="'huge' is none of small, base, large"):
        load(path)


def test_the_command_trains_measures_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMG_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    settings = tmp_path / "tiny.toml"
    settings.write_text(
        "steps = 4\nbatch = 2\nsequence_hops = 4\ncontexts = 2\nwarmup_steps = 1\n"
        "[model]\nvideo_widths = [4, 4, 4]\n"
        "[data]\nsubjects = 2\nheld_out = 2\nsessions = 1\nsession_s = 6.0\n"
    )
    assert main([str(settings), "--out", str(tmp_path / "run"), "--set", "steps=2"]) == 0
    model, config = checkpoint.load(tmp_path / "run")
    assert config.steps == 2
    assert not model.training
    metrics = metrics_file.load(tmp_path / "run" / checkpoint.METRICS)
    assert metrics.created == "1970-01-01T00:00:00Z"
    assert [score.samples for score in metrics.subsets] == [12] * 7
    assert metrics.extra == ()
    assert metrics.weights_sha256 == checkpoint.sha256(tmp_path / "run")
    assert metrics.device == "1 x cpu, 1 thread each"
    assert any("simulation" in one for one in metrics.limits)
    assert any((tmp_path / "run" / checkpoint.LOGS).iterdir())


def test_a_finished_run_has_nothing_to_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MMG_DATA", str(tmp_path / "none"))
    settings = tmp_path / "tiny.toml"
    settings.write_text(
        "steps = 2\nbatch = 2\nsequence_hops = 4\nsave_every = 1\n[data]\nsubjects = 1\nheld_out = 2\n"
        "sessions = 1\nsession_s = 6.0\nmodalities = ['imu']\n"
    )
    command = [str(settings), "--out", str(tmp_path / "run")]
    assert main(command) == 0
    assert not (tmp_path / "run" / checkpoint.RESUME).exists()
    written = (tmp_path / "run" / checkpoint.WEIGHTS).stat().st_mtime_ns
    assert checkpoint.load(tmp_path / "run")[0].task.modalities == ("imu",)
    assert main([*command, "--resume"]) == 0
    assert "is done already" in capsys.readouterr().err
    assert main([*command, "--set", "steps=3"]) == 2
    assert "has a finished run; choose another --out, or give --overwrite" in capsys.readouterr().err
    assert main([*command, "--resume", "--set", "steps=3"]) == 2
    assert "has a run with other settings; choose another --out" in capsys.readouterr().err
    assert (tmp_path / "run" / checkpoint.WEIGHTS).stat().st_mtime_ns == written
    # Metrics of other weights are none: it is trained and measured once more.
    metrics = (tmp_path / "run" / checkpoint.METRICS).read_text()
    (tmp_path / "run" / checkpoint.METRICS).write_text(metrics.replace('"weights_sha256": "', '"weights_sha256": "0'))
    assert main([*command, "--resume"]) == 0
    assert metrics_file.load(tmp_path / "run" / checkpoint.METRICS).weights_sha256 == checkpoint.sha256(
        tmp_path / "run"
    )
    assert main([*command, "--overwrite", "--set", "steps=3"]) == 0
    assert checkpoint.load(tmp_path / "run")[1].steps == 3


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("batch=0", "batch: 0 is less than 1"),
        ("data.held_out=1", "held_out: 1 is less than 2"),
        ("loss.temperature=0", "temperature: 0.0 is not above 0"),
        ("dropout.stretch=1.5", "stretch: 1.5 is not between 0 and 1"),
        ("dropout.modality=1.5", "modality: 1.5 is not between 0 and 1"),
        ("loss.clip=-1", "clip: -1.0 must be a number, 0 or more"),
        ("seed=-1", "seed: -1 is less than 0"),
        ("seed=99999999999999", "seed: 99999999999999 is more than"),
        ("data.session_s=0.2", "session_s: 0.2 is less than 4"),
        ("model.video_widths=[24]", r"\[24\] has not 3 items"),
        ("model.video_widths=[0,32,64]", "has a width below 1"),
        ("model.heads=3", "heads: 3 does not divide token_dim 8"),
        ("learning_rate=NaN", "learning_rate: nan must be a number, 0 or more"),
    ],
)
def test_settings_out_of_their_range_are_refused(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        override(TINY, dict([parse_setting(setting, "--set")]), "--set")


def test_settings_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_bytes(b"name = '\xff\xfe'\n")
    with pytest.raises(ConfigError, match="not TOML"):
        load(path)


def test_a_training_that_runs_away_ends_in_one_line() -> None:
    with pytest.raises(ConfigError, match="step 1: the gradient is no number any more; lower learning_rate"):
        train(replace(TINY, augment=AugmentConfig(strength=1e30)), dataset())


@pytest.mark.parametrize("content", [None, b"PK damaged", b"text"])
def test_damaged_recordings_end_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    (tmp_path / "utd-mhad").mkdir()
    if content is not None:
        (tmp_path / "utd-mhad" / "inertial_odd_subjects.npz").write_bytes(content)
    with pytest.raises(ConfigError, match=r"cannot be read|damaged"):
        load_data(DataConfig(set="utd-mhad", root=str(tmp_path)), print)


@pytest.mark.parametrize("content", [b"\xff", b'{"config": 5, "task": {}}'])
def test_damaged_settings_of_a_run_end_in_one_line(tmp_path: Path, content: bytes) -> None:
    saved(tmp_path)
    (tmp_path / checkpoint.CONFIG).write_bytes(content)
    with pytest.raises(ConfigError, match="is not a whole checkpoint"):
        checkpoint.load(tmp_path)


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


@pytest.mark.parametrize("module", ["train", "evaluate", "study"])
def test_without_torch_a_command_says_what_to_install(module: str) -> None:
    code = f"import sys; sys.modules['torch'] = None\nfrom mmg_training.cli import entry; sys.exit(entry.{module}())"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert ended.stderr.endswith("torch is not installed; in the project's folder: pip install -e '.[train,export]'\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "data.set=nothing"], "'nothing' is none of"),
        (["--set", "steps"], "is not KEY=VALUE"),
        (["--set", "data.set=utd-mhad"], "no utd-mhad in"),
        (["--devices", "many"], "--devices many"),
    ],
)
def test_wrong_use_ends_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setenv("MMG_DATA", str(tmp_path / "none"))
    settings = tmp_path / "tiny.toml"
    settings.write_text("steps = 2\n")
    assert main([str(settings), "--out", str(tmp_path / "run"), *arguments]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert message in said[-1]
    assert not (tmp_path / "run").exists()


def saved(run: Path) -> None:
    torch.manual_seed(0)
    checkpoint.save(run, MultimodalModel(TASK, TINY.model), TINY)


def test_a_cut_checkpoint_is_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    weights = tmp_path / checkpoint.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ConfigError, match="not a whole checkpoint"):
        checkpoint.load(tmp_path)


def test_task_and_settings_survive_their_json(tmp_path: Path) -> None:
    saved(tmp_path)
    model, config = checkpoint.load(tmp_path)
    assert (model.task, config) == (TASK, TINY)
