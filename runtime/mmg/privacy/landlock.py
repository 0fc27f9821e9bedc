"""Landlock: writing and TCP, where the kernel has it; not in Raspberry Pi OS, nor in JetPack 5.

Its rules name folders that exist, and what is below them. So it says where a run may write; it cannot say "all devices
but cameras" where serial ports come and go, and says nothing of cameras here. See the kernel's
Documentation/userspace-api/landlock.rst.
"""

from __future__ import annotations

import ctypes
import os
import struct
from contextlib import suppress
from pathlib import Path

from mmg.privacy.kernel import Unavailable, call, keep_privileges_from_growing, require_one_thread
from mmg.privacy.uses import Uses

VERSION_FLAG, PATH_BENEATH = 1, 1
WRITE_FILE, REMOVE_AND_MAKE, REFER, TRUNCATE = 1 << 1, 0b1_1111_1111 << 4, 1 << 13, 1 << 14
"""REMOVE_DIR to MAKE_SYM; REFER since version 2, TRUNCATE since 3."""
TCP, TCP_SINCE = 0b11, 4
ABSTRACT_SOCKETS, SCOPES_SINCE = 0b1, 6
"""X11 listens at one beside its node, and no sound server at any."""
ALWAYS = ("null", "zero", "full", "random", "urandom", "tty")
WHOLE = 3
"""Before version 3, a file that exists can be cut to nothing."""


def version() -> int:
    """Of this kernel's Landlock. Raises Unavailable."""
    return call("landlock_create_ruleset", None, 0, VERSION_FLAG)


def close(uses: Uses) -> None:
    """Refuse writing outside ``uses.writes``, and TCP and sockets of other programs that it does not use.

    Raises Unavailable, also where there is another thread, for which it would not hold.
    """
    require_one_thread()
    kernels = version()
    writing = 0 if uses.writes is None else _writing(kernels)
    tcp = 0 if uses.network or kernels < TCP_SINCE else TCP
    scopes = ABSTRACT_SOCKETS if kernels >= SCOPES_SINCE and not uses.daemons else 0
    if not (writing or tcp or scopes):
        raise Unavailable("this run uses all that it could close")
    sizes = (8, 16, 24)[(kernels >= TCP_SINCE) + (kernels >= SCOPES_SINCE)]
    attributes = ctypes.create_string_buffer(struct.pack("QQQ", writing, tcp, scopes), 24)
    ruleset = call("landlock_create_ruleset", attributes, sizes, 0)
    try:
        for place in uses.writes or () if writing else ():
            with suppress(OSError):  # what is not there cannot be written
                _allow(ruleset, place, writing)
        for place in _devices(uses) if writing else ():
            with suppress(OSError):
                _allow(ruleset, place, writing & (WRITE_FILE | TRUNCATE))
        keep_privileges_from_growing()
        call("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)


def _devices(uses: Uses) -> list[Path]:
    """Where files that exist can be written: which of the nodes can be opened is other rungs' matter."""
    dev = Path("/dev")
    folders = (
        [dev] if uses.serial or uses.camera or uses.accelerator or uses.firmware else [dev / name for name in ALWAYS]
    )
    more = [dev / "snd"] * uses.sound + [dev / "pts"] * uses.terminals + [Path("/sys")] * uses.sysfs
    return [*folders, *more, Path("/proc/self")]


def closes_writing() -> bool:
    """Whether what it closes is all of writing; else a file that exists can be cut to nothing. Raises Unavailable."""
    return version() >= WHOLE


def _writing(kernels: int) -> int:
    return WRITE_FILE | REMOVE_AND_MAKE | (REFER if kernels >= 2 else 0) | (TRUNCATE if kernels >= 3 else 0)


def _allow(ruleset: int, place: Path, rights: int) -> None:
    descriptor = os.open(place, os.O_PATH | os.O_CLOEXEC)
    try:
        if not place.is_dir():
            rights &= WRITE_FILE | TRUNCATE
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, descriptor))
        call("landlock_add_rule", ruleset, PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)
