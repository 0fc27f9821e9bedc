"""Which kinds of track a Matroska or WebM file has, by its elements (RFC 8794, RFC 9559)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mmg_device_profiles.regular_file import open_regular

if TYPE_CHECKING:
    from mmg.sources.files.contents import Kind

SEGMENT, CLUSTER, TRACKS, TRACK, TRACK_TYPE = 0x18538067, 0x1F43B675, 0x1654AE6B, 0xAE, 0x83
TYPES: dict[int, Kind] = {1: "video", 2: "audio"}
MOST_ELEMENTS = 10_000


def track_kinds(path: Path) -> frozenset[Kind]:
    """What its tracks are, as far as they stand before the first cluster, as they do. Raises OSError."""
    kinds: set[Kind] = set()
    with open_regular(path) as file:
        for name, begin, end in _elements(file, 0, path.stat().st_size):
            if name == SEGMENT:
                for inner, tracks, tracks_end in _elements(file, begin, end):
                    if inner == CLUSTER:
                        break
                    if inner == TRACKS:
                        kinds |= set(_types(file, tracks, tracks_end))
                break
    return frozenset(kinds)


def _types(file: BinaryIO, begin: int, end: int) -> Iterator[Kind]:
    for name, track, track_end in _elements(file, begin, end):
        if name != TRACK:
            continue
        for inner, place, after in _elements(file, track, track_end):
            if inner == TRACK_TYPE:
                file.seek(place)
                number = int.from_bytes(file.read(min(after - place, 8)), "big")
                if number in TYPES:
                    yield TYPES[number]


def _elements(file: BinaryIO, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The elements from ``begin`` to ``end``: the name, and where the contents begin and end."""
    place = begin
    for _ in range(MOST_ELEMENTS):
        file.seek(place)
        head = file.read(12)
        name_bytes = _width(head, 0)
        if place >= end or not 1 <= name_bytes <= 4:
            return
        size_bytes = _width(head, name_bytes)
        if not 1 <= size_bytes <= 8 or len(head) < name_bytes + size_bytes:
            return
        unknown = (1 << 7 * size_bytes) - 1
        size = int.from_bytes(head[name_bytes : name_bytes + size_bytes], "big") & unknown
        inside = place + name_bytes + size_bytes
        # An element of unknown size, as live recordings have them, goes on to its parent's end.
        place = end if size == unknown else min(inside + size, end)
        yield int.from_bytes(head[:name_bytes], "big"), inside, place


def _width(head: bytes, place: int) -> int:
    """How many bytes a number takes: one more than there are zeros before its first bit; 9 where it is none."""
    return 9 - head[place].bit_length() if place < len(head) else 9
