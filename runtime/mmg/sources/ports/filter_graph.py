"""Which of FFmpeg's filters may stand in a camera's place: they make pictures, and open nothing."""

from __future__ import annotations

import re

from mmg.errors import ConfigError

SOURCES = (
    *("color", "testsrc", "testsrc2", "smptebars", "smptehdbars", "pal75bars", "pal100bars", "rgbtestsrc"),
    *("yuvtestsrc", "mandelbrot", "gradients", "sierpinski", "allrgb", "allyuv", "nullsrc"),
)
FILTERS = ("format", "fps", "hflip", "noise", "null", "scale", "setpts", "settb", "transpose", "trim", "vflip")
_ONE = re.compile(r"\s*(?:\[\w+\]\s*)*(\w+)(?:@\w+)?\s*(?:=(?P<options>[^'\\\[\]]*))?(?:\[\w+\]\s*)*")


def check_graph(graph: str, url: str) -> None:
    """Raises ConfigError for a graph with any filter but these: others read and write files, open addresses on the
    network or load libraries (``movie``, ``drawtext``, ``metadata``, ``zmq``, ``frei0r``).

    url: how the error names it. Quotes and escapes, which could hide another filter, are refused too.
    """
    for part in re.split("[,;]", graph):
        found = _ONE.fullmatch(part)
        # FFmpeg reads an option whose name begins with a slash from the file that its value names.
        if not found or found[1] not in (*SOURCES, *FILTERS) or re.search("(^|:)/", found["options"] or ""):
            name = found[1] if found else part.strip()
            raise ConfigError(
                f"{url}: {name[:40]!r} is none of the filters that only make pictures: {', '.join(SOURCES)}; behind "
                f"them {', '.join(FILTERS)}, without quotes"
            )
