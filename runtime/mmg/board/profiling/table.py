"""A report as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from mmg.board.profiling.budget import explain
from mmg.board.profiling.figures import LATENCY, Figure, by_variant, figures, measured, named, not_measured, subset
from mmg.board.profiling.gate import GATE_TITLE, gate_lines
from mmg.board.profiling.result import Case, Report
from mmg.board.profiling.text import BOLD, DIM, INVALID, OVER, RED, VALID, WARNED, YELLOW, Lines, align, widths_of
from mmg.counts import count_of

MEANINGS = {
    VALID: "valid",
    INVALID: "not reliable",
    OVER: "over the budget",
    WARNED: "with a warning",
}
NARROWEST = 8


def format_table(report: Report, *, width: int = 100, colours: bool = False, ascii: bool = False) -> str:
    """A table for each backend, precision and thread count; then what is invalid, missing or over the budget, and why.

    width: columns of the terminal; where they are few, energy and steady memory are left out, then names are cut.
    ascii: for a stream that cannot hold more.
    """
    lines = Lines(width, colours=colours, ascii=ascii)
    for line in headlines(report):
        lines.wrap(line, start="", then="  ")
    cases = measured(report)
    if cases:
        _add_tables(lines, cases, figures(report.mode))
        lines.add()
        lines.wrap(_legend(report, cases), DIM, start="", then="")
    lines.section("not reliable", reasons(cases), RED)
    lines.section("warnings", warnings(cases), YELLOW)
    lines.section("over the budget", over_budget(cases), RED)
    lines.section("not measured", not_measured(report), DIM)
    lines.section(GATE_TITLE, gate_lines(report))
    if report.budget and cases:
        keeping = keeps_budget(cases)
        share = (
            "every measured case keeps" if keeping == len(cases) else f"{keeping} of {len(cases)} measured cases keep"
        )
        lines.add()
        lines.wrap(f"{share} the budget: {limits(report)}", start="", then="  ")
    return lines.text()


def headlines(report: Report) -> list[str]:
    """What was profiled, on what, and how."""
    bundle, machine = report.bundle, report.machine
    cores = count_of(machine.cores, "core")
    facts = ", ".join(filter(None, (machine.cpu, cores, f"{machine.memory_mib} MiB", machine.architecture)))
    how = "paced, as the sensors are" if report.mode == "paced" else "back to back, as fast as it goes"
    return [
        f"{bundle.name} {bundle.version} on {machine.model or 'an unknown board'} ({facts})",
        f"{how}; {report.signal}; profile {report.profile}; {report.made}, took {took(report.took_s)}",
    ]


def took(seconds: float) -> str:
    """Such as ``1 h 02 min``, ``3 min 20 s`` or ``20 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def limits(report: Report) -> str:
    """Such as ``decision_ms 50, memory_mib 120``."""
    return ", ".join(f"{key} {limit:g}" for key, limit in report.budget.items())


def mark(case: Case) -> str:
    """Valid or not, over the budget, with a warning."""
    over, warned = OVER if case.over_budget else "", WARNED if case.warnings else ""
    return (VALID if case.valid else INVALID) + over + warned


def reasons(cases: Sequence[Case]) -> list[str]:
    """Why which case cannot be relied on; one line for all that have the same reason."""
    told = [(case, reason) for case in cases if not case.valid for reason in case.reasons or ("no reason was given",)]
    return _grouped(told, cases)


def warnings(cases: Sequence[Case]) -> list[str]:
    """The warnings; one line for all cases that have the same."""
    return _grouped([(case, warning) for case in cases for warning in case.warnings], cases)


def keeps_budget(cases: Sequence[Case]) -> int:
    """How many are sure to keep it: those that can be relied on."""
    return sum(case.valid and not case.over_budget for case in cases)


def over_budget(cases: Sequence[Case]) -> list[str]:
    """Which case is over which line of the budget, and by how much."""
    return _grouped([(case, explain(check)) for case in cases for check in case.over_budget], cases)


def shown_figures(cases: Sequence[Case], columns: Sequence[Figure]) -> list[Figure]:
    """Those that at least one case has."""
    return [column for column in columns if any(column.show(case) for case in cases)]


def _grouped(told: Sequence[tuple[Case, str]], among: Sequence[Case]) -> list[str]:
    groups: dict[str, list[Case]] = {}
    for case, text in told:
        groups.setdefault(text, []).append(case)
    return [f"{named(cases, among)}: {text}" for text, cases in groups.items()]


def _add_tables(lines: Lines, cases: Sequence[Case], columns: Sequence[Figure]) -> None:
    shown = shown_figures(cases, columns)
    for dropped in ((), ("energy",), ("energy", "steady")):
        candidate = [column for column in shown if column.key not in dropped]
        head, rows = _cells(cases, candidate)
        widths = widths_of([*head, *rows.values()])
        gutter = next((gutter for gutter in (2, 1) if _total(widths, gutter) <= lines.width), 0)
        if gutter:
            break
    else:
        gutter = 1
        widths[0] = max(NARROWEST, widths[0] - (_total(widths, gutter) - lines.width))
    for name, group in by_variant(cases).items():
        lines.add()
        lines.add(name, BOLD)
        for row in head:
            lines.add(align(row, widths, gutter), DIM)
        for case in group:
            colour = RED if not case.valid or case.over_budget else YELLOW if case.warnings else ""
            lines.add(align(rows[case.name], widths, gutter), colour)


def _cells(cases: Sequence[Case], columns: Sequence[Figure]) -> tuple[list[list[str]], dict[str, list[str]]]:
    head = [["", *(column.group for column in columns), ""], ["subset", *(column.title for column in columns), ""]]
    rows = {case.name: [subset(case), *(column.show(case) or "-" for column in columns), mark(case)] for case in cases}
    # Marks begin under each other: the last column alone is padded to the right.
    widest = max(len(row[-1]) for row in rows.values())
    for row in rows.values():
        row[-1] = f"{row[-1]:<{widest}}"
    return head, rows


def _total(widths: Sequence[int], gutter: int) -> int:
    return sum(widths) + gutter * (len(widths) - 1)


def _legend(report: Report, cases: Sequence[Case]) -> str:
    used = "".join(map(mark, cases))
    marks = ", ".join(f"{sign} {meaning}" for sign, meaning in MEANINGS.items() if sign in used)
    estimates = " ~ is an estimate." if any(case.energy and not case.energy.measured for case in cases) else ""
    return f"p50, p95, max: {LATENCY[report.mode]}. CPU: processor time. RTF: real-time factor. {marks}.{estimates}"
