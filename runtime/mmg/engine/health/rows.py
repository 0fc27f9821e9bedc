"""What rows show that follow each other: spikes, values at the end of the range, figures that no sensor gives."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from mmg.engine.health.finding import Finding
from mmg.engine.health.piece import AXES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mmg.engine.health.piece import Piece

SPIKE_PIECES, SPIKES_DOUBT, SPIKES_FAULT = 32, 3, 8
SPIKES_NOW, SPIKES_SOON = 2, 4
"""So many in one piece, or in one each of two among four: of 1154 healthy recordings 17 have pieces with a spike, none
has two in one, and the closest two are 34 pieces apart."""
SPIKE = (15.0, 4.0)
"""How far a spike (m/s^2, rad/s) is off the rows around it, at least."""
OVER_AROUND, OVER_MEDIAN = 6.0, 8.0
NARROW, BLOW_ROWS = 0.6, 3
"""A spike is one sample, and one row or a little of the next once it was resampled: the rows beside it are off by less
than 0.6 of it together. A blow, as of hands that clap, is three rows wide."""
EVEN, CALM, OVER_USUAL = 0.1, 0.1, 12.0
"""One that lies just between two rows is in both by the same, to a tenth, and those around are off by a tenth."""
SURELY = 0.999
"""Of a limit, where the same is first computed in another way, which rounds otherwise."""
IMPOSSIBLE, OVER_OTHERS, LONE_ROWS = (320.0, 70.0), 10.0, 2
"""More than the full scale of wearable sensors, 32 g and 4000 deg/s (m/s^2, rad/s), and ten times all else in a hop."""
CLIPPED_PIECES, CLIPPED_M_S2, CLIPPED_DOUBT = 16, 15.0, 0.06
AT_END = 0.999
UNITS = ("m/s^2", "rad/s")


class Spikes:
    """Single rows that are far off those around them, again and again."""

    def __init__(self) -> None:
        self._pieces: deque[tuple[int, float]] = deque(maxlen=SPIKE_PIECES)
        self._hit = 0
        self._is_doubted = False
        self.is_hit = False
        """Whether the newest piece has a spike."""

    @property
    def finding(self) -> Finding | None:
        """How large a part of its samples are spikes."""
        if not self._is_doubted:
            return None
        part = sum(spikes for spikes, _ in self._pieces) / max(sum(rows for _, rows in self._pieces), 1)
        return Finding("spikes", f"{part:.1%} of its samples are spikes", is_fault=self._hit >= SPIKES_FAULT)

    def take(self, piece: Piece) -> None:
        """Look at the next piece."""
        spikes, spans = 0, piece.spans
        # A spike is no higher than all that its axis spans.
        if max(spans[:AXES]) > SPIKE[0]:
            spikes = _count_spikes(piece.acceleration, piece.steps[:, :AXES], SPIKE[0])
        if piece.has_gyro and max(spans[AXES:]) > SPIKE[1]:
            spikes = max(spikes, _count_spikes(piece.rotation, piece.steps[:, AXES:], SPIKE[1]))
        if len(self._pieces) == SPIKE_PIECES:
            self._hit -= self._pieces[0][0] > 0
        self._pieces.append((spikes, piece.input_rows))
        self.is_hit = spikes > 0
        self._hit += self.is_hit
        if self.is_hit and not self._is_doubted:
            near = sum(before > 0 for before, _ in list(self._pieces)[-SPIKES_SOON:])
            self._is_doubted = spikes >= SPIKES_NOW or near >= SPIKES_NOW or self._hit >= SPIKES_DOUBT
        self._is_doubted = self._is_doubted and self._hit > 0


class Clipped:
    """Rows at the end of an accelerometer's range: the largest value there is, to a thousandth, again and again."""

    def __init__(self) -> None:
        self._limit = CLIPPED_M_S2
        self._pieces: deque[tuple[int, int]] = deque(maxlen=CLIPPED_PIECES)
        self._clipped = self._rows = 0

    @property
    def finding(self) -> Finding | None:
        """How large a part of its samples are clipped."""
        if len(self._pieces) < CLIPPED_PIECES or self._clipped <= CLIPPED_DOUBT * self._rows:
            return None
        part = self._clipped / self._rows
        return Finding("clipped", f"{part:.0%} of its samples are clipped at {self._limit:.3g} m/s^2", False)

    def take(self, piece: Piece) -> None:
        """Look at the next piece."""
        peak = max(*piece.highest[:AXES], -min(piece.lowest[:AXES]))
        if peak > self._limit:
            if peak * AT_END > self._limit:
                self._pieces.clear()
                self._clipped = self._rows = 0
            self._limit = peak
        clipped, rows = 0, len(piece.samples)
        if peak > CLIPPED_M_S2 and peak >= AT_END * self._limit:
            clipped = int((np.abs(piece.acceleration) >= AT_END * self._limit).any(axis=1).sum())
        gone = self._pieces[0] if len(self._pieces) == CLIPPED_PIECES else (0, 0)
        self._pieces.append((clipped, rows))
        self._clipped, self._rows = self._clipped + clipped - gone[0], self._rows + rows - gone[1]


