"""What a folder of results comes to: accuracies, faults, failures, the worst recordings, and bundles compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mmg_batch.compare import Interval, Pair, accuracy, difference, sums
from mmg_batch.faults import kind_of

Row = dict[str, Any]
WORST, FEWEST_JUDGED = 20, 5
"""Recordings that are shown, and decisions with a truth that one needs to be among them."""
MOST_KINDS = 30
NOT_SAID = "not said"


@dataclass(frozen=True)
class Line:
    """A group of rows: accuracy by whatever names it."""

    names: tuple[str, ...]
    recordings: int
    hours: float
    judged: int
    accuracy: Interval | None


@dataclass(frozen=True)
class FaultKind:
    """A kind of fault: in how many recordings, for how many decisions, and of all decisions of these. reason: that of
    one of them; the others' have other numbers."""

    sensor: str
    state: str
    reason: str
    recordings: int
    decisions: int
    share: float


@dataclass(frozen=True)
class Worst:
    """A recording and how well it was decided from all of its sensors."""

    recording: str
    bundle: str
    subset: str
    person: str
    judged: int
    accuracy: float


@dataclass(frozen=True)
class Failed:
    """Why recordings failed, as the first of them says; in how many, also where numbers and names differ."""

    reason: str
    recordings: int
    example: str


@dataclass(frozen=True)
class Compared:
    """A bundle less another on the decisions that both made, from one subset. left_out: decisions of either whose truth
    is known, and that the other did not make."""

    bundle: str
    other: str
    subset: str
    recordings: int
    decisions: int
    left_out: int
    difference: Interval


@dataclass(frozen=True)
class Report:
    """All of it. is_by_person: whether people are known; else each recording stands for one."""

    recordings: int
    failed: int
    decisions: int
    hours: float
    is_by_person: bool
    by_subset: list[Line]
    by_person: list[Line]
    by_board: list[Line]
    compared: list[Compared]
    faults: list[FaultKind]
    failures: list[Failed]
    worst: list[Worst]


def make_report(rows: Sequence[Row], shared: Callable[[Row, Row], Pair]) -> Report:
    """rows: of the table of recordings. shared: what the bundles of two of them decided alike; see ``Shared``."""
    decided = [row for row in rows if row["subset"] and row["decisions"]]
    fullest = _fullest(decided)
    spans = {row["recording"]: row["span_s"] or 0.0 for row in decided}
    return Report(
        recordings=len({row["recording"] for row in rows}),
        failed=len({row["recording"] for row in rows if row["problem"]}),
        decisions=sum(row["decisions"] for row in rows),
        hours=sum(spans.values()) / 3600,
        is_by_person=any(row["person"] for row in rows),
        by_subset=_lines(decided, lambda row: (row["bundle"], row["subset"])),
        by_person=_lines(fullest, lambda row: (row["person"] or NOT_SAID, row["bundle"])),
        by_board=_lines(fullest, lambda row: (row["board"] or NOT_SAID, row["bundle"])),
        compared=_compared(decided, shared),
        faults=_faults(fullest),
        failures=_failures(rows),
        worst=_worst(fullest),
    )


def _fullest(rows: Iterable[Row]) -> list[Row]:
    """Of each recording and bundle the row with the most sensors."""
    found: dict[tuple[str, str], Row] = {}
    for row in rows:
        key = row["recording"], row["bundle"]
        if key not in found or row["subset"].count("+") > found[key]["subset"].count("+"):
            found[key] = row
    return list(found.values())


def _person(row: Row) -> str:
    return f"person {row['person']}" if row["person"] else f"recording {row['recording']}"


def _lines(rows: Iterable[Row], names: Callable[[Row], tuple[str, ...]]) -> list[Line]:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(names(row), []).append(row)
    lines = []
    for key, group in sorted(groups.items()):
        people = sums((_person(row), (row["judged"], row["correct"])) for row in group)
        lines.append(
            Line(
                key,
                len({row["recording"] for row in group}),
                sum(row["span_s"] or 0.0 for row in group) / 3600,
                sum(row["judged"] for row in group),
                accuracy((judged, right) for judged, right in people.values()),
            )
        )
    return lines


def _compared(rows: Sequence[Row], shared: Callable[[Row, Row], Pair]) -> list[Compared]:
    judged = Counter[tuple[str, str]]()
    for row in rows:
        judged[row["bundle"], row["subset"]] += row["judged"]
    by_key = {(row["recording"], row["bundle"], row["subset"]): row for row in rows if not row["problem"]}
    bundles = sorted({row["bundle"] for row in rows})
    found: dict[tuple[str, str, str], list[tuple[str, Pair]]] = {}
    for (recording, bundle, subset), row in by_key.items():
        for other in bundles[bundles.index(bundle) + 1 :]:
            if its := by_key.get((recording, other, subset)):
                pair = shared(row, its)
                if pair.judged:
                    found.setdefault((bundle, other, subset), []).append((_person(row), pair))
    compared = []
    for (bundle, other, subset), pairs in sorted(found.items()):
        people = sums((person, (pair.judged, pair.right, pair.other_right)) for person, pair in pairs)
        result = difference(Pair(*figures) for figures in people.values())
        assert result is not None
        count = sum(pair.judged for _, pair in pairs)
        left_out = judged[bundle, subset] + judged[other, subset] - 2 * count
        compared.append(Compared(bundle, other, subset, len(pairs), count, left_out, result))
    return compared


def _faults(rows: Sequence[Row]) -> list[FaultKind]:
    found: dict[tuple[str, str, str], list[tuple[Row, Row]]] = {}
    for row in rows:
        for fault in row["faults"]:
            key = fault["sensor"], fault["state"], kind_of(fault["reason"])
            found.setdefault(key, []).append((row, fault))
    kinds = []
    for (sensor, state, _), those in found.items():
        hops = sum(fault["hops"] for _, fault in those)
        share = hops / sum(row["decisions"] for row, _ in those)
        recordings = len({row["recording"] for row, _ in those})
        kinds.append(FaultKind(sensor, state, those[0][1]["reason"], recordings, hops, share))
    return sorted(kinds, key=lambda kind: -kind.decisions)[:MOST_KINDS]


def _failures(rows: Sequence[Row]) -> list[Failed]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row["problem"]:
            found.setdefault(kind_of(row["problem"].replace(row["recording"], "")), []).append(row)
    kinds = []
    for those in found.values():
        first, names = those[0], {row["recording"] for row in those}
        kinds.append(Failed(first["problem"].removeprefix(f"{first['recording']}: "), len(names), first["recording"]))
    return sorted(kinds, key=lambda kind: -kind.recordings)[:MOST_KINDS]


def _worst(rows: Sequence[Row]) -> list[Worst]:
    judged = [row for row in rows if row["judged"] >= FEWEST_JUDGED]
    worst = sorted(judged, key=lambda row: (row["accuracy"], row["recording"], row["bundle"]))[:WORST]
    return [
        Worst(row["recording"], row["bundle"], row["subset"], row["person"] or "", row["judged"], row["accuracy"])
        for row in worst
    ]
