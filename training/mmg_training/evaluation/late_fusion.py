"""Late fusion, a baseline: the mean of the probabilities of models that each know one modality."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmg_training.evaluation.study import PREDICTIONS, Run
from mmg_training.evaluation.tables import plus


def late_fusion_of(runs: Sequence[Run], variants: Sequence[str], run: Run, subset: Sequence[str]) -> float | None:
    """The accuracy on ``subset`` of those of ``variants`` that know one of its modalities each, in this run's fold and
    with its seed; None where one is missing, or was measured on other hops. runs: those that are done."""
    found: dict[str, Path] = {}
    for one in runs:
        if one.variant in variants and (one.fold, one.seed) == (run.fold, run.seed):
            found["".join(one.config.data.modalities)] = one.folder
    return late_fusion([found[name] for name in subset], subset) if set(subset) <= set(found) else None


def late_fusion(folders: Sequence[Path], names: Sequence[str]) -> float | None:
    """The accuracy of the mean of the softmax, from the predictions that each folder stores for its modality; None
    where their labels differ, as then not every session has every modality."""
    shares, labels = list[NDArray[np.float64]](), list[NDArray[Any]]()
    for folder, name in zip(folders, names, strict=True):
        with np.load(folder / PREDICTIONS) as arrays:
            shares.append(softmax(arrays[f"logits {name}"]))
            labels.append(arrays["labels"])
    if not all(np.array_equal(one, labels[0]) for one in labels):
        return None
    return float((np.argmax(sum(shares), axis=1) == labels[0]).mean())


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Rows (N, L) -> probabilities."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def save_predictions(folder: Path, labels: NDArray[Any], logits: dict[tuple[str, ...], NDArray[Any]]) -> None:
    """``predictions.npz``: labels (N,), and logits (N, L) of each subset."""
    arrays: dict[str, Any] = {f"logits {plus(names)}": values for names, values in logits.items()}
    np.savez(folder / PREDICTIONS, labels=labels, **arrays)
