"""What a gate would save: the curve that a bundle carries, set against an estimate of the power."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmg.board.profiling.estimate import estimated_mw
from mmg.board.profiling.markup import Markup, tag
from mmg.board.profiling.plots import AccuracyFrame, drawing, linear, logarithmic
from mmg.board.profiling.result import GateCost, Report

if TYPE_CHECKING:
    from mmg.bundle import Manifest

GATE_TITLE = "what a gate saves (power is estimated, accuracy is the bundle's)"
NOTE = (
    "Sensors that sleep until what is decided without them asks for them: mmg-run --gate. Accuracy and the time awake "
    "are the bundle's, on people who were in no training. Power is an estimate from published figures for sensors, "
    "arithmetic and memory: this board did not measure it."
)
HEIGHT, LEFT, RIGHT = 220, 12.0, 5.0


def gate_costs(manifest: Manifest) -> tuple[GateCost, ...]:
    """The curve of the bundle's gate, with what each point would draw; the leanest first."""
    if manifest.gate is None:
        return ()
    points = (*manifest.gate.curve, *([manifest.gate.chosen] if manifest.gate.chosen else ()))
    costs = []
    for point in points:
        awake = dict.fromkeys(manifest.gate.policy.watch, 1.0) | point.awake
        mw = estimated_mw(manifest, awake)
        costs.append(GateCost(policy=point.policy, awake=point.awake, accuracy=point.accuracy, estimated_mw=mw))
    return tuple(sorted(costs, key=lambda one: one.estimated_mw))


def gate_lines(report: Report) -> list[str]:
    """One line a point."""
    return [f"{one.policy}: {_told(one)}" for one in report.gate]


def gate_section(report: Report) -> Markup:
    """The curve and its points; empty where the bundle has none."""
    if not report.gate:
        return Markup("")
    items = [tag("li", tag("b", one.policy), f": {_told(one)}") for one in report.gate]
    parts = [tag("ol", *items)]
    if len(report.gate) > 1:
        parts.insert(0, _plot(report.gate))
    figure = tag("figure", tag("figcaption", "Accuracy against estimated power"), *parts, class_="panel alone")
    return tag("section", tag("h2", "What a gate saves"), tag("p", NOTE, class_="note"), figure)


def _told(one: GateCost) -> str:
    shares = ", ".join(f"{name} awake {part:.1%}" for name, part in one.awake.items())
    return f"{100 * one.accuracy:.1f} % right, {shares}, about {one.estimated_mw:.2f} mW"


def _plot(costs: Sequence[GateCost]) -> Markup:
    x = logarithmic([one.estimated_mw for one in costs], left=LEFT, right=RIGHT)
    y = linear(min(100 * one.accuracy for one in costs), max(100 * one.accuracy for one in costs))

    frame = AccuracyFrame(x, y, HEIGHT)
    parts = frame.grid("estimated power, mW")
    for one in costs:
        dot = tag("circle", tag("title", f"{one.policy}: {_told(one)}"), r=5)
        place = frame.at(100 * one.accuracy)
        parts.append(tag("svg", dot, x=x.at(one.estimated_mw), y=f"{place:.1f}", class_="mark c1"))
    told = "; ".join(f"{one.policy}: {_told(one)}" for one in costs)
    return drawing("Accuracy against estimated power", told, HEIGHT, parts)
