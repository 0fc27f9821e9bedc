"""Figures of decisions, of logits (N, L) or probabilities and labels (N,): accuracy, macro F1, recall, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmg.intervals import left_out
from numpy.typing import NDArray
from torch import Tensor

BINS = 15
# The normal quantile of a 95 % interval.
Z = 1.959964
# With fewer people there is no telling how much they differ.
LEAST_SUBJECTS, RESAMPLINGS = 5, 2000


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """The share decided right."""
    return float((logits.argmax(1) == labels).float().mean())


def macro_f1(logits: Tensor, labels: Tensor) -> float:
    """The mean over the labels that occur of 2 TP / (2 TP + FP + FN)."""
    decided, figures = logits.argmax(1), []
    for label in torch.unique(labels):
        right = float(((decided == label) & (labels == label)).sum())
        wrong = float(((decided == label) ^ (labels == label)).sum())
        figures.append(2 * right / (2 * right + wrong))
    return float(np.mean(figures))


def recall(logits: Tensor, labels: Tensor, names: Sequence[str]) -> dict[str, float]:
    """For each label that occurs: the share of its decisions that are right."""
    right = logits.argmax(1) == labels
    return {
        name: round(float(right[labels == index].float().mean()), 4)
        for index, name in enumerate(names)
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


@dataclass(frozen=True)
class Interval:
    """A 95 % interval of a share, and how it was made."""

    low: float
    high: float
    method: str


def interval(right: NDArray[Any], subjects: NDArray[np.int64]) -> Interval:
    """Of the mean of ``right`` (N,): by resampling whole clusters, the decisions about one of ``subjects`` (N,), where
    there are at least five, because these are alike (cluster bootstrap, see ``mmg.intervals``), else Wilson's, as if
    all decisions were independent."""
    clusters, index = np.unique(subjects, return_inverse=True)
    if len(clusters) < LEAST_SUBJECTS:
        low, high = wilson(float(right.sum()), len(right))
        return Interval(low, high, "Wilson, over decisions as if independent")
    sums, counts = np.bincount(index, weights=right), np.bincount(index)
    out = left_out(len(clusters))
    drawn = np.random.default_rng(0).integers(len(clusters), size=(RESAMPLINGS, len(clusters)))
    low, high = np.quantile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), (out, 1 - out))
    return Interval(float(low), float(high), f"bootstrap over {len(clusters)} clusters")


def wilson(right: float, count: int) -> tuple[float, float]:
    """The 95 % score interval of a share of ``count`` (Wilson 1927)."""
    share, square = right / count, Z * Z / count
    middle = (share + square / 2) / (1 + square)
    half = Z / (1 + square) * float(np.sqrt(share * (1 - share) / count + square / (4 * count)))
    return max(0.0, middle - half), min(1.0, middle + half)
