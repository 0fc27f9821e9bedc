"""Foreign text, before it reaches a terminal or a protocol of lines."""

from __future__ import annotations

LONGEST, TAIL = 2000, 500
"""Characters of a line, and of those that stand at its end where it is cut: there is what to type."""


def printable(text: str) -> str:
    """The text with ``?`` for each control character, line break or lone surrogate: those do things, or cannot be
    encoded."""
    return "".join(character if character.isprintable() else "?" for character in text)


def encodable(text: str) -> str:
    """The text with ``?`` for each lone surrogate, as a file's name that is no UTF-8 has them: for JSON."""
    return text.encode(errors="replace").decode()


def as_line(text: str) -> str:
    """The text on one line, with what is too long of it left out in its middle."""
    return printable(text if len(text) <= LONGEST else f"{text[: LONGEST - TAIL - 5]} ... {text[-TAIL:]}")


def as_cell(text: str) -> str:
    """A cell of a table in Markdown: its text can end neither the cell nor begin an element of HTML."""
    return printable(text).replace("|", "\\|").replace("<", "&lt;")


def as_lines(text: str, encoding: str | None) -> str:
    """Each line of the text so, with what a stream of this encoding cannot hold escaped."""
    encoding = encoding or "ascii"
    return "\n".join(map(as_line, text.split("\n"))).encode(encoding, "backslashreplace").decode(encoding)
