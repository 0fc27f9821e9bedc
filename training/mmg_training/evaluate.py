"""Accuracy and calibration on sessions that training never saw, for each subset of the modalities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmg_training.contract import CONTEXT_HOPS, LABELS, MODALITIES, subsets
from mmg_training.metrics import RealScore, SubsetScore
from mmg_training.models.multimodal import MultimodalModel
from mmg_training.sessions import Session

BINS = 15


@torch.no_grad()
def decide(model: MultimodalModel, session: Session, names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """A decision at every hop from the named modalities only: logits (hops, L) and labels (hops,)."""
    samples, labels = session.cut(0, session.hops)
    hops = torch.arange(session.hops)
    present = torch.zeros(session.hops, len(MODALITIES), CONTEXT_HOPS, dtype=torch.bool)
    present[:, [MODALITIES.index(name) for name in names]] = True
    tokens = model.encode({name: as_input(name, samples[name]) for name in names})
    logits, _ = model.fuse(tokens, torch.zeros_like(hops), hops, present)
    return logits, torch.from_numpy(labels)


def as_input(name: str, values: NDArray[np.generic]) -> Tensor:
    """A cut's samples as the encoder's input, a batch of one."""
    if name == "audio":
        values = values.astype(np.float32)[:, None] / np.float32(32768)
    return torch.from_numpy(np.ascontiguousarray(values))[None]


def decide_all(model: MultimodalModel, sessions: Sequence[Session], names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """All hops of all sessions, one after another."""
    logits, labels = zip(*(decide(model, session, names) for session in sessions), strict=True)
    return torch.cat(logits), torch.cat(labels)


def score_subsets(
    model: MultimodalModel, calibration: Sequence[Session], test: Sequence[Session]
) -> tuple[SubsetScore, ...]:
    """For each of the seven subsets: the temperature from ``calibration``, everything else from ``test``."""
    scores = []
    for names in subsets():
        temperature = fit_temperature(*decide_all(model, calibration, names))
        logits, labels = decide_all(model, test, names)
        scores.append(
            SubsetScore(
                modalities=names,
                temperature=temperature,
                accuracy=accuracy(logits, labels),
                ece=calibration_error(torch.softmax(logits / temperature, dim=1), labels),
                samples=len(labels),
                recall=recall(logits, labels),
            )
        )
    return tuple(scores)


def score_real(model: MultimodalModel, name: str, sessions: Sequence[Session]) -> tuple[RealScore, ...]:
    """Real sessions, each source by itself: a phone is not a watch."""
    scores = []
    for source in sorted({session.source for session in sessions}):
        own = [session for session in sessions if session.source == source]
        names = own[0].modalities
        logits, labels = decide_all(model, own, names)
        scores.append(
            RealScore(
                name=f"{name} ({source.rpartition(' ')[2]})" if " " in source else name,
                modalities=names,
                accuracy=accuracy(logits, labels),
                samples=len(labels),
                recall=recall(logits, labels),
            )
        )
    return tuple(scores)


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """The share of hops decided right."""
    return float((logits.argmax(1) == labels).float().mean())


def recall(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """For each label that occurs: the share of its hops decided right."""
    right = logits.argmax(1) == labels
    return {
        name: round(float(right[labels == index].float().mean()), 4)
        for index, name in enumerate(LABELS)
        if (labels == index).any()
    }


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The divisor of the logits with the least negative log-likelihood (Guo et al. 2017), searched from 0.25 to 8."""
    candidates = np.geomspace(0.25, 8.0, 101)
    losses = [float(torch.nn.functional.cross_entropy(logits / value, labels)) for value in candidates]
    return float(candidates[int(np.argmin(losses))])


def calibration_error(probabilities: Tensor, labels: Tensor) -> float:
    """Expected calibration error over 15 even bins of confidence (Naeini et al. 2015)."""
    confidence, decided = probabilities.max(dim=1)
    right, total = (decided == labels).float(), 0.0
    index = (confidence * BINS).long().clamp(max=BINS - 1)
    for number in range(BINS):
        inside = index == number
        if inside.any():
            total += float(inside.float().mean() * (confidence[inside].mean() - right[inside].mean()).abs())
    return total
