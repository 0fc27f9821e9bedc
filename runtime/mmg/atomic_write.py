"""Files and folders that are replaced by whole ones only, also where the process is killed at any moment."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

AT_FDCWD, RENAME_EXCHANGE = -100, 2
# Of a kernel, a file system or a C library that cannot exchange two folders: ENOSYS, EINVAL and EPERM, by renameat2(2).
NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.ENOTSUP)
OPEN_FILES = tuple(map(Path, ("/dev", "/dev/fd", "/proc/self/fd")))
"""Where ``/dev/stdout`` and ``/dev/fd/1`` lie, which lead to a file where a shell has sent the output to one."""
_mine: set[Path] = set()
"""What this process is writing: what else bears its number was left by one that was killed."""


@contextmanager
def atomic_write(path: Path, mode: int = 0o666, *, beside: Path | None = None) -> Iterator[BinaryIO]:
    """A file that takes ``path``'s place when the block ends well: whoever opens it finds the old or the new, whole.

    mode: the permissions of a new file, less the umask; one that is replaced keeps its own. beside: what the new file
    is written beside; by default ``path`` itself. What a killed process left there is removed. The file's ``name`` is
    where it lies until then. A link stays, and what it leads to is replaced. A device or a pipe, such as ``/dev/null``
    or ``/dev/stdout``, stays too, and is written to.
    """
    try:
        if _is_written_to(path):
            with path.open("wb") as stream:
                yield stream
        else:
            yield from _replace(real_path(path), mode, beside)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk's error does not know it
        raise


def real_path(path: Path) -> Path:
    """Where links lead, though nothing may be there yet. Raises OSError, also for links that lead to each other, which
    ``Path.resolve`` tells as something else, or from Python 3.13 not at all."""
    with suppress(FileNotFoundError):
        path.stat()
    return path.resolve()


def _replace(path: Path, mode: int, beside: Path | None) -> Iterator[BinaryIO]:
    with _temporary(beside or path, "") as temporary:
        stream = open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode))  # noqa: SIM115
        try:
            with stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            if path.exists():
                shutil.copymode(path, temporary)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    _keep(path.parent)


def _is_written_to(path: Path) -> bool:
    """Whether it is no file that another could replace: a device, a pipe, or what a process has open, by its number."""
    return path.exists() and (path.parent in OPEN_FILES or not (path.is_file() or path.is_dir()))


def write_folder(path: Path, contents: Mapping[str, bytes]) -> None:
    """A folder of these files, by their paths in it, that takes ``path``'s place: whoever opens it finds the old or the
    new, whole. Raises OSError.

    The kernel exchanges the two in one step. Where it or the file system cannot, as NFS, there is a moment without
    either; who is killed in it leaves both beside the path, and the next one that writes puts the old one back first.
    """
    with _temporary(path, "new-") as new, _temporary(path, "old-") as old:
        try:
            for name, data in contents.items():
                (new / name).parent.mkdir(parents=True, exist_ok=True)
                with (new / name).open("wb") as stream:
                    stream.write(data)
                    stream.flush()
                    os.fsync(stream.fileno())
            for folder in {new, *((new / name).parent for name in contents)}:
                _keep(folder)
            if not path.exists():
                new.rename(path)
            elif not _exchange(new, path):
                path.rename(old)
                new.rename(path)
        except BaseException:
            if old.exists() and not path.exists():
                old.rename(path)
            raise
        finally:
            shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    _keep(path.parent)


@contextmanager
def _temporary(path: Path, what: str) -> Iterator[Path]:
    """A name beside ``path`` for this process alone, such as nobody else gives; what others left under such goes."""
    made = path.with_name(f".{path.name}.mmg-{what}{os.getpid()}")
    for left in _left(path, what):
        if what == "old-" and not path.exists():
            left.rename(path)
        elif left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
    _mine.add(made)
    try:
        yield made
    finally:
        _mine.discard(made)


def _left(path: Path, what: str) -> list[Path]:
    """What processes that are gone were writing beside ``path``."""
    form = re.compile(re.escape(f".{path.name}.mmg-{what}") + r"(\d{1,9})")
    try:
        names = os.listdir(path.parent)  # noqa: PTH208
    except OSError:
        return []  # a folder may be written to without being read
    found = [(path.with_name(name), int(match[1])) for name in names if (match := form.fullmatch(name))]
    return [place for place, owner in found if place not in _mine and (owner == os.getpid() or not _runs(owner))]


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's
    return True


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where that cannot be."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    if call(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(other))


def _keep(folder: Path) -> None:
    """See to it that the folder's names survive a power cut; not every file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
