"""Serial ports come and go, and what is closed cannot be opened again: a process of its own, outside, opens them.

It opens serial terminals and IIO devices, nothing else, and hands the open file over a socket (SCM_RIGHTS of unix(7)).
It ends with the process that began it.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmg.privacy import seccomp
from mmg.privacy.kernel import Unavailable
from mmg.privacy.uses import Uses

OPENED = ("tty", "iio")
"""The kernel's subsystems whose devices are opened: of ``/sys/dev/char/MAJOR:MINOR/subsystem``."""
TERMINALS = "/dev/pts/"
"""Of other programs; they stay open to this process."""
MOST_BYTES = 4096

_lock = threading.Lock()
_door: list[socket.socket] = []


def begin() -> None:
    """Start it, before this process closes what is off. Once for a process."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        try:
            _keep(its)
        finally:
            os._exit(0)
    its.close()
    _door.append(ours)


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


def _ask(path: str) -> int:
    with _lock:
        _door[0].send(os.fsencode(path)[:MOST_BYTES])
        data, descriptors, _, _ = socket.recv_fds(_door[0], 16, 1)
    if descriptors:
        return descriptors[0]
    number = int(data or b"0") or errno.EPIPE
    raise OSError(number, os.strerror(number), path)


def _keep(door: socket.socket) -> None:
    for asked in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(asked, signal.SIG_IGN)  # a terminal's Ctrl-C is for the run, whose end is this one's
    null = os.open("/dev/null", os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    kept = os.dup2(door.fileno(), 3)
    os.closerange(4, os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") < 1 << 16 else 1 << 16)
    with suppress(Unavailable):
        seccomp.close(Uses())
    _serve(socket.socket(fileno=kept))


def _serve(door: socket.socket) -> None:
    while path := door.recv(MOST_BYTES):
        try:
            descriptor = _open(os.fsdecode(path))
        except OSError as error:
            door.send(str(error.errno).encode())
            continue
        socket.send_fds(door, [b"0"], [descriptor])
        os.close(descriptor)


def _open(path: str) -> int:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        found = os.fstat(place)
        number = f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
        kind = Path(f"/sys/dev/char/{number}/subsystem").resolve().name
        if not stat.S_ISCHR(found.st_mode) or kind not in OPENED:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), path)
        same, flags = f"/proc/self/fd/{place}", os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            return os.open(same, os.O_RDWR | flags)
        except PermissionError:
            return os.open(same, os.O_RDONLY | flags)
    finally:
        os.close(place)
