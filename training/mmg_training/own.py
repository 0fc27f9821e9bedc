"""The settings of ``mmg-train --data``: from the starter's weights, some minutes on two cores."""

from __future__ import annotations

import json
import re
from pathlib import Path

from mmg.errors import ConfigError

from mmg_training.config import DataConfig, DropoutConfig, LossConfig, TrainConfig, build
from mmg_training.models.sizes import ModelConfig

STARTER = "starter"
STARTER_RUN = Path(__file__).parent / STARTER
"""The checkpoint that the starter bundle was exported from."""


STEPS, LEARNING_RATE = {False: 400, True: 1000}, {False: 1e-3, True: 5e-4}
"""By whether the starter's labels are kept: then two kinds of data are learnt at once, and none is to be forgotten."""


def own_settings(
    root: Path, *, keep: bool, modalities: tuple[str, ...], allow_video: bool, hold_out: tuple[str, ...]
) -> TrainConfig:
    """What half an hour of recordings needs. keep: whether the starter's labels stay. Raises ConfigError."""
    return TrainConfig(
        name=re.sub(r"[^\w.-]+", "-", root.resolve().name).strip("-.") or "own",
        start=STARTER,
        steps=STEPS[keep],
        batch=24,
        sequence_hops=8,
        contexts=6,
        learning_rate=LEARNING_RATE[keep],
        warmup_steps=20,
        ema=0.98,
        data=DataConfig(
            set="folder",
            root=str(root.resolve()),
            modalities=modalities,
            allow_video=allow_video,
            hold_out=hold_out,
            keep=keep,
            subjects=24,
            held_out=4,
            sessions=1,
        ),
        loss=LossConfig(alone=0.3, distil=0.3, label_smoothing=0.05),
        dropout=DropoutConfig(),
        model=starter_model(),
    )


def starter_model() -> ModelConfig:
    """The form of the starter's model. Raises ConfigError where its checkpoint is not there."""
    path = STARTER_RUN / "config.json"
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    return build(ModelConfig, described["config"]["model"], str(path))
