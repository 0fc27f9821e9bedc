"""Modality dropout: which tokens of a context the fusion sees in training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmg_training.task import CONTEXT_HOPS


def drop_modalities(rng: np.random.Generator, available: NDArray[np.bool_], rate: float) -> NDArray[np.bool_]:
    """(Q, M) -> (Q, M): each available modality is dropped with probability ``rate``; where that would leave none, one
    of the available ones, each as likely, stays."""
    kept = available & (rng.random(available.shape) >= rate)
    last = np.argmax(np.where(available, rng.random(available.shape), -1.0), axis=1)
    nothing = ~kept.any(axis=1) & available.any(axis=1)
    kept[nothing, last[nothing]] = True
    return kept


def context_mask(
    rng: np.random.Generator, kept: NDArray[np.bool_], stretch_rate: float, full_rate: float
) -> NDArray[np.bool_]:
    """(Q, M) -> (Q, M, CONTEXT_HOPS), index 0 the newest hop.

    A context is whole with probability ``full_rate``, else 1 to CONTEXT_HOPS hops long. A kept modality loses a
    stretch of hops with probability ``stretch_rate``, but never all of its context; a stretch may lie
    beyond a short one.
    """
    queries, modalities = kept.shape
    whole = rng.random(queries) < full_rate
    length = np.where(whole, CONTEXT_HOPS, rng.integers(1, CONTEXT_HOPS + 1, queries))
    hops = np.arange(CONTEXT_HOPS)
    mask = kept[:, :, None] & (hops < length[:, None])[:, None, :]
    gone = rng.integers(1, CONTEXT_HOPS, (queries, modalities))
    start = rng.integers(0, CONTEXT_HOPS, (queries, modalities))
    stretch = (hops >= start[:, :, None]) & (hops < (start + gone)[:, :, None])
    stretch &= (rng.random((queries, modalities)) < stretch_rate)[:, :, None]
    thinned: NDArray[np.bool_] = mask & ~stretch
    emptied = kept & ~thinned.any(axis=2)
    thinned[emptied] = mask[emptied]
    return thinned
