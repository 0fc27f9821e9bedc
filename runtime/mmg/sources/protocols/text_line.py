"""One line of text as names with values, or as a row of cells. No state."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any, TypeAlias

import msgspec

Named: TypeAlias = "dict[str, float | str]"

DEEPEST = 4
"""Objects within objects that are still looked into."""
SHOWN = 60
_AXES = ("x", "y", "z")
_MARKS = (";", "\t", "|", ",", None)
"""What parts the cells of a row; None is any white space. A comma may be a decimal one, so the others go before it."""
# No part of these can be matched in two ways: a line of 4 kB that fits nearly must not take long.
_NUMBER = r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?"
_MEASURE = re.compile(rf"({_NUMBER})(?:\s*([^\s\d.,]\S*))?")
_PAIR = rf"([A-Za-z_][\w./-]*)\s*[:=]\s*({_NUMBER})"
_PAIR_IN_WORDS = re.compile(_PAIR)
_PAIRS_IN_WORDS = re.compile(rf"{_PAIR}(?:\s+{_PAIR})*")
# Figures alone before a colon are a time of day, as a serial monitor puts before a header too.
_VALUE = re.compile(r"""(?:[^\W\d]\d*|["')\]])\s*[:=]\s*[+-]?[.,]?\d""")


def read_json(text: str) -> Named:
    """The numbers of an object, and of the objects in it: ``{"acc":{"x":1}}`` and ``{"acc":[1,2,3]}`` give ``acc_x``.

    Two numbers of one name, as of two sensors, are both left out: nothing tells which is meant. Raises ValueError.
    """
    try:
        decoded = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError("no JSON") from error
    found = sorted(_leaves(decoded, "", DEEPEST), key=lambda leaf: leaf[0]) if _is_nested(decoded) else None
    if found is None:
        return {name: value for name, value in decoded.items() if _is_number(value)}
    named: Named = {}
    for name, leaves in groupby(found, key=lambda leaf: leaf[0]):
        values = [value for _, value in leaves]
        if len(values) == 1:
            named[name] = values[0]
    return named


def read_pairs(text: str) -> Named | None:
    """``ax:0.1,ay:-2`` or ``ax = 0.1 g | ay = ...``, as for the serial plotter of Arduino; None where it is none.

    A unit behind a number goes into the name, in brackets as in a header.
    """
    bare = text.strip()
    mark = next((mark for mark in _MARKS[:-1] if mark in bare), None)
    if mark is None and _PAIRS_IN_WORDS.fullmatch(bare):
        pairs = [(match[1], match[2]) for match in _PAIR_IN_WORDS.finditer(bare)]
    else:
        parts = [re.split("[:=]", part, maxsplit=1) for part in bare.split(mark) if part.strip()] if mark else []
        if not parts or any(len(part) < 2 for part in parts):
            return None
        pairs = [(part[0].strip(), part[1].strip()) for part in parts]
    named: Named = {}
    for name, value in pairs:
        measure = _MEASURE.fullmatch(value)
        number = measure[1].replace(",", ".") if measure else value
        named[f"{name} [{measure[2]}]" if measure and measure[2] else name] = number
    return named if len(named) == len(pairs) else None


def split_row(text: str) -> Iterator[tuple[str | None, list[str]]]:
    """What parts the cells of a row, None for white space, and the cells, in each way in which they may be parted.
    A decimal comma is made a point.

    Brackets around the row, quotation marks, and a mark at its end are no part of it.
    """
    bare = text.replace('"', "").strip().strip("()[]")
    for mark in _MARKS:
        if mark is None or mark in bare:
            cells = [cell.strip() for cell in bare.split(mark)]
            if len(cells) > 1 and not cells[-1]:
                cells.pop()
            is_plain = mark == "," or "," not in bare
            yield mark, cells if is_plain else [cell.replace(",", ".") for cell in cells]


def has_values(text: str) -> bool:
    """Whether names in this line have values, which those of a header have not."""
    return len(_VALUE.findall(text)) > 1


def is_number(cell: str) -> bool:
    """Whether this cell of a row is a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def shown(text: str) -> str:
    """As it can be shown on any terminal: escaped and cut."""
    escaped = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text.strip()[: SHOWN + 1])
    return f"'{escaped[:SHOWN]}...'" if len(escaped) > SHOWN else f"'{escaped}'"


def _leaves(value: Any, name: str, deepest: int) -> Iterator[tuple[str, float]]:
    """Each number with its key, below its parent's where the key is only an axis."""
    if _is_number(value):
        yield name, value
    elif isinstance(value, list) and len(value) == len(_AXES):
        for axis, each in zip(_AXES, value, strict=True):
            if _is_number(each):
                yield f"{name}_{axis}", each
    elif isinstance(value, dict) and deepest:
        for key, each in value.items():
            is_axis = key.lower() in _AXES
            yield from _leaves(each, f"{name}_{key}" if is_axis and name else key, deepest - 1)


def _is_nested(decoded: Any) -> bool:
    return not isinstance(decoded, dict) or any(isinstance(value, (dict, list)) for value in decoded.values())


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
