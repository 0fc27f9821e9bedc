"""A gyroscope that reads a rate of turn at rest: gravity stays where it is, and would turn at that rate.

What turns about gravity itself, such as a chair, is none of it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mmg.engine.health.finding import Finding
from mmg.engine.health.piece import AXES

if TYPE_CHECKING:
    from mmg.engine.health.piece import Piece

EVEN_RAD_S, STILL_RAD = 0.3, 0.02
"""At rest the gyroscope's axes span no more, and gravity moves no further."""
OFFSET_RAD_S, NONE_RAD_S, PIECES = 0.25, 0.2, 3
"""Across gravity, in pieces at rest: of 45,837 of the three sets' it was 0.30 in one and 0.17 and less in all but a
thousandth, and no recording has three more over 0.25 than under 0.2."""


class Offset:
    """Whether a gyroscope has one. It stays until it is seen at rest that it has gone."""

    def __init__(self) -> None:
        self._pieces = 0
        self.finding: Finding | None = None

    def presume(self, finding: Finding) -> None:
        """Begin with what is known of this sensor already."""
        self.finding, self._pieces = finding, PIECES

    def take(self, piece: Piece) -> bool:
        """Look at the next piece of a sensor with a gyroscope: whether it shows an offset."""
        motion = piece.motion
        # Of one rate of turn throughout, the angle's root mean square about its mean is the path over sqrt(12).
        turned = motion.turned * math.sqrt(12)
        if motion.moved > STILL_RAD or turned > motion.path * 1.1 or max(piece.spans[AXES:]) > EVEN_RAD_S:
            return False
        middle = [(low + high) / 2 for low, high in zip(piece.lowest[AXES:], piece.highest[AXES:], strict=True)]
        rate = math.hypot(*middle) * min(turned / motion.path, 1.0) if motion.path else 0.0
        if rate > OFFSET_RAD_S:
            self._pieces = min(self._pieces + 1, PIECES)
        elif rate < NONE_RAD_S:
            self._pieces = max(self._pieces - 1, 0)
        if self._pieces == PIECES:
            self.finding = Finding("offset", f"its gyroscope reads {rate:.2g} rad/s at rest: is it calibrated?", False)
        elif not self._pieces:
            self.finding = None
        return rate > OFFSET_RAD_S
