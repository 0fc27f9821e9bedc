"""Accuracy against what it costs, as SVG, with the Pareto front: the cases that no other beats in both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mmg.board.profiling.figures import by_variant, latency, variant
from mmg.board.profiling.markup import Markup, tag
from mmg.board.profiling.plots import AccuracyFrame, drawing, linear, logarithmic
from mmg.board.profiling.result import Case

HEIGHT = 320
LEFT, RIGHT = 12.0, 5.0
# Percent along x and pixels along y within which two numbers would lie on each other.
NEAR_PERCENT, NEAR_PX = 5.0, 16.0
SHAPES = (
    "M-5 0A5 5 0 1 0 5 0A5 5 0 1 0 -5 0Z",
    "M-4.5 -4.5H4.5V4.5H-4.5Z",
    "M0 -6.3L6.3 0L0 6.3L-6.3 0Z",
    "M0 -6L5.8 4.6H-5.8Z",
)


@dataclass(frozen=True)
class Cost:
    """What an accuracy is set against. axis: its name and unit on the plot."""

    name: str
    axis: str
    unit: str
    of: Callable[[Case], float | None]
    logarithmic: bool = False


LATENCY_COST = Cost(
    "latency", "p95 latency", "ms", lambda case: times.p95_ms if (times := latency(case)) else None, True
)
MEMORY_COST = Cost("memory", "peak memory", "MiB", lambda case: case.memory.peak_mib if case.memory else None)


def pareto_front(cases: Sequence[Case], cost: Cost) -> list[Case]:
    """The valid cases that no other equals at less cost or betters at the same, the cheapest first."""
    front: list[Case] = []
    best = float("-inf")
    for _, lost, case in sorted(_points(cases, cost), key=lambda point: point[:2]):
        if case.valid and -lost > best:
            front.append(case)
            best = -lost
    return front


def tradeoff_plot(cases: Sequence[Case], cost: Cost, tags: Callable[[Case], str]) -> Markup | None:
    """A mark a case, shaped and coloured by its variant; the front is a line with numbers. None without two figures.

    tags: what a case's mark is filtered by.
    """
    points = _points(cases, cost)
    if not points:
        return None
    values, accuracies = [value for value, _, _ in points], [-100 * lost for _, lost, _ in points]
    x = (
        logarithmic(values, left=LEFT, right=RIGHT)
        if cost.logarithmic
        else linear(min(*values, 0.9 * max(values)), max(values), left=LEFT, right=RIGHT)
    )
    # A few points at least, or the one case of a report would seem to be measured to a hundredth of a percent.
    y = linear(max(0.0, min(*accuracies, max(accuracies) - 10)), max(accuracies))
    frame = AccuracyFrame(x, y, HEIGHT)
    places = {case.name: (x.percent(value), frame.at(-100 * lost)) for value, lost, case in points}
    front = pareto_front(cases, cost)
    variants = list(by_variant(cases))
    marks = [
        _mark(
            case,
            places[case.name],
            variants.index(variant(case)),
            f"{-100 * lost:.1f} %, {value:.3g} {cost.unit}",
            tags,
        )
        for value, lost, case in points
    ]
    told = "Pareto front: " + "; ".join(case.name for case in front)
    parts = [*frame.grid(f"{cost.axis}, {cost.unit}"), *_line(front, places), *marks, *_numbers(front, places)]
    return drawing(f"Accuracy against {cost.name}", told, HEIGHT, parts)


def shape(number: int) -> Markup:
    """The mark of a variant, for a legend."""
    path = tag("path", d=SHAPES[number % len(SHAPES)])
    return tag(
        "svg", path, class_=f"key c{_colour(number)}", width=14, height=14, viewBox="-7 -7 14 14", aria_hidden="true"
    )


def _points(cases: Sequence[Case], cost: Cost) -> list[tuple[float, float, Case]]:
    """(cost, minus accuracy, case), so that less is better in both."""
    found = []
    for case in cases:
        value = cost.of(case)
        if value is not None and case.accuracy is not None:
            found.append((value, -case.accuracy, case))
    return found


def _colour(number: int) -> int:
    return number % 7 + 1  # c0 is the grey of the stages that are no model


def _mark(case: Case, place: tuple[float, float], number: int, told: str, tags: Callable[[Case], str]) -> Markup:
    path = tag("path", tag("title", f"{case.name}: {told}"), d=SHAPES[number % len(SHAPES)])
    kind = f"mark c{_colour(number)}" if case.valid else "mark hollow"
    return tag("svg", path, x=f"{place[0]:.2f}%", y=f"{place[1]:.1f}", class_=kind, data_tags=tags(case))


def _line(front: Sequence[Case], places: dict[str, tuple[float, float]]) -> list[Markup]:
    """Steps: between two cases of the front, the cheaper one is what can be had."""
    parts = []
    for cheap, dear in pairwise(front):
        (x1, y1), (x2, y2) = places[cheap.name], places[dear.name]
        parts.append(tag("line", x1=f"{x1:.2f}%", x2=f"{x2:.2f}%", y1=f"{y1:.1f}", y2=f"{y1:.1f}", class_="front"))
        parts.append(tag("line", x1=f"{x2:.2f}%", x2=f"{x2:.2f}%", y1=f"{y1:.1f}", y2=f"{y2:.1f}", class_="front"))
    return parts


def _numbers(front: Sequence[Case], places: dict[str, tuple[float, float]]) -> list[Markup]:
    """Above and to the left of the marks, where a front leaves room; of near ones the numbers share a place."""
    groups: list[tuple[tuple[float, float], list[int]]] = []
    for number, case in enumerate(front, 1):
        x, y = places[case.name]
        if groups and abs(x - groups[-1][0][0]) < NEAR_PERCENT and abs(y - groups[-1][0][1]) < NEAR_PX:
            groups[-1][1].append(number)
        else:
            groups.append(((x, y), [number]))
    return [
        tag(
            "text",
            ", ".join(map(str, numbers)),
            x=f"{x:.2f}%",
            y=f"{y:.1f}",
            dx=-7,
            dy=-7,
            text_anchor="end",
            class_="number",
        )
        for (x, y), numbers in groups
    ]
