"""The check of a port with a fault: its decisions are the truth's, or the fault is told, and none is shown live that
differs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mmg.bundle import Bundle
from mmg.types import Decision
from port_faults import Rows, Said
from wires import BOOT_NS, Wire

TICK_MS = 40
TORN = 0.75
"""Where the truth itself is less sure, nothing is told by another label."""
MOST_OTHER = 0.05
"""The part of the decisions that may differ all the same: the first ones after a gap or a fault have less context."""
MOST_OTHER_OF_LOST = 0.1
"""The same where hops are lost again and again, which is told."""
ROWS_A_SECOND = 100


class AsTruth(NamedTuple):
    """Nearly every hop is decided, and as in the truth. told: what else is said, a regular expression."""

    told: str = ""


class Told(NamedTuple):
    """The sensor is not what it seems, and shown as ``state``. words: how that is told, a regular expression.

    within_s: from the first sample of the fault to the line.
    """

    state: str
    words: str
    within_s: float


class Lost(NamedTuple):
    """Hops or samples are lost, and told so. words: a regular expression. decided: the least number of decisions."""

    words: str
    decided: int


@dataclass(frozen=True, slots=True)
class Fault:
    """said: what comes, made from the truth. out_s: from when until when the cable is out."""

    said: Callable[[Rows], Said]
    outcome: AsTruth | Told | Lost
    query: str = "protocol=text"
    grace_s: float = 0.2
    begin_s: float = 0.0
    out_s: tuple[float, float] | None = None


Truth = dict[int, Decision]


class Run(NamedTuple):
    """What came of it: the decisions, the lines and when each came, in s since the start, and the state at the end."""

    made: list[Decision]
    notes: list[str]
    noted_s: list[float]
    state: str

    def first_told_s(self, words: str) -> float:
        """When something like this was said; never is infinite."""
        told = [at for at, note in zip(self.noted_s, self.notes, strict=True) if re.search(words, note)]
        return min(told, default=float("inf"))


def play(
    bundle: Bundle,
    fault: Fault,
    rows: Rows,
    *,
    root: Path = Path("/"),
    while_out: Callable[[], None] = lambda: None,
) -> Run:
    """root: where ``sys`` and ``dev`` lie. while_out: called when the cable is out."""
    wire = Wire(bundle, fault.query, fault.grace_s, root=root)
    coming = list(fault.said(rows))[::-1]
    out_ms, back_ms = (round(at_s * 1000) for at_s in fault.out_s or (-1, -1))

    def say(ms: int) -> bytes:
        if ms == out_ms + TICK_MS:  # what was on the way has come
            wire.unplug()
            while_out()
        if ms == back_ms:
            wire.plug()
        come = b""
        while coming and coming[-1][0] <= ms:
            come += coming.pop()[1]
        return come

    made = wire.run(say, len(rows) / ROWS_A_SECOND, TICK_MS)
    state = wire.pipeline.engine.states()["imu"].state
    wire.pipeline.close()
    noted_s = [(at_ns - BOOT_NS) / 1e9 for at_ns in wire.noted_ns]
    return Run(made, wire.notes, noted_s, state)


def others(run: Run, truth: Truth, begin_s: float = 0.0, end_s: float = 0.0) -> list[str]:
    """Decisions that are shown live and differ from the truth, but for those from ``begin_s`` to ``end_s``.

    A change of label may come a hop sooner or later.
    """
    differ = []
    for one in run.made:
        told = one.sensors["imu"].state != "live" or begin_s < one.t_s <= end_s
        around = [truth[hop] for hop in range(one.hop - 1, one.hop + 2) if hop in truth]
        is_sure = all(each.confidence > TORN for each in around)
        if not told and is_sure and one.label not in {each.label for each in around}:
            differ.append(f"{one.t_s:g} s: {one.label} for {truth[one.hop].label}")
    return differ


def assert_truth_or_told(run: Run, truth: Truth, outcome: AsTruth | Told | Lost, begin_s: float = 0.0) -> None:
    """The one check of all faults."""
    end_s = begin_s + outcome.within_s if isinstance(outcome, Told) else 0.0
    differ = others(run, truth, begin_s, end_s)
    most = MOST_OTHER_OF_LOST if isinstance(outcome, Lost) else MOST_OTHER
    assert len(differ) <= most * len(truth), (differ, run.notes)
    unwell = [note for note in run.notes if "faulty" in note or "doubted" in note]
    if isinstance(outcome, Told):
        assert begin_s <= run.first_told_s(outcome.words) <= end_s, list(zip(run.noted_s, run.notes, strict=True))
        assert run.first_told_s("faulty|doubted") >= begin_s
        assert run.state in outcome.state.split("|")
    elif isinstance(outcome, Lost):
        assert run.first_told_s(outcome.words) < float("inf"), run.notes
        assert outcome.decided <= len(run.made) < len(truth) or "samples dropped" in run.notes[-1]
    else:
        assert len(run.made) >= len(truth) - 1
        assert not unwell
        assert not outcome.told or run.first_told_s(outcome.told) < float("inf"), run.notes
        usual = [note for note in run.notes if re.search("connected|looking for the device", note)]
        assert len(run.notes) == len(usual) + bool(outcome.told), run.notes
