"""The places, painted: walls, floors and furniture, without the wearer's own hands. More of them: ``rooms.py``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmg_training.wearer.canvas import Canvas
from mmg_training.wearer.subject import Floats


class Decor:
    """The look of one place: colours and where things stand. The same seed is the same room."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng((seed, 3))
        self.wall, self.floor, self.wood, self.thing, self.other = (
            rng.uniform(low, high) * (0.7 + 0.3 * rng.uniform(0, 1, 3))
            for low, high in ((0.4, 0.95), (0.2, 0.7), (0.2, 0.8), (0.1, 0.9), (0.1, 0.9))
        )
        self.places = rng.uniform(-1, 1, 8)
        self.period = rng.uniform(0.5, 1.3)
        self.contrast = rng.uniform(0.1, 0.35)
        self.clutter = [
            (int(rng.integers(5)), float(x), float(y), rng.uniform(0.05, 0.95, 3))
            for x, y in rng.uniform((-0.9, 0.35), (0.9, 0.9), (int(rng.integers(0, 4)), 2))
        ]


Scene = Callable[[Canvas, Decor, float], None]


def clutter(canvas: Canvas, decor: Decor) -> None:
    """What lies about unused: paper, a cup, a phone, a cloth, a pen or a spoon."""
    for kind, x, y, colour in decor.clutter:
        if kind == 0:
            canvas.rectangle((x, y), (0.22, 0.15), np.full(3, 0.7) + 0.3 * colour)
        elif kind == 1:
            canvas.ellipse((x, y), (0.1, 0.11), colour)
        elif kind == 2:
            canvas.rectangle((x, y), (0.09, 0.14), 0.2 * colour)
        elif kind == 3:
            canvas.ellipse((x, y), (0.2, 0.12), colour, angle=x)
        else:
            canvas.bar((x, y), (x + 0.25, y - 0.3 * colour[0]), 0.02, colour)


def ground(canvas: Canvas, decor: Decor, horizon: float, travelled_m: float, colour: Floats) -> None:
    """A floor below ``horizon`` whose stripes come nearer as the wearer travels."""
    # A point y below the horizon is 1 / y eye heights away: stripes across the way give the optical flow.
    below = np.maximum(canvas.y - horizon, 1e-3)
    ahead = 0.8 / below
    stripes = np.sin(2 * np.pi * (ahead + travelled_m) / decor.period) * np.exp(-ahead / 6)
    seams = np.sin(np.pi * canvas.x / below) * np.exp(-ahead / 6)
    shade = 1 + decor.contrast * (0.7 * np.sign(stripes) + 0.3 * seams)
    canvas.paint(canvas.y > horizon, colour * shade[:, :, None])


def corridor(canvas: Canvas, decor: Decor, travelled_m: float) -> None:
    """Walls that converge, doors that pass."""
    canvas.fill(decor.wall)
    ground(canvas, decor, 0.0, travelled_m, decor.floor)
    canvas.paint(canvas.y < -0.9 * np.abs(canvas.x) - 0.05, decor.wall * 1.15)
    depth = 1.0 / np.maximum(np.abs(canvas.x), 0.08)
    door = np.sin(2 * np.pi * (0.8 * depth + travelled_m) / (2.5 + decor.places[0])) > 0.75
    canvas.paint(door & (np.abs(canvas.y) < np.abs(canvas.x) * 0.8), decor.wood)


def street(canvas: Canvas, decor: Decor, travelled_m: float) -> None:
    """Sky, a path and trees that come nearer."""
    sky = np.array([0.55, 0.7, 0.95]) * (0.8 + 0.2 * decor.places[1])
    canvas.paint(np.ones_like(canvas.y), sky + 0.15 * np.clip(canvas.y, -1, 0)[:, :, None])
    green = np.array([0.25, 0.4, 0.18]) * (1 + 0.3 * decor.places[2])
    ground(canvas, decor, 0.0, travelled_m, green)
    path = np.abs(canvas.x) < 0.15 + 0.9 * np.maximum(canvas.y, 0)
    canvas.paint(path & (canvas.y > 0), decor.floor + 0.1)
    for place in decor.places[3:]:
        ahead = 1.0 + (9 * (place + 1) - travelled_m) % 18
        size, side = 2.0 / ahead, np.sign(place) * (1.2 + abs(place)) * 2.2 / ahead
        canvas.rectangle((side, -0.3 * size), (0.08 * size, 0.8 * size), green * 0.5)
        canvas.ellipse((side, -size), (0.45 * size, 0.5 * size), green * 0.8)


def desk(canvas: Canvas, decor: Decor, _travelled_m: float) -> None:
    """A table with a screen and a keyboard."""
    canvas.fill(decor.wall)
    canvas.paint(canvas.y > 0.15, decor.wood)
    screen = 0.25 * decor.places[0]
    canvas.rectangle((screen, -0.35), (0.75, 0.42), np.full(3, 0.08))
    canvas.rectangle((screen, -0.35), (0.69, 0.36), 0.5 + 0.4 * decor.thing)
    canvas.rectangle((0.0, 0.62), (0.62, 0.14), np.full(3, 0.2) + 0.4 * decor.other * (decor.places[1] > 0))
    canvas.ellipse((0.95 * np.sign(decor.places[2]), 0.45), (0.14, 0.12), decor.thing)
    clutter(canvas, decor)


def sofa(canvas: Canvas, decor: Decor, _travelled_m: float) -> None:
    """A living room: a floor, a low table, a picture on the wall."""
    canvas.fill(decor.wall)
    ground(canvas, decor, 0.1, 0.0, decor.floor)
    canvas.rectangle((decor.places[0], -0.45), (0.3, 0.22), decor.thing)
    canvas.rectangle((0.4 * decor.places[1], 0.35), (0.6, 0.12), decor.wood)
    canvas.ellipse((decor.places[2], 0.2), (0.1, 0.16), decor.other)
    clutter(canvas, decor)


def sink(canvas: Canvas, decor: Decor, _travelled_m: float) -> None:
    """A basin under a mirror in which somebody stands."""
    canvas.fill(0.6 + 0.4 * decor.wall)
    tiles = (np.sin(9 * canvas.x) * np.sin(9 * canvas.y) > 0)[:, :, None] * 0.05
    canvas.pixels -= tiles
    canvas.rectangle((0.0, -0.6), (0.75, 0.5), np.full(3, 0.55) + 0.2 * decor.other)
    canvas.ellipse((0.0, -0.45), (0.2, 0.3), np.array([0.75, 0.6, 0.5]) * (0.7 + 0.3 * decor.places[0]))
    canvas.rectangle((0.0, 0.55), (1.4, 0.5), 0.3 + 0.6 * decor.wood)
    canvas.ellipse((0.0, 0.6), (0.75, 0.36), np.full(3, 0.93))
    canvas.ellipse((0.0, 0.64), (0.62, 0.27), np.full(3, 0.8))
    canvas.rectangle((0.0, 0.28), (0.05, 0.12), np.full(3, 0.45))
