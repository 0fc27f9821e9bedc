"""A file that somebody else wrote: it is never waited for, and no more of it is held than was asked for."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

T = TypeVar("T")

MOST_BYTES = 1 << 20
"""Of settings, a profile and what else a person writes: some thousand are usual."""
_TEXT_BYTES = 1 << 20
"""Of a file of sysfs or procfs; /proc/cpuinfo of 256 cores is a third of it."""


def open_regular(path: str | Path, *, links: bool = True) -> io.BufferedReader:
    """The file, to be read, also through links unless those are refused. Raises OSError, and for what is no regular
    file too: to open a pipe can last for ever, and a device can act on it.

    What is looked at before is looked at again in what was opened: it may have been replaced meanwhile.
    """
    mode = os.stat(path, follow_symlinks=links).st_mode  # noqa: PTH116
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise _no_file(path)
    no_link = 0 if links else os.O_NOFOLLOW
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | no_link)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _no_file(path)
    return io.BufferedReader(_Unwaited(descriptor))


def read_within(path: str | Path, limit_bytes: int = MOST_BYTES) -> bytes:
    """All of a regular file. Raises OSError, also where it holds more than the limit."""
    with open_regular(path) as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise OSError(errno.EFBIG, f"holds more than {_shown(limit_bytes)}", str(path))
    return data


def lines_within(file: io.BufferedReader, limit_bytes: int) -> Iterator[bytes]:
    """Each line with its end. Raises OSError at one that holds more than the limit."""
    while line := file.readline(limit_bytes + 1):
        if len(line) > limit_bytes:
            raise OSError(errno.EFBIG, f"has a line of more than {_shown(limit_bytes)}")
        yield line


def read_text(path: str | Path) -> str:
    """What a file of sysfs or procfs says, without the space around it: of a longer one the first MiB. Empty where it
    cannot be read, as a driver may refuse it at any time."""
    try:
        with open_regular(path) as file:
            return file.read(_TEXT_BYTES).decode(errors="replace").strip()
    except (OSError, ValueError):  # ValueError for a path with a null character
        return ""


def is_removed(descriptor: int, path: str | Path) -> bool:
    """Whether an open regular file was removed: what is written to it takes room on the disk and cannot be found."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink:
        return False
    try:
        return not os.path.samestat(status, Path(path).stat())  # some file systems count no links at all
    except OSError:
        return True


class _Unwaited(io.FileIO):
    """Raises BlockingIOError where nothing is there yet, as in /proc/kmsg, which is a regular file by its mode."""

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        read: int | None = super().readinto(buffer)
        return _there(read)

    def readall(self) -> bytes:
        return _there(super().readall())


def _there(read: T | None) -> T:
    if read is None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return read


def _no_file(path: str | Path) -> OSError:
    return OSError(errno.EINVAL, "is not a regular file", str(path))


def _shown(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB" if size >= 1 << 10 else f"{size} bytes"
