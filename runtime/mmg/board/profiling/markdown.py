"""A report as Markdown, to be pasted into an issue or a page of documentation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from mmg.board.profiling.figures import LATENCY, Figure, by_variant, figures, measured, not_measured, subset
from mmg.board.profiling.gate import GATE_TITLE, gate_lines
from mmg.board.profiling.result import Case, Conditions, Report
from mmg.board.profiling.table import headlines, limits, over_budget, reasons, shown_figures, warnings
from mmg.printable import printable

SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&])")


def format_markdown(report: Report) -> str:
    """What was profiled, where and how; a table for each backend, precision and thread count; what to doubt."""
    what, how = headlines(report)
    bundle, machine = report.bundle, report.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    cases = measured(report)
    lines = [
        f"### {escape(what)}",
        "",
        f"- {escape(how)}",
        f"- command: {code(' '.join(('mmg-profile', *report.command)))}",
        f"- bundle: {code(bundle.path)}, manifest {code(bundle.manifest_sha256)}, hop {bundle.hop_s:g} s",
        f"- versions: {escape(versions)}" + (f"; commit {code(machine.commit)}" if machine.commit else ""),
        f"- conditions: {escape(conditions(cases))}",
    ]
    if report.budget:
        lines.append(f"- budget: {escape(limits(report))}")
    shown = shown_figures(cases, figures(report.mode))
    for name, group in by_variant(cases).items():
        lines += ["", f"**{escape(name)}**", "", *_table(group, shown)]
    if cases:
        estimates = "; ~ is an estimate" if any(case.energy and not case.energy.measured for case in cases) else ""
        lines += ["", f"p50, p95 and max are of {LATENCY[report.mode]}; CPU is processor time{estimates}."]
    lines += _section("Not reliable", reasons(cases))
    lines += _section("Warnings", warnings(cases))
    lines += _section("Over the budget", over_budget(cases))
    lines += _section("Not measured", not_measured(report))
    lines += _section(GATE_TITLE.capitalize(), gate_lines(report))
    return "\n".join(lines) + "\n"


def conditions(cases: Iterable[Case]) -> str:
    """The range over all cases, before and after each: governor, clock, temperature, what held the clock down."""
    seen = [one for case in cases for one in (case.before, case.after) if one is not None]
    if not seen:
        return "not known"
    governors = sorted({one.governor for one in seen if one.governor is not None})
    throttled = sorted({cause for one in seen for cause in one.throttled})
    facts = (
        f"governor {', '.join(governors)}" if governors else "",
        _range(seen, lambda one: one.frequency_mhz, "MHz"),
        _range(seen, lambda one: one.temperature_c, "°C"),
        f"held down by {', '.join(throttled)}" if throttled else "",
        _range(seen, lambda one: one.free_mib, "MiB free"),
        _range(seen, lambda one: one.load, "load", ".1f"),
    )
    return ", ".join(filter(None, facts))


def escape(text: str) -> str:
    """Text of the report that Markdown shall show as it is, on one line."""
    return SPECIAL.sub(r"\\\1", printable(" ".join(text.split())))


def code(text: str) -> str:
    """A code span that may hold backticks: fenced by more of them than it has in a row (CommonMark 0.31, 6.1)."""
    text = printable(" ".join(text.split())) or " "
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if "`" in text else f"{fence}{text}{fence}"


def _range(seen: Sequence[Conditions], of: Callable[[Conditions], float | None], unit: str, spec: str = ".0f") -> str:
    values = [value for value in map(of, seen) if value is not None]
    if not values:
        return ""
    low, high = format(min(values), spec), format(max(values), spec)
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"


def _table(cases: Sequence[Case], columns: Sequence[Figure]) -> list[str]:
    titles = ["subset", *(column.heading for column in columns), "valid"]
    rows = [titles, [":---", *("---:" for _ in columns), ":---"]]
    rows += [
        [escape(subset(case)), *(escape(column.show(case) or "-") for column in columns), _judged(case)]
        for case in cases
    ]
    return [f"| {' | '.join(row)} |" for row in rows]


def _judged(case: Case) -> str:
    said = "yes" if case.valid else "**no**"
    return f"{said}, over the budget" if case.over_budget else said


def _section(title: str, items: Sequence[str]) -> list[str]:
    return ["", f"**{title}**", "", *(f"- {escape(item)}" for item in items)] if items else []
