"""What the two sides send each other: lengths and bytes to the child, lines of JSON back."""

from __future__ import annotations

import struct
from typing import BinaryIO

import msgspec

_LENGTH = struct.Struct("<Q")


class Task(msgspec.Struct, frozen=True):
    """What the child gets first. Once it is ready the bundle's manifest and its golden file follow, which may be empty.

    backends: whose libraries it loads before it closes itself. files: how many it may be given.
    memory_bytes: what it may ask for beside its libraries. Each file has ``least_s`` of processor time, or ``pace``
    times what it took to load the libraries where that is more.
    """

    backends: tuple[str, ...]
    files: int
    memory_bytes: int
    least_s: float
    pace: float


class File(msgspec.Struct, frozen=True):
    """What is to be tried; its bytes follow. part: a modality of the manifest, or None for the fusion."""

    part: str | None
    backend: str
    name: str


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The libraries are loaded, and the limits hold. limit_s: processor time that each file has."""

    limit_s: float


class Ran(msgspec.Struct, frozen=True, tag=True):
    """A file was loaded and run."""


class Unavailable(msgspec.Struct, frozen=True, tag=True):
    """Its library cannot be loaded here, so that it runs nowhere."""


class TooMuch(msgspec.Struct, frozen=True, tag=True):
    """It asked for more memory than it may have."""


class Misfit(msgspec.Struct, frozen=True, tag=True):
    """It is not what the manifest says: the fields of ``ShapeMismatch``."""

    name: str
    expected: str | list[int | str | None]
    got: str | list[int | str | None]


class Failed(msgspec.Struct, frozen=True, tag=True):
    """Its library refused it."""

    problem: str


Answer = Ready | Ran | Unavailable | TooMuch | Misfit | Failed


def write_frame(stream: BinaryIO, data: bytes) -> None:
    """Send bytes. Raises OSError where nobody reads."""
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)


def read_frame(stream: BinaryIO) -> bytes | None:
    """The bytes that were sent, None where nothing more comes."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    [length] = _LENGTH.unpack(head)
    data = stream.read(length)
    return data if len(data) == length else None
