"""What a run's sensors gave, cut into examples of what is taught; the rest of it is what else the wearer does."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mmg.engine import Engine
from mmg.engine.encoded import Encoded, EncodedHop
from mmg.engine.health.level import QUIET
from mmg.errors import NoSensorError
from mmg.labels import Label
from mmg.runs.live import LivePipeline
from mmg.runs.recorded import Pipeline
from mmg.runs.replay import Replay
from mmg.runs.step import Step
from mmg.teaching.check import problem_of
from mmg.teaching.scorer import Scorer
from mmg.teaching.surroundings import stands_out
from mmg.teaching.taught import Example, Taught
from mmg.teaching.trace import Trace
from mmg.types import Reached, SensorState

STEP_S = 0.1
"""So often a live run looks what has come."""
LATE_S = 1.5
"""How long after an example's end its last hop may come: more than any port's own delay."""
GIVES_PART = 0.75
"""Of an example's hops a sensor must have given so many in a row, or it is missing in it."""
LONGEST_BACKGROUND = 240
"""Hops of what else is done, two minutes at the usual pace, that one recording adds of each sensor."""
NEWEST_S = 5.0
"""A sensor is well that was in its newest seconds."""
KEPT_HOPS = 600
"""A live run remembers so many hops: no example is longer."""


@dataclass
class Heard:
    """The hops of each modality, by their number. hop_s: how long one lasts."""

    hop_s: float
    hops: dict[str, dict[int, EncodedHop]] = field(default_factory=dict)

    def take(self, encoded: Iterable[Encoded]) -> None:
        """What chunks became."""
        for one in encoded:
            self.hops.setdefault(one.modality, {}).update((hop.hop, hop) for hop in one.hops)

    def forget(self, before: int) -> None:
        """Drop the hops before this one."""
        for name, known in self.hops.items():
            self.hops[name] = {hop: one for hop, one in known.items() if hop >= before}

    @property
    def end(self) -> int:
        """The hop after the newest one."""
        return max((max(known) + 1 for known in self.hops.values() if known), default=0)

    @property
    def begin(self) -> int:
        """The oldest hop."""
        return min((min(known) for known in self.hops.values() if known), default=0)

    def around(self, start_s: float, end_s: float) -> range:
        """The hops that this span touches."""
        return range(math.floor(start_s / self.hop_s), math.ceil(end_s / self.hop_s))

    def within(self, start_s: float, end_s: float) -> range:
        """The hops that are wholly in this span; a hop's own rounding does not leave it out."""
        slack = 1e-6
        return range(math.ceil(start_s / self.hop_s - slack), math.floor(end_s / self.hop_s + slack))


@dataclass(frozen=True)
class Taken:
    """An example, or why there is none: ``problem`` is a few words, empty where all is well.

    is_fault: a sensor is to blame, and not what was done. silent: modalities in which there was nothing but what was
    there before. left_out: why each modality is not in it that was wanted.
    """

    example: Example
    problem: str = ""
    is_fault: bool = False
    silent: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)


def example_in(heard: Heard, span: range, wanted: Collection[str]) -> Taken:
    """What the ``wanted`` modalities gave in these hops."""
    if not span:
        return Taken(Example({}), f"too short: no whole hop of {heard.hop_s:g} s")
    traces: dict[str, Trace] = {}
    for name in wanted:
        known = [one for hop in span if (one := heard.hops.get(name, {}).get(hop)) is not None]
        unwell = next((one for one in known if _is_unwell(one)), None)
        if unwell is not None:
            return Taken(Example({}), f"{name} is {unwell.state}: {unwell.reason}", is_fault=True)
        run: Sequence[EncodedHop] = max(_runs(known), key=len, default=())
        if len(run) < GIVES_PART * len(span):
            gave = f"gave only {len(run) * heard.hop_s:g} s of {len(span) * heard.hop_s:g} s" if run else "gave nothing"
            return Taken(Example({}), f"{name} {gave}", is_fault=True)
        traces[name] = Trace.of(run)
    return Taken(Example(traces))


