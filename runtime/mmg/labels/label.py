"""One label, and what it may be."""

from __future__ import annotations

import math
from dataclasses import dataclass

LONGEST = 80
"""Characters of a label's text."""


@dataclass(frozen=True, order=True, slots=True)
class Label:
    """What was done from ``start_s`` on and before ``end_s``, in seconds since the recording's beginning.

    A point, whose end is its start, marks a moment and labels nothing.
    """

    start_s: float
    end_s: float
    label: str

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.end_s - self.start_s


def make_label(start_s: float, end_s: float, text: str) -> Label:
    """A label as a file holds it. Raises ValueError where it cannot be one."""
    text = text.strip()
    if not (math.isfinite(start_s) and math.isfinite(end_s)):
        raise ValueError(f"{start_s} to {end_s} are no seconds")
    if start_s < 0:
        raise ValueError(f"{start_s:g} s is before the recording's beginning")
    if end_s < start_s:
        raise ValueError(f"its end, {end_s:g} s, is before its start, {start_s:g} s")
    if not text:
        raise ValueError(f"from {start_s:g} to {end_s:g} s has no text")
    if len(text) > LONGEST or not text.isprintable():
        raise ValueError(f"{text[:20]!r} is longer than {LONGEST} characters, or has some that cannot be printed")
    return Label(start_s, end_s, text)


def seconds_of(text: str) -> float:
    """A number with a point or a comma. Raises ValueError."""
    return float(text.strip().replace(",", "."))
