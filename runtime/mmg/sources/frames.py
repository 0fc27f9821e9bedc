"""Choosing and shrinking the frames of a camera."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAMES_A_MODEL_FRAME = 2


class FrameChooser:
    """Keeps the first frame of every half period of the model, so at most two a period of ``rate_hz``."""

    def __init__(self, rate_hz: float) -> None:
        self._cells_a_ns = FRAMES_A_MODEL_FRAME * rate_hz / 1e9
        self._last = -math.inf

    def wants(self, time_ns: int) -> bool:
        """Whether the frame of this time, not before the one asked about last, is kept."""
        # A tenth of a half period forgives stamps that were rounded down to the microsecond.
        cell = math.floor(time_ns * self._cells_a_ns + 0.1)
        if cell <= self._last:
            return False
        self._last = cell
        return True


def shrink(image: NDArray[np.uint8], frame: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize ``(H, W, 3)`` to ``frame`` by the mean of the pixels that each new one covers, to whole pixels; a side
    that grows repeats its pixels."""
    values = image.astype(np.float32)
    for axis, size in enumerate(frame):
        length = image.shape[axis]
        begins = np.arange(size) * length // size
        if size >= length:
            values = np.take(values, begins, axis=axis)
            continue
        counts = np.diff(begins, append=length).astype(np.float32)
        shape = [1, 1, 1]
        shape[axis] = size
        values = np.add.reduceat(values, begins, axis=axis) / counts.reshape(shape)
    return np.asarray(np.rint(values), np.uint8)
