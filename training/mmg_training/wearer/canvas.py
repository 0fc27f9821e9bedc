"""A small picture to paint on: coordinates that a moving camera shifts, and soft-edged shapes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmg_training.wearer.subject import Floats


class Canvas:
    """An RGB picture (H, W, 3) of 0 to 1; x runs from -w to w and y from -1 (top) to 1, whatever the size in pixels.

    Shapes are placed in the scene; ``shift`` and ``tilt`` are where the camera looks.
    """

    def __init__(self, height: int, width: int, shift: tuple[float, float], tilt: float) -> None:
        aspect = width / height
        x, y = np.meshgrid(
            (np.arange(width) + 0.5) / width * 2 * aspect - aspect, (np.arange(height) + 0.5) / height * 2 - 1
        )
        self.x = np.cos(tilt) * x - np.sin(tilt) * y + shift[0]
        self.y = np.sin(tilt) * x + np.cos(tilt) * y + shift[1]
        self.soft = 2.0 / height
        self.pixels = np.zeros((height, width, 3))

    def paint(self, mask: Floats | NDArray[np.bool_], colour: Floats) -> None:
        """Lay a colour (3,) or (H, W, 3) over the picture where the mask (H, W) is 1."""
        cover = mask.astype(float)[:, :, None]
        self.pixels += cover * (colour - self.pixels)

    def rectangle(self, centre: tuple[float, float], half: tuple[float, float], colour: Floats) -> None:
        """An upright rectangle."""
        beyond = np.maximum(np.abs(self.x - centre[0]) - half[0], np.abs(self.y - centre[1]) - half[1])
        self.paint(np.clip(0.5 - beyond / self.soft, 0, 1), colour)

    def ellipse(
        self, centre: tuple[float, float], half: tuple[float, float], colour: Floats, angle: float = 0.0
    ) -> None:
        """An ellipse turned by ``angle``."""
        x, y = self.x - centre[0], self.y - centre[1]
        u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
        beyond = np.sqrt((u / half[0]) ** 2 + (v / half[1]) ** 2) - 1
        self.paint(np.clip(0.5 - beyond * min(half) / self.soft, 0, 1), colour)
