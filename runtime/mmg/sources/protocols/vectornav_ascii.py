"""VectorNav ASCII: ``$VN...*XX`` lines.

XX is the XOR of the characters between ``$`` and ``*``, or their CRC16 where it has four figures. The
messages read are those with acceleration in m/s^2 and angular rate in rad/s side by side; they carry no time
(VectorNav VN-100 user manual, asynchronous ASCII messages).
"""

from __future__ import annotations

import binascii
import functools
import operator
import re
from collections.abc import Sequence

from mmg.sources.protocols.framing import UNKNOWN_LENGTH, FrameParser
from mmg.sources.protocols.parser import UNTIMED

MAX_SENTENCE = 256  # the longest message, of INS units, has fewer than 200 characters
FIRST_ACCELERATION = {b"VNIMU": 4, b"VNMAR": 4, b"VNYMR": 7, b"VNQMR": 8}  # field; angular rate follows

_HEAD = b"$VN"
_SENTENCE = re.compile(rb"\$(VN[^$*]+)\*([0-9A-Fa-f]{2}|[0-9A-Fa-f]{4})\r?\n")


class VectorNavAscii(FrameParser):
    """The IMU messages of a VectorNav; its other sentences count as frames and give nothing."""

    MARK = b"$"

    def __init__(self) -> None:
        super().__init__("vectornav-ascii")

    def _frame_length(self, buffer: bytes, start: int) -> int:
        if buffer[start : start + len(_HEAD)] != _HEAD[: len(buffer) - start]:
            return 0
        end = buffer.find(b"\n", start, start + MAX_SENTENCE)
        if end < 0:
            return UNKNOWN_LENGTH if len(buffer) - start < MAX_SENTENCE else 0
        return end + 1 - start

    def _parse(self, frame: bytes, last_byte: int) -> bool:
        match = _SENTENCE.fullmatch(frame)
        if match is None:
            return False
        body, digits = match.groups()
        if int(digits, 16) != (xor(body) if len(digits) == 2 else binascii.crc_hqx(body, 0)):
            return False
        fields = body.split(b",")
        first = FIRST_ACCELERATION.get(fields[0])
        if first is None:
            return True
        try:
            values = tuple(map(float, fields[first : first + 6]))
        except ValueError:
            values = ()
        if len(values) == 6:
            self._add(values[:3], values[3:], UNTIMED, last_byte)
        else:
            self._counters.malformed += 1
        return True


def xor(body: bytes) -> int:
    """The checksum of the characters between ``$`` and ``*``."""
    return functools.reduce(operator.xor, body, 0)


def encode_sentence(body: str) -> bytes:
    """``$body*XX`` with its line end."""
    text = body.encode("ascii")
    return b"$%s*%02X\r\n" % (text, xor(text))


def encode_sample(sample: Sequence[float]) -> bytes:
    """One VNIMU message from ``(6,)`` m/s^2 and rad/s; field, temperature and pressure are a room's."""
    x, y, z, gx, gy, gz = sample
    return encode_sentence(
        "VNIMU,+00.2000,+00.0000,-00.4000,"
        f"{x:+08.3f},{y:+08.3f},{z:+08.3f},{gx:+011.6f},{gy:+011.6f},{gz:+011.6f},+25.0,+101.325"
    )
