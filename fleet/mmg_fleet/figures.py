"""What the page shows, as JSON's types: a row for each wearable, and what follows from all of them."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from math import inf
from statistics import median
from typing import Any, TypeAlias

import msgspec

from mmg_fleet.wearables import Fleet, Moment, Wearable

Row: TypeAlias = dict[str, Any]
DIFFERING_S = 5.0
"""Groups that disagree for less are not shown: hops do not end together."""
EVERY_S = 1.0
"""All is made anew so often at most, whoever looks."""
GONE = ("offline", "silent")
MOST_DIFFERING, MOST_OF_A_GROUP = 200, 20


def encode(figures: dict[str, Any]) -> str:
    """As JSON. Raises ValueError for a number that JSON cannot hold."""
    return json.dumps(figures, separators=(",", ":"), allow_nan=False) + "\n"


class Figures:
    """Of a fleet. run: another one for each start, by which a page sees that its numbers begin anew."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet, self.run = fleet, secrets.token_hex(8)
        self._rows: dict[str, tuple[int, Row]] = {}
        self._rest: dict[str, Any] = {}
        self._number, self._made_s = 0, -inf

    def since(self, run: str, number: int, now: Moment) -> dict[str, Any]:
        """Rows that changed after this number of this run, and the rest whole. What to ask with next is among it."""
        number = number if run == self.run else 0
        if now.run_s - self._made_s >= EVERY_S:
            self._make(now)
        rows = [row for changed, row in self._rows.values() if changed > number]
        return {"run": self.run, "number": self._number, "rows": rows, **self._rest}

    def _make(self, now: Moment) -> None:
        fleet, self._made_s = self._fleet, now.run_s
        self._number += 1
        for topic, one in fleet.wearables.items():
            row = row_of(fleet, one, now)
            before = self._rows.get(topic)
            if before is None or before[1] != row:
                self._rows[topic] = self._number, row
        self._rest = {
            "now": round(now.wall_s, 1),
            "boards": boards(fleet, now),
            "bundles": bundles(fleet),
            "differing": differing(fleet, now),
            "totals": msgspec.structs.asdict(fleet.totals),
        }


def row_of(fleet: Fleet, one: Wearable, now: Moment) -> Row:
    """A wearable. heard: seconds since 1970, of one that is not deciding: who decides is heard all the time."""
    known = fleet.offered.known.get(one.digest)
    newest = fleet.offered.newest.get(known.name) if known else None
    word = fleet.word(one, now)
    return {
        "topic": one.topic,
        "word": word,
        "heard": 0 if word == "deciding" else round(one.heard_s),
        "bundle": one.bundle,
        "digest": one.digest[:12],
        "version": known.version if known and known.name == one.bundle else 0,
        "old": bool(known and newest and known.version < newest),
        "odd": one.odd,
        "board": one.board,
        "label": one.label,
        "since": round(one.label_s),
        "ill": {name: ": ".join(filter(None, said)) or "not known" for name, said in one.ill.items()},
        "latency": _rounded(_latency_ms(fleet, one)),
        "temperature": None if one.temperature_c is None else round(one.temperature_c),
        "refused": one.refused,
        "notice": one.notice,
        "profile": round(one.profile_s),
    }


def boards(fleet: Fleet, now: Moment) -> list[Row]:
    """Of each kind of board: how many are there of all, their latency and how warm they are.

    The latency is of the last decisions of each; of one that is gone nothing counts.
    """
    found: dict[str, list[Wearable]] = {}
    for one in fleet.wearables.values():
        found.setdefault(one.board, []).append(one)
    rows = []
    for board, members in sorted(found.items()):
        here = [one for one in members if fleet.word(one, now) not in GONE]
        latencies = sorted(latency for one in here for latency in fleet.latencies.get(one.topic, ()))
        warm = [one.temperature_c for one in here if one.temperature_c is not None]
        rows.append(
            {
                "board": board,
                "here": len(here),
                "all": len(members),
                "p50": _rounded(_percentile(latencies, 50)),
                "p95": _rounded(_percentile(latencies, 95)),
                "warm": round(median(warm), 1) if warm else None,
                "hottest": round(max(warm), 1) if warm else None,
            }
        )
    return rows


def bundles(fleet: Fleet) -> list[Row]:
    """Of each bundle that is run or offered, how many run it, the most first."""
    counts = Counter((one.bundle, one.digest) for one in fleet.wearables.values() if one.digest)
    here = {digest for _, digest in counts}
    for digest, known in fleet.offered.known.items():
        if digest not in here and fleet.offered.newest.get(known.name) == known.version:
            counts[known.name, digest] = 0
    rows = []
    for (name, digest), count in counts.most_common():
        known_as = fleet.offered.known.get(digest)
        version = known_as.version if known_as and known_as.name == name else 0
        is_newest = bool(version) and fleet.offered.newest.get(name) == version
        rows.append({"bundle": name, "digest": digest[:12], "version": version, "newest": is_newest, "count": count})
    return rows


def differing(fleet: Fleet, now: Moment) -> list[Row]:
    """The groups that disagree, the longest first: who says what, and since when."""
    rows = []
    for group, since_s in sorted(fleet.differing.items(), key=lambda item: item[1]):
        says = {one.topic: said for one in fleet.members(group) if (said := fleet.says(one, now)) is not None}
        if fleet.differs_for(group, now) >= DIFFERING_S and len(says) > 1:
            shown = dict(list(says.items())[:MOST_OF_A_GROUP])
            rows.append({"group": group, "since": round(since_s), "says": shown})
    return rows[:MOST_DIFFERING]


def _latency_ms(fleet: Fleet, one: Wearable) -> float | None:
    kept = fleet.latencies.get(one.topic)
    return median(kept) if kept else one.latency_ms


def _percentile(ordered: list[float], percent: int) -> float | None:
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)] if ordered else None


def _rounded(milliseconds: float | None) -> float | None:
    """To what can be told apart, so that a row does not change all the time."""
    if milliseconds is None:
        return None
    return round(milliseconds) if abs(milliseconds) >= 10 else round(milliseconds, 1)
