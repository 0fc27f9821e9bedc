"""A folder for temporary files that goes with its process, also where that is killed: then the next one removes it."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX, MARK = ".mmg-batch-", ".mmg-batch-held"
"""MARK: a file that such a folder holds, locked as long as its process is at work."""


@contextmanager
def workspace() -> Iterator[Path]:
    """The folder."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # it is another user's, nothing of ours, or still at work
            _remove_left(left)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    descriptor = _hold(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _remove_left(folder: Path) -> None:
    """Raises OSError where it is not one that a process of ours left."""
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        return
    descriptor = os.open(folder / MARK, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


def _hold(folder: Path) -> int:
    """Mark it. The mark is locked before it bears its name, so that nobody finds one that is not."""
    new = folder / f"{MARK}-new"
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    new.rename(folder / MARK)
    return descriptor
