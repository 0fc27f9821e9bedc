"""More places, painted: kitchen, living room, front door, stairs and workshop."""

from __future__ import annotations

import numpy as np

from mmg_training.wearer.canvas import Canvas
from mmg_training.wearer.scenes import Decor, Scene, clutter, corridor, desk, ground, sink, sofa, street


def kitchen(canvas: Canvas, decor: Decor, _travelled_m: float) -> None:
    """A worktop before tiles, a hob or a sink in it, cupboards above."""
    canvas.fill(0.5 + 0.5 * decor.wall)
    canvas.pixels -= ((np.sin(12 * canvas.x) > 0.95) | (np.sin(12 * canvas.y) > 0.95))[:, :, None] * np.float32(0.15)
    canvas.paint(canvas.y < -0.5, decor.wood)
    canvas.paint(canvas.y > 0.12, 0.5 * decor.floor + 0.4 * decor.other)
    hob = 0.9 * float(np.sign(decor.places[0]))
    canvas.rectangle((hob, 0.4), (0.35, 0.2), np.full(3, 0.1 if decor.places[1] > 0 else 0.7))
    clutter(canvas, decor)


def room(canvas: Canvas, decor: Decor, _travelled_m: float) -> None:
    """A living room seen by somebody who stands: window, sofa, a table that is lower."""
    canvas.fill(decor.wall)
    canvas.rectangle((decor.places[0], -0.5), (0.35, 0.35), np.full(3, 0.9) * (0.6 + 0.4 * decor.thing))
    ground(canvas, decor, 0.0, 0.0, decor.floor)
    canvas.rectangle((decor.places[1], 0.02), (0.55, 0.16), decor.other)
    if decor.places[2] > -0.3:
        canvas.ellipse((0.5 * decor.places[3], 0.65), (0.95, 0.4), decor.wood)
        clutter(canvas, decor)


def doorway(canvas: Canvas, decor: Decor, _travelled_m: float) -> None:
    """A front door with a handle, or a way in beside it."""
    canvas.fill(decor.wall)
    ground(canvas, decor, 0.85, 0.0, decor.floor)
    middle = 0.35 * decor.places[0]
    canvas.rectangle((middle, 0.0), (0.62, 0.95), 0.6 * decor.wood)
    canvas.rectangle((middle, 0.0), (0.55, 0.9), decor.wood)
    for y in (-0.45, 0.4):
        canvas.rectangle((middle, y), (0.35, 0.27), decor.wood * (0.8 if decor.places[1] > 0 else 1.0))
    canvas.ellipse((middle + 0.45 * np.sign(decor.places[2]), 0.1), (0.06, 0.06), decor.thing)


def stairs(canvas: Canvas, decor: Decor, travelled_m: float) -> None:
    """Steps between two walls, coming nearer."""
    canvas.fill(decor.wall)
    below = np.maximum(canvas.y + 0.5, 1e-3)
    ahead = 1.4 / below
    edge = np.sin(2 * np.pi * (ahead + travelled_m) / 0.6) > 0.2
    width = 0.3 + 0.6 * below
    tread = decor.floor * np.where(edge, 1.0, 1 - 2 * decor.contrast)[:, :, None]
    canvas.paint((canvas.y > -0.5) & (np.abs(canvas.x) < width), tread)
    canvas.bar(
        (1.3 * float(np.sign(decor.places[0])), 0.9), (0.3 * float(np.sign(decor.places[0])), -0.5), 0.03, decor.wood
    )


def workshop(canvas: Canvas, decor: Decor, _travelled_m: float) -> None:
    """A bench, and a board of tools behind it."""
    canvas.fill(decor.wall)
    canvas.rectangle((0.0, -0.45), (1.1, 0.35), 0.8 * decor.other)
    for number, place in enumerate(decor.places[2:7]):
        x = -0.8 + 0.4 * number
        canvas.bar((x, -0.65), (x + 0.1 * place, -0.3 + 0.1 * place), 0.035, decor.thing)
    canvas.paint(canvas.y > 0.15, decor.wood)
    clutter(canvas, decor)


SCENES: dict[str, Scene] = {
    "corridor": corridor,
    "street": street,
    "desk": desk,
    "sofa": sofa,
    "sink": sink,
    "kitchen": kitchen,
    "room": room,
    "doorway": doorway,
    "stairs": stairs,
    "workshop": workshop,
}
