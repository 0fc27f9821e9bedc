"""What tests of foreign files share: bytes damaged at random, and what reading them took."""

from __future__ import annotations

import os
import random
import stat
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest


def peak_bytes(action: Callable[[], object]) -> int:
    """The most memory that an action held at once."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@contextmanager
def nothing_yet() -> Iterator[None]:
    """Each file that is opened has nothing yet for who does not wait, as /proc/kmsg has."""
    reading, writing = os.pipe2(os.O_NONBLOCK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", lambda *_: os.dup(reading))
        patch.setattr(stat, "S_ISREG", lambda _: True)
        yield
    os.close(reading)
    os.close(writing)


def damaged(data: bytes, dice: random.Random) -> bytes:
    """With one to four places changed: bits turned, bytes replaced, cut out, doubled or put in, or the end cut off."""
    changed = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        place = dice.randrange(len(changed) + 1)
        length = min(dice.choice((1, 2, 4, 8, 64)), len(changed) - place)
        match dice.randrange(7):
            case 0 if place < len(changed):
                changed[place] ^= 1 << dice.randrange(8)
            case 1:
                changed[place : place + length] = dice.randbytes(length)
            case 2:
                del changed[place : place + length]
            case 3:
                changed[place:place] = changed[place : place + length]
            case 4:
                changed[place:place] = dice.randbytes(dice.choice((1, 2, 4, 8)))
            case 5:
                changed[place : place + length] = dice.choice((b"\0", b"\xff")) * length
            case _:
                del changed[place:]
    return bytes(changed)
