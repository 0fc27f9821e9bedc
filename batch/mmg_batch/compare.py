"""Accuracies with intervals, and the paired difference of two bundles: a bootstrap over people.

The hops of one wearer are alike, so that they are no independent trials: people are drawn, with all that they did.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from mmg.intervals import left_out
from numpy.typing import NDArray

DRAWS, SEED = 10_000, 1
FEWEST = 6
"""People of an interval: of five it happens once in sixteen that all differ in the same direction by chance."""
AT_A_TIME = 1 << 22
"""Counts of people that are held at a time."""


@dataclass(frozen=True)
class Interval:
    """A share or a difference of two. low, high: of 95 %; None with fewer than ``FEWEST`` people."""

    value: float
    low: float | None
    high: float | None
    people: int


@dataclass(frozen=True)
class Pair:
    """One person's hops with a truth, and how many of them each of two bundles was right about."""

    judged: int
    right: int
    other_right: int


def accuracy(people: Iterable[tuple[int, int]]) -> Interval | None:
    """Of all hops. people: each one's ``(judged, right)``. None where nothing is judged."""
    table = np.array([one for one in people if one[0]], np.float64).reshape(-1, 2)
    return _interval(table[:, 0], table[:, 1])


def difference(people: Iterable[Pair]) -> Interval | None:
    """Accuracy less the other's, on the same hops of the same people. None where nothing is judged."""
    kept = [one for one in people if one.judged]
    judged = np.array([one.judged for one in kept], np.float64)
    return _interval(judged, np.array([one.right - one.other_right for one in kept], np.float64))


def _interval(judged: NDArray[np.float64], gained: NDArray[np.float64]) -> Interval | None:
    count = len(judged)
    if not count:
        return None
    value = float(gained.sum() / judged.sum())
    if count < FEWEST:
        return Interval(value, None, None, count)
    out = left_out(count)
    low, high = np.quantile(_drawn(judged, gained), [out, 1 - out])
    return Interval(value, float(low), float(high), count)


def _drawn(judged: NDArray[np.float64], gained: NDArray[np.float64]) -> NDArray[np.float64]:
    """The figure for so many draws of as many people, with replacement."""
    generator, count = np.random.default_rng(SEED), len(judged)
    step = max(AT_A_TIME // count, 1)
    found: list[NDArray[np.float64]] = []
    for start in range(0, DRAWS, step):
        drawn = generator.integers(count, size=(min(step, DRAWS - start), count))
        found.append(gained[drawn].sum(1) / judged[drawn].sum(1))
    return np.concatenate(found)


def said(interval: Interval | None, *, signed: bool = False) -> str:
    """In percent, as ``81.2 % (78.0 to 84.1)``; a dash for what is not known."""
    if interval is None:
        return "-"
    form = "+.1f" if signed else ".1f"
    text = f"{100 * interval.value:{form}} %"
    if interval.low is None or interval.high is None:
        return text
    return f"{text} ({100 * interval.low:{form}} to {100 * interval.high:{form}})"


def sums(rows: Iterable[tuple[str, Sequence[int]]]) -> dict[str, list[int]]:
    """Each person's figures, summed."""
    found: dict[str, list[int]] = {}
    for person, figures in rows:
        before = found.setdefault(person, [0] * len(figures))
        found[person] = [one + other for one, other in zip(before, figures, strict=True)]
    return found
