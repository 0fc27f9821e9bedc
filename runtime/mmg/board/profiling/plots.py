"""Plots of a report as SVG: the distribution of the latency, and where the time of a hop goes.

Places along x are percentages and all else is in pixels, so a plot fits a phone and a desktop without its text being
scaled. Colours are classes of page.css.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mmg.board.profiling.figures import latency, short, subset
from mmg.board.profiling.markup import Markup, join, tag
from mmg.board.profiling.result import Case, Distribution

LEAST_MS = 1e-3
MOST_TICKS = 7
ROW, RIDGE = 56, 20
BAR_ROW, BAR = 42, 14
TOP, BOTTOM = 18, 24
MARKER_ROW = 15
LONGEST_NAME = 30


@dataclass(frozen=True)
class Scale:
    """Milliseconds, or another unit, to percent of the width; ticks: where an axis has its lines.

    left and right: percent that the ends lie inwards.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    logarithmic: bool = False
    left: float = 0.0
    right: float = 0.0

    def percent(self, value: float) -> float:
        """Where a value lies; what is beyond an end lies on it."""
        value = min(max(value, self.low), self.high)
        if self.logarithmic:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.left + share * (100 - self.left - self.right)

    def at(self, value: float) -> str:
        """The same as an attribute."""
        return f"{self.percent(value):.2f}%"


@dataclass(frozen=True)
class AccuracyFrame:
    """Accuracies in percent, up, over a cost, along; height: of the whole, in pixels."""

    x: Scale
    y: Scale
    height: int
    top: int = 24
    bottom: int = 42

    def at(self, accuracy: float) -> float:
        """Where it lies, in pixels from the top."""
        return self.height - self.bottom - self.y.percent(accuracy) / 100 * (self.height - self.top - self.bottom)

    def grid(self, axis: str) -> list[Markup]:
        """The lines of both axes with their numbers, and what they are; axis: the cost and its unit."""
        parts = []
        for tick in self.y.ticks:
            level = f"{self.at(tick):.1f}"
            parts.append(tag("line", x1=f"{self.x.left - 2}%", x2="100%", y1=level, y2=level, class_="grid"))
            parts.append(tag("text", f"{tick:g} %", x=0, y=level, dy=4, class_="tick"))
        low = self.height - self.bottom
        for tick in self.x.ticks:
            at = self.x.at(tick)
            parts.append(tag("line", x1=at, x2=at, y1=self.top, y2=low, class_="grid"))
            parts.append(tag("text", f"{tick:g}", x=at, y=low + 16, text_anchor="middle", class_="tick"))
        parts.append(tag("text", "accuracy", x=0, y=12, class_="axis"))
        parts.append(tag("text", axis, x="100%", y=self.height - 6, text_anchor="end", class_="axis"))
        return parts


def logarithmic(values: Iterable[float], *, left: float = 0.0, right: float = 0.0) -> Scale:
    """A little beyond the lowest and the highest; ticks at 1, 2 and 5 times the powers of ten, at least two of them."""
    known = [max(value, LEAST_MS) for value in values]
    low, high = min(known) / 1.08, max(known) * 1.08
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    steps = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
    ticks = [step for step in steps if low <= step <= high]
    if len(ticks) < 2:
        low = max(step for step in steps if step <= low)
        high = min(step for step in steps if step >= high)
        ticks = [step for step in steps if low <= step <= high]
    if len(ticks) > MOST_TICKS:
        ticks = [tick for tick in ticks if f"{tick:e}"[0] == "1"]
    return Scale(low, high, tuple(ticks), True, left, right)


def linear(low: float, high: float, *, left: float = 0.0, right: float = 0.0) -> Scale:
    """Round ticks that enclose low and high."""
    span = max(high - low, 1e-3 * max(abs(high), 1e-3))
    rough = span / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(step * place for place in range(first, max(last, first + 1) + 1))
    return Scale(ticks[0], ticks[-1], ticks, False, left, right)


def latency_plot(cases: Sequence[Case], scale: Scale, markers: Mapping[str, float], title: str) -> Markup:
    """A row a case: histogram, whisker from the shortest to the longest, box from p50 to p95.

    markers: name -> ms of a line across, such as the deadline; those beyond the scale are left out.
    """
    inside = {name: value for name, value in markers.items() if scale.low <= value <= scale.high}
    top = TOP + MARKER_ROW * len(inside)
    height = top + ROW * len(cases) + BOTTOM
    parts = [_axis(scale, top - 4, height - BOTTOM), _columns("p50 to p95, ms", top)]
    for place, (name, value) in enumerate(inside.items()):
        parts.append(
            _marker(scale, name, value, 11 + MARKER_ROW * place, [top + ROW * row for row in range(len(cases))])
        )
    for place, case in enumerate(cases):
        times = latency(case)
        if times is not None:
            parts.append(_latency_row(case, times, scale, top + ROW * place))
    told = "; ".join(
        f"{case.name}: p50 {short(times.p50_ms)}, p95 {short(times.p95_ms)}, max {short(times.max_ms)} ms"
        for case in cases
        if (times := latency(case)) is not None
    )
    return drawing(title, told, height, parts)


