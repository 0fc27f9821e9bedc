"""Samples become distributions: percentiles and a histogram, with nothing left out and nothing clipped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmg.profiling.result import Distribution, Histogram

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


def halves_differ(samples: Sequence[float]) -> float | None:
    """How far the medians of the samples' two halves are apart, relative to that of all; None for fewer than four.

    The halves are every second sample and the others: what a machine that slows down meanwhile does to both alike is
    told by the conditions before and after.
    """
    if len(samples) < 4:
        return None
    one, two, whole = (float(np.median(part)) for part in (samples[::2], samples[1::2], samples))
    return abs(one - two) / whole if whole > 0 else None
