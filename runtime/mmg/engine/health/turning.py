"""The gyroscope against gravity: what turns the sensor turns gravity's direction in it, by the same angle.

A gyroscope that is read in deg/s as rad/s turns 57 times as much as gravity does. Within a piece a worn sensor's turned
at most 12.5 times as much (the swing of an arm is felt as no more, as a pendulum's is), in the mean never over 2.2. One
that is read the other way gives a path too short for what gravity turned: from one direction to another, it turns by at
least the angle between them. That no worn sensor ever fell short of by more than 1.8 times.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from mmg.engine.health.finding import Finding
from mmg.engine.health.piece import AXES

if TYPE_CHECKING:
    from mmg.engine.health.piece import Motion, Piece, Vector

FLOOR_RAD = 0.01
"""The noise of an accelerometer, as an angle of gravity."""
TELLING_RAD = 0.05
"""A piece in which neither moved so far tells nothing."""
TOO_MUCH = 2.5
"""Over this a piece votes against the gyroscope, under it for it: of the sets, none is doubted with 2.5, nor with 4."""
VOTES, MOST_VOTES = 4.0, 6.0
STEADY, CALM = 0.6, 0.5
"""The mean over the root mean square of the acceleration, in a piece whose mean is gravity; the standard deviation over
the mean, in one that has no blow in it that would turn the mean."""
FASTEST_RAD_S, FASTEST_PIECES = 36.0, 4
"""Just above the 2000 deg/s (34.9 rad/s) full scale of wearable gyroscopes."""
FIRST_RATIO, FIRST_PATH_RAD, IMPOSSIBLE_RAD_S = 14.0, 8.0, 70.0
"""Until the two were seen to agree, a piece with a larger ratio or a longer path is doubted at once: of the sets'
pieces none has a ratio over 12.9, and no recording's first one a path over 3.3. No range is over 4000 deg/s."""
DEGREES, DEGREES_SHORT, RATIOS = (8.0, 300.0), 60.0, 16
"""Where deg/s were taken for rad/s, the gyroscope turns so many times as much as gravity in the median of the last 16
pieces that show it; where rad/s were taken for deg/s, gravity turned by less than 60 times as much."""
OPTION = "gyro_unit"
SPANS = (1, 2, 4)
SHORT_BY, SPARED_RAD, MOST_SHORT_RAD, TOO_SHORT_RAD = 4.0, 0.2, 0.3, 0.4
"""A change of gravity by over 4 times the gyroscope's path and 0.2 rad counts, each time by 0.3 rad at most: the
braking of a train looks like a turn by 0.1 to 0.2 rad."""
SPARED_COSINE = math.cos(SPARED_RAD)


class _Place(NamedTuple):
    """Where gravity was: its direction, and the gyroscope's path up to the piece's end, and in it."""

    direction: Vector
    path: float
    within: float


LIFT_PIECES = 12
"""Pieces that turn and agree, 6 s of them, before a gyroscope that turned too much is believed."""


