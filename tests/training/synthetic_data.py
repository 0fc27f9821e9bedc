"""Small made-up data and settings to train with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmg_training import checkpoint
from mmg_training.config import (
    LossConfig,
    TrainConfig,
)
from mmg_training.data.sessions import Dataset, Pool, Session
from mmg_training.models.multimodal import MultimodalModel
from mmg_training.models.sizes import ModelConfig
from mmg_training.task import AUDIO_HZ, IMU_HZ, Task
from numpy.typing import NDArray

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


def saved(run: Path) -> None:
    torch.manual_seed(0)
    checkpoint.save(run, MultimodalModel(TASK, TINY.model), TINY)
