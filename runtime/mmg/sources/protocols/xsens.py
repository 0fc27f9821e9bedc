"""Xsens Xbus: ``FA FF MID LEN data CS``, and of its messages MTData2.

MTData2 is a row of (id u16, size u8, data), big endian. LEN 255 means that a two-byte length follows; the
bytes behind the FA sum to 0 modulo 256. The two lowest bits of an id give its numbers' precision (Xsens MT
Low Level Communication Protocol, MTData2).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from mmg.sources.protocols.framing import UNKNOWN_LENGTH, FrameParser, Unwrapped, Vector
from mmg.sources.protocols.parser import UNTIMED

MTDATA2 = 0x36
PACKET_COUNTER, SAMPLE_TIME_FINE, ACCELERATION, RATE_OF_TURN = 0x1020, 0x1060, 0x4020, 0x8020
FLOAT32, FIXED_12_20, FIXED_16_32, FLOAT64 = range(4)
SAMPLE_TIME_FINE_NS = 100_000
MAX_DATA = 2048  # bytes, of an extended message

_ANY_PRECISION = 0xFFF0  # what remains of an id without its precision and coordinate system
_HEAD = b"\xfa\xff"
_NUMBERS = {
    FLOAT32: struct.Struct(">3f"),
    FIXED_12_20: struct.Struct(">3i"),
    FIXED_16_32: struct.Struct(">IhIhIh"),  # each fraction goes before its whole part
    FLOAT64: struct.Struct(">3d"),
}


class Xsens(FrameParser):
    """Samples from messages with acceleration. Gaps come from PacketCounter, time from SampleTimeFine."""

    MARK = b"\xfa"

    def __init__(self) -> None:
        super().__init__("xsens")
        self._packet = Unwrapped(16)
        self._time = Unwrapped(32)
        self._last: dict[int, tuple[int, bytes]] = {}

    def _frame_length(self, buffer: bytes, start: int) -> int:
        available = len(buffer) - start
        if buffer[start : start + 2] != _HEAD[:available]:
            return 0
        if available < 4:
            return UNKNOWN_LENGTH
        if buffer[start + 3] < 255:
            return 5 + buffer[start + 3]
        if available < 6:
            return UNKNOWN_LENGTH
        size = buffer[start + 4] << 8 | buffer[start + 5]
        return 7 + size if 255 <= size <= MAX_DATA else 0

    def _parse(self, frame: bytes, last_byte: int) -> bool:
        if sum(frame) - 0xFA & 0xFF:
            return False
        if frame[2] != MTDATA2:
            return True
        items: dict[int, tuple[int, bytes]] = {}
        at, end = 4 if frame[3] < 255 else 6, len(frame) - 1
        while at < end:
            content_end = at + 3 + frame[at + 2] if at + 3 <= end else end + 1
            if content_end > end:
                return False
            data_id = frame[at] << 8 | frame[at + 1]
            items[data_id & _ANY_PRECISION] = (data_id, frame[at + 3 : content_end])
            at = content_end
        self._message(items, last_byte)
        return True

    def _message(self, items: dict[int, tuple[int, bytes]], last_byte: int) -> None:
        """The counter runs over all messages, so a lost one is taken for a lost sample."""
        step, time_ns = 1, UNTIMED
        if PACKET_COUNTER in items and len(items[PACKET_COUNTER][1]) == 2:
            step = self._packet.step(int.from_bytes(items[PACKET_COUNTER][1], "big"))
            self._counters.gaps += max(0, step - 1)
        if SAMPLE_TIME_FINE in items and len(items[SAMPLE_TIME_FINE][1]) == 4:
            self._time.step(int.from_bytes(items[SAMPLE_TIME_FINE][1], "big"))
            time_ns = self._time.value * SAMPLE_TIME_FINE_NS
        if ACCELERATION not in items:
            return
        repeats, self._last = step == 0 and items == self._last, items
        if repeats:  # with other content it is the counter that stands still
            self._counters.duplicates += 1
            return
        acceleration = decode_vector(*items[ACCELERATION])
        gyro = decode_vector(*items[RATE_OF_TURN]) if RATE_OF_TURN in items else None
        if acceleration is None or (gyro is None and RATE_OF_TURN in items):
            self._counters.malformed += 1
            return
        self._add(acceleration, gyro, time_ns, last_byte)


def decode_vector(data_id: int, content: bytes) -> Vector | None:
    """Three numbers in the precision that the id names; None where the content has another size."""
    precision = data_id & 3
    numbers = _NUMBERS[precision]
    if len(content) != numbers.size:
        return None
    raw = numbers.unpack(content)
    if precision == FIXED_12_20:
        return tuple(value / 2**20 for value in raw)
    if precision == FIXED_16_32:
        return tuple(whole + fraction / 2**32 for fraction, whole in zip(raw[::2], raw[1::2], strict=True))
    return raw


def encode_vector(data_id: int, vector: Sequence[float], precision: int = FLOAT32) -> bytes:
    """One item of three numbers."""
    to_raw: Callable[[float], tuple[float, ...]] = {
        FLOAT32: lambda value: (value,),
        FIXED_12_20: lambda value: (round(value * 2**20),),
        FIXED_16_32: lambda value: divmod(round(value * 2**32), 2**32)[::-1],
        FLOAT64: lambda value: (value,),
    }[precision]
    return encode_item(
        data_id | precision, _NUMBERS[precision].pack(*(raw for value in vector for raw in to_raw(value)))
    )


def encode_item(data_id: int, content: bytes) -> bytes:
    """One item of an MTData2 message."""
    return struct.pack(">HB", data_id, len(content)) + content


def encode_message(message_id: int, data: bytes) -> bytes:
    """A whole message; from 255 bytes on with the extended length."""
    length = bytes((len(data),)) if len(data) < 255 else b"\xff" + struct.pack(">H", len(data))
    body = bytes((0xFF, message_id)) + length + data
    return b"\xfa" + body + bytes((-sum(body) & 0xFF,))


def encode_sample(sample: Sequence[float], index: int, time_ns: int, *, precision: int = FLOAT32) -> bytes:
    """MTData2 with counter, time and acceleration from ``(3,)``, or with rate of turn from ``(6,)``."""
    data = encode_item(PACKET_COUNTER, struct.pack(">H", index & 0xFFFF))
    data += encode_item(SAMPLE_TIME_FINE, struct.pack(">I", time_ns // SAMPLE_TIME_FINE_NS & 0xFFFFFFFF))
    data += encode_vector(ACCELERATION, sample[:3], precision)
    if len(sample) > 3:
        data += encode_vector(RATE_OF_TURN, sample[3:6], precision)
    return encode_message(MTDATA2, data)
