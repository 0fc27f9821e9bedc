"""The one form that a ``.mmg`` has as mmg writes it: each byte follows from the names and contents of its files.

They stand in order of their names, not compressed, without dates, extra fields or comments, one after another; then the
list, then the end record (PKWARE's APPNOTE, 4.3). A signed bundle must have it: then no byte can be changed that is not
looked at. Weights hardly compress, so that little is lost by storing them as they are.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, NamedTuple

LOCAL = struct.Struct("<4s5H3I2H")
LISTED = struct.Struct("<4s6H3I5H2I")
END = struct.Struct("<4s4H2IH")
# Version 2.0 of the format, made on a Unix; no flags, stored; midnight of 1980-01-01, the earliest date there is.
VERSION, UNIX = 20, 3 << 8
STORED, TIME, DATE = 0, 0, 33
MODE = 0o644 << 16
LARGEST = (1 << 32) - 1


class Entry(NamedTuple):
    """A file: its name, the CRC-32 of its bytes and their number."""

    name: bytes
    crc: int
    size: int


def write_zip(stream: IO[bytes], contents: Mapping[str, bytes]) -> None:
    """The archive of these files. Raises ValueError where it would be beyond 4 GiB."""
    if sum(map(len, contents.values())) > LARGEST - (1 << 20):
        raise ValueError("is too large for a .mmg file, which holds 4 GiB: write a folder")
    entries = []
    for name, data in sorted(contents.items()):
        entry = Entry(name.encode("ascii"), zlib.crc32(data), len(data))
        stream.write(_head(entry) + data)
        entries.append(entry)
    stream.write(_tail(entries))


def has_form(stream: IO[bytes], entries: Sequence[Entry]) -> bool:
    """Whether the file is what ``write_zip`` writes of these entries. Their data is not read: who reads it compares it
    with its hash."""
    size = stream.seek(0, os.SEEK_END)
    if list(entries) != sorted(entries) or size != _size(entries):
        return False
    place = 0
    for entry in entries:
        stream.seek(place)
        head = _head(entry)
        if stream.read(len(head)) != head:
            return False
        place += len(head) + entry.size
    stream.seek(place)
    return stream.read() == _tail(entries)


def _size(entries: Iterable[Entry]) -> int:
    return END.size + sum(LOCAL.size + LISTED.size + 2 * len(one.name) + one.size for one in entries)


def _head(entry: Entry) -> bytes:
    sizes = entry.crc, entry.size, entry.size, len(entry.name), 0
    return LOCAL.pack(b"PK\3\4", VERSION, 0, STORED, TIME, DATE, *sizes) + entry.name


def _tail(entries: Sequence[Entry]) -> bytes:
    listed, place = b"", 0
    for entry in entries:
        sizes = entry.crc, entry.size, entry.size, len(entry.name), 0, 0, 0, 0
        listed += LISTED.pack(b"PK\1\2", VERSION | UNIX, VERSION, 0, STORED, TIME, DATE, *sizes, MODE, place)
        listed += entry.name
        place += LOCAL.size + len(entry.name) + entry.size
    return listed + END.pack(b"PK\5\6", 0, 0, len(entries), len(entries), len(listed), place, 0)
