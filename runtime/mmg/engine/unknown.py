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

from mmg.bundle.unknown import Mixture, Statistics, unpack
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
        self._known, self._other = _Side(statistics.known), _Side(statistics.other)

    def __call__(self, tokens: Sequence[Samples]) -> float:
        """Of tokens, arrays ``(n, token_dim)``."""
        return self.at(np.concatenate(tokens).mean(axis=0, dtype=np.float64))

    def at(self, mean: NDArray[np.float64]) -> float:
        """Of a mean token ``(token_dim,)``."""
        place = self._basis @ (mean - self._center)
        score = self._other.density(place) - self._known.density(place)
        score += self._lean * (self._other.reading(place) - self._known.reading(place))
        return min(max(score, -LARGEST_SCORE), LARGEST_SCORE)


class _Side:
    """A mixture, and the reading of its kinds."""

    def __init__(self, mixture: Mixture) -> None:
        kinds, rank, _ = mixture.whiten.shape
        self._whiten = mixture.whiten.astype(np.float64).reshape(kinds * rank, rank)
        self._shift = mixture.shift.astype(np.float64)
        self._log = mixture.log.astype(np.float64)
        self._reading, self._bias = mixture.reading.astype(np.float64), mixture.bias.astype(np.float64)

    def density(self, place: NDArray[np.float64]) -> float:
        """The logarithm of the mixture's density."""
        offset = (self._whiten @ place).reshape(self._shift.shape) - self._shift
        return _log_sum(self._log - 0.5 * np.einsum("kr,kr->k", offset, offset))

    def reading(self, place: NDArray[np.float64]) -> float:
        """The logarithm of the kinds' summed odds."""
        return _log_sum(self._reading @ place + self._bias)


def _log_sum(logs: NDArray[np.float64]) -> float:
    highest = logs.max()
    return float(highest + np.log(np.exp(logs - highest).sum()))
