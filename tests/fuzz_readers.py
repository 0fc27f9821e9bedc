"""Readers that fail in every way that fuzzing knows, for the tests of the tool itself."""

from __future__ import annotations

import os
import time

ROOM = b"!"


def good(data: bytes) -> None:
    """Branches on three bytes."""
    if data[:1] == b"a":
        if data[1:2] == b"b":
            if data[2:3] == b"c":
                return
            return
        return


def raising(data: bytes) -> None:
    """Fails at an exclamation mark."""
    if ROOM in data:
        raise KeyError("no such place")


def leaving(data: bytes) -> None:
    """Ends the process, as sys.exit does."""
    if ROOM in data:
        raise SystemExit(3)


def slow(data: bytes) -> None:
    """Computes without end."""
    while ROOM in data:
        pass


def greedy(data: bytes) -> None:
    """Takes 300 MiB."""
    if ROOM in data:
        bytearray(b"1") * (300 << 20)


def boundless(data: bytes) -> None:
    """Asks for more than there is."""
    if ROOM in data:
        bytearray(1 << 50)


def dying(data: bytes) -> None:
    """Dies as native code does."""
    if ROOM in data:
        os.abort()


def hanging(data: bytes) -> None:
    """Waits without end, and takes no time of the processor."""
    if ROOM in data:
        time.sleep(3600)