def judged(taken: Taken, taught: Taught, name: str, sounds: Mapping[str, Sequence[Trace]] | None = None) -> Taken:
    """The same, with what is wrong with it beside the examples of this activity that there are.

    sounds: what each modality of the kind ``audio``, and of no other, gave just before teaching. A sound must stand out
    from it, unless another sensor gave something: a hand can wave without a sound.
    """
    if taken.problem:
        return taken
    known = next((one.examples for one in taught.activities if one.name == name), ())
    problem = problem_of(taken.example, known, taught.hop_s)
    traces = taken.example.traces
    silent = tuple(
        modality
        for modality, heard in (sounds or {}).items()
        if not problem and modality in traces and not stands_out(traces[modality], heard)
    )
    if silent and len(silent) == len(traces):
        problem = f"{silent[0]}: nothing but what was there before: too soft, or too far away"
    return replace(taken, problem=problem, silent=silent)


def taken_from(heard: Heard, span: range, wanted: Collection[str], taught: Taught, name: str) -> Taken:
    """What those of the ``wanted`` modalities gave in these hops that gave a good example each; none of them may lack
    that the activity's other examples have."""
    whole = judged(example_in(heard, span, wanted), taught, name)
    if not whole.problem or len(wanted) < 2:
        return whole
    needed = {one for activity in taught.activities if activity.name == name for one in activity.modalities}
    alone = replace(taught, activities=())
    each = {one: judged(example_in(heard, span, (one,)), alone, name) for one in wanted}
    left_out = {one: taken.problem for one, taken in each.items() if taken.problem}
    if len(left_out) == len(each) or needed & left_out.keys():
        return whole
    traces = {one: taken.example.traces[one] for one, taken in each.items() if not taken.problem}
    return replace(judged(Taken(Example(traces)), taught, name), left_out=left_out)


def well_in(heard: Heard, states: Mapping[str, SensorState], hops: int) -> dict[str, str]:
    """Why each modality is not well in the newest ``hops``; empty where it is. states: as the engine has them."""
    end, told = heard.end, {}
    for name, state in states.items():
        known = heard.hops.get(name, {})
        newest = [known[hop] for hop in range(end - hops, end) if hop in known]
        faults = [one.reason for one in newest if _is_unwell(one)]
        gives = any(one.tokens is not None for one in newest)
        told[name] = faults[-1] if faults else "" if gives else state.reason or "gives nothing"
    return told


