"""What the containers of sound files say of themselves, where libsndfile does not tell or gives up."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

# Writers that cannot go back put a size from here up, "until the end": ffmpeg 0xFFFFFFFF, arecord 0x7FFFFFFF or so.
STREAMED_BYTES = 0x7FFF0000
UNCOMPRESSED_TAGS = (1, 3, 0xFFFE)
RIFF_HEADER = struct.Struct("<4sI4s")
RIFF_CHUNK = struct.Struct("<4sI")
WAV_FORMAT = struct.Struct("<HHIIH")
OGG_HEADER = struct.Struct("<4sBBqIIIB")
OGG_LAST_PAGE = 0x04
OGG_LONGEST_PAGE = 27 + 255 + 255 * 255


def promised_wav_frames(path: Path) -> int | None:
    """The samples a channel that a WAV's header promises; None for other files and where the header leaves it open."""
    with path.open("rb") as file:
        riff, _, wave = _unpack(file, RIFF_HEADER) or (b"", 0, b"")
        if riff != b"RIFF" or wave != b"WAVE":
            return None
        frame_bytes = 0
        while header := _unpack(file, RIFF_CHUNK):
            name, size = header
            if name == b"data":
                return size // frame_bytes if frame_bytes and size < STREAMED_BYTES else None
            start = file.tell()
            if name == b"fmt ":
                tag, _, _, _, frame_bytes = _unpack(file, WAV_FORMAT) or (0, 0, 0, 0, 0)
                if tag not in UNCOMPRESSED_TAGS:
                    return None
            file.seek(start + size + size % 2)
    return None


@dataclass(frozen=True, slots=True)
class Ogg:
    """The pages of an OGG file.

    whole: every page is in its place and the last is marked as the last.
    last_page, end: where the last page of the unbroken beginning starts and ends, in bytes.
    frames: the samples up to the last page that can be found, 0 where none tells.
    """

    whole: bool
    last_page: int
    end: int
    frames: int

    def mended(self, path: Path) -> bytes:
        """The unbroken beginning as a file of its own. libsndfile reads nothing of a file without a last page."""
        with path.open("rb") as file:
            data = bytearray(file.read(self.end))
        data[self.last_page + 5] |= OGG_LAST_PAGE
        data[self.last_page + 22 : self.last_page + 26] = bytes(4)
        checksum = _ogg_crc(data[self.last_page :])
        data[self.last_page + 22 : self.last_page + 26] = checksum.to_bytes(4, "little")
        return bytes(data)


def walk_ogg(path: Path) -> Ogg | None:
    """Follow the pages of an OGG file from its beginning; None for another file, or where no page is whole."""
    size = path.stat().st_size
    last_page, end, marked = -1, 0, False
    frames = 0
    with path.open("rb") as file:
        while header := _unpack(file, OGG_HEADER):
            mark, _, flags, position, _, _, _, segments = header
            page_end = file.tell() + segments + sum(file.read(segments))
            if mark != b"OggS" or page_end > size:
                break
            last_page, end, marked = end, page_end, bool(flags & OGG_LAST_PAGE)
            frames = max(frames, position)
            file.seek(page_end)
        if last_page < 0:
            return None
        whole = marked and end == size
        return Ogg(whole, last_page, end, frames if whole else max(frames, _last_position(file, size)))


def _last_position(file: BinaryIO, size: int) -> int:
    """The sample that the last page header in the file ends with, 0 where there is none or it ends with none."""
    start = max(0, size - OGG_LONGEST_PAGE)
    file.seek(start)
    tail = file.read()
    found = tail.rfind(b"OggS")
    if found < 0 or len(tail) - found < OGG_HEADER.size:
        return 0
    position: int = OGG_HEADER.unpack_from(tail, found)[3]
    return position if position < 1 << 40 else 0


def _ogg_crc(page: bytes | bytearray) -> int:
    """CRC-32 of RFC 3533: polynomial 0x04C11DB7, not reflected, no inversion."""
    crc = 0
    for byte in page:
        crc = (crc << 8 & 0xFFFFFFFF) ^ _CRC_TABLE[crc >> 24 ^ byte]
    return crc


def _crc_entry(index: int) -> int:
    value = index << 24
    for _ in range(8):
        value = (value << 1 ^ 0x04C11DB7) & 0xFFFFFFFF if value & 0x80000000 else value << 1
    return value


_CRC_TABLE = tuple(_crc_entry(index) for index in range(256))


def _unpack(file: BinaryIO, layout: struct.Struct) -> tuple[Any, ...] | None:
    data = file.read(layout.size)
    return layout.unpack(data) if len(data) == layout.size else None
