"""Which kinds of stream a recording of Aria glasses has, by the description at its beginning (VRS 2)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mmg_device_profiles.regular_file import open_regular

if TYPE_CHECKING:
    from mmg.sources.files.contents import Kind

# FileFormat.h of facebookresearch/vrs: the place of the description in the file's header, and a record's header.
DESCRIPTION_AT, RECORD, DESCRIPTION, VERSION = 32, struct.Struct("<IIiIdHBBI"), 2, 2
# StreamId.h: of the types of stream, those that Aria's IMUs, microphones and cameras have.
TYPES: dict[int, Kind] = {1202: "signal", 231: "audio", 214: "video", 1201: "video"}
MOST_BYTES = 16 << 20


def stream_kinds(path: Path) -> frozenset[Kind]:
    """What its streams are, none where the description is damaged or of another version. Raises OSError."""
    with open_regular(path) as file:
        file.seek(DESCRIPTION_AT)
        place = int.from_bytes(file.read(8), "little")
        if not 0 < place < path.stat().st_size:
            return frozenset()
        file.seek(place)
        header = file.read(RECORD.size)
        if len(header) < RECORD.size:
            return frozenset()
        size, _, kind, version, *_ = RECORD.unpack(header)
        if (kind, version) != (DESCRIPTION, VERSION):
            return frozenset()
        description = file.read(min(size, MOST_BYTES))
    try:
        return frozenset(TYPES[stream] for stream in _streams(description) if stream in TYPES)
    except struct.error:
        return frozenset()


def _streams(description: bytes) -> Iterator[int]:
    """The type of each stream. Behind it are an instance and two maps of texts. Raises struct.error."""
    count, place = _number(description, 0), 4
    for _ in range(count):
        yield struct.unpack_from("<i", description, place)[0]
        place += 6
        for _ in range(2):
            texts, place = 2 * _number(description, place), place + 4
            for _ in range(texts):
                place += 4 + _number(description, place)


def _number(data: bytes, place: int) -> int:
    number: int = struct.unpack_from("<I", data, place)[0]
    return number
