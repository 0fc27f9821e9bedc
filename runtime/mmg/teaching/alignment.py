"""Dynamic time warping of templates with a stream: how far is each from what ends here, wherever it began."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MOST_COSTS = 1 << 22
"""Distances that are held at once: of a long stream so many points are aligned together, but at least as many as matter
to one end."""


class Templates:
    """Sequences that are aligned all at once.

    A template's points are taken one after the other, and for each the stream stays (never twice in a row), goes on
    by one point or by two: a path is at least half and at most twice as long as the template. That is the asymmetric
    form with a slope constraint of Sakoe and Chiba 1978 (10.1109/TASSP.1978.1163055); its begin is open, as in
    Sakurai, Faloutsos and Yamamuro 2007 (10.1109/ICDE.2007.368963), and its end is the point that is asked about.
    """

    def __init__(self, sequences: Sequence[NDArray[np.float32]]) -> None:
        """sequences: ``(points, width)`` each, all of one width, one point at least."""
        lengths = np.array([len(one) for one in sequences])
        self._order = np.argsort(lengths, kind="stable")
        self._places = np.argsort(self._order, kind="stable")
        self._lengths = lengths[self._order].astype(np.float32)
        self.longest = rows = int(lengths.max())
        # Row by row, (rows, templates, width): a shorter template begins in a later row, and all end in the last.
        stacked = np.zeros((rows, len(sequences), sequences[0].shape[1]), np.float32)
        for place, index in enumerate(self._order):
            stacked[rows - lengths[index] :, place] = sequences[index]
        self._waiting = [int((rows - lengths >= row).sum()) for row in range(rows)]
        """How many templates begin in this row or in a later one: the first ones, as the shortest stand first."""
        self._points = stacked.reshape(rows * len(sequences), -1)
        self._squares = (self._points**2).sum(axis=1)[:, None]

    @property
    def reach(self) -> int:
        """How many points before an end can matter to it."""
        return 2 * self.longest

    def distances(self, stream: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(templates, points)``: the mean distance along the best path that ends at each point of the stream,
        ``(points, width)``; infinite where too little came before it."""
        blocks, length = [], max(MOST_COSTS // len(self._points), self.reach)
        for begin in range(0, len(stream), length):
            before = max(begin - self.reach, 0)
            blocks.append(self._aligned(stream[before : begin + length])[:, begin - before :])
        return np.concatenate(blocks, axis=1) if blocks else np.zeros((len(self._lengths), 0), np.float32)

    def _aligned(self, stream: NDArray[np.float32]) -> NDArray[np.float32]:
        squares = self._squares + (stream**2).sum(axis=1)
        costs = np.sqrt(np.maximum(squares - 2 * (self._points @ stream.T), 0))
        costs = costs.reshape(self.longest, len(self._lengths), len(stream))
        gone, stayed = costs[0].copy(), np.full(costs.shape[1:], np.inf, np.float32)
        padded = np.full((len(self._lengths), len(stream) + 2), np.inf, np.float32)
        best, one_before, two_before = padded[:, 2:], padded[:, 1:-1], padded[:, :-2]
        for row, waiting in enumerate(self._waiting[1:], 1):
            cost = costs[row]
            np.minimum(gone, stayed, out=best)
            np.add(gone, cost, out=stayed)
            np.minimum(one_before, two_before, out=gone)
            gone += cost
            if waiting:
                gone[:waiting], stayed[:waiting] = cost[:waiting], np.inf
        result: NDArray[np.float32] = (np.minimum(gone, stayed) / self._lengths[:, None])[self._places]
        return result
