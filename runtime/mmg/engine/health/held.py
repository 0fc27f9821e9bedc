"""Values that are held: rows that repeat the one before, and then jump."""

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
STEP_RUN, STEP_ROWS, STEP_AXES, STEP_PIECES, STEPS_DOUBT = 2, 0.4, 0.8, 8, 2
"""A sensor whose values come too rarely repeats so many rows, two and more in a row, and in so many of the others every
axis changes; one that repeats every second row is no worse than one at half the rate. In one of few bits at rest, an
axis or two change. None of the three sets' 117,077 pieces is so, and at most 11 of the same rounded to 1/256, 1/64 or
1/16 g are. Two of 8 are doubted until none of 8 is so."""
STILL_DOUBTED, STILL_A_FAULT = 0.05, 0.2
"""What was found is found until less than these parts are held."""
MOST_CALM = 10
"""So many calm pieces with rows that are the same, more than without, are remembered."""


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
        # A gyroscope that comes more rarely than the accelerometer beside it costs no decision.
        self._looks_for_steps = first == 0
        self._jump, self._least = jump, round(HELD_S * rate_hz)
        self._pieces: deque[_Rows] = deque([NO_ROWS] * HELD_PIECES, maxlen=HELD_PIECES)
        self._sums = NO_ROWS
        self._last: NDArray[np.float64] | None = None
        self._run = self._still = self._coarse = 0
        self._stepped = 0
        """Of the last 8 pieces that changed at all, a bit each: whether it was in steps."""
        self.level = 0
        """0: nothing is held, 1: to be doubted, 2: a fault."""
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
            self._keep(_Rows(0, 0, 0, rows, 0), is_stepped=False)
            return
        steps = np.zeros((rows, AXES))
        steps[1:] = piece.steps[:, self._axes]
        if before is not None:
            steps[0] = (piece.samples[0] - before)[self._axes]
        sizes = np.abs(steps).max(axis=1)
        moves = np.flatnonzero(sizes > 0).tolist()
        held = runs = short = repeated = 0
        begin = int(before is None) - self._run
        for place in moves:
            run, begin = place - begin, place + 1
            self.is_held = self.is_held or run >= self._least
            repeated += run if run >= STEP_RUN else 0
            if run < self._least / 2:
                short += run
            elif run >= self._least and sizes[place : place + 2].max() > self._jump:
                held, runs = held + run, runs + 1
        self._run = rows - begin
        self._coarse += is_calm and len(moves) > 0 and self._coarse < MOST_CALM
        self.is_held = self.is_held or self._run >= self._least
        if moves:
            changed = steps[moves]
            whole = int(np.count_nonzero(changed.all(axis=1)))
            is_stepped = self._looks_for_steps and len(moves) > 1
            is_stepped = is_stepped and repeated >= STEP_ROWS * rows and whole >= STEP_AXES * len(moves)
            self._keep(_Rows(held, runs, short, rows, self._still), is_stepped=is_stepped)
        self._still = 0 if moves else self._still + rows

    def _keep(self, rows: _Rows, *, is_stepped: bool) -> None:
        self._stepped = (self._stepped << 1 | is_stepped) & ((1 << STEP_PIECES) - 1)
        old = self._pieces[0]
        self._pieces.append(rows)
        if rows != old:
            self._sums = _Rows(*(total + new - gone for total, new, gone in zip(self._sums, rows, old, strict=True)))
        if self.level or self._stepped or self._sums.runs >= HELD_AGAIN:
            self._find()

    def _find(self) -> None:
        part = self.part
        is_doubted = part >= (STILL_DOUBTED if self.level else HELD_DOUBT)
        is_stepped = self._stepped.bit_count() >= (1 if self.level else STEPS_DOUBT)
        is_fault = part >= (STILL_A_FAULT if self.level == 2 else HELD_FAULT)
        self.level = 2 if is_fault else int(is_doubted or is_stepped)


def held_finding(sensors: Sequence[Held]) -> Finding | None:
    """What is told of the worst of an IMU's sensors."""
    worst = max(sensors, key=lambda one: (one.level, one.part))
    if not worst.level:
        return None
    if worst.part < HELD_DOUBT:
        return Finding("held", "its values come in steps, each held for several rows", is_fault=False)
    text = f"its values stand still {worst.part:.0%} of the time, and jump"
    return Finding("held", text, is_fault=worst.level > 1)


def _any_same(steps: NDArray[np.float64]) -> bool:
    """Whether a row is the same as the one before. The first axis alone tells it of most sensors."""
    if np.count_nonzero(steps[:, 0]) == len(steps):
        return False
    return not bool((steps != 0).any(axis=1).all())
