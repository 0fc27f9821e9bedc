"""Where training begins: with the weights of another run, as far as they fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from mmg.errors import ConfigError
from torch import Tensor

from mmg_training import checkpoint
from mmg_training.config import TrainConfig
from mmg_training.data.parts import trained_sha256
from mmg_training.data.sessions import Dataset
from mmg_training.models.multimodal import MultimodalModel
from mmg_training.own import STARTER, STARTER_RUN
from mmg_training.task import Task

PER_MODALITY = ("fusion.modality", "fusion.reading", "fusion.reading_bias")
"""Tables with a row for each modality."""
LABEL_AXIS = {"fusion.classify.weight": 0, "fusion.classify.bias": 0, "fusion.reading": 2, "fusion.reading_bias": 1}
"""Where a table has the labels."""


def start_from(model: MultimodalModel, start: str) -> None:
    """Give a fresh model the weights of the run ``start``: each modality's by its name, and each label's.

    A label that the run does not know keeps its fresh weights. Raises ConfigError where the run has another form.
    """
    source, _ = checkpoint.load(STARTER_RUN if start == STARTER else Path(start))
    if source.config != model.config:
        raise ConfigError(f"start: {start} has a model of another size: leave out [model], or start")
    for name in model.task.modalities:
        if name not in source.task.modalities:
            raise ConfigError(f"start: {start} knows no {name}: it has {', '.join(source.task.modalities)}")
    if (source.task.frame, source.task.video_fps) != (model.task.frame, model.task.video_fps):
        raise ConfigError(f"start: {start} takes other pictures")
    known = source.state_dict()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            value.copy_(_fitted(name, known[name], value, source.task, model.task))


def with_start(dataset: Dataset, config: TrainConfig) -> Dataset:
    """The data set with a word on whether a run that the training begins with may have seen whom it holds out: one that
    was trained on other recordings of this set, or that is gone."""
    passed, start, told = {"", STARTER}, config.start, ""
    while not told and start not in passed:
        passed.add(start)
        run = Path(start)
        try:
            _, own = checkpoint.load(run)
        except ConfigError:
            told = f"Training began with {run.name}, which is not there to look at: it may have seen them."
            break
        if own.data.set == config.data.set and checkpoint.data_sha256(run) != trained_sha256(dataset):
            told = f"Training began with {run.name}, of other recordings of this data set: it may have seen them."
        start = own.start
    return replace(dataset, begun=told)


def _fitted(name: str, known: Tensor, fresh: Tensor, source: Task, task: Task) -> Tensor:
    """The known values in the order of ``task``; those that are not known are fresh."""
    if name in PER_MODALITY:
        known = known[[source.modalities.index(one) for one in task.modalities]]
    axis = LABEL_AXIS.get(name)
    if axis is None:
        return known
    shared = [label for label in task.labels if label in source.labels]
    made = fresh.clone()
    into = torch.tensor([task.labels.index(label) for label in shared], dtype=torch.long)
    out = torch.tensor([source.labels.index(label) for label in shared], dtype=torch.long)
    return made.index_copy_(axis, into, known.index_select(axis, out))
