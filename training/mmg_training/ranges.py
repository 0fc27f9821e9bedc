"""What a setting may be beside its type: marks for ``Annotated``, which ``config.build`` checks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from mmg.errors import ConfigError


@dataclass(frozen=True)
class Range:
    """From ``least`` to ``most``, both included; not ``least`` itself where it is ``above``."""

    least: float
    most: float = math.inf
    above: bool = False

    def check(self, value: float, place: str) -> None:
        """Raises ConfigError where ``value`` is outside or not finite."""
        inside = math.isfinite(value) and self.least <= value <= self.most and not (self.above and value == self.least)
        if not inside:
            raise ConfigError(f"{place}: {value!r} {self._told(value)}")

    def _told(self, value: float) -> str:
        if self == SHARE:
            return "is not between 0 and 1"
        if value > self.most:
            return f"is more than {self.most}"
        if self.above:
            return f"is not above {self.least}"
        if self == AMOUNT:
            return "must be a number, 0 or more"
        return f"is less than {self.least}"


@dataclass(frozen=True)
class Words:
    """A list of names; a number is one too, and a single name needs no list."""

    def read(self, value: object, place: str) -> tuple[str, ...]:
        """Each name once, in its place. Raises ConfigError."""
        given = list(value) if isinstance(value, (list, tuple)) else [value]
        for one in given:
            if isinstance(one, bool) or not isinstance(one, (int, str)) or not str(one).strip():
                raise ConfigError(f"{place}: {one!r} is neither a name nor a number")
        return tuple(dict.fromkeys(str(one).strip() for one in given))


LARGEST = 1e9
"""Of a number with a fraction: its square is a float32 too, which torch computes with."""
AMOUNT = Range(0, LARGEST)
"""Of every number with a fraction that has no other mark."""
SHARE = Range(0, 1)
Count = Annotated[int, Range(1)]
Share = Annotated[float, SHARE]
Positive = Annotated[float, Range(0, LARGEST, above=True)]
Names = Annotated[tuple[str, ...], Words()]
