"""The parts of a report's page that are words and tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mmg.board.profiling.budget import explain
from mmg.board.profiling.changes import compared, headline_figures, summary, told, whose
from mmg.board.profiling.compare import Change, Comparison
from mmg.board.profiling.figures import (
    Figure,
    figures,
    latency,
    measured,
    not_measured,
    short,
    subset,
    variant,
    work_stages,
)
from mmg.board.profiling.markdown import conditions
from mmg.board.profiling.markup import Markup, join, tag
from mmg.board.profiling.result import Case, Report
from mmg.board.profiling.table import keeps_budget, limits, over_budget, reasons, shown_figures, took, warnings
from mmg.board.profiling.text import INVALID, OVER, VALID, WARNED
from mmg.counts import count_of

VERDICTS = {"worse": "▲ worse", "better": "▼ better", "same": "", "unreliable": INVALID}
COLOURS = {"worse": "bad", "better": "good", "same": None, "unreliable": "none"}


def tags_of(case: Case) -> str:
    """What the page's buttons filter by."""
    return f"{case.backend} {case.precision} {case.threads}t"


def tiles(report: Report) -> Markup:
    """The best of each kind, at a glance."""
    cases = measured(report)
    valid = [case for case in cases if case.valid]
    counts = {"invalid": len(cases) - len(valid), "not measured": len(report.cases) - len(cases)}
    others = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    parts = [_tile(f"{len(valid)}", f"of {len(report.cases)}", "cases measured and valid", others, bad=not valid)]
    # (what, unit, spec, its value where less is better, as it is shown)
    kinds: tuple[tuple[str, str, Callable[[Case], float | None], Callable[[float], str]], ...] = (
        ("most accurate", "%", lambda case: -case.accuracy if case.accuracy is not None else None, _percent),
        ("lowest p95", "ms", lambda case: times.p95_ms if (times := latency(case)) else None, short),
        ("lowest peak memory", "MiB", lambda case: case.memory.peak_mib if case.memory else None, short),
    )
    for what, unit, of, show in kinds:
        known = [(value, case) for case in valid if (value := of(case)) is not None]
        if known:
            value, case = min(known, key=lambda one: one[0])
            parts.append(_tile(show(value), unit, what, case.name))
    if report.budget and cases:
        keeping = keeps_budget(cases)
        parts.append(_tile(f"{keeping}", f"of {len(cases)}", "cases keep the budget", limits(report), bad=not keeping))
    return tag("div", *parts, class_="tiles")


def cases_table(report: Report) -> Markup:
    """Every measured case with all its figures. It is complete without the script, which sorts and filters it."""
    cases = measured(report)
    columns = shown_figures(cases, figures(report.mode))
    words = [("subset", "subset"), ("variant", "backend"), ("precision", "precision"), ("threads", "threads")]
    head = [tag("th", title, scope="col", class_="word", data_key=key) for key, title in words]
    head += [
        tag(
            "th",
            column.group,
            tag("br") if column.group else "",
            column.title,
            scope="col",
            title=column.meaning,
            data_key=column.key,
        )
        for column in columns
    ]
    head.append(tag("th", "verdict", scope="col", class_="word", data_key="verdict"))
    rows = [_row(place, case, columns) for place, case in enumerate(cases)]
    table = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *rows), id="cases")
    return tag("div", table, class_="scroll", tabindex="0", role="region", aria_label="All cases")


def meanings(report: Report) -> Markup:
    """What each column of the table is, for who cannot point at a heading."""
    columns = shown_figures(measured(report), figures(report.mode))
    items = [join((tag("dt", column.heading), tag("dd", column.meaning))) for column in columns]
    return tag("details", tag("summary", "What the columns mean"), tag("dl", *items))


def stages_table(report: Report) -> Markup:
    """The means that the bars show, for who wants the figures."""
    cases = measured(report)
    stages = work_stages(cases)
    head = [tag("th", title, scope="col", class_="word") for title in ("subset", "variant")]
    head += [tag("th", stage, scope="col") for stage in stages]
    rows = []
    for case in cases:
        cells = [short(case.stages[stage].mean_ms) if stage in case.stages else "-" for stage in stages]
        first = tag("th", subset(case), scope="row")
        rows.append(
            tag(
                "tr",
                first,
                tag("td", variant(case), class_="word"),
                *(tag("td", cell) for cell in cells),
                data_tags=tags_of(case),
            )
        )
    table = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *rows))
    scroll = tag("div", table, class_="scroll", tabindex="0", role="region", aria_label="Mean time of each stage")
    return tag("details", tag("summary", "These means as a table, in ms"), scroll)


def doubts(report: Report) -> Markup:
    """What is invalid, missing, over the budget or an estimate, and why; empty where there is nothing of it."""
    cases = measured(report)
    parts = [
        _told("Not reliable", reasons(cases), "bad"),
        _told("Over the budget", over_budget(cases), "bad"),
        _told("Warnings", warnings(cases), "warn"),
        _told("Not measured", not_measured(report), None),
    ]
    estimated = [case for case in cases if case.energy and not case.energy.measured]
    if estimated:
        how = ", ".join(sorted({case.energy.meter for case in estimated if case.energy}))
        said = f"The energy of {_count(estimated)} is not measured but estimated ({how}): processor time by the watts "
        said += "that the device profile gives a busy core. It is marked ~."
        parts.append(join((tag("h3", "Estimates"), tag("p", said))))
    parts = [part for part in parts if part]
    if not parts:
        return Markup("")
    return tag("section", tag("h2", "What to know about these figures"), tag("div", *parts, class_="card"))