def stage_plot(cases: Sequence[Case], stages: Sequence[str], scale: Scale, title: str) -> Markup:
    """A bar a case: the mean time of each stage, one after another."""
    height = TOP + BAR_ROW * len(cases) + BOTTOM
    parts = [_axis(scale, TOP - 4, height - BOTTOM), _columns("sum of means, ms", TOP)]
    for place, case in enumerate(cases):
        y, start = TOP + BAR_ROW * place, 0.0
        bars = []
        for number, stage in enumerate(stages):
            if stage in case.stages:
                mean_ms = case.stages[stage].mean_ms
                width = scale.percent(start + mean_ms) - scale.percent(start)
                hint = tag("title", f"{stage}: {short(mean_ms)} ms")
                bars.append(
                    tag(
                        "rect",
                        hint,
                        class_=f"c{number % 8}",
                        x=scale.at(start),
                        y=y + 20,
                        width=f"{width:.2f}%",
                        height=BAR,
                    )
                )
                start += mean_ms
        parts.append(tag("g", _names(case, short(start), y), *bars, class_=None if case.valid else "doubt"))
    told = "; ".join(
        f"{case.name}: "
        + ", ".join(f"{name} {short(case.stages[name].mean_ms)}" for name in stages if name in case.stages)
        for case in cases
    )
    return drawing(title, told, height, parts)


def drawing(title: str, description: str, height: int, parts: Iterable[str]) -> Markup:
    """As wide as what it is in. A reader that cannot see gets the title and the figures."""
    return tag("svg", tag("title", title), tag("desc", description), *parts, width="100%", height=height, role="img")


def _axis(scale: Scale, top: int, bottom: int) -> Markup:
    lines, texts = [], []
    for tick in scale.ticks:
        x, place = scale.at(tick), scale.percent(tick)
        anchor = "start" if place < 4 else "end" if place > 94 else "middle"
        lines.append(tag("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid"))
        texts.append(tag("text", f"{tick:g}", x=x, y=bottom + 15, text_anchor=anchor, class_="tick"))
    return join((*lines, *texts))


def _columns(text: str, top: int) -> Markup:
    return tag("text", text, x="100%", y=top - 7, text_anchor="end", class_="tick")


def _marker(scale: Scale, name: str, value: float, y: int, rows: Sequence[int]) -> Markup:
    """Its line crosses the histograms and not the words between them."""
    x, place = scale.at(value), scale.percent(value)
    anchor, shift = ("end", -5) if place > 50 else ("start", 5)
    stretches = [(y - 9, y + 3), *((row + 20, row + ROW - 1) for row in rows)]
    lines = [tag("line", x1=x, x2=x, y1=top, y2=bottom, class_="limit") for top, bottom in stretches]
    text = tag("text", f"{name} {value:g} ms", x=x, y=y, dx=shift, text_anchor=anchor, class_="limit-name")
    return join((*lines, text))


def _names(case: Case, figures: str, y: int) -> Markup:
    name = subset(case)
    cut = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
    doubt = [] if case.valid else [tag("tspan", "✗ not reliable", dx=8, class_="bad")]
    return join(
        (
            tag("text", tag("title", case.name), cut, *doubt, x=0, y=y + 14, class_="name"),
            tag("text", figures, x="100%", y=y + 14, text_anchor="end", class_="figure"),
        )
    )


def _latency_row(case: Case, times: Distribution, scale: Scale, y: int) -> Markup:
    box = y + 22 + RIDGE + 5
    width = scale.percent(times.p95_ms) - scale.percent(times.p50_ms)
    hint = f"{case.name}: min {short(times.min_ms)}, p50 {short(times.p50_ms)}, p95 {short(times.p95_ms)}, "
    hint += f"p99 {short(times.p99_ms)}, max {short(times.max_ms)} ms of {times.n} hops"
    middle = scale.at(times.p50_ms)
    return tag(
        "g",
        tag("title", hint),
        _names(case, f"{short(times.p50_ms)} to {short(times.p95_ms)}", y),
        _ridge(times, scale, y + 22),
        tag("line", x1=scale.at(times.min_ms), x2=scale.at(times.max_ms), y1=box, y2=box, class_="whisker"),
        tag("rect", x=middle, y=box - 3, width=f"{max(width, 0.3):.2f}%", height=6, class_="box"),
        tag("line", x1=middle, x2=middle, y1=box - 6, y2=box + 6, class_="median"),
        class_=None if case.valid else "doubt",
    )


def _ridge(times: Distribution, scale: Scale, y: int) -> Markup:
    """The histogram; a bar's area is its count, as on a logarithmic axis equal bins are not equally wide."""
    edges, counts = times.histogram.edges_ms, times.histogram.counts
    bars = []
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        start, end = 10 * scale.percent(low), 10 * scale.percent(high)
        if count and end > start:
            bars.append((start, end, count / (end - start)))
    most = max((density for _, _, density in bars), default=1.0)
    shape = "".join(
        f"M{start:.1f} {RIDGE}V{RIDGE - max(1.5, RIDGE * density / most):.1f}H{end:.1f}V{RIDGE}Z"
        for start, end, density in bars
    )
    path = tag("path", d=shape, class_="ridge")
    return tag("svg", path, y=y, width="100%", height=RIDGE, viewBox=f"0 0 1000 {RIDGE}", preserveAspectRatio="none")
