"""What tells the unknown, fitted after training: how the tokens of each modality lie where a label is known, and in
other life. The tokens come from training's own batches; thresholds and weights from sessions of other people.

A class-wise Gaussian on encoders' tokens is what Lee et al. 2018 (arXiv 1807.03888) do; taking off the density of
everything else is the relative distance of Ren et al. 2021 (arXiv 2106.09022).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmg.bundle.unknown import UNKNOWN_FILE, Mixture, Statistics, pack, read
from mmg.bundle.unknown_fit import REFUSED, UnknownFit
from mmg.engine.unknown import DEFAULT_UNKNOWN, Score, threshold_at
from mmg.errors import ConfigError
from mmg.types import UNKNOWN
from numpy.typing import NDArray
from torch import Tensor

from mmg_training.batches import Batches
from mmg_training.config import TrainConfig
from mmg_training.data.sessions import TICKS_PER_HOP, Dataset
from mmg_training.evaluation.decide import context_means, decide, having
from mmg_training.evaluation.subsets import calibrating
from mmg_training.metrics import Metrics
from mmg_training.models.multimodal import MultimodalModel
from mmg_training.task import MODALITIES, Task

Features = tuple[NDArray[np.float64], NDArray[np.int64]]
Subset = tuple[str, ...]

BATCHES, FIRST_BATCH = 150, 1_000_000
"""Drawn to fit the statistics, beyond those of training."""
ENDS = (0, 1, 2, 3, 5, 7, 9, 11, 13, 15)
"""The hops of a sequence at which a context is looked at; the first are not full yet, as at a stream's start."""
RANK, USUAL_RANK = {"imu": 36, "video": 16}, 24
"""Directions looked at: motion has the strangest strangers, and video no real one."""
SHARED, WIDER = 0.1, 2.5
"""How much of each kind's covariance is that of all; how much wider than everything that was trained on other life
is."""
LEAST, LEAST_KNOWN = 40, 100
"""Hops of a class in training with which its spread can be told, and of all that is known, of others than are trained
on, with which a threshold can."""
LEAN = {"imu": 0.5, "audio": 4.0}
"""How much a linear reading of the kinds without a label counts beside the densities. Sound has many kinds to learn
from, and motion few."""
STEEPNESS, LEAST_SPREAD = 4.0, 0.1
"""The logit from the middle of the known to where a twentieth is refused: what is surely known is unknown with a
probability of 2 %. A spread below the second is none."""


@dataclass(frozen=True)
class Unknown:
    """statistics: of each modality that tells the unknown; fits: of each subset of these."""

    statistics: dict[str, Statistics]
    fits: dict[Subset, UnknownFit]

    def logit(self, names: Subset, means: Mapping[str, Tensor], rate: float) -> NDArray[np.float64] | None:
        """Of none of the labels (N,), from mean tokens (N, D); None where the subset has no fit."""
        fit = self.fits.get(names)
        if fit is None:
            return None
        weights = np.array([fit.weights[name] for name in names])
        logit: NDArray[np.float64] = scores(self.statistics, names, means) @ weights
        return logit - threshold_at(fit.thresholds, rate)


def save(run: Path, unknown: Unknown) -> None:
    """Write the statistics into the folder ``run``; the fits are in its metrics."""
    path = run / UNKNOWN_FILE
    if unknown.fits:
        path.write_bytes(pack(unknown.statistics))
    else:
        path.unlink(missing_ok=True)


def load(run: Path, metrics: Metrics, token_dim: int) -> Unknown:
    """What ``save`` wrote; empty where the run tells no unknown. Raises BundleError, ConfigError."""
    fits = {score.modalities: score.unknown for score in metrics.subsets if score.unknown is not None}
    if not fits:
        return Unknown({}, {})
    try:
        data = (run / UNKNOWN_FILE).read_bytes()
    except OSError as error:
        raise ConfigError(f"{run / UNKNOWN_FILE}: {error.strerror}; train again: mmg-train") from error
    names = tuple(name for name in MODALITIES if any(name in subset for subset in fits))
    return Unknown(read(data, names, token_dim, str(run)), fits)


