"""Whether the files of a folder are one recording or many: by their names and first lines, as there may be thousands.

mmg itself looks closer when it opens a recording, and says there what it does not understand.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mmg.labels.beside import IN_FOLDER
from mmg.sources.columns import Column
from mmg.sources.files.folder import SOUNDS, TABLES
from mmg_device_profiles.regular_file import open_regular

NO_KIND_OF_ITS_OWN = ("uncalibrated", "uncal", "raw", "total")
"""In a table's name: the same sensor once more, as Sensor Logger writes it beside the other."""
AXES = "xyz"
LOOKED_AT, FEWEST_LINES, FEWEST_NUMBERS = 8192, 5, 3
"""Bytes of a table, and lines and numbers in a line that samples have at least."""
NUMBER = re.compile(r'\s*"?[-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?"?\s*')


def is_one_recording(folder: Path, files: Sequence[Path]) -> bool:
    """files: its tables and sounds, without labels."""
    tables = [path for path in files if path.suffix.lower() in TABLES]
    sounds = [path for path in files if path.suffix.lower() in SOUNDS]
    if (folder / IN_FOLDER).is_file():
        return bool(files)
    if len(sounds) > 1:
        return False
    kinds = [kind for path in tables if (kind := _kind(path))]
    if kinds:
        return len(tables) + len(sounds) > 1 and len(set(kinds)) == len(kinds)
    return len(sounds) == 1 and sum(map(has_samples, tables)) == 1


def has_samples(path: Path) -> bool:
    """Whether a table may hold samples of an IMU: rows of numbers. What is no text of rows may."""
    if path.suffix.lower() in (".json", ".jsonl", ".ndjson"):
        return True
    try:
        with open_regular(path) as stream:
            start = stream.read(LOOKED_AT)
    except OSError:
        return False
    if b"\0" in start:  # UTF-16
        return True
    lines = start.decode(errors="replace").splitlines()
    lines = lines[:-1] if len(start) == LOOKED_AT else lines
    return sum(_numbers(line) >= FEWEST_NUMBERS for line in lines) >= FEWEST_LINES


def _numbers(line: str) -> int:
    separator = next((one for one in "\t;, " if line.count(one) >= FEWEST_NUMBERS - 1), ",")
    return sum(NUMBER.fullmatch(cell) is not None for cell in line.split(separator))


def _kind(path: Path) -> str:
    """Of which sensor a table is by its name, empty where that says none. A letter alone says none: ``walk_a``,
    ``walk_g`` are walks, though a column ``a_x`` is of an accelerometer."""
    if any(word in path.stem.lower() for word in NO_KIND_OF_ITS_OWN):
        return ""
    column = Column.of(0, f"{path.stem} x")
    words = tuple(word for word in column.words if len(word) > 1 or word in AXES)
    role = replace(column, words=words).role()
    return role.kind if role else ""
