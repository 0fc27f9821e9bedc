"""Folders that are one process's as long as it lives: one that stays, and one for temporary files."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmg.errors import ConfigError

NAME = ".lock"


@contextmanager
def folder_lock(folder: Path, who: str, *, is_needed: bool = True) -> Iterator[None]:
    """The folder is made, and nobody else holds it until the block ends; a process that is killed lets go of it.

    who: what works in it, for the line that another one tells. is_needed: else it goes on where a disk has no locks.
    Raises ConfigError where one is at work there, or the folder cannot be written to, or locked.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written to: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"{folder}: another {who} is at work in it") from error
        except OSError as error:  # of some network's disks
            if is_needed:
                told = f"{folder}: cannot be locked: {error.strerror}: choose one on a local disk"
                raise ConfigError(told) from error
        yield
    finally:
        os.close(descriptor)


@contextmanager
def held_folder(prefix: str, mark: str) -> Iterator[Path]:
    """A new folder for temporary files, which goes with its process, also where that is killed: then the next one that
    makes such a folder removes it.

    prefix: how its name begins. mark: a file in it, locked as long as its process lives, or a fork of that. Raises
    OSError where it cannot be made.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):  # it is another user's, nothing of ours, or still at work
            _remove_left(left, mark)
    folder, process = Path(tempfile.mkdtemp(prefix=prefix)), os.getpid()
    try:
        descriptor = _hold(folder / mark)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    try:
        yield folder
    finally:
        if os.getpid() == process:  # a fork that ends leaves it to its parent
            _remove(folder, mark)
        os.close(descriptor)


def _remove_left(folder: Path, mark: str) -> None:
    """Raises OSError where it is not one that a process of ours left."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return
    descriptor = os.open(folder / mark, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(folder, mark)
    finally:
        os.close(descriptor)


def _remove(folder: Path, mark: str) -> None:
    """The mark last: who is killed meanwhile leaves what the next one still knows for ours."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != mark:
                path.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _hold(mark: Path) -> int:
    """Make it. It is locked before it bears its name, so that nobody finds one that is not."""
    new = mark.with_name(f"{mark.name}-new")
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with suppress(OSError):  # a file system without locks: there nobody finds it held, nor left
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        new.rename(mark)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