def fit(
    model: MultimodalModel,
    dataset: Dataset,
    config: TrainConfig,
    temperatures: Mapping[Subset, float],
) -> Unknown:
    """Statistics from training, weights and thresholds from ``calibration`` and ``known``, for the subsets that have a
    temperature; of modalities whose labels training was given."""
    found = dict[str, Statistics]()
    if UNKNOWN in model.task.labels or not temperatures:  # a label of that name is one like any other
        return Unknown(found, {})
    labelled = config.data.labelled or model.task.modalities
    for name, (means, classes) in gather(model, dataset, config).items():
        rank, lean = RANK.get(name, USUAL_RANK), LEAN.get(name, 1.0)
        enough = [one for one, hops in _hops_of_classes(dataset, name).items() if hops >= LEAST]
        told = statistics(means, classes, enough, model.task, rank, lean) if name in labelled else None
        if told is not None:
            found[name] = told
    fits = {}
    for names, temperature in temperatures.items():
        if set(names) <= set(found):
            told_apart = _fit_subset(model, dataset, names, found, temperature)
            if told_apart is not None:
                fits[names] = told_apart
    used = {name for names in fits for name in names}
    return Unknown({name: one for name, one in found.items() if name in used}, fits)


def _fit_subset(
    model: MultimodalModel,
    dataset: Dataset,
    names: Subset,
    found: Mapping[str, Statistics],
    temperature: float,
) -> UnknownFit | None:
    """None where nobody is left to fit it on. Each modality counts by how far the known spreads in its score, and so
    does their sum."""
    known, doubts, shares = [], [], []
    for sessions in calibrating(dataset):
        if not having(sessions, names):
            continue
        made = decide(model, having(sessions, names), names).known()
        if len(made.labels):
            known.append(scores(found, names, made.means))
            # The label wins over the unknown as far as it is probable itself.
            doubts.append(-torch.log_softmax(made.logits / temperature, dim=1).amax(dim=1).double().numpy())
            shares.append(np.full(len(made.labels), 1 / len(made.labels)))  # each set counts alike
    if sum(map(len, known)) < LEAST_KNOWN:
        return None
    kept, share, doubt = np.concatenate(known), np.concatenate(shares), np.concatenate(doubts)
    weights = np.array([1 / _spread(column, share) for column in kept.T])
    weights *= STEEPNESS / _spread(kept @ weights, share)
    # Thresholds are of the weights as they are kept; digits that count, as a wide score has a weight near nothing.
    weights = np.array([float(f"{one:.5g}") for one in weights])
    thresholds = _quantiles(kept @ weights + doubt, share, [1 - rate for rate in REFUSED])
    return UnknownFit(
        weights={name: float(one) for name, one in zip(names, weights, strict=True)},
        thresholds=tuple(round(float(one), 4) for one in thresholds),
    )


def _quantiles(values: NDArray[np.float64], shares: NDArray[np.float64], at: Sequence[float]) -> NDArray[np.float64]:
    order = np.argsort(values)
    return np.interp(at, np.cumsum(shares[order]) / shares.sum(), values[order])


def _spread(values: NDArray[np.float64], shares: NDArray[np.float64]) -> float:
    """From the middle of the known to the twentieth that is refused; never nothing."""
    middle, far = _quantiles(values, shares, (0.5, 1 - DEFAULT_UNKNOWN))
    return max(float(far - middle), LEAST_SPREAD)


def scores(found: Mapping[str, Statistics], names: Subset, means: Mapping[str, Tensor]) -> NDArray[np.float64]:
    """Mean tokens (N, D) of each modality -> the scores (N, M), as the engine makes them."""
    columns = []
    for name in names:
        score = Score(found[name])
        columns.append([score.at(mean) for mean in means[name].double().numpy()])
    return np.array(columns).T


@torch.no_grad()
def gather(model: MultimodalModel, dataset: Dataset, config: TrainConfig) -> dict[str, Features]:
    """Of each modality the mean tokens (N, D) of contexts of training, and their classes (N,)."""
    batches, found = Batches(dataset, config), dict[str, list[Features]]()
    ends = [hop for hop in ENDS if hop < config.sequence_hops]
    for number in range(BATCHES):
        batch = batches.draw(FIRST_BATCH + number)
        for name, tokens in model.encode(batch.samples).items():
            means = context_means(tokens)[:, ends].double().numpy()
            classes = batch.labels[batch.rows[name]][:, ends].numpy()
            found.setdefault(name, []).append((means.reshape(-1, means.shape[2]), classes.reshape(-1)))
    return {
        name: (np.concatenate([means for means, _ in parts]), np.concatenate([classes for _, classes in parts]))
        for name, parts in found.items()
    }


