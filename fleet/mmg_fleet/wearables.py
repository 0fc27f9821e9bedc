"""What is known of each wearable, from the messages that came: pure, no clock, no network, no file.

A wearable is its topic. What lies between the prefix that all share and the topic's last level is its group: with the
prefix ``mmg``, the wearables ``mmg/anna/wrist`` and ``mmg/anna/glasses`` are both of ``anna``, worn by one person or
watching one, and should agree. ``mmg/lamp`` is of no group. Times that are shown and kept are seconds since 1970 by
this machine's clock, which may be set; how long something lasts goes by one that nobody sets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import inf
from typing import NamedTuple

import msgspec
from mmg.printable import printable
from mmg.types import UNKNOWN

from mmg_fleet.messages import (
    KINDS,
    STATUS,
    About,
    Celsius,
    Change,
    Decision,
    HopSeconds,
    Milliseconds,
    Notice,
    Profile,
    State,
    read,
)
from mmg_fleet.offered import Offered

MOST_WEARABLES, MOST_TOLD = 10_000, 1000
LONGEST_TOPIC, LONGEST_TEXT = 300, 200
LATENCIES = 60
"""So many decisions the latency of a wearable is the median of."""
LEAST_SILENCE_S, SILENT_HOPS = 10.0, 4
"""So long without a decision, or so many hops, and a wearable is silent."""
SETTLING_S = 30.0
"""So long after the start those that disagreed before are given to be heard again."""
WELL = ("live", "warming", "asleep")


class Moment(NamedTuple):
    """wall_s: since 1970. run_s: of a clock that nobody sets, such as ``time.monotonic``, and that means something in
    this run alone."""

    wall_s: float
    run_s: float


class Wearable(msgspec.Struct, kw_only=True):
    """One of them. Its fields are the store's columns.

    first_s, heard_s: when it was first and last heard; what the broker retains is not heard from it. status: ``online``
    or ``offline``, as it or its last will says; empty before. label_s: since when the label is this one. dropped:
    samples lost. sensors: name -> state and reason. messages: all that were taken, decisions among them; refused: those
    that could not be. hop_s: of its bundle. odd: what is wrong with the bundle that it says it runs.
    """

    topic: str
    group: str = ""
    first_s: float = 0.0
    heard_s: float = 0.0
    status: str = ""
    mmg: str = ""
    bundle: str = ""
    digest: str = ""
    board: str = ""
    hop_s: HopSeconds = 0.0
    label: str | None = None
    label_s: float = 0.0
    decided_s: float = 0.0
    latency_ms: Milliseconds | None = None
    temperature_c: Celsius | None = None
    dropped: int = 0
    sensors: dict[str, tuple[str | None, str]] = {}
    notice: str = ""
    messages: int = 0
    decisions: int = 0
    refused: int = 0
    profile_s: float = 0.0
    odd: str = ""

    @property
    def ill(self) -> dict[str, tuple[str | None, str]]:
        """The sensors that are not well, or of which nothing is known."""
        return {name: said for name, said in self.sensors.items() if said[0] not in WELL}


class Totals(msgspec.Struct, kw_only=True):
    """Of all messages that came: heard is taken, refused and ignored together. retained: those taken that the broker
    had before. ignored: those of topics that are none of a wearable's."""

    heard: int = 0
    taken: int = 0
    refused: int = 0
    ignored: int = 0
    retained: int = 0


