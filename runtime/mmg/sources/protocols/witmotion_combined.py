"""The frames of WitMotion's Bluetooth sensors: ``55 61``, nine little-endian int16, 20 bytes, and no checksum.

Acceleration, angular rate, then roll, pitch and yaw, each in x, y, z (WitMotion Bluetooth protocol). With nothing to
check but where the next frame begins, a stream is believed only after several frames in a row, and a frame only once
the next one has begun: a sample comes one period later than the others do.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import TypeAlias

COMBINED, REGISTERS = 0x61, 0x71
FRAME_BYTES = 20
ROW = 4
"""Frames at their exact distance before the first one is believed."""

_WORDS = struct.Struct("<9h")
_ACCELERATION = struct.Struct("<3h")
_G = 2048  # counts
_SLIGHTEST, _HARDEST = 0.3, 4.0  # g
_Words: TypeAlias = tuple[int, ...]


def follows(buffer: bytes, start: int, frames: int) -> bool | None:
    """Whether so many frames more begin at the right places behind the one at ``start``; None while bytes lack."""
    for number in range(1, frames + 1):
        head = buffer[start + number * FRAME_BYTES :][:2]
        if head[:1] not in (b"", b"\x55") or (len(head) == 2 and head[1] not in (COMBINED, REGISTERS)):
            return False
        if len(head) < 2:
            return None
    return True


def is_plausible(frames: bytes) -> bool:
    """Whether whole frames in a row are those of a sensor on a body: not lines of text, and gravity in one of them."""
    if all(byte in b"\r\n\t" or 0x20 <= byte < 0x7F for byte in frames):
        return False
    rows = range(2, len(frames), FRAME_BYTES)
    return any(_SLIGHTEST < math.hypot(*_ACCELERATION.unpack_from(frames, at)) / _G < _HARDEST for at in rows)


def words_of(frame: bytes) -> tuple[_Words, _Words]:
    """Acceleration and angular rate of a frame, in counts."""
    words = _WORDS.unpack_from(frame, 2)
    return words[:3], words[3:6]


def encode_words(acceleration: Sequence[int], gyro: Sequence[int], angles: Sequence[int] = (0, 0, 0)) -> bytes:
    """One frame from counts."""
    return bytes((0x55, COMBINED)) + _WORDS.pack(*acceleration, *gyro, *angles)
