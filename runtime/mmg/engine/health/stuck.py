"""Stuck: an axis that stays the same, but for its noise, while the sensor moves.

In sp-sw-har, UTD-MHAD and ClassyGlass no axis was so still for more than one piece in a row in which the other two
moved by over 1 m/s^2 or 0.3 rad/s. Of the same rounded to 1/16 g and 0.1 rad/s, none was for more than three.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mmg.engine.health.finding import Finding
from mmg.engine.health.piece import AXES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmg.engine.health.piece import Piece

MOVING = (1.0, 0.3)
"""By how much an axis of the acceleration (m/s^2) or of the gyroscope (rad/s) moves within a piece that counts."""
STILL = (0.1, 0.02)
"""An axis that moves no more is still: a stuck one has the noise of its converter."""
STIRRED = (0.3, 0.06)
"""Beside an axis that stays the same to the last bit it is enough that one other moves, and the third one so much."""
PIECES = 5
EXACT_PIECES, LIVELY = 2, 0.8
"""An axis that stays the same to the last bit, beside two of which so many rows differ from the one before: no piece of
the three sets has one, nor has any of the same rounded to 1/64 g and 0.01 rad/s, twice in a row."""
TURNING_RAD_S = 3.0
"""An even rate of turn of so much is none, whether or not anything else moves."""
LONGEST_M_S2 = 12.0
"""No axis shows more for long."""
LIMITS = [LONGEST_M_S2] * AXES + [TURNING_RAD_S] * AXES
NAMES = ("ax", "ay", "az", "gx", "gy", "gz")
SENSORS = {"its accelerometer": range(3), "its gyroscope": range(3, 6)}
NONE, ALL = [0] * AXES, [True] * AXES


class Stuck:
    """Which axes are stuck, of the accelerometer and the gyroscope."""

    def __init__(self) -> None:
        self._values = [0.0] * 6
        self._pieces = [0] * 6
        self._moved = [False] * 6
        self._exact = [0] * 6
        self._has_gyro = False
        self._presumed: Finding | None = None
        self.finding: Finding | None = None
        """What is stuck now."""

    def _find(self) -> Finding | None:
        if self._presumed is not None:
            return self._presumed
        if max(self._pieces) < PIECES and max(self._exact) < EXACT_PIECES:
            return None
        counts = enumerate(zip(self._pieces, self._exact, strict=True))
        stuck = [axis for axis, (pieces, exact) in counts if pieces >= PIECES or exact >= EXACT_PIECES]
        at = ", ".join(f"{self._values[axis]:.4g}" for axis in stuck)
        which = ", ".join(NAMES[axis] for axis in stuck)
        are = "is" if len(stuck) == 1 else "are"
        is_whole = False
        for sensor, whole in SENSORS.items():
            if stuck == list(whole):
                which, are, is_whole = sensor, "is", True
        # An axis at an ordinary value costs little, and may be a board's that does not measure it.
        is_fault = is_whole or any(abs(self._values[axis]) > LIMITS[axis] for axis in stuck)
        return Finding("stuck", f"{which} {are} stuck at {at} while the sensor moves", is_fault=is_fault)

    @property
    def was_right(self) -> bool:
        """Whether every axis that there is has moved."""
        return all(self._moved[:3]) and (not self._has_gyro or all(self._moved[3:]))

    @property
    def is_settled(self) -> bool:
        """Whether it is known either way."""
        return self.was_right or self.finding is not None

    def presume(self, finding: Finding) -> None:
        """Begin with what is known of this sensor already: until every axis has moved."""
        self._presumed = self.finding = finding

    def take(self, piece: Piece) -> None:
        """Look at the next piece."""
        self._has_gyro = self._has_gyro or piece.has_gyro
        self._look_at(0, piece.lowest, piece.spans)
        if piece.has_gyro:
            self._look_at(AXES, piece.lowest, piece.spans)
        self._look_for_exact(piece)
        self._pass_over_constants(piece.spans if piece.has_gyro else piece.spans[:AXES])
        if self._presumed is not None and self.was_right:
            self._presumed = None
        self.finding = self._find()

    def _pass_over_constants(self, spans: Sequence[float]) -> None:
        """Several axes that stay to the last bit, and no whole sensor: a board writes constants for what it lacks."""
        constant = [axis for axis, span in enumerate(spans) if span == 0]
        if len(constant) > 1 and constant not in [list(whole) for whole in SENSORS.values()]:
            for axis in constant:
                if abs(self._values[axis]) <= LIMITS[axis]:
                    self._pieces[axis] = self._exact[axis] = 0

    def _look_for_exact(self, piece: Piece) -> None:
        """A stuck axis at rest too: it has no noise, and those beside it have."""
        spans = piece.spans if piece.has_gyro else piece.spans[:AXES]
        if min(spans) > 0:
            self._exact = [0] * 6
            return
        for axis, span in enumerate(spans):
            if span > 0:
                self._exact[axis] = 0
            else:
                first = axis // AXES * AXES
                steps = piece.steps[:, first : first + AXES]
                lively = np.count_nonzero(steps, axis=0) > LIVELY * len(steps)
                self._exact[axis] += int(np.count_nonzero(lively)) == AXES - 1

    def _look_at(self, first: int, values: Sequence[float], spans: Sequence[float]) -> None:
        """The sensor whose axes begin at ``first``."""
        sensor, own = first // AXES, spans[first : first + AXES]
        if min(own) > STILL[sensor]:
            self._pieces[first : first + AXES] = NONE
            self._moved[first : first + AXES] = ALL
            return
        # One axis may be still but for its noise, where both others move; several only to the last bit, for who slides
        # does not turn, and who turns may turn about one axis.
        still = STILL[sensor] if sorted(own)[1] > MOVING[sensor] else 0.0
        moving = [span for span in own if span > still]
        # Where a sensor is still as a whole, the other one tells whether there was anything to measure.
        other = spans[AXES:] if first == 0 else spans[:AXES]
        if len(moving) == AXES - 1:
            is_telling = max(moving) > MOVING[sensor] and min(moving) > STIRRED[sensor]
        elif moving:
            is_telling = min(moving) > MOVING[sensor]
        else:
            is_telling = max(other, default=0.0) > MOVING[1 - sensor]
        for axis in range(first, first + AXES):
            value, is_still = values[axis], spans[axis] <= still
            if spans[axis] > STILL[sensor] or abs(value - self._values[axis]) > STILL[sensor]:
                self._moved[axis] = self._moved[axis] or spans[axis] > STILL[sensor] or self._pieces[axis] > 0
                self._pieces[axis] = 0
            self._values[axis] = value
            # Two axes of zeros beside one that turns are a gyroscope with one axis.
            is_absent = first > 0 and value == spans[axis] == 0 and len(moving) < AXES - 1
            if is_still and first > 0 and abs(value) > TURNING_RAD_S:
                self._pieces[axis] = PIECES
            elif is_still and not is_absent and is_telling:
                self._pieces[axis] += 1
