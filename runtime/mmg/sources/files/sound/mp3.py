"""The frames of an MP3. libsndfile guesses their number where the file does not tell, and stops at its guess."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from mmg_device_profiles.regular_file import open_regular

from mmg.sources.files.sound.spliced import Spliced

BLOCK = 1 << 20
# A frame that carries the number of frames in place of sound says so in its middle.
COUNTS = (b"Xing", b"Info", b"VBRI")
# How far behind the tags the first frame may be, and how much of it is looked through for these words.
FARTHEST_START, FRAME_HEAD = 1 << 16, 200
# ISO 11172-3 and 13818-3, layer III: kbit/s by index for MPEG 1 and for MPEG 2 and 2.5, and samples a second.
KBITS = (
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
PRIMING_FRAMES = 3
"""What an encoder and a decoder put before and behind the sound, at most; some count it and some do not."""
FRAME_SAMPLES = 1152
MOST_TAGS = 100


@dataclass(frozen=True, slots=True)
class Mp3:
    """An MP3 that does not say how many frames it has.

    begin, end: where its frames begin and end, in bytes. header: the first frame's four bytes. frames: their number.
    """

    begin: int
    end: int
    header: bytes
    frames: int

    def mended(self, path: Path) -> Spliced:
        """The file with a frame before the others that tells their number, as Xing's encoder wrote it first."""
        size, mono, newest = _frame(self.header)
        side_bytes = (17 if mono else 32) if newest else (9 if mono else 17)
        # Without a checksum, whatever the others have.
        first = bytes([self.header[0], self.header[1] | 1, *self.header[2:]]) + bytes(side_bytes)
        first += struct.pack(">4sII", b"Xing", 1, self.frames)
        return Spliced(path, [first.ljust(size, b"\0"), (self.begin, self.end)])


def walk_mp3(path: Path) -> Mp3 | None:
    """Count the frames of an MP3 that does not tell; None for one that tells, and for other files."""
    with open_regular(path) as file:
        begin = _behind_tags(file)
        file.seek(begin)
        data = file.read(FARTHEST_START)
        offset = _next_frame(data, 0)
        if offset < 0 or any(word in data[offset : offset + FRAME_HEAD] for word in COUNTS):
            return None
        first = data[offset : offset + 4]
        frames = sum(_frames(file, begin + offset, first))
        return Mp3(begin + offset, path.stat().st_size, first, frames)


def _behind_tags(file: BinaryIO) -> int:
    """Where the ID3v2 tags at the beginning end."""
    place = 0
    for _ in range(MOST_TAGS):
        file.seek(place)
        tag = file.read(10)
        if len(tag) < 10 or tag[:3] != b"ID3":
            return place
        size = 0
        for byte in tag[6:]:
            size = size << 7 | byte & 0x7F
        place += 10 + size + (10 if tag[5] & 0x10 else 0)
    return place


def _frames(file: BinaryIO, place: int, first: bytes) -> Iterator[int]:
    """How many frames like ``first`` there are from ``place`` on, block by block. What is no frame is passed over."""
    file.seek(place)
    while len(data := file.read(BLOCK)) >= 4:
        offset, count = 0, 0
        while offset + 4 <= len(data):
            size = _frame(data[offset : offset + 4])[0] if _is_like(data, offset, first) else 0
            if size:
                count += 1
                offset += size
            elif (offset := _next_frame(data, offset + 1, first)) < 0:
                offset = max(len(data) - 3, 1)
        yield count
        file.seek(offset - len(data), 1)


def _next_frame(data: bytes, offset: int, like: bytes | None = None) -> int:
    """Where the next header is that another follows; -1 where there is none."""
    while (offset := data.find(b"\xff", offset)) >= 0:
        first = like or data[offset : offset + 4]
        size = _frame(data[offset : offset + 4])[0]
        if size and _is_like(data, offset, first) and _is_like(data, offset + size, first):
            return offset
        offset += 1
    return -1


def _is_like(data: bytes, offset: int, first: bytes) -> bool:
    """Whether a header of the same version, layer and rate as ``first`` is here."""
    header = data[offset : offset + 4]
    return len(header) == 4 and header[:2] == first[:2] and header[2] & 0x0C == first[2] & 0x0C


@lru_cache(maxsize=4096)
def _frame(header: bytes) -> tuple[int, bool, bool]:
    """A frame's bytes, 0 where this is no header of layer III, whether it is mono, and whether it is of MPEG 1."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return 0, False, False
    version, bits, rate = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or bits in (0, 15) or rate == 3:
        return 0, False, False
    newest = version == 3
    half = 1 if newest else 2
    size = 144_000 // half * KBITS[half - 1][bits] // RATES_HZ[version][rate] + (header[2] >> 1 & 1)
    return size, header[3] >> 6 == 3, newest
