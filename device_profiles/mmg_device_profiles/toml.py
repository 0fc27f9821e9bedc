"""TOML that a stranger may have written: bounded before it is parsed.

The parsers remember every beginning of every dotted key, so that a key takes memory by the square of its parts: one of
30,000 parts, 60 kB of text, took 3.5 GB.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from mmg_device_profiles.regular_file import open_regular

MOST_BYTES = 64 << 10
"""Of a file of settings, which has a few thousand."""
MOST_DOTS = 64
"""In a line: keys of a few words have few, and so has a sentence."""


BESIDE_KEYS = re.compile(rb"\"(?:[^\"\\]|\\.)*\"|'[^']*'|#.*")
"""Texts and comments, whose dots part no key."""


def read_toml(path: Path) -> dict[str, Any]:
    """The table in a file. Raises OSError, and ValueError as ``parse_toml``."""
    try:
        with open_regular(path) as file:
            data = file.read(MOST_BYTES + 1)
    except IsADirectoryError as error:
        raise ValueError("is not a regular file") from error
    except ValueError as error:  # a null character
        raise ValueError(f"is not a path: {error}") from error
    return parse_toml(data)


def parse_toml(text: str | bytes) -> dict[str, Any]:
    """The table that this is. Raises ValueError, whose text says in a line what is wrong."""
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    if len(data) > MOST_BYTES:
        raise ValueError(f"is too large for settings: more than {MOST_BYTES >> 10} KiB")
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.count(b".") > MOST_DOTS and BESIDE_KEYS.sub(b"", line).count(b".") > MOST_DOTS:
            raise ValueError(f"not TOML that is read here: line {number} has more than {MOST_DOTS} dots")
    try:
        table: dict[str, Any] = msgspec.toml.decode(data)
    except (ValueError, RecursionError) as error:  # msgspec's DecodeError, bad UTF-8, huge numbers; deep nesting
        raise ValueError(f"not TOML: {error}") from error
    return table
