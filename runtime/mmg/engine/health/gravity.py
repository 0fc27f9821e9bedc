"""Gravity: over some seconds the mean of a worn sensor's acceleration is 9.8 m/s^2 long, whatever its wearer does.

The wearer's own acceleration averages out, for speed is bounded: 2 m/s gained in 4 s is 0.5 m/s^2. Measured over 4 s on
sp-sw-har, UTD-MHAD and ClassyGlass, the mean was never longer than 1.33 g, and the root mean square, which turning does
not shorten as it does the mean, never shorter than 0.92 g.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from mmg.engine.health.finding import Finding
from mmg.sources.units import STANDARD_GRAVITY

if TYPE_CHECKING:
    from mmg.engine.health.piece import Motion, Piece

SHORT, LONG = 4, 8
"""Pieces: 2 s and 4 s."""
LOW_SHORT, LOW_LONG = 0.5, 0.7
"""A fall of 2 s would be 20 m deep."""
HIGH_SHORT, HIGH_PIECE, HIGH_LONG = 2.2, 1.5, 1.5
RIGHT, RIGHT_COHERENT = (0.8, 1.25), 0.7
WORN = (0.88, 1.4)
"""Over 2 s a worn sensor's root mean square is no shorter than the one, and its mean no longer than the other."""
IMPOSSIBLE, IMPOSSIBLE_PIECES = 1e4, 2
"""More than gravity in mg: no unit explains it."""
ABSENT, ABSENT_PIECES = 0.3, 12
"""A mean that is so short for so long, 12 pieces after the first 8, has no gravity in it: it is not turned away."""
COHERENT, INCOHERENT, NOTHING = 0.6, 0.45, 0.05
"""The mean over the root mean square: how steady the direction is. Shorter than NOTHING is no unit's gravity."""
QUIET, QUIET_PIECES, FEWEST_QUIET = 0.05, 8, 4
WHOLE_M_S2 = 100
REST = (0.9, 1.12)
"""The median length at rest, over gravity's: of the three sets' recordings it is between 0.95 and 1.08."""
FIRST_RMS, FIRST_LENGTH, FIRST_IMPOSSIBLE = 0.6, 2.1, 33.0
"""A first piece with a shorter root mean square or a longer mean is doubted at once: those of the sets' 1154 recordings
had 0.77 and more, and 1.85 and less. Over 32 g there is no wearable's range. Of pieces at rest REST holds at once."""
TALL, TALL_IN_A_ROW, TALL_PIECES, EVEN = 1.22, 8, 13, 0.5
"""Pieces of 8 in a row, or 13 of 16, without a blow in them (a standard deviation under half the mean) whose mean is
longer: of the sets' the shortest of 8 in a row was 1.18 at most, and the fourth shortest of 16 was 1.14."""
SMALL, SMALL_IN_A_ROW = 0.9, 8
"""Pieces in a row whose root mean square is shorter: of the sets' the longest of 8 in a row was 0.96 and more."""
AS_EVER, AS_EVER_PIECES = (0.95, 1.1), 14
"""A doubt that came of motion goes where so many of 16 pieces have a root mean square over the one and a mean under the
other, and one that came of the first pieces, where gravity is seen to be right."""
ALL_16 = 0xFFFF
SAME_DEG, OTHER_UNIT = 40.0, 1.4
"""Where the unit changes, gravity keeps its direction over the seconds around that, and not its length."""
DIRECTIONS, APART_DEG = 3, 50.0
"""With one axis wrong gravity cannot be right in so many directions so far apart, but for those across the axis."""


