"""The length of a FLAC whose writer did not know it, as programs that write to a pipe do not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmg_device_profiles.regular_file import open_regular

from mmg.sources.files.sound.spliced import Spliced

# "fLaC", the head of the first block, then STREAMINFO: the count of all samples is the last 36 bits before its MD5.
INFO, COUNT_AT, HEAD_BYTES = 8, 21, 42
# More than two frames of the longest, 65535 samples of 8 channels of 24 bits.
TAIL = 1 << 22
MOST_HEADERS = 10_000
"""What looks like one: a hundred times as many as sound of that length has by chance."""
BLOCKS = {1: 192, **{2 + power: 576 << power for power in range(4)}, **{8 + power: 256 << power for power in range(8)}}


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame's header: its number, or its first sample's where frames are of any length, and its samples."""

    number: int
    samples: int


def mended_flac(path: Path) -> Spliced | None:
    """The file with the count of its samples; None for other files, and where it is there or cannot be found."""
    with open_regular(path) as file:
        head = file.read(HEAD_BYTES)
        if len(head) < HEAD_BYTES or head[:4] != b"fLaC" or head[COUNT_AT] & 0x0F or any(head[22:26]):
            return None
        size = path.stat().st_size
        file.seek(max(HEAD_BYTES, size - TAIL))
        tail = file.read()
    shortest, longest = (int.from_bytes(head[place : place + 2], "big") for place in (INFO, INFO + 2))
    fixed = shortest == longest
    last = _last_frame(tail, fixed)
    if last is None:
        return None
    samples = (last.number * longest if fixed else last.number) + last.samples
    if samples >= 1 << 36:
        return None
    count = bytes([head[COUNT_AT] | samples >> 32]) + (samples & 0xFFFFFFFF).to_bytes(4, "big")
    return Spliced(path, [(0, COUNT_AT), count, (COUNT_AT + 5, size)])


def _last_frame(tail: bytes, fixed: bool) -> Frame | None:
    """The last frame that another leads up to, or the only one: what looks like a header may be sound."""
    sync = b"\xff\xf8" if fixed else b"\xff\xf9"
    later: dict[int, Frame] = {}
    place, count = len(tail), 0
    for _ in range(MOST_HEADERS):
        place = tail.rfind(sync, 0, place)
        if place < 0:
            break
        frame = _frame(tail[place : place + 16])
        if frame is None:
            continue
        following = frame.number + (1 if fixed else frame.samples)
        if following in later:
            return later[following]
        later.setdefault(frame.number, frame)
        count += 1
    return later.get(0) if count == 1 else None


def _frame(header: bytes) -> Frame | None:
    """RFC 9639, section 9.1; None where this is no frame's header."""
    if len(header) < 16:
        header = header.ljust(16, b"\0")
    block, rate = header[2] >> 4, header[2] & 0x0F
    if block == 0 or rate == 15 or header[3] & 1:
        return None
    extra = 8 - (header[4] ^ 0xFF).bit_length()
    if extra == 1 or extra > 7:
        return None
    number = header[4] & (0x7F >> extra)
    for byte in header[5 : 4 + max(extra, 1)]:
        number = number << 6 | byte & 0x3F
    place = 4 + max(extra, 1)
    samples = BLOCKS.get(block, 0)
    if block in (6, 7):
        samples = int.from_bytes(header[place : place + block - 5], "big") + 1
        place += block - 5
    place += {12: 1, 13: 2, 14: 2}.get(rate, 0)
    return Frame(number, samples) if place < 16 and _crc(header[:place]) == header[place] else None


def _crc(data: bytes) -> int:
    """CRC-8, polynomial 0x07."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc
