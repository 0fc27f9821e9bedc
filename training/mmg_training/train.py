"""Train a model: ``python -m mmg_training.train training/configs/first.toml --out runs/first``."""

from __future__ import annotations

import argparse
import datetime
import math
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmg.errors import MmgError
from torch import Tensor

from mmg_training import checkpoint, recordings
from mmg_training import metrics as metrics_file
from mmg_training.batches import Batch, Batches
from mmg_training.config import TrainConfig, load
from mmg_training.contract import TOKENS_PER_HOP
from mmg_training.evaluate import score_real, score_subsets
from mmg_training.metrics import DataSource, Metrics
from mmg_training.models.multimodal import MultimodalModel
from mmg_training.sessions import Session, held_out_subjects, simulate_all, training_subjects

REPORT_EVERY = 25


def train(config: TrainConfig, simulated: Sequence[Session], real: Sequence[Session]) -> MultimodalModel:
    """A model trained on these sessions, in evaluation mode. The same for the same settings, sessions and machine."""
    torch.manual_seed(config.seed)
    model = MultimodalModel(config.model).train()
    batches = Batches(simulated, real, config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, config))
    began_s, losses, right = time.monotonic(), [], []
    for step in range(1, config.steps + 1):
        batch = batches.draw()
        logits = forward(model, batch, config.sequence_hops)
        loss = torch.nn.functional.cross_entropy(logits, batch.label, label_smoothing=config.label_smoothing)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        right.append(float((logits.argmax(1) == batch.label).float().mean()))
        if step % REPORT_EVERY == 0 or step == config.steps:
            rate_s = (time.monotonic() - began_s) / step
            say(
                f"step {step}/{config.steps}: loss {np.mean(losses[-REPORT_EVERY:]):.3f}, "
                f"right {np.mean(right[-REPORT_EVERY:]):.3f}, {rate_s * (config.steps - step):.0f} s to go"
            )
    return model.eval()


def forward(model: MultimodalModel, batch: Batch, hops: int) -> Tensor:
    """Logits (Q, L) of a batch; the tokens of a modality that a sequence lacks stay zero and are never present."""
    tokens = {}
    for name, y in model.encode(batch.samples).items():
        everywhere = y.new_zeros(int(batch.row.max()) + 1, hops, TOKENS_PER_HOP[name], y.shape[3])
        tokens[name] = everywhere.index_copy(0, batch.rows[name], y)
    logits, _ = model.fuse(tokens, batch.row, batch.hop, batch.present)
    return logits


def learning_rate_factor(step: int, config: TrainConfig) -> float:
    """A straight rise over the warm-up, then half a cosine down to nothing."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def run(config: TrainConfig, out: Path) -> None:
    """Render and read the data, train, measure, and write the run into ``out``."""
    began_s = time.monotonic()
    sets = recordings.load_all(recordings.folder(), say)
    simulated = _simulate("training", training_subjects(config.data.subjects), config)
    model = train(config, simulated, [session for part in sets for session in part.training])
    held_out = held_out_subjects(config.data.held_out)
    measured = _simulate("held-out", held_out, config)
    half = held_out[len(held_out) // 2]
    metrics = Metrics(
        created=_now(),
        seed=config.seed,
        config_sha256=config.sha256(),
        wall_s=round(time.monotonic() - began_s),
        tools={"python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__},
        data=(_virtual(config), *(part.source for part in sets)),
        held_out_subjects=tuple(held_out),
        simulated=score_subsets(
            model,
            [session for session in measured if session.subject < half],
            [session for session in measured if session.subject >= half],
        ),
        real=tuple(score for part in sets for score in score_real(model, part.test_name, part.test)),
    )
    checkpoint.save(out, model, config)
    metrics_file.save(metrics, out / checkpoint.METRICS)
    scores = [("held-out wearers", score) for score in metrics.simulated] + [
        (score.name, score) for score in metrics.real
    ]
    for name, score in scores:
        say(f"{name}, {' + '.join(score.modalities)}: {score.accuracy:.3f} of {score.samples} hops")


def _simulate(what: str, subjects: Sequence[int], config: TrainConfig) -> list[Session]:
    say(
        f"rendering {len(subjects)} {what} wearers, {config.data.sessions} sessions of {config.data.session_s:g} s each"
    )
    return list(simulate_all(subjects, config.data.sessions, config.data.session_s))


def _virtual(config: TrainConfig) -> DataSource:
    hours = config.data.subjects * config.data.sessions * config.data.session_s / 3600
    what = f"{hours:.1f} h of {config.data.subjects} simulated wearers, IMU, sound and video of one timeline"
    return DataSource(name="virtual wearer", what=what, licence="Apache-2.0, made by mmg_training.wearer")


def _now() -> str:
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def say(text: str) -> None:
    """A line of progress."""
    sys.stderr.write(f"train: {text}\n")
    sys.stderr.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="mmg_training.train", description=__doc__)
    parser.add_argument("config", type=Path, help="settings, TOML")
    parser.add_argument("--out", type=Path, required=True, help="the folder for weights, settings and metrics")
    chosen = parser.parse_args(arguments)
    try:
        run(load(chosen.config), chosen.out)
    except MmgError as error:
        sys.stderr.write(f"mmg_training: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        say("interrupted; nothing was written")
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
