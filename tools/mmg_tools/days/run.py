"""A live run in a scripted world, from its first moment to its last, and what came of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmg.runs.live import LONGEST_WAIT_S, LivePipeline
from mmg.runs.settings import Settings
from mmg.sinks.event import Decided

from mmg_tools.days.footprint import Footprint
from mmg_tools.days.judge import Found, Judge
from mmg_tools.days.stamps import Stamps
from mmg_tools.days.truth import Truth
from mmg_tools.days.world import UP_NS, World

if TYPE_CHECKING:
    from mmg.bundle import Bundle
    from mmg.runs.step import Step
    from mmg.types import Chunk

    from mmg_tools.days.faults import Pace

LOOKS, LOOK_AGAIN_S = 40, 360.0
"""At what the process holds, in a run, but no sooner again: to look takes long."""
TOLD = 1000
"""So many times in a run its progress is told."""
STAMPS_EVERY = 4
"""Chunks, of which one's stamps are looked at; every hop's tokens are."""
HOUR_NS = 3600 * 10**9


@dataclass
class Ledger:
    """By modality: samples delivered by ports, and what was told to be lost before them; the same as it came out of the
    inbox; and what of the sound is known to be lost."""

    given: Counter[str]
    given_lost: Counter[str]
    taken: Counter[str]
    taken_lost: Counter[str]

    def missing(self, name: str) -> int:
        """Samples that went into the inbox, and neither came out nor were counted."""
        return self.given[name] + self.given_lost[name] - self.taken[name] - self.taken_lost[name]


@dataclass
class Outcome:
    """Of a whole run."""

    seconds: float
    hops: int
    steps: int
    lines: int
    happened: Counter[tuple[str, str]]
    claims: Counter[tuple[str, str]]
    found: Found
    compared: dict[str, int]
    ledger: Ledger
    sound_lost: tuple[int, int]
    dropped: dict[str, int]
    losses: dict[str, dict[str, int]]
    stamps: Stamps
    footprint: Footprint
    notes: int
    wall_s: float
    cpu_s: float


class Run:
    """``go`` it once. progress: called with the seconds and the faults so far, a few times a second."""

    def __init__(self, bundle: Bundle, pace: Pace, seed: int, *, is_made: bool) -> None:
        """is_made: whether the bundle is that of ``mmg_tools.days.bundle``, whose decisions tell of what they are."""
        self.world = World(bundle.manifest, pace, seed)
        self._hop_ns = bundle.manifest.hop_ns
        self._notes = self._steps = self._lines = self._heard = 0
        self._ledger = Ledger(Counter(), Counter(), Counter(), Counter())
        self._stamps = Stamps()
        self._truth = Truth(self.world) if is_made else None
        settings = Settings(allow_video=True, unknown=0.0)
        self.pipeline = LivePipeline(
            bundle,
            self.world.ports,
            settings,
            report=self._note,
            record=self._record,
            sensed=lambda sensors: self._judge.sense(sensors),
            monotonic_ns=lambda: self.world.now_ns,
        )
        self._judge = Judge(
            self.world, self._truth, origin_ns=UP_NS, hop_ns=self._hop_ns, grace_ns=round(settings.grace_s * 1e9)
        )
        for port in self.world.ports:
            port.tap = self._hear

    def _note(self, _: str) -> None:
        self._notes += 1

    def _hear(self, chunk: Chunk) -> None:
        self.world.hear(chunk)
        name = chunk.modality
        self._ledger.given[name] += len(chunk.times_ns)
        self._ledger.given_lost[name] += chunk.dropped
        self._heard += 1
        now_ns = self.world.now_ns
        if self._heard % STAMPS_EVERY == 0 and self._judge.is_well(name, now_ns - self._hop_ns, now_ns):
            late_ns = self.world.sensors[name].late_ns(chunk)
            if late_ns is not None:
                self._stamps.add(name, (now_ns - UP_NS) // HOUR_NS, late_ns)

    def _record(self, step: Step) -> None:
        self._steps += 1
        for chunk in step.chunks:
            self._ledger.taken[chunk.modality] += len(chunk.times_ns)
            self._ledger.taken_lost[chunk.modality] += chunk.dropped

    def go(
        self, seconds: float, events: int = 0, *, progress: Callable[[float, int], None] = lambda *_: None
    ) -> Outcome:
        """For so many seconds of the sensors' time, or until so many faults have happened."""
        world, pipeline, judge = self.world, self.pipeline, self._judge
        begin_s, begin_cpu_s = time.monotonic(), time.process_time()
        footprint, looked, told, total_ns = Footprint(), 0, 0, round(seconds * 1e9)
        pipeline.start()
        while True:
            done_ns, happened = world.now_ns - UP_NS, sum(world.happened.values())
            part = happened / events if events else done_ns / total_ns
            if part * TOLD >= told:
                progress(done_ns / 1e9, happened)
                told += 1
            if part >= 1:
                break
            if part * LOOKS >= looked and footprint.is_due(done_ns / 1e9, LOOK_AGAIN_S):
                footprint.look(done_ns / 1e9)
                looked += 1
            self._turn()
        footprint.look((world.now_ns - UP_NS) / 1e9)
        pipeline.close()
        pipeline.step()
        states = pipeline.engine.states()
        return Outcome(
            seconds=(world.now_ns - UP_NS) / 1e9,
            hops=(world.now_ns - UP_NS) // self._hop_ns,
            steps=self._steps,
            lines=self._lines,
            happened=world.happened,
            claims=judge.claims.checked,
            found=judge.found,
            compared=self._truth.compared if self._truth else {},
            ledger=self._ledger,
            sound_lost=(world.microphone.lost, self._ledger.given_lost["audio"]),
            dropped={name: state.dropped for name, state in states.items()},
            losses={port.modality: dict(port.status.losses) for port in world.ports},
            stamps=self._stamps,
            footprint=footprint,
            notes=self._notes,
            wall_s=time.monotonic() - begin_s,
            cpu_s=time.process_time() - begin_cpu_s,
        )

    def _turn(self) -> None:
        """One turn of ``LivePipeline``'s own loop."""
        world, engine = self.world, self.pipeline.engine
        left_ns = max(engine.deadline_ns - world.now_ns, 0)
        world.wait(engine.hop_end_ns, min(left_ns, round(LONGEST_WAIT_S * 1e9)))
        for decision in self.pipeline.step():
            self._judge.take(decision, world.now_ns)
            self._lines += bool(Decided(decision).line)
        self.pipeline.check_required()
        self._judge.settle(world.now_ns)
