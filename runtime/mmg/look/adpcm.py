"""Sound in four bits a sample: IMA ADPCM (IMA Digital Audio Focus Group, 1992), encoded block by block at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEP_SIZES = """
    7 8 9 10 11 12 13 14 16 17 19 21 23 25 28 31 34 37 41 45 50 55 60 66 73 80 88 97 107 118 130 143 157 173 190
    209 230 253 279 307 337 371 408 449 494 544 598 658 724 796 876 963 1060 1166 1282 1411 1552 1707 1878 2066
    2272 2499 2749 3024 3327 3660 4026 4428 4871 5358 5894 6484 7132 7845 8630 9493 10442 11487 12635 13899 15289
    16818 18500 20350 22385 24623 27086 29794 32767
"""
STEPS = np.array([int(size) for size in STEP_SIZES.split()], np.int32)
MOVES = np.array([-1, -1, -1, -1, 2, 4, 6, 8] * 2, np.int32)
HEAD_BYTES = 4


def block_bytes(samples: int) -> int:
    """How long a block of so many samples is: first sample, step and a spare byte, then half a byte each."""
    return HEAD_BYTES + (samples + 1) // 2


def encode(blocks: NDArray[np.float32]) -> bytes:
    """Blocks ``(B, n)`` of sound, full scale 1, each by itself, one after another.

    A block begins with its first sample as little-endian int16, the index of its first step, and a zero; of the codes,
    the earlier one is in the lower half of its byte.
    """
    wanted = np.round(blocks * 32767).clip(-32768, 32767).astype(np.int32)
    count, length = wanted.shape
    value = wanted[:, 0].copy()
    usual = np.abs(np.diff(wanted, axis=1)).mean(axis=1) if length > 1 else np.zeros(count)
    index = np.searchsorted(STEPS, usual).clip(0, len(STEPS) - 1).astype(np.int32)
    head = np.zeros((count, HEAD_BYTES), np.uint8)
    head[:, :2] = value.astype("<i2")[:, None].view(np.uint8)
    head[:, 2] = index
    codes = np.zeros((count, length + length % 2), np.uint8)
    for place in range(length):
        step = STEPS[index]
        short = wanted[:, place] - value
        # A quarter of steps: 4, 2 and 1 of them, and half a quarter that every code has.
        size = np.minimum(4 * np.abs(short) // step, 7)
        sign = np.where(short < 0, -1, 1)
        value = (value + sign * (step * (2 * size + 1) >> 3)).clip(-32768, 32767)
        code = size + np.where(short < 0, 8, 0)
        codes[:, place] = code
        index = (index + MOVES[code]).clip(0, len(STEPS) - 1)
    packed = codes[:, 0::2] | codes[:, 1::2] << 4
    return np.concatenate([head, packed], axis=1).tobytes()
