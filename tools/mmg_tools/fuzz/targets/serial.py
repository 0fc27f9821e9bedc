"""What a serial port brings: any bytes, in pieces of any length."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from mmg.sources.protocols import Samples, join, open_parser
from mmg.sources.protocols.vectornav_ascii import encode_sentence
from mmg.sources.protocols.vectornav_binary import encode_frame as vectornav_frame
from mmg.sources.protocols.witmotion import encode_frame as witmotion_frame
from mmg.sources.protocols.xsens import encode_message

from mmg_tools.fuzz.target import Broken

MOST_PIECES = 12
LONGEST_MESSAGE = 2048
TEXT_OPTIONS: tuple[dict[str, str], ...] = (
    {},
    {"columns": "t_ms,ax,ay,az"},
    {"columns": "ax,ay,az,gx,gy,gz", "acc_unit": "g", "gyro_unit": "deg/s"},
    {"acc_unit": "mg"},
)


def witmotion(data: bytes) -> None:
    """Frames of 11 bytes with a sum."""
    _heard("witmotion", _framed(data, 9, lambda part: witmotion_frame(0x50 | part[0] & 15, part[1:9].ljust(8, b"\0"))))


def bno08x(data: bytes) -> None:
    """Frames of 19 bytes with a sum."""
    _heard("bno08x", _framed(data, 16, _bno08x_frame))


def vectornav_ascii(data: bytes) -> None:
    """Sentences with an exclusive or."""
    _heard("vectornav-ascii", _framed(data, 80, _sentence))


def vectornav_binary(data: bytes) -> None:
    """Frames of several layouts with a CRC of 16 bits."""
    _heard("vectornav-binary", _framed(data, 40, vectornav_frame))


def xsens(data: bytes) -> None:
    """Messages of items with a sum."""
    _heard("xsens", _framed(data, 60, lambda part: encode_message(0x36, part)))


def text_lines(data: bytes) -> None:
    """Lines of text; the first byte chooses what the user said of them."""
    _heard("text", data[1:], TEXT_OPTIONS[data[0] % len(TEXT_OPTIONS)] if data else {})


def detection(data: bytes) -> None:
    """All of them at once."""
    _heard("auto", data)


def _framed(data: bytes, size: int, frame: Callable[[bytes], bytes]) -> bytes:
    """The bytes as they are; or, where the first one is odd, as the contents of frames whose checksums are right."""
    if not data or data[0] % 2 == 0:
        return data[1:]
    return b"".join(frame(part) for part in _parts(data[1:], size))


def _parts(data: bytes, size: int) -> Iterator[bytes]:
    """Cut at a byte that tells the length, ``size`` at most."""
    place = 0
    while place < len(data):
        length = data[place] % size + 1
        if part := data[place + 1 : place + 1 + length]:
            yield part
        place += 1 + length


def _bno08x_frame(part: bytes) -> bytes:
    body = part.ljust(16, b"\0")[:16]
    return b"\xaa\xaa" + body + bytes((sum(body) & 0xFF,))


def _sentence(part: bytes) -> bytes:
    return encode_sentence("".join(chr(byte & 0x7F) for byte in part if byte & 0x7F not in b"*$\r\n"))


def _heard(protocol: str, data: bytes, options: dict[str, str] | None = None) -> None:
    """However the bytes are split, the samples are the same; they are finite, in order, and counted."""
    whole, pieces = open_parser(protocol, **options or {}), open_parser(protocol, **options or {})
    expected = whole.feed(data)
    draw = random.Random(zlib.crc32(data))
    cuts = sorted(draw.randint(0, len(data)) for _ in range(draw.randint(1, MOST_PIECES)))
    edges = [0, *cuts, len(data)]
    got = join([pieces.feed(data[begin:end]) for begin, end in pairwise(edges)])
    if not _are_same(got, expected) or pieces.counters != whole.counters:
        raise Broken("split otherwise, the samples or counters are others")
    _check(expected, len(data))
    counted = whole.counters
    if counted.bytes_fed != len(data) or (protocol != "auto" and counted.samples != len(expected)):
        raise Broken("samples or bytes are not counted")
    if found := whole.finding:
        told = found.at(115_200)
        if not told.isprintable() or len(told) > 1000:
            raise Broken("a finding is not one printable line")


def _check(samples: Samples, size: int) -> None:
    ends = samples.last_byte
    if not np.isfinite(samples.values).all():
        raise Broken("a sample is not finite")
    if len(ends) and not (ends[0] >= 0 and ends[-1] < size and (np.diff(ends) >= 0).all()):
        raise Broken("a sample's last byte is none of the stream, or they are in no order")


def _are_same(one: Samples, other: Samples) -> bool:
    if (one.device_time_ns is None) != (other.device_time_ns is None):
        return False
    times = one.device_time_ns is None or np.array_equal(one.device_time_ns, np.asarray(other.device_time_ns))
    arrays = np.array_equal(one.values, other.values) and np.array_equal(one.last_byte, other.last_byte)
    return times and arrays and one.has_gyro == other.has_gyro


def numbers(data: bytes, layout: str) -> Iterator[tuple[int, ...]]:
    """Rows of numbers; what is left over at the end is not read."""
    row = struct.Struct(layout)
    yield from row.iter_unpack(data[: len(data) // row.size * row.size])
