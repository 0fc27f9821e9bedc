"""Samples become distributions: percentiles and a histogram, with nothing left out and nothing clipped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmg.board.profiling.result import Distribution, Histogram

MOST_BINS, LEAST_BINS = 40, 5


def distribution(samples_ms: Sequence[float]) -> Distribution:
    """Of at least one sample, in milliseconds; percentiles are those of type 7 (Hyndman and Fan 1996), interpolated."""
    values = np.asarray(samples_ms, np.float64)
    p50, p90, p95, p99 = np.percentile(values, [50, 90, 95, 99]).tolist()
    return Distribution(
        n=len(values),
        mean_ms=float(values.mean()),
        min_ms=float(values.min()),
        p50_ms=p50,
        p90_ms=p90,
        p95_ms=p95,
        p99_ms=p99,
        max_ms=float(values.max()),
        histogram=_histogram(values),
    )


def _histogram(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Histogram:
    """Bins of one width on a logarithmic axis: a latency's tail is long. Of times of 0 the axis begins at 1 ns."""
    lowest, highest = max(float(values.min()), 1e-6), max(float(values.max()), 2e-6)
    bins = min(max(round(len(values) ** 0.5 * 2), LEAST_BINS), MOST_BINS)
    edges = np.geomspace(lowest, highest * (1 + 1e-9), bins + 1) if highest > lowest else np.array([lowest, 2 * lowest])
    edges[0], edges[-1] = min(edges[0], values.min()), max(edges[-1], np.nextafter(highest, np.inf))
    counts, _ = np.histogram(values, edges)
    return Histogram(edges_ms=tuple(edges.tolist()), counts=tuple(counts.tolist()))


class Repeat(NamedTuple):
    """How far the medians of two halves are apart, relative to that of all: as they are, and beyond their noise."""

    differ: float
    beyond_noise: float


def halves_differ(samples: Sequence[float]) -> Repeat | None:
    """Of the first half of the samples and the second; None for fewer than four.

    Beyond noise is the gap between the halves' 95 % intervals of the median, 0 where these meet: order statistics of
    a binomial count (Le Boudec, Performance Evaluation, section 2.2.2).
    """
    if len(samples) < 4:
        return None
    middle, whole = len(samples) // 2, float(np.median(samples))
    one, two = sorted(samples[:middle]), sorted(samples[middle:])
    if whole <= 0:
        return None
    (low_one, high_one), (low_two, high_two) = _median_interval(one), _median_interval(two)
    gap = max(low_one - high_two, low_two - high_one, 0.0)
    return Repeat(abs(float(np.median(one)) - float(np.median(two))) / whole, gap / whole)


def _median_interval(ordered: Sequence[float]) -> tuple[float, float]:
    """Where the median of what these were drawn from lies, with about 95 % confidence."""
    count = len(ordered)
    reach = 1.96 * math.sqrt(count) / 2
    low, high = max(math.floor(count / 2 - reach), 0), min(math.ceil(count / 2 + reach), count - 1)
    return ordered[low], ordered[high]
