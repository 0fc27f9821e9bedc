"""What the pages of an OGG file say, where libsndfile does not tell or gives up."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mmg_device_profiles.regular_file import open_regular

from mmg.sources.files.sound.spliced import Spliced

HEADER = struct.Struct("<4sBBqIIIB")
FIRST_PAGE, LAST_PAGE = 0x02, 0x04
LONGEST_PAGE = 27 + 255 + 255 * 255
# How the first page of a stream of sound begins.
SOUNDS = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ")
OPUS_HZ = 48_000
FARTHEST = 1 << 40


@dataclass(frozen=True, slots=True)
class Ogg:
    """The pages of the first stream of sound in an OGG file.

    whole: every page is in its place, up to the one that is marked as the last. last_page, end: where the last page of
    the unbroken beginning starts and ends, in bytes. beyond: the samples from there to the last page that can be found,
    counted at ``counted_hz``, which is None where it is the sound's own rate. others: whether more streams of sound
    follow this one.
    """

    whole: bool
    last_page: int
    end: int
    beyond: int
    counted_hz: int | None
    others: bool

    def mended(self, path: Path) -> Spliced:
        """The unbroken beginning as a file of its own. libsndfile reads nothing of a file without a last page."""
        with open_regular(path) as file:
            file.seek(self.last_page)
            page = bytearray(file.read(self.end - self.last_page))
        page[5] |= LAST_PAGE
        page[22:26] = bytes(4)
        page[22:26] = _crc(page).to_bytes(4, "little")
        return Spliced(path, [(0, self.last_page), bytes(page)])


def walk_ogg(path: Path) -> Ogg | None:
    """Follow the pages of an OGG file from its beginning; None for another file, or where no page is whole."""
    size = path.stat().st_size
    serial: int | None = None
    counted_hz, position, others, marked = None, 0, False, False
    last_page, end, walked = -1, 0, 0
    with open_regular(path) as file:
        while header := _unpack(file):
            mark, _, flags, granule, owner, _, _, segments = header
            body = file.tell() + segments
            page_end = body + sum(file.read(segments))
            if mark != b"OggS" or page_end > size:
                break
            begins = bool(flags & FIRST_PAGE) and _is_sound(file, body)
            if begins and serial is not None:
                others = True
                break
            if begins:
                serial, counted_hz = owner, OPUS_HZ if _begins_with(file, body, b"OpusHead") else None
            if owner == serial:
                last_page, end, marked = walked, page_end, bool(flags & LAST_PAGE)
                position = max(position, granule)
            walked = page_end
            file.seek(page_end)
        if last_page < 0:
            return None
        beyond = 0 if marked or others else _last_granule(file, size, serial) - position
    return Ogg(marked, last_page, end, max(0, beyond), counted_hz, others)


def _is_sound(file: BinaryIO, place: int) -> bool:
    return any(_begins_with(file, place, sound) for sound in SOUNDS)


def _begins_with(file: BinaryIO, place: int, mark: bytes) -> bool:
    file.seek(place)
    return file.read(len(mark)) == mark


def _last_granule(file: BinaryIO, size: int, serial: int | None) -> int:
    """The sample that this stream's last page in the file ends with, 0 where there is none or it ends with none."""
    file.seek(max(0, size - LONGEST_PAGE))
    tail = file.read()
    place = len(tail)
    while (place := tail.rfind(b"OggS", 0, place)) >= 0:
        if len(tail) - place >= HEADER.size:
            _, _, _, granule, owner, _, _, _ = HEADER.unpack_from(tail, place)
            if owner == serial and 0 <= granule < FARTHEST:
                return int(granule)
    return 0


def _crc(page: bytes | bytearray) -> int:
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


def _unpack(file: BinaryIO) -> tuple[Any, ...] | None:
    data = file.read(HEADER.size)
    return HEADER.unpack(data) if len(data) == HEADER.size else None
