"""Choosing and shrinking the frames of a camera."""

from __future__ import annotations

import math
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Turn:
    """How a stored picture becomes the one to see: sides exchanged, then mirrored left to right, then up to down."""

    exchanged: bool = False
    mirrored: bool = False
    upside_down: bool = False

    @classmethod
    def of(cls, matrix: NDArray[np.int32]) -> Turn | None:
        """What a display matrix ``(9,)`` says, as in an MP4's tkhd; None where it is no quarter turn or mirroring.

        libavutil/display.h: a pixel at ``(x, y)`` is seen at ``(a x + c y, b x + d y)``, y downwards, of the matrix
        ``a b u, c d v, x y w``.
        """
        a, b, c, d = (int(matrix[place]) for place in (0, 1, 3, 4))
        if a and d and not b and not c:
            return cls(False, a < 0, d < 0)
        return cls(True, c < 0, b < 0) if b and c and not a and not d else None

    def stored(self, frame: tuple[int, int]) -> tuple[int, int]:
        """The height and width that the stored picture must have for the turned one to be of ``frame``."""
        return (frame[1], frame[0]) if self.exchanged else frame

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn an image ``(H, W, 3)``."""
        image = image.transpose(1, 0, 2) if self.exchanged else image
        return np.ascontiguousarray(image[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1])


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