def impossible(rows: NDArray[np.floating], lowest: Sequence[float], highest: Sequence[float]) -> str:
    """A single sample of a hop ``(T, 3)`` or ``(T, 6)`` that no sensor gives, as bytes that were lost make of a figure.

    In a few words; empty where there is none. One is in two rows at most once it was resampled.
    """
    for first in range(0, rows.shape[1], AXES):
        peak = max(*highest[first : first + AXES], -min(lowest[first : first + AXES]))
        if peak > IMPOSSIBLE[first // AXES]:
            sizes = np.sort(np.abs(rows[:, first : first + AXES]).max(axis=1))
            if len(sizes) > LONE_ROWS and peak > OVER_OTHERS * sizes[-1 - LONE_ROWS]:
                return f"a sample reads {peak:.2g} {UNITS[first // AXES]}"
    return ""


def _count_spikes(rows: NDArray[np.float64], steps: NDArray[np.float64], least: float) -> int:
    """How often a single row, or two by the same, are off those around them, which are not off each other.

    steps: from each row to the next.
    """
    # A row is off the mean of those two before and two after it by half of what two changes of the step, each within
    # two rows, add up to; the pair of _even_pairs is off by just one such change. So where none is large there is none.
    if not np.count_nonzero(np.abs(steps[2:] - steps[:-2]) > SURELY * least):
        return 0
    sizes = np.abs(steps)
    usual = _median(sizes)
    # Most pieces that move so strongly do so throughout, and are done with here.
    if not (np.maximum.reduce(sizes) > np.maximum(OVER_USUAL / 2 * usual, least / 4)).any():
        return 0
    before, after = rows[:-4], rows[4:]
    middle = (before + after) / 2
    off = np.abs(rows[2:-2] - middle)
    is_far = off > least
    is_hit = np.zeros(len(off), np.bool_)
    if is_far.any():
        beside = np.abs(rows[1:-3] - middle) + np.abs(rows[3:-1] - middle)
        around = np.maximum(OVER_AROUND * np.abs(after - before), OVER_MEDIAN * _median(off))
        is_hit |= (is_far & (off > around) & (beside < NARROW * off)).any(axis=1)
    is_hit[:-1] |= _even_pairs(rows, least, usual)
    spikes, last = 0, -BLOW_ROWS
    for hit in np.flatnonzero(is_hit).tolist():
        spikes, last = spikes + (hit - last >= BLOW_ROWS), hit
    return spikes


def _even_pairs(rows: NDArray[np.float64], least: float, usual: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Of each pair of rows, from the third on, whether it is one sample that lay just between them.

    usual: the median step from row to row, of each axis.
    """
    middle = (rows[1:-4] + rows[4:-1]) / 2
    one, other = rows[2:-3] - middle, rows[3:-2] - middle
    off = np.abs(one + other)
    is_even = (off > least) & (one * other > 0) & (np.abs(one - other) < EVEN * off)
    if is_even.any():
        around = sum(np.abs(rows[at : len(rows) - 5 + at] - middle) for at in (0, 1, 4, 5))
        is_even &= (around < CALM * off) & (off > OVER_USUAL * usual)
    return np.asarray(is_even.any(axis=1))


def _median(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each column; numpy's own takes ten times as long for so few."""
    middle: NDArray[np.float64] = np.sort(rows, axis=0)[len(rows) // 2]
    return middle
