"""Whether what was taught can be told apart, and whether an example is a good one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mmg.teaching.modality import Known
from mmg.teaching.scorer import Scorer
from mmg.teaching.taught import Activity, Example, Taught
from mmg.teaching.trace import Trace

FEWEST_HOPS = 2
STILL = 0.02
"""Standard deviation of a signal's shape, of any channel in its unit, below which nothing moves."""
UNLIKE = 2.0
"""An example that is so much further from the others than they are from each other is not of their kind."""


def problem_of(example: Example, others: Sequence[Example]) -> str:
    """What is wrong with an example, in a few words; empty where nothing is. others: of the same activity."""
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
    return _unlike(example, others)


def leave_one_out(taught: Taught, hop_s: float = 0.5) -> dict[str, float]:
    """By name: the part of its examples that are known as it, where they are left out of what is taught.

    An activity with a single example has nothing to be known by, and is not in the answer.
    """
    recall = {}
    for activity in taught.activities:
        if len(activity.examples) > 1:
            known = [_known_as(taught, activity, number, hop_s) for number in range(len(activity.examples))]
            recall[activity.name] = known.count(activity.name) / len(known)
    return recall


def too_near(taught: Taught, hop_s: float = 0.5) -> list[str]:
    """A sentence for each two activities of which examples are taken for each other."""
    taken: dict[tuple[str, str], int] = {}
    for activity in taught.activities:
        if len(activity.examples) > 1:
            for number in range(len(activity.examples)):
                other = _known_as(taught, activity, number, hop_s)
                if other not in ("", activity.name):
                    first, second = sorted((activity.name, other))
                    taken[first, second] = taken.get((first, second), 0) + 1
    return [
        f"{first} and {second} are too near: {count} of their examples {'is' if count == 1 else 'are'} taken for the "
        "other; more examples of each may tell them apart, or another sensor"
        for (first, second), count in taken.items()
    ]


def _known_as(taught: Taught, activity: Activity, number: int, hop_s: float) -> str:
    """The name of the nearest activity to this example where it is left out; empty where none is near."""
    rest = tuple(one for index, one in enumerate(activity.examples) if index != number)
    activities = tuple(replace(one, examples=rest) if one is activity else one for one in taught.activities)
    scorer = Scorer(replace(taught, activities=activities), hop_s)
    found = scorer.distances(activity.examples[number].traces)
    nearest = int(np.argmin(found))
    return scorer.names[nearest] if np.isfinite(found[nearest]) else ""


def _unlike(example: Example, others: Sequence[Example]) -> str:
    """Each modality of at least two others is compared: what is far from all of them was something else."""
    for name, trace in example.traces.items():
        known = [other.traces[name] for other in others if name in other.traces]
        if len(known) < 2:
            continue
        rest = [_apart(one, [two for two in known if two is not one]) for one in known]
        if _apart(trace, known) > UNLIKE * max(max(rest), 1e-6):
            return f"{name}: unlike the other examples"
    return ""


def _apart(trace: Trace, others: Sequence[Trace]) -> float:
    """The distance to the nearest of the others."""
    encoders: Mapping[str, str] = {"one": ""}
    examples = tuple(Example({"one": other}) for other in others)
    known = Known(Taught(encoders, (Activity("one", examples),)), "one", 0.5)
    return float(known.apart(trace)[0, -1])


def _still(trace: Trace) -> bool:
    return float(trace.shape.reshape(-1, trace.shape.shape[2]).std(axis=0).max()) < STILL
