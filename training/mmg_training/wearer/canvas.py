"""A small picture to paint on: coordinates that a moving camera shifts, and soft-edged shapes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmg_training.wearer.subject import Floats

Point = tuple[float, float]
Pixels = NDArray[np.float32]


class Canvas:
    """An RGB picture (H, W, 3) of 0 to 1; x runs from -w to w and y from -1 (top) to 1, whatever the size in pixels.

    Shapes are placed in the scene; ``shift`` and ``tilt`` are where the camera looks.
    """

    def __init__(self, height: int, width: int, shift: Point, tilt: float) -> None:
        self.aspect, self.shift = width / height, shift
        self.turn = float(np.cos(tilt)), float(np.sin(tilt))
        across = ((np.arange(width) + 0.5) / width * 2 - 1) * self.aspect
        down = ((np.arange(height) + 0.5) / height * 2 - 1)[:, None]
        self.x: Pixels = (self.turn[0] * across - self.turn[1] * down + shift[0]).astype(np.float32)
        self.y: Pixels = (self.turn[1] * across + self.turn[0] * down + shift[1]).astype(np.float32)
        self.soft = 2.0 / height
        self.pixels: Pixels = np.zeros((height, width, 3), np.float32)

    def fill(self, colour: Floats) -> None:
        """One colour all over."""
        self.pixels[:] = colour

    def paint(self, mask: Pixels | NDArray[np.bool_], colour: Floats | Pixels) -> None:
        """Lay a colour (3,) or (H, W, 3) over the picture where the mask (H, W) is 1."""
        cover = mask.astype(np.float32)[:, :, None]
        self.pixels += cover * (colour.astype(np.float32) - self.pixels)

    def rectangle(self, centre: Point, half: Point, colour: Floats) -> None:
        """An upright rectangle."""
        if (near := self._near(centre, half[0] + half[1])) is None:
            return
        beyond = np.maximum(np.abs(self.x[near] - centre[0]) - half[0], np.abs(self.y[near] - centre[1]) - half[1])
        self._lay(near, beyond, colour)

    def ellipse(self, centre: Point, half: Point, colour: Floats, angle: float = 0.0) -> None:
        """An ellipse turned by ``angle``."""
        if (near := self._near(centre, max(half))) is None:
            return
        x, y = self.x[near] - centre[0], self.y[near] - centre[1]
        cos, sin = float(np.cos(angle)), float(np.sin(angle))
        u, v = (cos * x + sin * y) / half[0], (cos * y - sin * x) / half[1]
        self._lay(near, (np.sqrt(u * u + v * v) - 1) * min(half), colour)

    def bar(self, start: Point, end: Point, thick: float, colour: Floats) -> None:
        """A rod with round ends; ``thick`` is half of its width."""
        along = end[0] - start[0], end[1] - start[1]
        squared = along[0] ** 2 + along[1] ** 2 + 1e-9
        centre = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
        if (near := self._near(centre, 0.5 * squared**0.5 + thick)) is None:
            return
        x, y = self.x[near] - start[0], self.y[near] - start[1]
        part = np.clip((x * along[0] + y * along[1]) / squared, 0, 1)
        self._lay(near, np.hypot(x - part * along[0], y - part * along[1]) - thick, colour)

    def _near(self, centre: Point, reach: float) -> tuple[slice, slice] | None:
        """The pixels that a shape can touch; None where it is out of the picture."""
        height, width = self.x.shape
        x, y = centre[0] - self.shift[0], centre[1] - self.shift[1]
        (cos, sin), scale, radius = self.turn, height / 2, reach * height / 2 + 1
        column = (cos * x + sin * y + self.aspect) * scale
        row = (cos * y - sin * x + 1) * scale
        top, bottom = max(0, int(row - radius)), min(height, int(row + radius) + 1)
        left, right = max(0, int(column - radius)), min(width, int(column + radius) + 1)
        if top >= bottom or left >= right:
            return None
        return slice(top, bottom), slice(left, right)

    def _lay(self, near: tuple[slice, slice], beyond: NDArray[np.floating], colour: Floats) -> None:
        """Paint where the distance beyond the edge is negative."""
        cover = np.minimum(np.maximum(0.5 - beyond / self.soft, 0), 1)[:, :, None].astype(np.float32)
        pixels = self.pixels[near]
        pixels += cover * (np.asarray(colour, np.float32) - pixels)
