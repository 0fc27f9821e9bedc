"""The report as one HTML file that needs nothing else, and has no script."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Mapping, Sequence
from importlib import resources
from urllib.parse import quote

from mmg.board.profiling.markup import Markup, tag
from mmg.cli.progress import as_span
from mmg.counts import count_of
from mmg.printable import printable

from mmg_batch.compare import FEWEST, said
from mmg_batch.report import NOT_SAID, Line, Report, Worst

Cells = Sequence[str]
ACCURACY = ("recordings", "length", "judged", "accuracy")
INTERVAL = (
    "In brackets the interval of 95 % by a bootstrap over people. The decisions of one person are alike, so people are "
    f"drawn and not decisions; with fewer than {FEWEST} there is none."
)


def format_page(report: Report, title: str, pages: Mapping[Worst, str], commands: Mapping[Worst, Sequence[str]]) -> str:
    """pages: where mmg-look's page of a recording is, from the report's folder. commands: the words for mmg-look, of
    recordings that it can find."""
    style = Markup(resources.files("mmg_batch").joinpath("page.css").read_text("utf-8"))
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{printable(title)} - mmg-report"),
        tag("style", style),
    )
    top = tag(
        "header",
        tag("p", "mmg-report", class_="over"),
        tag("h1", printable(title)),
        tag("p", _lead(report), class_="lead"),
    )
    main = tag("main", *[part for part in _sections(report, pages, commands) if part])
    foot = tag("footer", "Made by mmg-report. The page loads nothing and sends nothing.")
    return f"<!doctype html>\n{tag('html', head, tag('body', top, main, foot), lang='en')}\n"


def _lead(report: Report) -> str:
    failed = f", of which {report.failed} failed" if report.failed else ""
    recordings, decisions = count_of(report.recordings, "recording"), count_of(report.decisions, "decision")
    return f"{recordings}{failed}: {as_span(3600 * report.hours)}, {decisions}."


def _sections(report: Report, pages: Mapping[Worst, str], commands: Mapping[Worst, Sequence[str]]) -> list[Markup]:
    people = ""
    if not report.is_by_person:
        people = " Nobody says who wore what: each recording stands for a person."
    elif any(line.names[0] == NOT_SAID for line in report.by_person):
        people = " A recording of which nobody says who wore it stands for a person."
    compared = [
        (
            f"{one.bundle} less {one.other}",
            one.subset,
            str(one.recordings),
            str(one.difference.people),
            str(one.decisions),
            str(one.left_out),
            said(one.difference, signed=True),
        )
        for one in report.compared
    ]
    faults = [
        (one.sensor, one.state, one.reason, str(one.recordings), str(one.decisions), f"{one.share:.1%}")
        for one in report.faults
    ]
    failures = [(one.reason, str(one.recordings), one.example) for one in report.failures]
    return [
        _section("Accuracy by sensors", INTERVAL + people, ("bundle", "sensors", *ACCURACY), _lines(report.by_subset)),
        _section(
            "Bundles compared",
            "Accuracy less the other's on the decisions that both made: of the same recording, from the same sensors, "
            "for the same moment. Left out are the decisions of either that the other did not make. An interval "
            "without zero is a difference." + people,
            ("bundles", "sensors", "recordings", "people", "decisions", "left out", "difference"),
            compared,
        ),
        _section(
            "Accuracy by person",
            "From all of a recording's sensors.",
            ("person", "bundle", *ACCURACY),
            _lines(report.by_person) if report.is_by_person else [],
        ),
        _section(
            "Accuracy by board",
            "From all of a recording's sensors.",
            ("board", "bundle", *ACCURACY),
            _lines(report.by_board) if len({one.names[0] for one in report.by_board}) > 1 else [],
        ),
        _worst(report, pages, commands),
        _section(
            "Faults",
            "Sensors that were not well, by kind, with the numbers of one of them. The share is of the decisions of "
            "recordings that have the fault.",
            ("sensor", "state", "why", "recordings", "decisions", "share"),
            faults,
        ),
        _section(
            "Failed",
            "Recordings of which not all was decided, by reason; the words are the first one's.",
            ("why", "recordings", "first"),
            failures,
        ),
    ]


def _lines(lines: Sequence[Line]) -> list[Cells]:
    return [
        (*line.names, str(line.recordings), as_span(3600 * line.hours), str(line.judged), said(line.accuracy))
        for line in lines
    ]


def _worst(report: Report, pages: Mapping[Worst, str], commands: Mapping[Worst, Sequence[str]]) -> Markup:
    rows = []
    for one in report.worst:
        link = ""
        if one in pages:
            link = tag("a", "look", href=quote(pages[one]))
        elif one in commands:
            link = tag("code", printable(shlex.join(["mmg-look", *commands[one]])))
        rows.append((one.recording, one.person, one.bundle, one.subset, str(one.judged), f"{one.accuracy:.1%}", link))
    heads = ("recording", "person", "bundle", "sensors", "judged", "accuracy", "its page")
    return _section("The worst recordings", "From all of a recording's sensors, with the truth beside it.", heads, rows)


def _section(title: str, note: str, heads: Cells, rows: Sequence[Cells]) -> Markup:
    if not rows:
        return Markup("")
    head = tag("thead", tag("tr", *[tag("th", name, scope="col") for name in heads]))
    body = tag("tbody", *[tag("tr", *[tag("td", _cell(cell)) for cell in row]) for row in rows])
    table = tag("div", tag("table", head, body), class_="wide", tabindex="0", role="region", aria_label=title)
    return tag("section", tag("h2", title), tag("p", note, class_="note"), table)


def _cell(cell: str) -> str:
    return cell if isinstance(cell, Markup) else printable(cell)
