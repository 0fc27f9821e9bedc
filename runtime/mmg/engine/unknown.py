"""How probable it is that what is done is none of the bundle's labels.

Of each modality the mean token of the decision's context is looked at: ``z = basis @ (mean - center)``. A mixture of
Gaussians says how likely that is, ``log sum_k exp(log_k - |whiten_k @ z - shift_k|^2 / 2)``, and a linear reading which
kinds, ``log sum_k exp(reading_k @ z + bias_k)``. The modality's score is that of other life less that of what is known,
of the first plus ``lean`` times of the second. A subset's fit weighs the scores of its modalities, each by how far the
known spreads in it, and takes off a threshold, so that the share of known hops that is refused is the one that was
asked for.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmg.bundle.unknown import Statistics, unpack
from mmg.bundle.unknown_fit import REFUSED
from mmg.errors import ConfigError

if TYPE_CHECKING:
    from mmg.bundle import Bundle, Manifest
    from mmg.types import Samples

DEFAULT_UNKNOWN = 0.05
"""The share of known hops that may be refused."""
MOST_UNKNOWN = REFUSED[-1]
LARGEST_SCORE = 50.0
"""Of a modality, either way: one that is broken in a way of its own does not outvote all others."""


class Unknown:
    """What tells the unknown, for the subsets that have a fit.

    statistics: of each modality that counts. rate: the share of known hops that may be refused, above 0.
    """

    def __init__(self, statistics: Mapping[str, Statistics], manifest: Manifest, rate: float) -> None:
        self._score = {name: Score(one) for name, one in statistics.items()}
        self._fits: dict[frozenset[str], tuple[dict[str, float], float]] = {}
        for subset in manifest.subsets:
            names, fit = frozenset(subset.modalities), subset.unknown
            if fit is not None and names <= set(statistics):
                self._fits.setdefault(names, (fit.weights, threshold_at(fit.thresholds, rate)))

    def probability(self, tokens: Mapping[str, Sequence[Samples]]) -> float | None:
        """That it is none of the labels; None where the subset has no fit.

        tokens: of each modality that the decision is made from, arrays ``(n, token_dim)``.
        """
        fit = self._fits.get(frozenset(tokens))
        if fit is None:
            return None
        weights, threshold = fit
        # In the fit's order, whatever that of the sensors, so that the sum is the same to the last bit.
        logit = sum(weight * self._score[name](tokens[name]) for name, weight in weights.items()) - threshold
        return 1 / (1 + math.exp(-max(logit, -500.0)))


def open_unknown(bundle: Bundle, modalities: Sequence[str], rate: float) -> Unknown | None:
    """What tells the unknown from these modalities; None where nothing does, or rate is 0: then no file is read.

    Raises ConfigError for a rate that cannot be, and BundleError.
    """
    if not 0 <= rate <= MOST_UNKNOWN:
        raise ConfigError(f"unknown: {rate:g} of what is known cannot be refused; 0 to {MOST_UNKNOWN:g} can")
    manifest = bundle.manifest
    if rate == 0 or manifest.unknown is None or not can_tell(manifest, modalities):
        return None
    statistics = unpack(bundle.read(manifest.unknown), manifest, str(bundle.path))
    return Unknown({name: one for name, one in statistics.items() if name in modalities}, manifest, rate)


def can_tell(manifest: Manifest, modalities: Collection[str]) -> bool:
    """Whether any of these modalities, alone or together, tell the unknown."""
    return any(subset.unknown is not None and set(subset.modalities) <= set(modalities) for subset in manifest.subsets)


def threshold_at(thresholds: Sequence[float], rate: float) -> float:
    """The threshold at which this share of the known is refused: between those of ``REFUSED``, over the rate's
    logarithm; beyond them that of the nearest."""
    return float(np.interp(math.log(rate), np.log(REFUSED), thresholds))


class Score:
    """Of one modality: how much likelier its mean token is in other life than in what is known, as a logarithm."""

    def __init__(self, statistics: Statistics) -> None:
        self._center = statistics.center.astype(np.float64)
        self._basis = statistics.basis.astype(np.float64)
        self._lean = float(statistics.lean[0])
        # Both sides and all that is asked of them in one product: a call of numpy costs as much as what it does here.
        sides = (statistics.known, statistics.other)
        self._known = len(sides[0].log)
        whiten = [side.whiten.reshape(-1, len(self._basis)) for side in sides]
        self._rows = np.concatenate([*whiten, *(side.reading for side in sides)]).astype(np.float64)
        self._shift = np.concatenate([side.shift for side in sides]).astype(np.float64)
        self._log = np.concatenate([side.log for side in sides]).astype(np.float64)
        self._bias = np.concatenate([side.bias for side in sides]).astype(np.float64)

    def __call__(self, tokens: Sequence[Samples]) -> float:
        """Of tokens, arrays ``(n, token_dim)``."""
        rows = np.concatenate(tokens)
        return self.at(np.add.reduce(rows, axis=0, dtype=np.float64) / len(rows))

    def at(self, mean: NDArray[np.float64]) -> float:
        """Of a mean token ``(token_dim,)``."""
        product = self._rows @ (self._basis @ (mean - self._center))
        offset = product[: self._shift.size].reshape(self._shift.shape) - self._shift
        densities = self._log - 0.5 * np.einsum("kr,kr->k", offset, offset)
        score = self._other_over_known(densities)
        score += self._lean * self._other_over_known(product[self._shift.size :] + self._bias)
        return min(max(score, -LARGEST_SCORE), LARGEST_SCORE)

    def _other_over_known(self, logs: NDArray[np.float64]) -> float:
        """The logarithm of the sum over the kinds of other life, less that over those that are known."""
        kinds = logs.tolist()
        return _log_sum(kinds[self._known :]) - _log_sum(kinds[: self._known])


def _log_sum(logs: list[float]) -> float:
    highest = max(logs)
    return highest + math.log(sum([math.exp(one - highest) for one in logs]))