class Gravity:
    """Whether the acceleration has gravity in it, and of the right length.

    What was wrong stays wrong until it is right, and not until it is calm.
    """

    def __init__(self) -> None:
        self.finding: Finding | None = None
        self.doubt: Finding | None = None
        """At rest gravity is too long or too short, by less than a unit."""
        self.was_right = False
        """Whether it was ever seen to be right."""
        self._pieces: deque[Motion] = deque(maxlen=LONG)
        self._quiet: deque[float] = deque(maxlen=QUIET_PIECES)
        self._absent = 0
        self._tall = self._small = self._usual = 0
        """Of the last 16 pieces, a bit each: too long, too short, and neither."""
        self._directions: list[tuple[float, float, float]] = []
        self._votes: dict[str, int] = {}
        self._found: dict[str, Finding] = {}

    @property
    def is_settled(self) -> bool:
        """Whether it is known either way."""
        return self.finding is not None or self.was_right

    def presume(self, finding: Finding) -> None:
        """Begin with what is known of this sensor already."""
        if finding.is_fault:
            self.finding = finding
        else:
            self.doubt = finding

    def take(self, piece: Piece) -> None:
        """Look at the next piece."""
        motion = piece.motion
        self._pieces.append(motion)
        length, rms = motion.length / STANDARD_GRAVITY, motion.rms / STANDARD_GRAVITY
        is_quiet = motion.rms**2 - motion.length**2 < (QUIET * motion.length) ** 2
        if not self.is_settled:
            self._look_at_first(length, rms, is_quiet=is_quiet)
        self._look_at_many(length, rms)
        if is_quiet:
            self._quiet.append(motion.length / STANDARD_GRAVITY)
        self._confirm(motion, length, rms)
        if self._is_right():
            if self.finding is not None:
                self._quiet.clear()
                self._remember(self.finding)
            self.finding, self.was_right, self._absent = None, True, 0
            if self.doubt is not None and self.doubt.option:
                self.doubt = None
            self._votes.clear()
        elif (wrong := self._wrong(list(self._pieces))) is not None:
            if self.finding is None and self.was_right:
                self._quiet.clear()  # those were of the right unit
            # A moment may look like another fault: what most of them look like is told.
            what = "" if not wrong.option else "scale" if wrong.factor else "either"
            self._votes[what] = self._votes.get(what, 0) + 1
            self._found[what] = wrong
            self.finding = self._found[max(self._votes, key=lambda one: self._votes[one])]
        if is_quiet and self.finding is None:
            self._look_at_rest()

    def _remember(self, finding: Finding) -> None:
        """What was wrong and now reads right is believed where the unit has changed. One axis may be wrong, and turned
        away: that is doubted until gravity was right in several directions."""
        if finding.factor and not _is_other_unit(list(self._pieces)):
            text = f"{finding.text} before, and is right in this direction: is one axis wrong?"
            self.doubt, self._directions = Finding("turned", text, is_fault=False), []

    def _confirm(self, motion: Motion, length: float, rms: float) -> None:
        """Look for directions in which gravity is right, after it was wrong in one."""
        if self.doubt is None or self.doubt.kind != "turned" or not (rms > AS_EVER[0] and length < AS_EVER[1]):
            return
        if all(_angle_deg(motion.mean, known) > APART_DEG for known in self._directions):
            self._directions.append(motion.mean)
        if len(self._directions) >= DIRECTIONS:
            self.doubt = None

    def _look_at_first(self, length: float, rms: float, *, is_quiet: bool) -> None:
        """Before gravity was seen for long enough to tell, what is unlikely is doubted."""
        if rms > FIRST_IMPOSSIBLE:
            self.finding = _unlikely(rms, is_fault=True)
        elif is_quiet:
            is_unit = not _is_length_right(length)
            if is_unit or not REST[0] <= length <= REST[1]:
                self.doubt = _unlikely(length, is_fault=False) if is_unit else _uncalibrated(length)
        elif len(self._pieces) == 1 and (rms < FIRST_RMS or length > FIRST_LENGTH):
            self.doubt = _unlikely(rms, is_fault=False)

    def _look_at_many(self, length: float, rms: float) -> None:
        """In motion a scale that is off by less than a unit shows in that nearly all pieces are."""
        is_tall = length > TALL and rms**2 - length**2 < (EVEN * length) ** 2
        self._tall = (self._tall << 1 | is_tall) & ALL_16
        self._small = (self._small << 1 | (rms < SMALL)) & ALL_16
        self._usual = (self._usual << 1 | (rms > AS_EVER[0] and length < AS_EVER[1])) & ALL_16
        if not self._tall and not self._small:
            if self.doubt is not None and self.doubt.kind == "motion" and self._usual.bit_count() >= AS_EVER_PIECES:
                self.doubt = None
            return
        is_tall = _are_last(self._tall, TALL_IN_A_ROW) or self._tall.bit_count() >= TALL_PIECES
        if self.doubt is None and self.finding is None and (is_tall or _are_last(self._small, SMALL_IN_A_ROW)):
            lengths = sorted(one.length if is_tall else one.rms for one in self._pieces)
            text = f"gravity reads about {lengths[len(lengths) // 2]:.2g} m/s^2: is it calibrated?"
            self.doubt = Finding("motion", text, is_fault=False)
            self._quiet.clear()  # those before were of another scale, or too few

    def _is_right(self) -> bool:
        """Of the last two seconds."""
        if len(self._pieces) < SHORT:
            return False
        x = y = z = rms = 0.0
        for place in range(-SHORT, 0):
            piece = self._pieces[place]
            of_x, of_y, of_z = piece.mean
            x, y, z, rms = x + of_x, y + of_y, z + of_z, rms + piece.rms
        length = math.sqrt(x * x + y * y + z * z)
        length, rms = length / SHORT / STANDARD_GRAVITY, rms / SHORT / STANDARD_GRAVITY
        is_near = _is_length_right(length) and length >= RIGHT_COHERENT * rms
        return is_near and not self._is_as_found(length, rms)

    def _is_as_found(self, length: float, rms: float) -> bool:
        """Whether the scale that was found explains these values too: motion brings some near the right ones."""
        if self.finding is None or not self.finding.factor:
            return False
        if rms**2 - length**2 < (QUIET * length) ** 2:
            return not REST[0] <= length <= REST[1]
        found = 1 / self.finding.factor
        return rms > WORN[0] * found and length < WORN[1] * found

    def _wrong(self, pieces: list[Motion]) -> Finding | None:
        newest = pieces[-IMPOSSIBLE_PIECES:]
        if len(newest) > 1 and min([one.rms for one in newest]) > IMPOSSIBLE * STANDARD_GRAVITY:
            return Finding("gravity", f"acceleration reads {pieces[-1].rms:.1e} m/s^2", option="acc_unit")
        if len(pieces) < SHORT:
            return None
        short, is_long = pieces[-SHORT:], len(pieces) == LONG
        # Seconds of one unit and of another may be right in the mean, which explains nothing: the newest are not.
        told = short if _is_length_right(_mean_length(pieces)) else pieces
        longest = max([one.rms for one in short]) / STANDARD_GRAVITY
        if longest < LOW_SHORT or (is_long and _rms(pieces) < LOW_LONG):
            return self._low(told)
        shortest, length = min([one.length for one in short]) / STANDARD_GRAVITY, _mean_length(pieces)
        is_high = shortest > HIGH_PIECE and _mean_length(short) > HIGH_SHORT
        if is_high or (is_long and length > HIGH_LONG):
            return self._scaled(told if is_long else short)
        self._absent = self._absent + 1 if is_long and length < ABSENT else 0
        return _without(pieces) if self._absent >= ABSENT_PIECES else None

    def _low(self, pieces: list[Motion]) -> Finding:
        length, rms = _mean_length(pieces), _rms(pieces)
        if length < NOTHING or length < INCOHERENT * rms:
            return _without(pieces)
        return self._scaled(pieces) if length >= COHERENT * rms else _reads(length, 0)

    def _scaled(self, pieces: list[Motion]) -> Finding:
        """At rest the length is known best; in motion an arm's swing may make it a third longer."""
        is_changed = self.finding is None and self.was_right  # what was seen at rest was of the right unit
        if len(self._quiet) >= FEWEST_QUIET and not is_changed and not _is_length_right(length := self._at_rest()):
            return _reads(length, 1 / length)
        length = _mean_length(pieces)
        return _reads(length, 1 / length, is_rough=True)

    def _at_rest(self) -> float:
        return sorted(self._quiet)[len(self._quiet) // 2]

    def _look_at_rest(self) -> None:
        if len(self._quiet) < FEWEST_QUIET:
            return
        length = self._at_rest()
        if self.doubt is not None and self.doubt.kind == "turned":
            if not _is_length_right(length):
                self.finding = _reads(length, 1 / length)
            return
        self.doubt = None
        if not _is_length_right(length):
            self.finding = _reads(length, 1 / length)
        elif not REST[0] <= length <= REST[1]:
            self.doubt = _uncalibrated(length)


def _is_length_right(length: float) -> bool:
    """Whether no unit is told from it."""
    return RIGHT[0] <= length <= RIGHT[1]


def _is_other_unit(pieces: list[Motion]) -> bool:
    """Whether the newest 2 s are the 2 s before them in another unit."""
    before, after = pieces[:-SHORT], pieces[-SHORT:]
    if not before:
        return False
    one, two = _mean(before), _mean(after)
    lengths = math.hypot(*one), math.hypot(*two)
    return max(lengths) > OTHER_UNIT * min(lengths) and _angle_deg(one, two) < SAME_DEG


def _mean(pieces: list[Motion]) -> tuple[float, float, float]:
    x, y, z = (sum(piece.mean[axis] for piece in pieces) / len(pieces) for axis in range(3))
    return x, y, z


def _angle_deg(one: tuple[float, float, float], two: tuple[float, float, float]) -> float:
    lengths = math.hypot(*one) * math.hypot(*two)
    if not lengths:
        return 0.0
    cosine = sum(a * b for a, b in zip(one, two, strict=True)) / lengths
    return math.degrees(math.acos(min(max(cosine, -1.0), 1.0)))


def _uncalibrated(length: float) -> Finding:
    text = f"gravity at rest reads {length * STANDARD_GRAVITY:.3g} m/s^2: is it calibrated?"
    return Finding("rest", text, is_fault=False, factor=1 / length)


def _unlikely(rms: float, *, is_fault: bool) -> Finding:
    """For the first pieces: no factor is told from one of them."""
    return Finding("gravity", f"acceleration reads {_shown(rms)} m/s^2", is_fault, option="acc_unit")


def _are_last(bits: int, count: int) -> bool:
    """Whether the newest so many are set."""
    newest = (1 << count) - 1
    return bits & newest == newest


def _reads(length: float, factor: float, *, is_rough: bool = False) -> Finding:
    return Finding(
        "gravity", f"gravity reads {_shown(length)} m/s^2", option="acc_unit", factor=factor, is_rough=is_rough
    )


def _shown(length: float) -> str:
    shown = length * STANDARD_GRAVITY
    return f"{shown:.3g}" if shown < WHOLE_M_S2 else f"{shown:.0f}"


def _without(pieces: list[Motion]) -> Finding:
    length = _mean_length(pieces) * STANDARD_GRAVITY
    shown = f"its mean over {len(pieces) / 2:g} s is {length:.2g} m/s^2 long, in no steady direction"
    return Finding("gravity", f"this is acceleration without gravity ({shown}): mmg needs it with gravity")


def _mean_length(pieces: list[Motion]) -> float:
    """The length of the mean, over that of gravity."""
    x = y = z = 0.0
    for piece in pieces:
        of_x, of_y, of_z = piece.mean
        x, y, z = x + of_x, y + of_y, z + of_z
    return math.sqrt(x * x + y * y + z * z) / len(pieces) / STANDARD_GRAVITY


def _rms(pieces: list[Motion]) -> float:
    """The mean over the pieces of the root mean square, over the length of gravity."""
    return sum([piece.rms for piece in pieces]) / len(pieces) / STANDARD_GRAVITY
