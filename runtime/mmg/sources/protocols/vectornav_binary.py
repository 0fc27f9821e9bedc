"""VectorNav binary: ``FA``, a bit a group, a 16-bit field mask a group, payload, CRC16-CCITT.

The CRC is big endian, over all behind the FA; the rest is little endian. The lengths of the fields give the
length of the frame; the fields of variable length (satellites, raw measurements) are refused (VectorNav user
manuals, binary output message; vnproglib's length table).
"""

from __future__ import annotations

import binascii
import functools
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from mmg.sources.protocols.framing import UNKNOWN_LENGTH, FrameParser, Unwrapped, Vector
from mmg.sources.protocols.parser import UNTIMED

_GNSS = (8, 8, 2, 1, 1, 24, 24, 12, 12, 12, 4, 4, 2, 28)
FIELD_BYTES = (
    (8, 8, 8, 12, 16, 12, 24, 12, 12, 24, 20, 28, 2, 4, 8),  # common
    (8, 8, 8, 2, 8, 8, 8, 4, 4, 1),  # time
    (2, 12, 12, 12, 4, 4, 16, 12, 12, 12, 12, 2, 40),  # IMU
    _GNSS,
    (2, 12, 16, 36, 12, 12, 12, 12, 12, 12, 28, 24),  # attitude
    (2, 24, 24, 12, 12, 12, 12, 12, 12, 4, 4, 68, 64),  # INS
    _GNSS,
)
# Where a quantity may be, as (group, bit, offset in the field): compensated first, raw only where that is
# all.
_ACCELERATION = ((0, 8, 0), (2, 9, 0), (0, 9, 0), (2, 2, 0))
_GYRO = ((0, 5, 0), (2, 10, 0), (0, 9, 12), (2, 3, 0))
_TIME_STARTUP = ((0, 0, 0), (1, 0, 0))

_VECTOR = struct.Struct("<3f")
_NS = struct.Struct("<Q")
_SAMPLE_MASK = 1 << 0 | 1 << 5 | 1 << 8  # common group: TimeStartup, AngularRate, Accel
_SAMPLE = struct.Struct("<BHQ6f")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are in a frame with one certain header; offsets from the FA, None for what is not sent."""

    frame_bytes: int
    acceleration: int | None
    gyro: int | None
    time: int | None


@functools.lru_cache(maxsize=256)
def frame_layout(header: bytes) -> Layout | None:
    """The layout that a header, from the group byte to the last mask, declares; None where it cannot be."""
    groups = [group for group in range(7) if header[0] >> group & 1]
    masks = struct.unpack_from(f"<{len(groups)}H", header, 1)
    offset = 1 + len(header)
    offsets: dict[tuple[int, int], int] = {}
    for group, mask in zip(groups, masks, strict=True):
        if mask == 0 or mask >> len(FIELD_BYTES[group]):
            return None
        for bit, size in enumerate(FIELD_BYTES[group]):
            if mask >> bit & 1:
                offsets[group, bit] = offset
                offset += size

    def first(places: tuple[tuple[int, int, int], ...]) -> int | None:
        return next((offsets[g, bit] + inner for g, bit, inner in places if (g, bit) in offsets), None)

    return Layout(offset + 2, first(_ACCELERATION), first(_GYRO), first(_TIME_STARTUP))


class VectorNavBinary(FrameParser):
    """Samples wherever acceleration is among the outputs; the clock is TimeStartup, where that is."""

    MARK = b"\xfa"

    def __init__(self) -> None:
        super().__init__("vectornav-binary")
        self._time = Unwrapped(64)
        self._last = b""

    def _frame_length(self, buffer: bytes, start: int) -> int:
        if start + 1 == len(buffer):
            return UNKNOWN_LENGTH
        groups = buffer[start + 1]
        if not 0 < groups < 0x80:
            return 0
        header_end = start + 2 + 2 * groups.bit_count()
        if header_end > len(buffer):
            return UNKNOWN_LENGTH
        layout = frame_layout(buffer[start + 1 : header_end])
        return 0 if layout is None else layout.frame_bytes

    def _parse(self, frame: bytes, last_byte: int) -> bool:
        if binascii.crc_hqx(frame[1:], 0):  # over the frame and its own CRC: nothing remains
            return False
        layout = frame_layout(frame[1 : 2 + 2 * frame[1].bit_count()])
        if layout is None or layout.acceleration is None:
            return True
        time_ns = UNTIMED
        if layout.time is not None:
            if self._time.step(_NS.unpack_from(frame, layout.time)[0]) == 0 and frame == self._last:
                self._counters.duplicates += 1
                return True
            time_ns, self._last = self._time.value, frame
        acceleration: Vector = _VECTOR.unpack_from(frame, layout.acceleration)
        gyro: Vector | None = None if layout.gyro is None else _VECTOR.unpack_from(frame, layout.gyro)
        self._add(acceleration, gyro, time_ns, last_byte)
        return True


def encode_frame(groups_to_payload: bytes) -> bytes:
    """The frame around a group byte, its masks and their payload."""
    return b"\xfa" + groups_to_payload + struct.pack(">H", binascii.crc_hqx(groups_to_payload, 0))


def encode_sample(sample: Sequence[float], time_ns: int) -> bytes:
    """TimeStartup, angular rate and acceleration of the common group, from ``(6,)`` m/s^2 and rad/s."""
    return encode_frame(_SAMPLE.pack(0x01, _SAMPLE_MASK, time_ns, *sample[3:6], *sample[:3]))
