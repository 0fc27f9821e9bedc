"""Random loops have two lengths: a short one in the suite, and a long one in ``make fuzz``."""

from __future__ import annotations

import os

import pytest

FACTOR = int(os.environ.get("MMG_FUZZ", "1"))
"""How many times longer than in the suite; ``make fuzz`` sets it."""


def times(count: int) -> int:
    """So many rounds or examples, or as many times more as ``make fuzz`` asks for."""
    return count * FACTOR


def is_drawn(item: pytest.Item) -> bool:
    """Whether hypothesis draws a test's examples, so that it has a long form. Others are marked ``fuzz``."""
    return getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