class Fleet:
    """All wearables below a prefix. Not for two threads at once.

    changed: the topics of those that changed, and profiles: the reports that came, until whoever keeps them takes both.
    differing: the groups whose wearables say different things -> since when.
    """

    def __init__(
        self,
        prefix: str,
        offered: Offered,
        wearables: Iterable[Wearable] = (),
        totals: Totals | None = None,
        differing: dict[str, float] | None = None,
        *,
        now: Moment,
    ) -> None:
        """wearables, totals, differing: what was known before."""
        self._begin = f"{prefix}/"
        self.offered, self.totals = offered, totals or Totals()
        self.wearables = {one.topic: one for one in wearables}
        self.changed: set[str] = set()
        self.profiles: dict[str, bytes] = {}
        self.latencies: dict[str, deque[float]] = {}
        self._groups: dict[str, set[str]] = {}
        for one in self.wearables.values():
            self._groups.setdefault(one.group, set()).add(one.topic)
        self.differing = {
            group: since_s
            for group, since_s in (differing or {}).items()
            if len(self._groups.get(group, ())) > 1  # others of it were forgotten
        }
        self._told: set[str] = set()
        self._newer: set[str] = set()
        """Wearables that said what they do since the broker sent what it retains."""
        self._decided_s: dict[str, float] = {}
        self._differing_s: dict[str, float] = {}
        """When a wearable decided last, and when a group began to differ, in this run and by its clock."""
        self._settled_s = now.run_s + SETTLING_S

    def begin(self) -> None:
        """The broker is about to send what it retains: of who was not heard since, it is the newest."""
        self._newer.clear()

    def take(self, topic: str, payload: bytes, *, is_retained: bool, now: Moment) -> str:
        """Take a message. Returns what is to be told of it, once for each wearable and problem; mostly nothing."""
        self.totals.heard += 1
        name, _, kind = topic.rpartition("/")
        if kind not in KINDS and kind != STATUS:
            self.totals.ignored += 1
            return ""
        try:
            message = read(kind, payload)
            wearable = self._wearable(name, now.wall_s)
        except ValueError as error:
            return self._refuse(name, kind, str(error))
        self.totals.taken += 1
        self.totals.retained += is_retained
        wearable.messages += 1
        if not is_retained:
            wearable.heard_s = now.wall_s
        self.changed.add(name)
        if isinstance(message, Decision):
            if not is_retained:  # by a stranger: a run has none retained
                self._decide(wearable, message, now)
        elif isinstance(message, State):
            self._set_state(wearable, message, now.wall_s, is_retained=is_retained)
        elif isinstance(message, Profile):
            wearable.profile_s = now.wall_s
            self.profiles[name] = payload
        elif isinstance(message, Notice):
            wearable.notice = _short(message.text)
        elif isinstance(message, About):
            return self._set_about(wearable, message)
        elif not isinstance(message, Change):
            wearable.status = message
        return ""

    def word(self, one: Wearable, now: Moment) -> str:
        """``offline``; ``deciding``; ``idle`` where it said that nothing is decided; or ``silent`` where decisions have
        stopped, as of one that is gone without its last will, or none came in this run yet."""
        if one.status == "offline" or not one.status:
            return "offline"
        if one.label is None:
            return "idle"
        decided_s = self._decided_s.get(one.topic)
        silence_s = max(LEAST_SILENCE_S, SILENT_HOPS * one.hop_s)
        return "silent" if decided_s is None or now.run_s - decided_s >= silence_s else "deciding"

    def says(self, one: Wearable, now: Moment) -> str | None:
        """The label that others can agree with, or ``unknown``; None where nothing is decided."""
        return one.label if self.word(one, now) == "deciding" else None

    def differs_for(self, group: str, now: Moment) -> float:
        """So many seconds; of one that differed before this run, without end."""
        return now.run_s - self._differing_s.get(group, -inf)

    def tick(self, now: Moment) -> None:
        """Find who disagrees. To be called about once a second: shorter differences are those of hops that are not the
        same. Who says ``unknown`` neither begins nor ends it."""
        for group, topics in self._groups.items():
            if not group or len(topics) < 2:
                continue
            said = {self.says(self.wearables[topic], now) for topic in topics} - {None}
            if len(said - {UNKNOWN}) > 1:
                if group not in self.differing:
                    self.differing[group], self._differing_s[group] = now
            elif now.run_s > self._settled_s and UNKNOWN not in said:
                self.differing.pop(group, None)

    def members(self, group: str) -> list[Wearable]:
        """The wearables of a group."""
        return [self.wearables[topic] for topic in sorted(self._groups.get(group, ()))]

    def look_at_offers(self) -> None:
        """After what is offered has changed."""
        for one in self.wearables.values():
            odd = self.offered.problem(one.bundle, one.digest)
            if odd != one.odd:
                one.odd = odd
                self.changed.add(one.topic)

    def _wearable(self, topic: str, wall_s: float) -> Wearable:
        """Raises ValueError for one that cannot be, or is one too many."""
        found = self.wearables.get(topic)
        if found is None:
            if not topic.startswith(self._begin) or not topic.isprintable() or len(topic) > LONGEST_TOPIC:
                raise ValueError("is no name of a wearable")
            if len(self.wearables) >= MOST_WEARABLES:
                raise ValueError(f"is one too many: {MOST_WEARABLES} wearables are known")
            group = topic[len(self._begin) :].rpartition("/")[0]
            found = self.wearables[topic] = Wearable(topic=topic, group=group, first_s=wall_s)
            self._groups.setdefault(group, set()).add(topic)
        return found

    def _refuse(self, topic: str, kind: str, why: str) -> str:
        self.totals.refused += 1
        if one := self.wearables.get(topic):
            one.refused += 1
            self.changed.add(topic)
        return self._once(topic, "refused", f"{kind}: {why}: such messages are counted, and not told again")

    def _once(self, topic: str, problem: str, line: str) -> str:
        """The line, where it was not told yet."""
        told = f"{problem} {topic[:LONGEST_TOPIC]}"
        if told in self._told or len(self._told) >= MOST_TOLD:
            return ""
        self._told.add(told)
        return printable(f"{topic[:LONGEST_TOPIC]}: {line}")

    def _set_about(self, wearable: Wearable, about: About) -> str:
        wearable.mmg, wearable.board = printable(about.mmg), printable(about.board)
        wearable.bundle, wearable.digest = printable(about.bundle), about.digest
        wearable.hop_s = about.hop_s
        before, wearable.odd = wearable.odd, self.offered.problem(wearable.bundle, wearable.digest)
        if not wearable.odd or wearable.odd == before:
            return ""
        return self._once(wearable.topic, wearable.odd, wearable.odd)

    def _decide(self, wearable: Wearable, decision: Decision, now: Moment) -> None:
        wearable.decisions += 1
        wearable.decided_s, self._decided_s[wearable.topic] = now
        self._newer.add(wearable.topic)
        wearable.status = "online"
        self._set_label(wearable, decision.label, now.wall_s)
        self._set_sensors(wearable, decision)
        latency_ms = decision.latency_ms.get("event_to_decision")
        if latency_ms is not None:
            kept = self.latencies.get(wearable.topic)
            if kept is None:
                kept = self.latencies[wearable.topic] = deque(maxlen=LATENCIES)
            kept.append(latency_ms)
            wearable.latency_ms = latency_ms

    def _set_state(self, wearable: Wearable, state: State, wall_s: float, *, is_retained: bool) -> None:
        if is_retained and wearable.topic in self._newer:
            return
        if not is_retained:
            self._newer.add(wearable.topic)
        self._set_label(wearable, state.label, wall_s)
        self._set_sensors(wearable, state)
        wearable.temperature_c = state.temperature_c
        wearable.dropped = wearable.dropped if state.dropped is None else state.dropped

    def _set_label(self, wearable: Wearable, label: str | None, wall_s: float) -> None:
        label = None if label is None else _short(label)
        if label != wearable.label:
            wearable.label, wearable.label_s = label, wall_s

    def _set_sensors(self, wearable: Wearable, message: Decision | State) -> None:
        wearable.sensors = {
            printable(name): (said.state and printable(said.state), _short(said.reason) if said.reason else "")
            for name, said in message.sensors.items()
        }


def _short(text: str) -> str:
    return printable(text[:LONGEST_TEXT])
