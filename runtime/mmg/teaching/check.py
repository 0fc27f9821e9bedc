"""Whether what was taught can be told apart, and whether an example is a good one."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmg.teaching.modality import Known
from mmg.teaching.scorer import Scorer
from mmg.teaching.taught import Activity, Example, Taught
from mmg.teaching.trace import Trace
from mmg.types import Reached

FEWEST_HOPS = 2
STILL = 0.02
"""Standard deviation of a signal's shape, of any channel in its unit, below which nothing moves."""
UNLIKE = 2.0
"""An example that is so much further from the others than they are from each other is not of their kind."""
ALIKE = 0.45
"""Nearer to each other than this part of an example's own spread is chance, where there are only two or three."""
LEAST_BACKGROUND_S = 18.0
"""About as much as live teaching hears by itself before it begins: 20 s, less the hops at both ends."""


def little_background(taught: Taught) -> dict[str, float]:
    """How many seconds of background there are of each modality that was taught with and has too little."""
    used = sorted({name for one in taught.activities for name in one.modalities})
    known_s = {name: sum(trace.hops for trace in taught.background.get(name, ())) * taught.hop_s for name in used}
    return {name: seconds for name, seconds in known_s.items() if seconds < LEAST_BACKGROUND_S}


def problem_of(example: Example, others: Sequence[Example], hop_s: float) -> str:
    """What is wrong with an example, in a few words; empty where nothing is. others: of the same activity.
    hop_s: seconds of each hop."""
    wanted = sorted({name for other in others for name in other.traces})
    for name in wanted:
        if name not in example.traces:
            return f"{name} is missing, which the other examples have"
    if not example.traces:
        return "no sensor gave anything"
    for name, trace in example.traces.items():
        if trace.hops < FEWEST_HOPS:
            return f"{name}: too short: {trace.hops} hops, and {FEWEST_HOPS} are the least"
        if (
            trace.has_shape
            and _still(trace)
            and not any(_still(other.traces[name]) for other in others if name in other.traces)
        ):
            return f"{name}: nothing moved"
        if not trace.has_shape and float(trace.tokens.std(axis=(0, 1)).max()) == 0:
            return f"{name}: nothing changed: silence, or a sensor that is stuck"
    return _unlike(example, others, hop_s)


@dataclass(frozen=True, slots=True)
class Estimate:
    """How well what was taught is known, by leaving out each example in turn.

    recall: by name, the part of its examples that are known as it; an activity with a single example has nothing to be
    known by, and is not in it. near: a sentence for each two activities of which examples are taken for the other's.
    unlike: one for each activity of which most examples are called nothing, and why.
    """

    recall: Mapping[str, float]
    near: Sequence[str]
    unlike: Sequence[str] = ()


def estimate(taught: Taught, progress: Reached = lambda _done, _of, _what: None) -> Estimate:
    """An example that is left out still counts in its activity's threshold: it is one of many distances there."""
    recall: dict[str, float] = {}
    taken: dict[tuple[str, str], int] = {}
    unlike: list[str] = []
    scorer, done, count = Scorer(taught), 0, sum(len(one.examples) for one in taught.activities)
    for index, activity in enumerate(taught.activities):
        known = nothing = 0
        for number, example in enumerate(activity.examples):
            progress(done := done + 1, count, "")
            found = scorer.distances(example.traces, but=(index, number))
            nearest = int(np.argmin(found))
            if not found[nearest] < 1:
                nothing += 1
            elif nearest == index:
                known += 1
            else:
                first, second = sorted((activity.name, scorer.names[nearest]))
                taken[first, second] = taken.get((first, second), 0) + 1
        if len(activity.examples) < 2:
            continue
        recall[activity.name] = known / len(activity.examples)
        if nothing > len(activity.examples) / 2:
            unlike.append(_told_unlike(activity, known, scorer.are_alike(index)))
    return Estimate(recall, [_told_near(*both, count) for both, count in taken.items()], unlike)


def _told_unlike(activity: Activity, known: int, are_alike: bool) -> str:
    left_out = f"{activity.name} is known in {known} of {len(activity.examples)} left-out examples"
    if are_alike:
        told = f"{left_out}: its examples are alike, but the background is like them too"
        delete = f"--delete {shlex.quote(activity.name)}"
        return f"{told}: {delete} and teach it again with each time of it labelled, or into another file"
    return f"{left_out}: its examples are unlike each other: more of them, or shorter ones"


def _told_near(first: str, second: str, count: int) -> str:
    are = "is" if count == 1 else "are"
    taken = f"{first} and {second} are too near: {count} of their examples {are} taken for the other"
    return f"{taken}; more examples of each may tell them apart, or another sensor"


def _unlike(example: Example, others: Sequence[Example], hop_s: float) -> str:
    """Each modality of at least two others is compared: what is far from all of them was something else."""
    for name, trace in example.traces.items():
        known = [other.traces[name] for other in others if name in other.traces]
        if len(known) < 2:
            continue
        examples = tuple(Example({name: one}) for one in known)
        among = Known(Taught({name: ""}, (Activity("one", examples),), hop_s=hop_s), name)
        rest = [float(among.apart(one, but=(0, number))[0, -1]) for number, one in enumerate(known)]
        if float(among.apart(trace)[0, -1]) > UNLIKE * max(*rest, ALIKE):
            return f"{name}: unlike the other examples"
    return ""


def _still(trace: Trace) -> bool:
    return float(trace.shape.reshape(-1, trace.shape.shape[2]).std(axis=0).max()) < STILL
