"""Numbers of things, in words."""

from __future__ import annotations


def count_of(number: int, noun: str) -> str:
    """As in ``1 recording`` and ``2 recordings``."""
    return f"{number} {noun}{'s' * (number != 1)}"
