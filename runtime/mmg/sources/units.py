"""The units that recordings are written in, and how files spell them."""

from __future__ import annotations

import math
import re

STANDARD_GRAVITY = 9.80665  # m/s^2, CGPM 1901

ACCELERATION = {"m/s2": 1.0, "g": STANDARD_GRAVITY, "mg": STANDARD_GRAVITY / 1000}
ANGULAR_RATE = {"rad/s": 1.0, "deg/s": math.pi / 180}
TIME_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}

_SPELLINGS = {
    **dict.fromkeys(("ms2", "mps2", "msec2", "mss"), "m/s2"),
    **dict.fromkeys(("g", "gs"), "g"),
    "mg": "mg",
    **dict.fromkeys(("rads", "radsec", "radps", "radpersec"), "rad/s"),
    **dict.fromkeys(("degs", "degsec", "degps", "dps", "degpersec"), "deg/s"),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("ms", "msec", "millis", "millisec", "milliseconds"), "ms"),
    **dict.fromkeys(("us", "usec", "micros", "microsec", "microseconds"), "us"),
    **dict.fromkeys(("ns", "nsec", "nanos", "nanosec", "nanoseconds"), "ns"),
}


def canonical(text: str) -> str | None:
    """The unit that ``text`` spells, such as ``m/s2`` for ``m/s^2``; None where it is none known here."""
    bare = text.lower().replace("²", "2").replace("°", "deg").replace("µ", "u").replace("μ", "u")
    return _SPELLINGS.get(re.sub(r"[^a-z0-9]", "", bare))


def quantity(unit: str) -> dict[str, float] | None:
    """The table that a channel's unit belongs to; None where its values are taken as they are."""
    name = canonical(unit)
    return next((table for table in (ACCELERATION, ANGULAR_RATE) if name in table), None)
