"""A comparison of two reports as lines for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mmg.board.profiling.compare import Change, Comparison
from mmg.board.profiling.figures import LATENCY, by_variant, measured, short, subset
from mmg.board.profiling.result import Case, Report
from mmg.board.profiling.text import BOLD, DIM, GREEN, INVALID, RED, YELLOW, Lines, align, widths_of

SIGNS = {"worse": "▲", "better": "▼", "same": "", "unreliable": INVALID}


def headline_figures(comparison: Comparison) -> dict[str, str]:
    """Figure -> its heading: those that a table has room for. The rest are told where they changed."""
    stage = "event_to_decision" if comparison.new.mode == "paced" else "hop"
    return {
        f"{stage} p50": "p50 ms",
        f"{stage} p95": "p95 ms",
        "processor": "CPU %",
        "peak memory": "peak MiB",
        "first decision": "first s",
    }


def told(changes: Sequence[Change], among: int) -> list[str]:
    """One line a figure, the largest change first: in how many of the cases, by how much, and how much is noise."""
    groups: dict[str, list[Change]] = {}
    for change in sorted(changes, key=_size, reverse=True):
        groups.setdefault(change.figure, []).append(change)
    return [f"{figure}: {_extent(group, among)}" for figure, group in groups.items()]


def whose(report: Report) -> str:
    """When, and of which code."""
    version = report.machine.versions.get("mmg", "of an unknown version")
    return f"{report.made}, mmg {version}" + (f", commit {report.machine.commit}" if report.machine.commit else "")


def summary(comparison: Comparison) -> str:
    """How many figures changed beyond noise."""
    judged = sum(change.verdict != "unreliable" for change in comparison.changes)
    if not judged:
        return "no case is valid in both reports: nothing can be compared"
    text = (
        f"of {judged} figures {len(comparison.slower)} became worse and {len(comparison.faster)} better, beyond noise"
    )
    if len(comparison.olds) == 1 and (comparison.slower or comparison.faster):
        text += (
            "; that is the noise within a run: give more old runs (--compare A --compare B) to know that between runs"
        )
    return text


def format_comparison(comparison: Comparison, *, width: int = 100, colours: bool = False, ascii: bool = False) -> str:
    """What differs besides the code; the main figures of every case; each figure that changed beyond noise."""
    lines = Lines(width, colours=colours, ascii=ascii)
    for old in comparison.olds:
        lines.wrap(f"old: {whose(old)}", start="", then="  ")
    lines.wrap(f"new: {whose(comparison.new)}", start="", then="  ")
    if comparison.differences:
        lines.section("this does not compare the code alone", comparison.differences, YELLOW)
    cases = compared(comparison)
    _add_tables(lines, comparison, cases)
    lines.section("worse beyond noise", told(comparison.slower, len(cases)), RED)
    lines.section("better beyond noise", told(comparison.faster, len(cases)), GREEN)
    lines.section("invalid in one or both, so never called a change", _names(comparison.invalid), DIM)
    lines.section(
        f"measured only in the old report{'s' * (len(comparison.olds) > 1)}", _names(comparison.only_old), DIM
    )
    lines.section("measured only in the new report", _names(comparison.only_new), DIM)
    lines.add()
    lines.wrap(summary(comparison), BOLD, start="", then="")
    return lines.text()


def compared(comparison: Comparison) -> list[Case]:
    """The cases of the new report that the old one has as well."""
    names = {change.case for change in comparison.changes}
    return [case for case in measured(comparison.new) if case.name in names]


def _add_tables(lines: Lines, comparison: Comparison, cases: Sequence[Case]) -> None:
    headings = headline_figures(comparison)
    cells = {(change.case, change.figure): _cell(change) for change in comparison.changes}
    shown = [figure for figure in headings if any(key[1] == figure for key in cells)]
    rows = {case.name: [subset(case), *(cells.get((case.name, figure), "-") for figure in shown)] for case in cases}
    if not rows:
        return
    head = ["subset", *(headings[figure] for figure in shown)]
    widths = widths_of([head, *rows.values()])
    for name, group in by_variant(cases).items():
        lines.add()
        lines.add(name, BOLD)
        lines.add(align(head, widths), DIM)
        for case in group:
            lines.add(align(rows[case.name], widths))
    lines.add()
    legend = f"p50, p95: {LATENCY[comparison.new.mode]}. ▲ worse, ▼ better beyond noise, {INVALID} not reliable."
    lines.wrap(legend, DIM, start="", then="")


def _cell(change: Change) -> str:
    return f"{short(change.old)}→{short(change.new)} {SIGNS[change.verdict] or ' '}"


def _names(names: Sequence[str]) -> list[str]:
    return [", ".join(names)] if names else []


def _size(change: Change) -> float:
    return abs(math.log(change.ratio)) if 0 < change.ratio < math.inf else math.inf


def _extent(group: Sequence[Change], among: int) -> str:
    most = group[0]
    example = f"{short(most.old)} to {short(most.new)} {most.unit}, x{most.ratio:.2f} (noise: {short(most.noise)})"
    if len(group) == 1:
        return f"{most.case}: {example}"
    return f"{len(group)} of {among} cases, from x{group[-1].ratio:.2f}; most in {most.case}: {example}"
