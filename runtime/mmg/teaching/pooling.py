"""How like a stream's newest tokens are to each example, by their mean and deviation: for sounds, which have no course.

Where a rhythm begins in a hop decides what its single tokens are, and hardly what their mean and deviation are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

WINDOW = 8
"""Tokens that are looked at together: 2 s of the starter's sound."""


class Pooled:
    """The tokens of examples. Their distance to a stream is that between the mean and standard deviation of its newest
    ``WINDOW`` tokens and the example's, whose windows are averaged: the statistics pooling of Snyder et al. 2018
    (10.1109/ICASSP.2018.8461375)."""

    def __init__(self, sequences: Sequence[NDArray[np.float32]]) -> None:
        """sequences: ``(tokens, width)`` each, all of one width, one token at least."""
        self._points = np.stack([_pooled(one)[min(WINDOW, len(one)) - 1 :].mean(axis=0) for one in sequences])
        self._squares = (self._points**2).sum(axis=1)[:, None]

    def distances(self, stream: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(examples, tokens)``: at each token of the stream ``(tokens, width)``, with those before it."""
        pooled = _pooled(stream)
        squares = self._squares + (pooled**2).sum(axis=1)
        apart: NDArray[np.float32] = np.sqrt(np.maximum(squares - 2 * (self._points @ pooled.T), 0))
        return apart


def _pooled(stream: NDArray[np.float32]) -> NDArray[np.float32]:
    """``(tokens, 2 * width)``: the mean and the deviation of the window that ends at each token."""
    counts = np.minimum(np.arange(1, len(stream) + 1, dtype=np.float32), WINDOW)[:, None]
    backs = range(min(WINDOW, len(stream)))
    mean, square = np.zeros_like(stream), np.zeros_like(stream)
    for back in backs:
        mean[back:] += stream[: len(stream) - back]
    mean /= counts
    for back in backs:
        square[back:] += (stream[: len(stream) - back] - mean[back:]) ** 2
    return np.concatenate([mean, np.sqrt(square / counts)], axis=1)
