"""A training run on disk: ``model.safetensors`` and ``config.json``; no pickles."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from mmg.errors import ConfigError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mmg_training.config import TrainConfig, build
from mmg_training.models.multimodal import MultimodalModel

WEIGHTS, CONFIG, METRICS = "model.safetensors", "config.json", "metrics.json"


def save(run: Path, model: MultimodalModel, config: TrainConfig) -> None:
    """Write the weights and the settings into the folder ``run``."""
    run.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, run / WEIGHTS)
    (run / CONFIG).write_text(json.dumps(dataclasses.asdict(config), indent=2) + "\n", encoding="utf-8")


def load(run: Path) -> tuple[MultimodalModel, TrainConfig]:
    """The trained model in evaluation mode and its settings. Raises ConfigError."""
    try:
        config = build(TrainConfig, json.loads((run / CONFIG).read_text(encoding="utf-8")), str(run / CONFIG))
        model = MultimodalModel(config.model)
        model.load_state_dict(load_file(run / WEIGHTS))
    except OSError as error:
        raise ConfigError(f"run {run}: {error}") from error
    except (SafetensorError, json.JSONDecodeError, RuntimeError) as error:
        raise ConfigError(f"run {run}: is not a whole checkpoint: {error}") from error
    return model.eval(), config
