"""Foreign text, before it reaches a terminal or a protocol of lines."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with ``?`` for each control character, line break or lone surrogate: those do things, or cannot be
    encoded."""
    return "".join(character if character.isprintable() else "?" for character in text)
