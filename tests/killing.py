"""A child that is killed at a chosen moment of its writing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

CHANGES = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.listdir", "ctypes.dlsym")
KILLED = 9


def killed_at(step: int, action: Callable[[], object]) -> bool:
    """Whether a child that did this was killed, before the file system was asked for the ``step``-th time."""
    child = os.fork()
    if child == 0:
        count = 0

        def watch(event: str, _arguments: object) -> None:
            nonlocal count
            if event in CHANGES:
                count += 1
                if count == step:
                    os._exit(KILLED)

        try:
            sys.addaudithook(watch)
            action()
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, KILLED)
    return code == KILLED
