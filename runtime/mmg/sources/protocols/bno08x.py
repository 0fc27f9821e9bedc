"""BNO08x in UART-RVC mode: ``AA AA``, 16 bytes and their sum, 100 times a second, acceleration but no gyro.

The bytes: index, yaw pitch roll (int16, 0.01 degree), acceleration x y z (int16, mg), 3 reserved; all little
endian (CEVA BNO08X data sheet, UART-RVC).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from mmg.sources.protocols.framing import UNKNOWN_LENGTH, FrameParser, Unwrapped
from mmg.sources.protocols.parser import STANDARD_GRAVITY

ACCELERATION_LSB = STANDARD_GRAVITY / 1000  # m/s^2 in one mg
ANGLE_LSB = 0.01  # degrees
PERIOD_NS = 10_000_000  # the mode has one fixed rate

_FRAME_BYTES = 19
_BODY = struct.Struct("<B6h3x")
_ACCELERATION = struct.Struct("<3h")


class Bno08xRvc(FrameParser):
    """The clock is the 8-bit index times 10 ms: a loss of whole multiples of 256 samples goes unseen."""

    MARK = b"\xaa"

    def __init__(self) -> None:
        super().__init__("bno08x", has_gyro=False)
        self._index = Unwrapped(8, restarts=False)
        self._last = b""

    def _frame_length(self, buffer: bytes, start: int) -> int:
        if start + 1 == len(buffer):
            return UNKNOWN_LENGTH
        return _FRAME_BYTES if buffer[start + 1] == 0xAA else 0

    def _parse(self, frame: bytes, last_byte: int) -> bool:
        if sum(frame[2:18]) & 0xFF != frame[18]:
            return False
        step, repeats, self._last = self._index.step(frame[2]), frame == self._last, frame
        if step == 0 and repeats:  # with other content it is the index that stands still
            self._counters.duplicates += 1
            return True
        self._counters.gaps += max(step - 1, 0)
        x, y, z = _ACCELERATION.unpack_from(frame, 9)
        acceleration = (x * ACCELERATION_LSB, y * ACCELERATION_LSB, z * ACCELERATION_LSB)
        self._add(acceleration, None, self._index.value * PERIOD_NS, last_byte)
        return True


def encode_sample(
    sample: Sequence[float], index: int, *, yaw_pitch_roll_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> bytes:
    """One frame: the first three of ``sample`` in m/s^2, and the low byte of ``index``."""
    counts = [round(angle / ANGLE_LSB) for angle in yaw_pitch_roll_deg]
    counts += [max(-32768, min(32767, round(value / ACCELERATION_LSB))) for value in sample[:3]]
    body = _BODY.pack(index & 0xFF, *counts)
    return b"\xaa\xaa" + body + bytes((sum(body) & 0xFF,))