def machine(report: Report) -> Markup:
    """What it ran on, what was run, and how."""
    board, bundle = report.machine, report.bundle
    versions = ", ".join(f"{name} {version}" for name, version in board.versions.items())
    facts: tuple[tuple[str, str], ...] = (
        ("machine", board.model or "unknown"),
        (
            "processor",
            f"{board.cpu or 'unknown'}, {count_of(board.cores, 'core')}, {board.architecture}",
        ),
        ("features", ", ".join(board.features)),
        ("memory", f"{board.memory_mib} MiB"),
        ("versions", versions),
        ("commit", board.commit or ""),
        ("bundle", f"{bundle.name} {bundle.version}, hop {bundle.hop_s:g} s"),
        ("bundle's path", bundle.path),
        ("manifest", bundle.manifest_sha256),
        ("signal", report.signal),
        ("mode", "paced: as the sensors are" if report.mode == "paced" else "back to back: as fast as it goes"),
        ("device profile", report.profile),
        ("budget", limits(report)),
        ("conditions", conditions(measured(report))),
        ("command", " ".join(("mmg-profile", *report.command))),
        ("made", f"{report.made}, took {took(report.took_s)}"),
    )
    exact = {"commit", "bundle's path", "manifest", "command"}
    items = [
        join((tag("dt", name), tag("dd", tag("code", text) if name in exact else text))) for name, text in facts if text
    ]
    return tag("section", tag("h2", "Machine and method"), tag("div", tag("dl", *items), class_="card"))


def changes_section(comparison: Comparison) -> Markup:
    """How this report differs from an older one."""
    cases = compared(comparison)
    between = tag(
        "p",
        f"From {'; '.join(map(whose, comparison.olds))} to {whose(comparison.new)}: {summary(comparison)}.",
        class_="note",
    )
    parts = [tag("h2", "Compared with the report before"), between]
    if comparison.differences:
        items = [tag("li", text) for text in comparison.differences]
        card = (tag("h3", "This does not compare the code alone"), tag("ul", *items, class_="told"))
        parts.append(tag("div", *card, class_="card alarm"))
    if cases:
        parts.append(_changes_table(comparison, cases))
    said = [
        _told("Worse beyond noise", told(comparison.slower, len(cases)), "bad"),
        _told("Better beyond noise", told(comparison.faster, len(cases)), "good"),
        _told("Invalid in one or both, so never called a change", comparison.invalid, None),
        _told("Measured only in the old report", comparison.only_old, None),
        _told("Measured only in the new report", comparison.only_new, None),
    ]
    if any(said):
        parts.append(tag("div", *said, class_="card"))
    return tag("section", *parts)


def _tile(value: str, unit: str, what: str, whose: str, *, bad: bool = False) -> Markup:
    number = tag("b", value, " ", tag("small", unit), class_="bad" if bad else None)
    return tag("div", tag("span", what), number, tag("span", whose), class_="tile")


def _count(cases: Sequence[Case]) -> str:
    return count_of(len(cases), "case")


def _percent(negative: float) -> str:
    return f"{-100 * negative:.1f}"


def _row(place: int, case: Case, columns: Sequence[Figure]) -> Markup:
    name = subset(case)
    cells = [tag("th", name, scope="row", data_value=name)]
    cells += [tag("td", text, class_="word", data_value=text) for text in (case.backend, case.precision)]
    cells.append(tag("td", str(case.threads), class_="word", data_value=case.threads))
    for column in columns:
        value, text = column.of(case), column.show(case)
        cells.append(tag("td", text or "-", class_=None if text else "none", data_value="" if value is None else value))
    cells.append(_verdict(case))
    return tag("tr", *cells, class_=None if case.valid else "doubt", data_tags=tags_of(case), data_place=place)


def _verdict(case: Case) -> Markup:
    said = [
        ("good", f"{VALID} valid", "") if case.valid else ("bad", f"{INVALID} not reliable", "; ".join(case.reasons))
    ]
    if case.over_budget:
        said.append(("bad", f"{OVER} over budget", "; ".join(map(explain, case.over_budget))))
    if case.warnings:
        said.append(("warn", f"{WARNED} warning", "; ".join(case.warnings)))
    spans = [tag("span", text, class_=colour, title=why or None) for colour, text, why in said]
    rank = f"{int(not case.valid)}-{len(case.over_budget)}-{len(case.warnings)}"
    return tag("td", *spans, class_="word verdict", data_value=rank)


def _told(title: str, items: Sequence[str], colour: str | None) -> Markup:
    if not items:
        return Markup("")
    return join((tag("h3", title, class_=colour), tag("ul", *(tag("li", item) for item in items), class_="told")))


def _changes_table(comparison: Comparison, cases: Sequence[Case]) -> Markup:
    headings = headline_figures(comparison)
    found = {(change.case, change.figure): change for change in comparison.changes}
    shown = [figure for figure in headings if any(key[1] == figure for key in found)]
    head = [tag("th", title, scope="col", class_="word") for title in ("subset", "variant")]
    head += [tag("th", headings[figure], scope="col") for figure in shown]
    rows = [
        tag(
            "tr",
            tag("th", subset(case), scope="row"),
            tag("td", variant(case), class_="word"),
            *(_change(found.get((case.name, figure))) for figure in shown),
            data_tags=tags_of(case),
        )
        for case in cases
    ]
    table = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *rows), id="changes")
    return tag("div", table, class_="scroll", tabindex="0", role="region", aria_label="Changes")


def _change(change: Change | None) -> Markup:
    if change is None:
        return tag("td", "-", class_="none")
    verdict = VERDICTS[change.verdict]
    text = f"{short(change.old)} → {short(change.new)}"
    return tag(
        "td", text, *([tag("br"), f"x{change.ratio:.2f} {verdict}"] if verdict else []), class_=COLOURS[change.verdict]
    )
