"""Serial ports come and go, and what is closed cannot be opened again: a process of its own, outside, opens them.

It opens serial terminals and IIO devices, nothing else, and hands the open file over a socket (SCM_RIGHTS of unix(7)).
It ends with the process that began it.
"""

from __future__ import annotations

import atexit
import errno
import os
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmg.privacy import landlock, seccomp
from mmg.privacy.kernel import PR_SET_DUMPABLE, Unavailable, answer_of, prctl
from mmg.privacy.uses import Uses

OPENED = ("tty", "iio")
"""The kernel's subsystems whose devices are opened: of ``/sys/dev/char/MAJOR:MINOR/subsystem``."""
CONSOLES, FIRST_PORT, OF_THE_PROCESS = 4, 64, 5
"""Among the terminals those of the machine itself are none of ours: the kernel's admin-guide/devices.txt."""
TERMINALS = "/dev/pts/"
"""Of other programs; where a run uses one they stay open to it."""
MOST_BYTES, MOST_FILES = 4096, 1 << 16

_lock = threading.Lock()
_door: list[socket.socket] = []


def begin() -> None:
    """Start it, before this process closes what is off. Raises Unavailable."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        is_it = os.fork() == 0
    except OSError as error:
        ours.close()
        its.close()
        raise Unavailable(f"fork: {answer_of(error)}") from error
    if is_it:
        try:
            _keep(its)
        finally:
            os._exit(0)
    its.close()
    _door.append(ours)
    atexit.register(ours.close)


def end() -> None:
    """Let it go, where there is one: then devices are opened as ever."""
    while _door:
        _door.pop().close()


@contextmanager
def device_at(path: str) -> Iterator[str]:
    """The path by which a library can open the device at ``path``: its own where there is no doorkeeper.

    Raises OSError, as opening it would.
    """
    real = os.path.realpath(path)
    if not _door or not real.startswith("/dev/") or real.startswith(TERMINALS):
        yield path
        return
    descriptor = _ask(real)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def open_device(path: str) -> int:
    """The device itself, to be read without waiting: of one that can be open but once. Raises OSError."""
    real = os.path.realpath(path)
    if not _door or not real.startswith("/dev/"):
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    return _ask(real)


def _ask(path: str) -> int:
    with _lock:
        try:
            _door[0].send(os.fsencode(path)[:MOST_BYTES])
            data, descriptors, _, _ = socket.recv_fds(_door[0], 16, 1)
        except OSError:
            data, descriptors = b"", []
    if descriptors:
        return descriptors[0]
    if not data:
        raise OSError(errno.EIO, "the process that opens ports is gone: start the run again", path)
    raise OSError(int(data), os.strerror(int(data)), path)


def _keep(door: socket.socket) -> None:
    for asked in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(asked, signal.SIG_IGN)  # a terminal's Ctrl-C is for the run, whose end is this one's
    kept = door
    while kept.fileno() < 3:  # this process was started without all of its three
        kept = kept.dup()
    null = os.open("/dev/null", os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    for first, last in ((3, kept.fileno()), (kept.fileno() + 1, MOST_FILES)):
        os.closerange(first, last)
    prctl(PR_SET_DUMPABLE, 0)  # nobody reads or writes its memory
    for rung in (landlock, seccomp):
        with suppress(Unavailable):
            rung.close(Uses(serial=True))
    _serve(kept)


def _serve(door: socket.socket) -> None:
    while path := door.recv(MOST_BYTES):
        try:
            descriptor = _open(os.fsdecode(path))
        except OSError as error:
            door.send(str(error.errno or errno.EINVAL).encode())
        except ValueError:  # a null character
            door.send(str(errno.EINVAL).encode())
        else:
            socket.send_fds(door, [b"0"], [descriptor])
            os.close(descriptor)


def _open(path: str) -> int:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        found = os.fstat(place)
        if not stat.S_ISCHR(found.st_mode) or not _is_ours(os.major(found.st_rdev), os.minor(found.st_rdev)):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), path)
        same, flags = f"/proc/self/fd/{place}", os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            return os.open(same, os.O_RDWR | flags)
        except PermissionError:
            return os.open(same, os.O_RDONLY | flags)
    finally:
        os.close(place)


def _is_ours(major: int, minor: int) -> bool:
    kind = Path(f"/sys/dev/char/{major}:{minor}/subsystem").resolve().name
    return kind in OPENED and not (major == OF_THE_PROCESS or (major == CONSOLES and minor < FIRST_PORT))