def background_in(heard: Heard, taken: Collection[range], context_hops: int) -> dict[str, tuple[Trace, ...]]:
    """What was given in none of the ``taken`` hops nor within a context after them, the newest of it."""
    busy = _busy(taken, context_hops)
    found: dict[str, tuple[Trace, ...]] = {}
    for name, known in heard.hops.items():
        free = [known[hop] for hop in sorted(known) if hop not in busy and not _is_unwell(known[hop])]
        runs = [run for run in _runs(free[-LONGEST_BACKGROUND:]) if len(run) >= context_hops // 2]
        if runs:
            found[name] = tuple(Trace.of(run) for run in runs)
    return found


def done_in(heard: Heard, scorer: Scorer) -> list[range]:
    """The hops in which what is taught already was done again, and so no background."""
    runs = {name: _runs([known[hop] for hop in sorted(known)]) for name, known in heard.hops.items()}
    traces = {name: [(run[0].hop, Trace.of(run)) for run in found] for name, found in runs.items()}
    return [range(hop - scorer.context_hops // 2, hop + 1) for hop in sorted(scorer.repeated(traces))]


def taken_in(heard: Heard, taken: Collection[range], context_hops: int) -> dict[str, tuple[Trace, ...]]:
    """What was given in the hops that ``background_in`` leaves out, as they are ``taken`` or near to it."""
    busy = _busy(taken, context_hops)
    found = {name: _runs([known[hop] for hop in sorted(busy & known.keys())]) for name, known in heard.hops.items()}
    return {name: tuple(Trace.of(run) for run in runs) for name, runs in found.items()}


def _busy(taken: Collection[range], context_hops: int) -> set[int]:
    return {hop for span in taken for hop in range(span.start - 1, span.stop + context_hops)}


def pieces(span: range, length: int) -> list[range]:
    """A span that is long enough for several examples of ``length`` hops, cut into equal ones."""
    count = max(1, len(span) // length)
    each = len(span) // count
    return [range(span.start + each * place, span.start + each * (place + 1)) for place in range(count)]


def spans_of(heard: Heard, labels: Sequence[Label], name: str, length: int) -> list[range]:
    """The examples of this name that labels tell; points and what is shorter than a hop give an empty one."""
    named = [label for label in labels if label.label == name]
    return [piece for label in named for piece in pieces(heard.within(label.start_s, label.end_s), length)]


def _is_unwell(hop: EncodedHop) -> bool:
    """What a sensor gives that is faulty or doubted is neither an example nor background. That it is quiet is no reason
    to doubt what it hears: whether a sound stands out is asked of each."""
    return hop.state == "faulty" or (hop.state == "doubted" and not hop.reason.startswith(QUIET))


def _runs(hops: Sequence[EncodedHop]) -> list[tuple[EncodedHop, ...]]:
    """The stretches of consecutive hops that have tokens."""
    runs: list[list[EncodedHop]] = []
    for one in hops:
        if one.tokens is None:
            continue
        if runs and runs[-1][-1].hop + 1 == one.hop:
            runs[-1].append(one)
        else:
            runs.append([one])
    return [tuple(run) for run in runs]


def hear(
    run: Pipeline | Replay, told: Iterable[Step] = (), progress: Reached = lambda _done, _of, _what: None
) -> Heard:
    """All that a recorded run's sensors give. told: steps whose tokens were recorded, which the run itself does not
    make. progress: of the run's seconds. Raises as the run does."""
    engine = run.engine
    heard = Heard(engine.hop_s)
    engine.kept = {name: [] for name in engine.modalities}
    duration_s = run.duration_s
    for decision in run:
        progress(decision.t_s, duration_s, "")
        _drain(engine, heard)
    _drain(engine, heard)
    for step in told:
        heard.take(one for one in step.encoded if one.modality in engine.modalities)
    return heard


def _drain(engine: Engine, heard: Heard) -> None:
    for made in engine.kept.values():
        heard.take(made)
        made.clear()


class Ear:
    """Live sensors, listened to for a while at a time. ``close`` it at the end.

    open_pipeline: opens the run, given what is to take its steps. now_ns: the clock of the ports. pause: waits for
    seconds.
    """

    def __init__(
        self,
        open_pipeline: Callable[[Callable[[Step], None]], LivePipeline],
        now_ns: Callable[[], int],
        pause: Callable[[float], None],
    ) -> None:
        self._now_ns, self._pause = now_ns, pause
        self._pipeline = open_pipeline(lambda step: self.heard.take(step.encoded))
        self.engine = self._pipeline.engine
        self.heard = Heard(self.engine.hop_s)
        self._pipeline.keep_tokens(self.engine.modalities)

    def start(self) -> None:
        """Begin to listen."""
        self._pipeline.start()

    def now_s(self) -> float:
        """Seconds since hop 0."""
        return (self._now_ns() - self._pipeline.origin_ns) / 1e9

    def listen(self, until_s: float, done: Callable[[], bool] = lambda: False) -> None:
        """Take what comes until then, or until it is ``done``."""
        while not done() and (left_s := until_s - self.now_s()) > 0:
            self._pause(min(STEP_S, left_s))
            self._pipeline.step()
            if any(len(known) > 2 * KEPT_HOPS for known in self.heard.hops.values()):
                self.heard.forget(self.heard.end - KEPT_HOPS)

    def well(self, hops: int) -> dict[str, str]:
        """Why each modality is not well in its newest ``hops``; empty where it is."""
        return well_in(self.heard, self.engine.states(), hops)

    def await_all(self, patience_s: float) -> None:
        """Listen until every modality gives something, for ``patience_s`` at most."""
        hops = self._newest(NEWEST_S)
        self.listen(self.now_s() + patience_s, lambda: not any(self.well(hops).values()))

    def those_well(self, seconds: float) -> tuple[str, ...]:
        """The modalities that are well in the newest of so many seconds. Raises NoSensorError where none is."""
        told = self.well(self._newest(min(seconds, NEWEST_S)))
        if all(told.values()):
            raise NoSensorError(told)
        return tuple(name for name, why in told.items() if not why)

    def _newest(self, seconds: float) -> int:
        return math.ceil(seconds / self.heard.hop_s)

    def example(self, seconds: float, wanted: Collection[str]) -> tuple[Taken, range]:
        """Listen for so long from now on, and the hops that this was."""
        first = math.ceil(self.now_s() / self.heard.hop_s)
        span = range(first, first + max(1, round(seconds / self.heard.hop_s)))

        def is_here() -> bool:
            newest = (max(self.heard.hops.get(name, {}), default=-1) for name in wanted)
            return all(hop >= span.stop - 1 for hop in newest)

        self.listen(span.stop * self.heard.hop_s + LATE_S, is_here)
        return example_in(self.heard, span, wanted), span

    def close(self) -> None:
        """Stop every port."""
        self._pipeline.close()
