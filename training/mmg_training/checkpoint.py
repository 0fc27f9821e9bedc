"""A training run on disk: ``model.safetensors`` and ``config.json``, ``unknown.npz`` where it tells the unknown, and
``resume.safetensors`` to go on from; no pickles."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import torch
from mmg.atomic_write import atomic_write
from mmg.errors import ConfigError
from mmg_device_profiles.regular_file import read_within
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_tensors
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmg_training.config import TrainConfig, build
from mmg_training.data.parts import trained_sha256
from mmg_training.data.sessions import Dataset
from mmg_training.models.multimodal import MultimodalModel
from mmg_training.task import Task

WEIGHTS, CONFIG, METRICS, RESUME, LOGS = (
    "model.safetensors",
    "config.json",
    "metrics.json",
    "resume.safetensors",
    "logs",
)


def save(run: Path, model: MultimodalModel, config: TrainConfig, data_sha256: str = "") -> None:
    """Write the weights and the settings into the folder ``run``, each in one piece. data_sha256: ``trained_sha256`` of
    what was trained on."""
    run.mkdir(parents=True, exist_ok=True)
    _write(model.state_dict(), {}, run / WEIGHTS)
    described = {"task": dataclasses.asdict(model.task), "config": dataclasses.asdict(config), "data": data_sha256}
    with atomic_write(run / CONFIG) as stream:
        stream.write(json.dumps(described, indent=2).encode() + b"\n")


def data_sha256(run: Path) -> str:
    """What ``save`` was told of what was trained on; empty where that is not known."""
    try:
        return str(json.loads(read_within(run / CONFIG)).get("data", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def load(run: Path) -> tuple[MultimodalModel, TrainConfig]:
    """The trained model in evaluation mode and its settings. Raises ConfigError."""
    try:
        described = json.loads(read_within(run / CONFIG))
        config = build(TrainConfig, described["config"], str(run / CONFIG))
        model = MultimodalModel(build(Task, described["task"], str(run / CONFIG)), config.model)
        model.load_state_dict(load_tensors((run / WEIGHTS).read_bytes()))
    except SafetensorError as error:
        raise ConfigError(
            f"run {run}: is not a whole checkpoint: {WEIGHTS} is truncated or damaged: {error}"
        ) from error
    except OSError as error:
        raise ConfigError(f"run {run}: {error}; mmg-train writes one") from error
    except (ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"run {run}: is not a whole checkpoint: {error}") from error
    return model.eval(), config


def is_trained_on(run: Path, dataset: Dataset) -> bool:
    """Whether a run was trained on what ``dataset`` trains on, as far as the run says so."""
    return data_sha256(run) in ("", trained_sha256(dataset))


def sha256(run: Path) -> str:
    """The digest of the run's weights. Raises ConfigError where there are none."""
    try:
        return hashlib.sha256((run / WEIGHTS).read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"run {run}: {error.strerror}; mmg-train writes one") from error


def save_progress(
    run: Path,
    step: int,
    config: TrainConfig,
    objective: torch.nn.Module,
    averaged: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    data: str,
) -> None:
    """What a run needs to go on after ``step``. data: ``trained_sha256`` of what it is trained on. The file is replaced
    in one piece: a run killed while it writes goes on from the one before."""
    run.mkdir(parents=True, exist_ok=True)
    tensors = {
        **{f"objective.{name}": value for name, value in objective.state_dict().items()},
        **{f"averaged.{name}": value for name, value in averaged.state_dict().items()},
        **{
            f"optimizer.{number}.{name}": value
            for number, state in optimizer.state_dict()["state"].items()
            for name, value in state.items()
        },
    }
    _write(tensors, {"step": str(step), "config": config.sha256(), "data": data}, run / RESUME)


def load_progress(
    run: Path,
    config: TrainConfig,
    objective: torch.nn.Module,
    averaged: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    data: str,
) -> int:
    """Fill objective, average and optimizer from ``run`` and return the step after which to go on; 0 where the run has
    not saved yet. data: as ``save_progress`` takes it. Raises ConfigError where it was another run's, was trained on
    something else or is cut."""
    path = run / RESUME
    if not path.exists():
        return 0
    try:
        tensors = load_file(path)
        with safe_open(path, "pt") as file:
            described = file.metadata()
        if described["config"] != config.sha256():
            raise ConfigError(f"{path}: was written with other settings; choose another --out, or leave out --resume")
        if described["data"] != data:
            raise ConfigError(
                f"{path}: was trained on other recordings than there are now, and may have seen who is held out now; "
                "choose another --out, or leave out --resume"
            )
        objective.load_state_dict(_under("objective.", tensors))
        averaged.load_state_dict(_under("averaged.", tensors))
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _under("optimizer.", tensors).items():
            number, key = name.split(".", 1)
            state.setdefault(int(number), {})[key] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    except (SafetensorError, RuntimeError, KeyError) as error:
        raise ConfigError(f"{path}: is not a whole checkpoint: {error}; leave out --resume to start over") from error
    return int(described["step"])


def _write(tensors: dict[str, Tensor], described: dict[str, str], path: Path) -> None:
    beside = path.with_suffix(".tmp")
    # Cloned: safetensors refuses tensors that share memory.
    whole = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    try:
        save_file(whole, beside, described)
        beside.replace(path)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{path}: cannot be written: {error}") from error


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
