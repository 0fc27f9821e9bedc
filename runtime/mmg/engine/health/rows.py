"""What rows show that follow each other: values held, spikes, values at the end of the range."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mmg.engine.health.finding import Finding
from mmg.engine.health.piece import AXES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mmg.engine.health.piece import Piece

HELD_PIECES, HELD_S, HELD_AGAIN = 16, 0.13, 3
"""A sensor that gives 10 values a second at any rate of rows holds each for 0.1 s."""
HELD_DOUBT, HELD_FAULT = 0.15, 0.4
"""Parts of the rows: held for 0.2, 0.4 and 0.5 of the time, the starter lost up to 2, 4 to 14, and 27 to 31 points of
accuracy on the demo and sp-sw-har's held-out wearers."""
FEW_SHORT = 0.25
MOST_CALM = 10
"""So many calm pieces with rows that are the same, more than without, are remembered."""
SPIKE_PIECES, SPIKES_DOUBT, SPIKES_FAULT = 32, 3, 8
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


class _Rows(NamedTuple):
    """Rows of a piece in which something moved: those that are held, in how many runs, those that are the same as the
    one before for a short time only, all of them, and those before them in which nothing moved."""

    held: int
    runs: int
    short: int
    moving: int
    still: int


NO_ROWS = _Rows(0, 0, 0, 0, 0)


class Held:
    """Whether one sensor's values stand still for parts of a second and then jump: a freeze, and not a calm moment."""

    def __init__(self, first: int, jump: float, rate_hz: float) -> None:
        """first: the first of its axes. jump: by how much a value must have changed when it is let go."""
        self._axes = slice(first, first + AXES)
        self._jump, self._least = jump, round(HELD_S * rate_hz)
        self._pieces: deque[_Rows] = deque([NO_ROWS] * HELD_PIECES, maxlen=HELD_PIECES)
        self._sums = NO_ROWS
        self._last: NDArray[np.float64] | None = None
        self._run = self._still = self._coarse = 0
        self.is_held = False
        """Whether the newest piece has values that are held."""

    @property
    def part(self) -> float:
        """The part of the rows that are held."""
        sums = self._sums
        if sums.runs < HELD_AGAIN or sums.short >= FEW_SHORT * sums.held:
            return 0.0
        return sums.held / (sums.moving + sums.still)

    @property
    def is_coarse(self) -> bool | None:
        """Whether the values have so few bits, or come so rarely, that rows are the same where it is calm; None while
        that was not seen."""
        return self._coarse > 0 if self._coarse else None

    def take(self, piece: Piece, *, is_calm: bool = False) -> None:
        """Look at the next piece; is_calm: whether the sensor moves by a few bits only, or not at all."""
        rows, before, self._last = len(piece.samples), self._last, piece.samples[-1]
        self.is_held = False
        if not self._run and not (piece.repeats and _any_same(piece.steps[:, self._axes])):
            self._coarse -= is_calm and self._coarse > -MOST_CALM
            self._keep(_Rows(0, 0, 0, rows, 0))
            return
        steps = np.zeros((rows, AXES))
        steps[1:] = piece.steps[:, self._axes]
        if before is not None:
            steps[0] = (piece.samples[0] - before)[self._axes]
        sizes = np.abs(steps).max(axis=1)
        moves = np.flatnonzero(sizes > 0).tolist()
        held = runs = short = 0
        begin = int(before is None) - self._run
        for place in moves:
            run, begin = place - begin, place + 1
            self.is_held = self.is_held or run >= self._least
            if run < self._least / 2:
                short += run
            elif run >= self._least and sizes[place : place + 2].max() > self._jump:
                held, runs = held + run, runs + 1
        self._run = rows - begin
        self._coarse += is_calm and len(moves) > 0 and self._coarse < MOST_CALM
        self.is_held = self.is_held or self._run >= self._least
        if moves:
            self._keep(_Rows(held, runs, short, rows, self._still))
        self._still = 0 if moves else self._still + rows

    def _keep(self, rows: _Rows) -> None:
        old = self._pieces[0]
        self._pieces.append(rows)
        if rows != old:
            self._sums = _Rows(*(total + new - gone for total, new, gone in zip(self._sums, rows, old, strict=True)))


class Spikes:
    """Single rows that are far off those around them, again and again."""

    def __init__(self) -> None:
        self._pieces: deque[tuple[int, float]] = deque(maxlen=SPIKE_PIECES)
        self._hit = 0
        self.is_hit = False
        """Whether the newest piece has a spike."""

    @property
    def finding(self) -> Finding | None:
        """How large a part of its samples are spikes."""
        if self._hit < SPIKES_DOUBT:
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


def _any_same(steps: NDArray[np.float64]) -> bool:
    """Whether a row is the same as the one before. The first axis alone tells it of most sensors."""
    if np.count_nonzero(steps[:, 0]) == len(steps):
        return False
    return not bool((steps != 0).any(axis=1).all())


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