class Turning:
    """Whether the gyroscope turns as gravity does. What was wrong stays wrong until the two agree."""

    def __init__(self) -> None:
        self._large, self._fast, self._path, self._speed = 0.0, 0, 0.0, 0.0
        self._short = 0.0
        self._ratios: deque[float] = deque(maxlen=RATIOS)
        self._places: deque[_Place] = deque(maxlen=max(SPANS) + 1)
        self._turned = (0.0, 0.0)
        self._is_large = self._is_short = False
        self._to_agree = 0
        self._presumed: Finding | None = None
        self.doubt: Finding | None = None
        """The first pieces are unlikely, and none told yet."""
        self.was_right = False
        """Whether the gyroscope was ever seen to be right."""

    @property
    def finding(self) -> Finding | None:
        """What is wrong now."""
        if self._presumed is not None and (self._is_large or self._is_short):
            return self._presumed
        if self._is_large:
            return self._too_large()
        if self._is_short:
            gravity, gyro = (math.degrees(angle) for angle in self._turned)
            text = f"gravity turns by {gravity:.0f} deg while its gyroscope turns by {gyro:.2g}"
            factor = 180 / math.pi if gravity < DEGREES_SHORT * gyro else 0.0
            return Finding("turning", text, option=OPTION, factor=factor)
        return None

    def _too_large(self) -> Finding:
        """In words: how many times as much it turns, where gravity was seen to move; else how fast."""
        if self._ratios:
            ratio = sorted(self._ratios)[len(self._ratios) // 2]
            text = f"its gyroscope turns {ratio:.2g} times as much as gravity does"
            is_degrees = DEGREES[0] < ratio < DEGREES[1]
        else:
            text = f"its gyroscope turns at {self._speed:.0f} rad/s"
            is_degrees = self._speed < math.degrees(FASTEST_RAD_S)
        return Finding("turning", text, option=OPTION, factor=math.pi / 180 if is_degrees else 0.0)

    @property
    def is_settled(self) -> bool:
        """Whether it is known either way."""
        return self._is_large or self._is_short or self.was_right

    def presume(self, finding: Finding) -> None:
        """Begin with what is known of this sensor already."""
        if not finding.is_fault:
            self.doubt = finding
            return
        self._presumed = finding
        if finding.factor > 1:
            self._is_short, self._short = True, TOO_SHORT_RAD
        else:
            self._is_large, self._large = True, MOST_VOTES

    def take(self, piece: Piece) -> None:
        """Look at the next piece of a sensor with a gyroscope."""
        motion = piece.motion
        self._look_at_speed(piece)
        if not self.is_settled and motion.path > FIRST_PATH_RAD:
            self.doubt = Finding(
                "turning", f"its gyroscope turns by {motion.path:.2g} rad in half a second", False, OPTION
            )
        if motion.length < STEADY * motion.rms or not motion.length:
            self.break_off()
            return
        self._look_within(motion)
        if motion.rms**2 - motion.length**2 < (CALM * motion.length) ** 2:
            self._look_between(motion)
        else:
            self._path += motion.path

    def break_off(self) -> None:
        """From one direction of gravity to the next, something turned that was not seen."""
        self._places.clear()
        self._path = 0.0

    def _look_at_speed(self, piece: Piece) -> None:
        """A mean faster than any gyroscope's full scale is none of rad/s."""
        fastest = max(*piece.highest[AXES:], -min(piece.lowest[AXES:]))
        if fastest > FASTEST_RAD_S:
            # The mean of the largest is at most the largest of all.
            fastest = float(abs(piece.rotation).max(axis=1).mean())
        self._fast = self._fast + 1 if fastest > FASTEST_RAD_S else 0
        is_impossible = fastest > IMPOSSIBLE_RAD_S and not self.was_right
        if self._fast >= FASTEST_PIECES or is_impossible:
            self._large, self._is_large, self._speed = MOST_VOTES, True, fastest

    def _look_within(self, motion: Motion) -> None:
        if max(motion.moved, motion.turned) < TELLING_RAD:
            return
        ratio = motion.turned / math.hypot(motion.moved, FLOOR_RAD)
        vote = math.log(max(ratio, 1e-6) / TOO_MUCH)
        vote = min(max(vote, -1.0), 1.0)
        if vote > 0:
            self._ratios.append(ratio)
        if ratio > FIRST_RATIO and not self.is_settled:
            text = f"its gyroscope turns {ratio:.2g} times as much as gravity does"
            self.doubt = Finding("turning", text, False, OPTION)
        self._large = min(max(self._large + vote, -MOST_VOTES), MOST_VOTES)
        if self._large >= VOTES:
            self._is_large = True
        elif self._large <= -VOTES:
            self._lift(vote)
            self.was_right = self.was_right or motion.turned > TELLING_RAD
        if motion.turned > TELLING_RAD and vote < 0:
            self._agree()

    def _lift(self, vote: float) -> None:
        """What was too large and agrees now may do so about one axis alone: it is doubted until it did for long."""
        if self._is_large:
            self.doubt = Finding("turning", f"{self._too_large().text} in part", False, OPTION)
            self._is_large, self._to_agree = False, LIFT_PIECES
        elif self._to_agree:
            self._to_agree -= vote < 0
        if not self._to_agree:
            self.doubt = None
        self._ratios.clear()

    def _look_between(self, motion: Motion) -> None:
        self._path += motion.path
        (x, y, z), length = motion.mean, motion.length
        here = _Place((x / length, y / length, z / length), self._path, motion.path)
        self._places.append(here)
        if SHORT_BY * here.within > math.pi:
            return
        worst = 0.0
        for span in SPANS:
            if len(self._places) <= span:
                break
            there = self._places[-1 - span]
            cosine = _cosine(here.direction, there.direction)
            if cosine > SPARED_COSINE:
                continue
            least = SHORT_BY * (here.path - there.path + there.within) + SPARED_RAD
            if least < math.pi and cosine < math.cos(least):
                angle = math.acos(max(cosine, -1.0))
                if angle - least > worst:
                    worst, self._turned = angle - least, (angle, (least - SPARED_RAD) / SHORT_BY)
        if worst > 0:
            self._short = min(self._short + min(worst, MOST_SHORT_RAD), 2 * TOO_SHORT_RAD)
            self._is_short = self._is_short or self._short >= TOO_SHORT_RAD

    def _agree(self) -> None:
        """The gyroscope turned as far as one that is right, and gravity with it."""
        self._short = max(self._short - TELLING_RAD, -TOO_SHORT_RAD)
        if self._short <= 0:
            self._is_short = False


def _cosine(one: Vector, other: Vector) -> float:
    return one[0] * other[0] + one[1] * other[1] + one[2] * other[2]
