"""Inputs as files, for readers that take a path. The folder goes with the worker's."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path


@cache
def folder() -> Path:
    """One for the process, in ``TMPDIR``."""
    return Path(tempfile.mkdtemp(prefix="mmg-fuzz-"))


def written(name: str, data: bytes) -> Path:
    """A file of this content, in place of the one before."""
    path = folder() / name
    path.write_bytes(data)
    return path
