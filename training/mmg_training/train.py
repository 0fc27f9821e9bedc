"""The training loop: steps of an objective over batches, an average of the weights, and a place to go on from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from mmg.cli.progress import Progress
from mmg.cli.reporting import stderr_reporter
from mmg.errors import ConfigError
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from mmg_training import checkpoint
from mmg_training.batches import Batch, Batches
from mmg_training.config import TrainConfig
from mmg_training.data.parts import trained_sha256
from mmg_training.data.sessions import Dataset
from mmg_training.models.multimodal import MultimodalModel
from mmg_training.objective import Objective, spread
from mmg_training.splitting import SplitConfig
from mmg_training.starting import start_from

REPORT_EVERY = 25
CLIP_NORM = 5.0

report = stderr_reporter("mmg-train")
Watch = Callable[[int, dict[str, float]], None]


def train(
    config: TrainConfig,
    data: Dataset,
    *,
    fabric: Fabric | None = None,
    out: Path | None = None,
    resume: bool = False,
    watch: Watch | None = None,
) -> MultimodalModel:
    """A model trained on ``data``, in evaluation mode: the average of the weights over the last steps.

    The same for the same settings, data, machine and number of processes, also when it was stopped and went on:
    everything random is a function of the seed and the step. It begins with the weights of ``config.start``. out: where
    to keep what ``resume`` goes on from. watch: called with each step and its losses. Raises ConfigError where
    ``resume`` finds another run's progress, or that of other recordings, and where no numbers come of the weights.
    """
    fabric = fabric or Fabric(accelerator="cpu", devices=1)
    torch.manual_seed(config.seed)
    model = MultimodalModel(data.task, config.model)
    if config.start:
        start_from(model, config.start)
    teacher = load_teacher(config, data) if config.loss.teacher else None
    objective = Objective(model, config.loss, config.data.labelled or data.task.modalities, teacher)
    # Faster convolutions of pictures.
    objective.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(_groups(objective, config.weight_decay), lr=config.learning_rate)
    averaged = AveragedModel(model, avg_fn=_average(config.ema), use_buffers=True)
    if teacher is not None:
        teacher.to(fabric.device)
    averaged.to(fabric.device)
    wrapped, optimizer = fabric.setup(objective, optimizer)
    # After the setup: the optimizer's state goes where the weights are.
    learnt, first = trained_sha256(data), 0
    if out is not None and resume:
        first = checkpoint.load_progress(out, config, objective, averaged, optimizer, learnt)
    if first:
        report(f"resuming after step {first}")
    batches = Batches(data, config, fabric.global_rank, fabric.world_size)
    wrapped.train()
    for step in range(first + 1, config.steps + 1):
        torch.manual_seed(config.seed * 1_000_003 + step * 1_009 + fabric.global_rank)
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * learning_rate_factor(step - 1, config)
        parts: dict[str, Tensor] = wrapped(batches.draw(step).to(fabric.device), step / config.steps)
        loss = torch.stack(list(parts.values())).sum()
        optimizer.zero_grad()
        fabric.backward(loss)
        norm = fabric.clip_gradients(wrapped, optimizer, max_norm=CLIP_NORM, error_if_nonfinite=False)
        if norm is not None and not torch.isfinite(norm):
            raise ConfigError(f"step {step}: the gradient is no longer a number; lower learning_rate or augment")
        optimizer.step()
        averaged.update_parameters(model)
        if watch is not None and fabric.is_global_zero:
            watch(step, {"loss": loss.item(), **{name: part.item() for name, part in parts.items()}})
        if out is not None and step % config.save_every == 0 and fabric.is_global_zero:
            checkpoint.save_progress(out, step, config, objective, averaged, optimizer, learnt)
    trained = averaged.module.cpu()
    assert isinstance(trained, MultimodalModel)
    _require_numbers(trained.eval(), batches.draw(config.steps))
    return trained


@torch.no_grad()
def _require_numbers(model: MultimodalModel, batch: Batch) -> None:
    """Raises ConfigError where the model gives none: a step's gradient is of the weights before it."""
    tokens = spread(model.encode(batch.samples), batch)
    logits, _ = model.fuse(tokens, batch.row, batch.hop, batch.present)
    if not all(bool(one.isfinite().all()) for one in (logits, *tokens.values())):
        raise ConfigError("the trained model gives no numbers any more; lower learning_rate or augment")


