"""A report as one HTML file that needs nothing else: no network, no other file, and no script to be read."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources

from mmg.board.profiling.compare import compare
from mmg.board.profiling.figures import LATENCY, by_variant, latency, measured, work_stages
from mmg.board.profiling.gate import gate_section
from mmg.board.profiling.markup import Markup, join, tag
from mmg.board.profiling.plots import latency_plot, linear, logarithmic, stage_plot
from mmg.board.profiling.result import Case, Report
from mmg.board.profiling.sections import (
    cases_table,
    changes_section,
    doubts,
    machine,
    meanings,
    stages_table,
    tags_of,
    tiles,
)
from mmg.board.profiling.table import headlines
from mmg.board.profiling.tradeoff import LATENCY_COST, MEMORY_COST, Cost, pareto_front, shape, tradeoff_plot
from mmg.counts import count_of


def format_page(report: Report, olds: Sequence[Report] = ()) -> str:
    """The page. olds: older reports that this one is compared with.

    A content security policy forbids the browser to load anything, and to run or apply what is not the page's own.
    """
    style, script = _part("page.css"), _part("page.js")
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'"
    policy += "; form-action 'none'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{report.bundle.name} {report.bundle.version} on {report.machine.model} - mmg-profile"),
        tag("style", style),
    )
    top = tag(
        "header",
        tag("p", "mmg-profile", class_="over"),
        tag("h1", f"{report.bundle.name} {report.bundle.version} on {report.machine.model or 'an unknown board'}"),
        tag("p", _facts(report), class_="lead"),
        tag("p", headlines(report)[1], class_="lead"),
    )
    sections = _sections(report) if measured(report) else [tag("section", tag("p", "No case was measured."))]
    comparison = [changes_section(compare(olds, report))] if olds else []
    main = tag("main", tiles(report), *sections, *comparison, doubts(report), machine(report))
    version = report.machine.versions.get("mmg", "")
    foot = tag("footer", f"Made by mmg-profile {version}. The page loads nothing and sends nothing.")
    body = tag("body", top, main, foot, tag("script", script))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _sections(report: Report) -> list[Markup]:
    cases = measured(report)
    return [
        _controls(cases),
        _latency(report, cases),
        _stages(report, cases),
        _tradeoffs(cases),
        gate_section(report),
        _figures(report),
    ]


def _part(name: str) -> Markup:
    return Markup(resources.files("mmg.board.profiling").joinpath(name).read_text("utf-8"))


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _facts(report: Report) -> str:
    board = report.machine
    return ", ".join(
        filter(None, (board.cpu, count_of(board.cores, "core"), f"{board.memory_mib} MiB", board.architecture))
    )


def _controls(cases: Sequence[Case]) -> Markup:
    """Buttons for what there is a choice of; hidden until the script can honour them."""
    kinds = {
        "backend": [case.backend for case in cases],
        "precision": [case.precision for case in cases],
        "threads": [f"{case.threads}t" for case in cases],
    }
    groups = []
    for kind, tokens in kinds.items():
        choices = list(dict.fromkeys(tokens))
        if len(choices) > 1:
            buttons = [
                tag("button", token or "all", type="button", data_group=kind, data_token=token, aria_pressed="false")
                for token in ("", *choices)
            ]
            groups.append(tag("div", tag("span", kind), *buttons, class_="group", role="group", aria_label=kind))
    if not groups:
        return Markup("")
    count = tag("span", class_="count", aria_live="polite")
    return tag("div", *groups, count, class_="controls scripted", hidden=True)


def _panels(figures: Sequence[Markup]) -> Markup:
    return tag("div", *figures, class_="panels")


def _panel(caption: str, plot: Markup, cases: Sequence[Case], alone: bool) -> Markup:
    kind = "panel alone" if alone else "panel"
    return tag("figure", tag("figcaption", caption), plot, class_=kind, data_tags=tags_of(cases[0]))


def _latency(report: Report, cases: Sequence[Case]) -> Markup:
    name, known = LATENCY[report.mode], [times for case in cases if (times := latency(case))]
    if not known:
        return Markup("")
    # A limit near the samples is worth its room on the axis; one far beyond them would squeeze the plot.
    longest = max(times.max_ms for times in known)
    deadlines = sorted({case.deadline_ms for case in cases if case.deadline_ms})
    markers = {"deadline": deadlines[-1]} if deadlines and deadlines[-1] <= 4 * longest else {}
    limit = report.budget.get("decision_ms")
    if limit is not None and limit <= 4 * longest:
        markers["budget for p95"] = limit
    scale = logarithmic([*(times.min_ms for times in known), *(times.max_ms for times in known), *markers.values()])
    groups = by_variant(cases)
    panels = [
        _panel(title, latency_plot(group, scale, markers, f"{name}, {title}"), group, len(groups) == 1)
        for title, group in groups.items()
    ]
    what = "from the end of a hop to its decision" if report.mode == "paced" else "of the engine's thread"
    note = f"{name.capitalize()}: {what}. Above, the histogram; below, a line from the shortest to the longest, a box "
    note += "from the median to the 95th percentile. The scale is logarithmic, and the same in every panel."
    if deadlines:
        note += f" The deadline is {', '.join(f'{value:g}' for value in deadlines)} ms."
    return tag("section", tag("h2", "Latency"), tag("p", note, class_="note"), _panels(panels))


def _stages(report: Report, cases: Sequence[Case]) -> Markup:
    stages = work_stages(cases)
    if not stages:
        return Markup("")
    longest = max(sum(case.stages[name].mean_ms for name in stages if name in case.stages) for case in cases)
    scale = linear(0, longest)
    groups = by_variant(cases)
    panels = [
        _panel(title, stage_plot(group, stages, scale, f"Mean time of each stage, {title}"), group, len(groups) == 1)
        for title, group in groups.items()
    ]
    legend = [tag("li", tag("i", class_=f"c{number % 8}"), name) for number, name in enumerate(stages)]
    note = tag("p", "The mean time of each stage of a hop, one after another.", class_="note")
    keys = tag("ul", *legend, class_="legend")
    return tag("section", tag("h2", "Where the time goes"), note, keys, _panels(panels), stages_table(report))


def _tradeoffs(cases: Sequence[Case]) -> Markup:
    title = tag("h2", "Accuracy and what it costs")
    figures = [figure for cost in (LATENCY_COST, MEMORY_COST) if (figure := _tradeoff(cases, cost))]
    if not figures:
        said = "The bundle does not say how accurate it is, so nothing can be set against latency and memory."
        return tag("section", title, tag("p", said, class_="note"))
    note = (
        "Accuracy as the bundle states it. The dotted line is the Pareto front: for each case on it, no valid case is "
    )
    note += "as accurate at less cost. Hollow marks are not reliable and are never on the front."
    legend = [tag("li", shape(number), name) for number, name in enumerate(by_variant(cases))]
    keys = tag("ul", *legend, class_="legend")
    return tag("section", title, tag("p", note, class_="note"), keys, _panels(figures))


def _tradeoff(cases: Sequence[Case], cost: Cost) -> Markup | None:
    plot = tradeoff_plot(cases, cost, tags_of)
    if plot is None:
        return None
    items = [
        tag("li", tag("b", case.name), f": {100 * case.accuracy:.1f} %, {cost.of(case):.3g} {cost.unit}")
        for case in pareto_front(cases, cost)
        if case.accuracy is not None
    ]
    named = join((tag("h3", "Pareto front, of all cases"), tag("ol", *items))) if items else Markup("")
    return tag("figure", tag("figcaption", f"Accuracy against {cost.axis}"), plot, named, class_="panel")


def _figures(report: Report) -> Markup:
    hint = tag("p", "Press a heading to sort.", class_="note scripted", hidden=True)
    return tag("section", tag("h2", "All cases"), hint, cases_table(report), meanings(report))
