"""The wearer's hands with things in them, and what these are used on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmg_training.wearer.arm import bumps
from mmg_training.wearer.canvas import Canvas
from mmg_training.wearer.hands import SALT, TAU, Hands, hand, phase_at
from mmg_training.wearer.subject import Floats, Subject
from mmg_training.wearer.timeline import Segment

# Paint a tool in a hand at x, y on a side (-1 left), or what is worked on; in a colour.
Tool = Callable[[Canvas, float, float, int, Floats], None]
Range = tuple[float, float]


def working(
    tool: Tool,
    sway: tuple[float, float],
    *,
    high: Range = (0.55, 0.85),
    cycles: float = 1.0,
    lag: float = 0.0,
    second: float = 0.0,
) -> Hands:
    """A hand that moves a tool to and fro.

    sway: how far, aside and down. high: where, from 0 in the middle to 1 at the lower edge. lag: of the movement down
    behind that aside, in rad; a quarter is a circle. second: chance that the other hand is seen.
    """

    def hands(canvas: Canvas, segment: Segment, subject: Subject, time_s: float) -> None:
        rng = segment.rng(SALT)
        side = 1 if rng.random() < 0.75 else -1
        x, y, colour = side * rng.uniform(0.05, 0.4), rng.uniform(*high), rng.uniform(0.05, 0.95, 3)
        phase, size = TAU * cycles * phase_at(segment, time_s), rng.uniform(0.6, 1.3)
        moved = x + size * sway[0] * np.sin(phase), y + size * sway[1] * np.sin(phase + lag)
        if rng.random() < second:
            hand(canvas, subject, -side * rng.uniform(0.3, 0.6), y + rng.uniform(0.0, 0.15))
        tool(canvas, *moved, side, colour)
        hand(canvas, subject, *moved, angle=0.2 * side)

    return hands


def reaching(tool: Tool, to: tuple[float, float], *, high: Range, rise_s: float, hold_s: float, both: bool) -> Hands:
    """A hand that goes somewhere and back around each beat; ``to`` is how far, aside (inwards) and down."""

    def hands(canvas: Canvas, segment: Segment, subject: Subject, time_s: float) -> None:
        rng = segment.rng(SALT)
        side = 1 if rng.random() < 0.75 else -1
        x, y, colour = side * rng.uniform(0.25, 0.5), rng.uniform(*high), rng.uniform(0.05, 0.95, 3)
        gone = float(bumps(np.array([time_s]), segment.beats, rise_s, hold_s)[0])
        x, y = x - side * to[0] * gone, y + to[1] * gone
        if both:
            hand(canvas, subject, -side * rng.uniform(0.25, 0.5), y)
        tool(canvas, x, y, side, colour)
        hand(canvas, subject, x, y)

    return hands


def _stick(length: float, thick: float, surface: Tool | None = None) -> Tool:
    def tool(canvas: Canvas, x: float, y: float, side: int, colour: Floats) -> None:
        if surface:
            surface(canvas, 0.1 * side, 0.6, side, colour[::-1])
        canvas.bar((x, y - 0.1), (x - 0.6 * length * side, y - 0.1 - 0.5 * length), thick, colour)

    return tool


def _pole(head: tuple[float, float]) -> Tool:
    def tool(canvas: Canvas, x: float, y: float, side: int, colour: Floats) -> None:
        foot = x - 0.3 * side, y - 0.55
        canvas.bar((x + 0.1 * side, y + 0.4), foot, 0.035, 0.7 * colour)
        canvas.rectangle(foot, head, colour[::-1])

    return tool


def _board(canvas: Canvas, x: float, y: float, _side: int, colour: Floats) -> None:
    canvas.rectangle((x, y), (0.5, 0.2), 0.3 + 0.6 * colour)
    canvas.ellipse((x - 0.15, y - 0.05), (0.14, 0.08), colour[::-1])


def _bowl(canvas: Canvas, x: float, y: float, _side: int, colour: Floats) -> None:
    canvas.ellipse((x - 0.1, y - 0.05), (0.42, 0.28), colour)
    canvas.ellipse((x - 0.1, y - 0.05), (0.35, 0.21), 0.5 * colour + 0.3 * colour[::-1])


def _plank(canvas: Canvas, x: float, y: float, _side: int, colour: Floats) -> None:
    canvas.bar((x - 1.2, y + 0.05), (x + 1.2, y - 0.1), 0.14, 0.3 + 0.4 * colour)


def _paper(canvas: Canvas, x: float, y: float, _side: int, colour: Floats) -> None:
    canvas.rectangle((x, y), (0.4, 0.28), 0.75 + 0.25 * colour)


def _hammer(canvas: Canvas, x: float, y: float, side: int, colour: Floats) -> None:
    _plank(canvas, 0.0, 0.65, side, colour[::-1])
    _stick(0.5, 0.03)(canvas, x, y, side, colour)
    canvas.rectangle((x - 0.3 * side, y - 0.33), (0.06, 0.12), 0.4 * colour)


def _drum(canvas: Canvas, x: float, y: float, side: int, colour: Floats) -> None:
    if colour[0] > 0.4:
        canvas.ellipse((0.0, 0.6), (0.5, 0.24), 0.4 + 0.6 * colour[::-1])
    _stick(0.45, 0.02)(canvas, x, y, side, colour)


def _iron(canvas: Canvas, x: float, y: float, side: int, colour: Floats) -> None:
    canvas.bar((-1.1, 0.75), (1.1, 0.7), 0.28, 0.4 + 0.6 * colour[::-1])
    canvas.ellipse((x - 0.1 * side, y), (0.3, 0.16), colour, -0.3 * side)


def _cloth(canvas: Canvas, x: float, y: float, side: int, colour: Floats) -> None:
    canvas.ellipse((x - 0.05 * side, y + 0.02), (0.3, 0.17), colour, 0.2 * side)


def _phone(canvas: Canvas, x: float, y: float, side: int, colour: Floats) -> None:
    canvas.rectangle((x - 0.12 * side, y - 0.12), (0.14, 0.24), np.full(3, 0.06))
    canvas.rectangle((x - 0.12 * side, y - 0.12), (0.12, 0.21), 0.2 + 0.8 * colour)


def _book(canvas: Canvas, x: float, y: float, side: int, colour: Floats) -> None:
    for page in (-1, 1):
        canvas.rectangle((0.26 * page, 0.62), (0.25, 0.3), 0.75 + 0.25 * colour)
    canvas.bar((0.0, 0.35), (x - 0.1 * side, y - 0.2), 0.05, 0.6 + 0.3 * colour)


def _cup(canvas: Canvas, x: float, y: float, side: int, colour: Floats) -> None:
    canvas.ellipse((x - 0.1 * side, y - 0.12), (0.15, 0.19), colour)


def _bottle(canvas: Canvas, x: float, y: float, side: int, colour: Floats) -> None:
    canvas.ellipse((-0.25 * side, 0.65), (0.13, 0.17), 0.4 + 0.5 * colour[::-1])
    canvas.bar((x + 0.05 * side, y - 0.05), (x - 0.25 * side, y - 0.2), 0.09, colour)


def _laundry(canvas: Canvas, x: float, _y: float, _side: int, colour: Floats) -> None:
    canvas.rectangle((0.0, 0.68), (0.2 + 0.9 * abs(x), 0.26), colour)


TOOLS: dict[str, Hands] = {
    "sweeping": working(_pole((0.28, 0.06)), (0.22, 0.04), second=0.9),
    "vacuuming": working(_pole((0.2, 0.09)), (0.06, 0.15), cycles=0.5, second=0.3),
    "writing": working(_stick(0.3, 0.02, _paper), (0.03, 0.02), lag=1.0, second=0.5),
    "using_phone": working(_phone, (0.015, 0.02), high=(0.4, 0.85), second=0.4),
    "chopping": working(_stick(0.45, 0.035, _board), (0.02, 0.1), lag=TAU / 4, second=0.8),
    "stirring": working(_stick(0.45, 0.025, _bowl), (0.1, 0.06), lag=TAU / 4, second=0.5),
    "whisking": working(_stick(0.4, 0.05, _bowl), (0.07, 0.04), lag=TAU / 4, second=0.7),
    "wiping_table": working(_cloth, (0.25, 0.08), cycles=0.5, lag=0.8, second=0.3),
    "ironing": working(_iron, (0.28, 0.03), cycles=0.5, lag=0.4, second=0.6),
    "hammering": working(_hammer, (0.03, 0.18), lag=TAU / 4, second=0.7),
    "sawing": working(_stick(0.7, 0.06, _plank), (0.06, 0.14), second=0.7),
    "drumming": working(_drum, (0.03, 0.12), lag=TAU / 4, second=1.0),
    "turning_pages": reaching(_book, (0.5, -0.05), high=(0.6, 0.8), rise_s=0.5, hold_s=0.1, both=True),
    "drinking": reaching(_cup, (0.3, 0.35), high=(0.45, 0.8), rise_s=0.8, hold_s=0.9, both=False),
    "pouring": reaching(_bottle, (0.15, -0.2), high=(0.4, 0.65), rise_s=0.8, hold_s=1.2, both=True),
    "folding_laundry": reaching(_laundry, (0.4, 0.0), high=(0.55, 0.75), rise_s=0.6, hold_s=0.2, both=True),
}
