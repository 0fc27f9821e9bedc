"""What the page says in words and tables, without its script: time by label, confusion, what was left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmg.board.profiling.markup import Markup, join, tag
from mmg.look.content import Content, confusion
from mmg.sources.url import parse_url

MOST_NOTES = 50
MOST_ROWS = 30
"""Of a table: what comes after is told in one line."""
SHADES = 8


def summary(content: Content) -> Iterator[Markup]:
    """Time by label, and where there is a truth, how the decisions compare with it."""
    decided = content.decided
    if not len(decided.times_s):
        return
    yield tag("section", tag("h2", "Time by label"), _times(content))
    if (decided.truth >= 0).any():
        yield tag("section", tag("h2", "Decisions and truth"), _matrix(content))


def _times(content: Content) -> Markup:
    decided, hop_s = content.decided, content.decided.hop_s
    count = len(decided.labels)
    hops = np.bincount(decided.label, minlength=count)
    true_hops = np.bincount(decided.truth[decided.truth >= 0], minlength=count)
    sums = np.bincount(decided.label, weights=decided.confidence, minlength=count)
    has_truth = bool(true_hops.any())
    order = [int(place) for place in np.argsort(-(hops + true_hops), kind="stable") if hops[place] + true_hops[place]]
    rest, order = len(order) - MOST_ROWS, order[:MOST_ROWS]
    longest = max(int(hops.max()), int(true_hops.max()), 1)
    rows = []
    for place in order:
        cells = [
            tag("th", decided.labels[place], scope="row"),
            tag("td", _bar(hops[place] / longest, "decided"), class_="bar"),
            tag("td", clock(hops[place] * hop_s), class_="number"),
        ]
        if has_truth:
            cells.append(tag("td", clock(true_hops[place] * hop_s), class_="number"))
        mean = f"{sums[place] / hops[place]:.0%}" if hops[place] else "-"
        rows.append(tag("tr", *cells, tag("td", mean, class_="number")))
    heads = ["label", "", "decided", *(["truth"] if has_truth else []), "mean confidence"]
    kinds = [None, None, *["number"] * (len(heads) - 2)]
    head = tag("tr", *(tag("th", text, scope="col", class_=kind) for text, kind in zip(heads, kinds, strict=True)))
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_="times")
    return tag("div", table, *([tag("p", f"and {rest} more", class_="note")] if rest > 0 else []), class_="wide")


def _bar(part: float, kind: str) -> Markup:
    bar = tag("rect", class_=kind, x=0, y=0, width=f"{100 * part:.2f}", height=10)
    return tag("svg", bar, viewBox="0 0 100 10", preserveAspectRatio="none", aria_hidden="true")


def _matrix(content: Content) -> Markup:
    """Rows are the truth, columns what was decided; the shade of a cell is its part of the row."""
    places, counts = confusion(content.decided)
    right, all_of = int(np.trace(counts)), int(counts.sum())
    shown = np.sort(np.argsort(-(counts.sum(axis=0) + counts.sum(axis=1)), kind="stable")[:MOST_ROWS])
    labels = [content.decided.labels[places[place]] for place in shown]
    totals, counts = counts.sum(axis=1)[shown], counts[np.ix_(shown, shown)]
    rows = []
    for row, label in enumerate(labels):
        cells = [tag("th", label, scope="row")]
        for column, count in enumerate(counts[row]):
            part = count / max(totals[row], 1)
            kinds = f"s{int(np.ceil(part * SHADES))}" + (" right" if row == column else "")
            said = f"{label} decided as {labels[column]}: {count} of {totals[row]}"
            cells.append(tag("td", str(count) if count else "·", class_=kinds, title=said))
        share = f"{counts[row, row] / totals[row]:.0%}" if totals[row] else "-"
        rows.append(tag("tr", *cells, tag("td", share, class_="number")))
    turned = (tag("th", tag("span", label), scope="col") for label in labels)
    head = tag("tr", tag("th", "truth ↓  decided →", class_="corner"), *turned, tag("th", tag("span", "found")))
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_="matrix")
    note = f"{right} of {all_of} decisions equal the truth at the middle of their hop ({right / all_of:.1%}). "
    note += "Each row is a true label; the darker a cell, the more of the row was decided so. "
    note += "The last column is how much of the label was found."
    if len(shown) < len(places):
        note += f" Of {len(places)} labels, the {MOST_ROWS} most frequent are shown."
    return join((tag("p", note, class_="note"), tag("div", table, class_="wide")))


def left_out(content: Content, facts: dict[str, Any]) -> Markup:
    """How fine the page is, which sound it has, and what its recordings had to say."""
    lines = [f"{name}: {Path(parse_url(url).path).name}" for name, url in content.sources.items()]
    for signal in facts["signals"]:
        how = f"the least and the greatest value in each {_short(signal['bin_s'])}; what lies between was left out"
        how = f"every sample, placed to within {_short(signal['bin_s'])}" if signal["is_whole"] else how
        lines.append(f"{signal['title']}: {how}")
    for one in facts["spectrograms"]:
        lines.append(
            f"sound: the mean power in each {_short(one['column_s'])}, in {len(one['edges_hz']) - 1} bands of equal "
            f"width in mel, from {one['low_db']:.0f} to {one['high_db']:.0f} dB (0 dB: a sine of full scale)"
        )
    lines.append(_sound_line(content, facts))
    rest = len(content.notes) - MOST_NOTES
    notes = content.notes[:MOST_NOTES] + ([f"and {rest} more"] if rest > 0 else [])
    items = [tag("li", line) for line in (*filter(None, lines), *notes)]
    return tag("section", tag("h2", "What this page holds"), tag("ul", *items, class_="holds"))


def _sound_line(content: Content, facts: dict[str, Any]) -> str:
    sound = facts["sound"]
    if not content.heard:
        return "sound: there is none in this recording"
    if sound is None:
        return "sound to be played: none was kept"
    kept_s = sound["blocks"] * content.hop_s
    how = f"at {sound['rate_hz'] / 1000:g} kHz in 4 bits a sample"
    how += f", {louder} dB louder than it was" if (louder := round(sound["louder_db"])) > 0 else ""
    if kept_s >= content.span_s - 2 * content.hop_s:
        return f"sound to be played: all of it, {how}"
    return (
        f"sound to be played: {clock(kept_s)} of {clock(content.span_s)}, {how}, in {len(sound['pieces'])} pieces: "
        "around marks, where each label begins, where decisions are least sure or wrong, and some evenly between; "
        "the rest of the sound was left out"
    )


def clock(seconds: float) -> str:
    """A length of time for a person: 12.5 s, 3:05 min, 8:00:00 h."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d} h"


def _short(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