def _hops_of_classes(dataset: Dataset, name: str) -> Counter[int]:
    """Class -> the hops of it that training has of a modality; batches show the same ones over and over."""
    counts = Counter[int]()
    for session in (one for pool in dataset.training for one in pool.sessions if name in one.samples):
        counts.update(session.labels[1::TICKS_PER_HOP].tolist())
    return counts


def statistics(
    means: NDArray[np.float64],
    classes: NDArray[np.int64],
    enough: Sequence[int],
    task: Task,
    rank: int,
    lean: float,
) -> Statistics | None:
    """From contexts (N, D) and their classes (N,), in at most ``rank`` directions. enough: the classes that there is
    enough of. None where these are too few to tell."""
    places = np.array([*range(len(task.labels)), *task.kinds_of])
    told = [one for one in np.unique(classes).tolist() if one in enough and one >= 0 and (classes == one).sum() > 1]
    known, other = ([one for one in told if (places[one] >= 0) == wanted] for wanted in (True, False))
    if len(known) < 2:
        return None
    center = means.mean(axis=0)
    basis = _basis(means, classes, told, rank)
    z = (means - center) @ basis.T
    within = np.mean([np.cov(z[classes == one].T) for one in told], axis=0)
    parts = {one: _gaussian(z[classes == one], SHARED, within) for one in told}
    everything = _gaussian(z, 0.0, within, WIDER)
    reading, bias = _read(z, classes, told)
    read = {one: (reading[:, number], bias[number]) for number, one in enumerate(told)}
    nothing = (np.zeros(len(basis)), -1e4)
    return Statistics(
        center=center.astype(np.float32),
        basis=basis.astype(np.float32),
        known=_mixture([(*parts[one], *read[one]) for one in known]),
        other=_mixture([*((*parts[one], *read[one]) for one in other), (*everything, *nothing)]),
        lean=np.array([lean if other else 0.0], np.float32),
    )


def _basis(
    means: NDArray[np.float64], classes: NDArray[np.int64], told: Sequence[int], rank: int
) -> NDArray[np.float64]:
    """(rank, D): the directions in which everything varies the most beside what varies within a class."""
    within = np.mean([np.cov(means[classes == one].T) for one in told], axis=0)
    spread, axes = np.linalg.eigh(within + 1e-4 * np.trace(within) / len(within) * np.eye(len(within)))
    whiten = axes / np.sqrt(spread)
    _, directions = np.linalg.eigh(np.cov((means @ whiten).T))
    basis: NDArray[np.float64] = (whiten @ directions[:, ::-1][:, :rank]).T
    return basis


def _gaussian(
    z: NDArray[np.float64], shared: float, within: NDArray[np.float64], wider: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """The whitening (r, r) of a class, its mean whitened (r,), and the logarithm of its height."""
    spread, axes = np.linalg.eigh(wider * ((1 - shared) * np.cov(z.T) + shared * within))
    spread = np.maximum(spread, 1e-3)
    whiten = (axes / np.sqrt(spread)).T
    return whiten, whiten @ z.mean(axis=0), float(-0.5 * np.log(spread).sum())


def _read(
    z: NDArray[np.float64], classes: NDArray[np.int64], told: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A multinomial logistic regression of the classes: reading (r, C) and bias (C,)."""
    rows = np.isin(classes, told)
    x = torch.from_numpy(z[rows]).float()
    y = torch.from_numpy(np.searchsorted(told, classes[rows]))
    reading = torch.zeros(x.shape[1], len(told), requires_grad=True)
    bias = torch.zeros(len(told), requires_grad=True)
    solver = torch.optim.LBFGS([reading, bias], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        value = torch.nn.functional.cross_entropy(x @ reading + bias, y) + 1e-3 * (reading**2).sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    solver.step(loss)  # type: ignore[no-untyped-call]
    return reading.detach().double().numpy(), bias.detach().double().numpy()


def _mixture(
    parts: Sequence[tuple[NDArray[np.float64], NDArray[np.float64], float, NDArray[np.float64], float]],
) -> Mixture:
    whiten, shift, log, reading, bias = (np.stack([part[place] for part in parts]) for place in range(5))
    return Mixture(*(array.astype(np.float32) for array in (whiten, shift, log, reading, bias)))
