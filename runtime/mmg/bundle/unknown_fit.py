"""How a subset of modalities tells what is none of the labels, and for how much of what is known it may say so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import msgspec

REFUSED = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
"""The shares of known hops refused that a fit has thresholds for."""
LARGEST = 1e6
"""A weight or a threshold beyond it is no fit; below it nothing overflows."""


class UnknownFit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The logit of "none of the labels", to which each modality's score counts with its weight.

    weights: one for each modality of the subset. thresholds: what is taken off the weighted sum, so that each share of
    ``REFUSED`` of the known hops is refused.
    """

    weights: dict[str, float]
    thresholds: tuple[float, ...]


def problem_in(fit: UnknownFit, modalities: Sequence[str]) -> tuple[str, str] | None:
    """The field that is wrong and why, None where the fit is one of these modalities."""
    if set(fit.weights) != set(modalities):
        return "weights", f"must be those of {', '.join(modalities)}"
    if not all(0 <= weight <= LARGEST for weight in fit.weights.values()):
        return "weights", f"must be 0 to {LARGEST:g}"
    if len(fit.thresholds) != len(REFUSED):
        return "thresholds", f"must be {len(REFUSED)}, one for each of {', '.join(map(str, REFUSED))}"
    if not all(math.isfinite(one) and abs(one) <= LARGEST for one in fit.thresholds):
        return "thresholds", f"must be {-LARGEST:g} to {LARGEST:g}"
    if any(later > earlier for earlier, later in pairwise(fit.thresholds)):
        return "thresholds", "must not grow with the share refused"
    return None