def load_teacher(config: TrainConfig, data: Dataset) -> MultimodalModel:
    """The model of ``loss.teacher``. Raises ConfigError where it knows another task, or was trained on what is held out
    or unlabelled here."""
    if not config.loss.distil:
        raise ConfigError("loss.teacher: has no effect with loss.distil at 0")
    teacher, own = checkpoint.load(Path(config.loss.teacher))
    if teacher.task != data.task:
        raise ConfigError(f"loss.teacher: {config.loss.teacher} was trained for {teacher.task.name}, in another form")
    parts = (setting.name for setting in fields(SplitConfig))
    for name in ("set", "leave_out", "split", "labelled", "apart", "hold_out", *parts):
        theirs, ours = getattr(own.data, name), getattr(config.data, name)
        if theirs != ours:
            raise ConfigError(
                f"loss.teacher: {config.loss.teacher} was trained with data.{name} = {theirs}, not {ours}: it may have "
                "seen what this run must not see"
            )
    # Of a folder the settings do not tell who is held out.
    if config.data.set == "folder" and not checkpoint.is_trained_on(Path(config.loss.teacher), data):
        raise ConfigError(
            f"loss.teacher: {config.loss.teacher} was trained on other recordings than there are now: it may have seen "
            "what this run must not see"
        )
    return teacher


def _groups(module: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weights decay; biases, norms and the like do not."""
    parameters = list(module.parameters())
    return [
        {"params": [one for one in parameters if one.dim() > 1], "weight_decay": weight_decay},
        {"params": [one for one in parameters if one.dim() <= 1], "weight_decay": 0.0},
    ]


def _average(keep: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Exponential, over all steps so far while these are few."""

    def average(mean: Tensor, value: Tensor, count: Tensor | int) -> Tensor:
        kept = min(keep, (1 + int(count)) / (10 + int(count)))
        return mean * kept + value * (1 - kept)

    return average


def learning_rate_factor(step: int, config: TrainConfig) -> float:
    """A straight rise over the warm-up, then half a cosine down to ``learning_rate_end``."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    left = config.learning_rate_end
    return left + (1 - left) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


class StepLog:
    """A ``watch`` that says on standard error how far it is, in lines for a log and below them in a bar where that is a
    terminal, and keeps a log for TensorBoard in ``logs``."""

    def __init__(self, config: TrainConfig, logs: Path | None = None) -> None:
        self.config, self.began_s = config, time.monotonic()
        self.before: int | None = None  # the step that a resumed run goes on from
        self.recent: list[float] = []
        self.shown: Progress | None = None
        self.writer = None
        if logs is not None:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(logs))

    def __call__(self, step: int, parts: dict[str, float]) -> None:
        if self.before is None:
            self.before = step - 1
            progress = Progress(report, "training", self.config.steps, "steps", first=self.before, lines=False)
            self.shown = progress.__enter__()
        if self.shown is not None:
            self.shown.at(step, self.config.steps)
        self.recent.append(parts["loss"])
        if self.writer is not None:
            for name, value in parts.items():
                self.writer.add_scalar(f"train/{name}", value, step)
        if step % REPORT_EVERY == 0 or step == self.config.steps:
            left_s = (time.monotonic() - self.began_s) / (step - self.before) * (self.config.steps - step)
            mean = sum(self.recent) / len(self.recent)
            report(f"step {step}/{self.config.steps}: loss {mean:.3f}, {left_s:.0f} s to go")
            self.recent.clear()

    def close(self) -> None:
        """Write what is left of the log, and clear the bar."""
        if self.shown is not None:
            self.shown.close()
        if self.writer is not None:
            self.writer.close()
