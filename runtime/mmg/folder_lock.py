"""A folder in which one process works at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmg.errors import ConfigError

NAME = ".lock"


@contextmanager
def folder_lock(folder: Path, who: str) -> Iterator[None]:
    """The folder is made, and nobody else holds it until the block ends; a process that is killed lets go of it.

    who: what works in it, for the line that another one tells. Raises ConfigError where one is at work there, or the
    folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written to: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"{folder}: another {who} is at work in it") from error
        yield
    finally:
        os.close(descriptor)
