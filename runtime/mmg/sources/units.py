"""The units that recordings are written in, and how files spell them."""

from __future__ import annotations

import math
import re
import unicodedata

STANDARD_GRAVITY = 9.80665  # m/s^2, CGPM 1901

ACCELERATION = {
    "m/s2": 1.0,
    "g": STANDARD_GRAVITY,
    "mg": STANDARD_GRAVITY / 1000,
    "ug": STANDARD_GRAVITY / 1_000_000,
    "g/64": STANDARD_GRAVITY / 64,
    "cm/s2": 0.01,
    "mm/s2": 0.001,
}
ANGULAR_RATE = {
    "rad/s": 1.0,
    "deg/s": math.pi / 180,
    "mrad/s": 0.001,
    "mdeg/s": math.pi / 180_000,
    "rpm": 2 * math.pi / 60,
}
TIME_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1, "min": 60_000_000_000}

# Words that stand for a part of a unit. One letter is only that part where it stands alone: the d of "d/s".
_WORDS = {
    **dict.fromkeys(("per", "p"), ""),
    **dict.fromkeys(("second", "seconds", "sec", "secs"), "s"),
    **dict.fromkeys(("meter", "meters", "metre", "metres", "mtr"), "m"),
    **dict.fromkeys(("degree", "degrees", "d"), "deg"),
    **dict.fromkeys(("radian", "radians"), "rad"),
    **dict.fromkeys(("squared", "square", "sq"), "2"),
    **dict.fromkeys(("milliseconds", "millisecond", "millis", "millisec", "msec", "msecs"), "ms"),
    **dict.fromkeys(("microseconds", "microsecond", "micros", "microsec", "usec", "usecs"), "us"),
    **dict.fromkeys(("nanoseconds", "nanosecond", "nanos", "nanosec", "nsec", "nsecs"), "ns"),
    **dict.fromkeys(("minute", "minutes", "mins"), "min"),
    **dict.fromkeys(("millig", "milligs", "milli"), "mg"),
    **dict.fromkeys(("gs", "gn", "gforce", "force", "gravity", "gravities"), "g"),
}
# What is left when words are put for words and all but letters and figures is taken away.
_SPELLINGS: dict[str, str] = {
    **dict.fromkeys(("ms2", "mss", "mps2", "mpss", "msec2", "msecsec", "msecs2", "nkg"), "m/s2"),
    **dict.fromkeys(("cms2", "cmss", "cmps2"), "cm/s2"),
    **dict.fromkeys(("mms2", "mmss", "mmps2"), "mm/s2"),
    **dict.fromkeys(("g", "gg", "1g"), "g"),
    **dict.fromkeys(("mg", "mgg"), "mg"),
    **dict.fromkeys(("ug", "microg"), "ug"),
    **dict.fromkeys(("164g", "g64", "164thg"), "g/64"),
    **dict.fromkeys(("rads", "rads1", "radps", "radsec"), "rad/s"),
    **dict.fromkeys(("degs", "degs1", "degps", "dps", "degsec"), "deg/s"),
    **dict.fromkeys(("mrads", "mrads1", "mradps"), "mrad/s"),
    **dict.fromkeys(("mdegs", "mdegs1", "mdps", "mdegps"), "mdeg/s"),
    "rpm": "rpm",
    **{unit: unit for unit in TIME_NS},
}


def canonical(text: str) -> str | None:
    """The unit that ``text`` spells, such as ``m/s2`` for ``m/s^2`` or ``meters/second²``; None where it is none."""
    # A sign that was read in another encoding has an Â before it. NFKC makes ² a 2 and µ a μ.
    plain = re.sub(r"[°º˚]", " deg ", text.replace("Â", "").replace("'s", ""))
    plain = unicodedata.normalize("NFKC", plain).lower().replace("μ", "u")
    words = re.findall(r"[a-z]+|\d+", plain)
    return _SPELLINGS.get("".join(_WORDS.get(word, word) for word in words))


def quantity(unit: str) -> dict[str, float] | None:
    """The table that a channel's unit belongs to; None where its values are taken as they are."""
    name = canonical(unit)
    return next((table for table in (ACCELERATION, ANGULAR_RATE) if name in table), None)
