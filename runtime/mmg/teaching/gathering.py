"""How near a stream's newest tokens are to those of each example, in any order: for sounds, which have no course."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

WINDOW = 8
"""Tokens of the stream that are looked at together: 2 s of the starter's sound."""
MOST = 40
"""Tokens of an example, taken evenly from all."""


class Gathered:
    """The tokens of examples. Their distance to a stream is the mean, over its newest ``WINDOW`` tokens, of the
    distance to the nearest token of the example: the directed part of the chamfer distance of Barrow et al. 1977."""

    def __init__(self, sequences: Sequence[NDArray[np.float32]]) -> None:
        """sequences: ``(tokens, width)`` each, all of one width, one token at least."""
        kept = [one[np.linspace(0, len(one) - 1, min(len(one), MOST)).round().astype(int)] for one in sequences]
        self._begins = np.cumsum([0, *map(len, kept[:-1])])
        self._tokens = np.concatenate(kept)
        self._squares = (self._tokens**2).sum(axis=1)[:, None]

    def distances(self, stream: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(examples, tokens)``: at each token of the stream ``(tokens, width)``, with those before it."""
        squares = self._squares + (stream**2).sum(axis=1)
        apart = np.sqrt(np.maximum(squares - 2 * (self._tokens @ stream.T), 0))
        nearest = np.minimum.reduceat(apart, self._begins, axis=0)
        count = len(stream)
        sums: NDArray[np.float32] = np.zeros_like(nearest)
        for back in range(min(WINDOW, count)):
            sums[:, back:] += nearest[:, : count - back]
        sums /= np.minimum(np.arange(1, count + 1, dtype=np.float32), WINDOW)
        return sums
