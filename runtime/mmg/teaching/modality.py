"""What was taught of one modality: templates, and how near to them is near."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mmg.teaching.alignment import Templates
from mmg.teaching.pooling import WINDOW, Pooled
from mmg.teaching.taught import Taught
from mmg.teaching.trace import Trace

LONGEST_S = 4.0
"""An example that is longer gives several templates, ``WINDOWS`` at most, each three quarters as long as this."""
WINDOWS = 4
WEIGHTS = {"shape": 1.0, "tokens": 0.5}
"""Of the parts of a distance, each in multiples of the background's."""
LEAST_SPREAD = 1e-3
"""Of a channel, in its unit: what never changes is not magnified."""
MOST_COMPARED = 1200
"""Hops of background, taken evenly from all."""
BETWEEN = 0.65
"""Where the threshold lies between the own examples (0) and the nearest of the background (1)."""
NEAREST_PART = 0.005
"""Of the background's hops, those that may be nearer than what counts as its nearest."""
BETWEEN_TAUGHT, NEAREST_TAUGHT = 0.4, 0.25
"""The same towards the other activities' examples, which are more like it than what else is done: the nearest quarter
of them counts. Of what was tried, this takes few untaught actions for a taught one and still knows a wearer's own."""
LONE = 0.6
"""How far an example is from the next of its kind, in multiples of its distance to background, where it is the only
one."""

Part = Literal["shape", "tokens"]
Apart = Mapping[Part, NDArray[np.float32]]
"""``(templates, hops)`` of each part."""
Place = tuple[int, int]
"""The number of an activity and that of an example of it."""


class Known:
    """The templates of one modality, of all activities that were taught with it.

    The distance to a template is that of its shape and that of its tokens, both aligned, each divided by the
    template's mean distance to background, and summed with ``WEIGHTS``. Where a modality has no shape it is that of
    its tokens, pooled.
    """

    def __init__(self, taught: Taught, modality: str) -> None:
        self._count = len(taught.activities)
        longest = max(round(LONGEST_S / taught.hop_s), 1)
        examples = [
            (index, number, example.traces[modality])
            for index, activity in enumerate(taught.activities)
            for number, example in enumerate(activity.examples)
            if modality in example.traces
        ]
        has_shape = all(trace.has_shape for _, _, trace in examples)
        windows = [
            (index, number, window)
            for index, number, example in examples
            for window in (windows_of(example, longest) if has_shape else [example])
        ]
        self._activity = np.array([index for index, _, _ in windows])
        self._example = np.array([number for _, number, _ in windows])
        background = _thinned(taught.background.get(modality, ()), longest)
        traces = [window for _, _, window in windows]
        self.context_hops = 2 * max(trace.hops for trace in traces) if has_shape else WINDOW
        parts: tuple[Part, ...] = ("shape", "tokens") if has_shape else ("tokens",)
        compare = Templates if has_shape else Pooled
        self._parts = {part: _Compared(part, traces, background, compare) for part in parts}
        self._weights = {part: WEIGHTS[part] / sum(WEIGHTS[one] for one in parts) for part in parts}
        self._norms = {part: np.ones((len(traces), 1), np.float32) for part in parts}
        self._thresholds = np.ones((self._count, 1))
        self.near = np.full(self._count, np.inf)
        """``(activities,)``: the mean distance of its examples to each other, in multiples of the background's."""
        self._set_thresholds(examples, background)

    def distances(self, trace: Trace, but: Place | None = None) -> NDArray[np.float64]:
        """``(activities, hops)``: of what ends with each hop, in multiples of the activity's threshold.

        but: an example that does not count.
        """
        return self.apart(trace, but) / self._thresholds

    def apart(self, trace: Trace, but: Place | None = None) -> NDArray[np.float64]:
        """``(activities, hops)``: the same in multiples of the background's distance."""
        return self._nearest(self._to_templates(trace), but)

    def limits(self, part: float) -> NDArray[np.float64]:
        """``(activities, 1)``: so far between its examples' distance to each other (0) and its threshold (1), and never
        beyond that; in multiples of the background's distance."""
        near = np.minimum(self.near, 1)[:, None]
        limits: NDArray[np.float64] = np.minimum(near + part * (self._thresholds - near), self._thresholds)
        return limits

    def _to_templates(self, trace: Trace) -> NDArray[np.float32]:
        """``(templates, hops)``; infinite where the trace lacks a part that was taught."""
        return self._summed({part: compared.distances(trace) for part, compared in self._parts.items()})

    def _summed(self, found: Apart) -> NDArray[np.float32]:
        """``(templates, hops)``: of all parts, in multiples of the background's distance."""
        total: NDArray[np.float32] = np.zeros(1, np.float32)
        for part, one in found.items():
            total = total + self._weights[part] * one / self._norms[part]
        return total

    def _nearest(self, found: NDArray[np.float32], but: Place | None = None) -> NDArray[np.float64]:
        """``(activities, hops)`` of ``(templates, hops)``. but: the example of which no template counts."""
        if but is not None:
            is_it = (self._activity == but[0]) & (self._example == but[1])
            found = np.where(is_it[:, None], np.inf, found)
        nearest = np.full((self._count, found.shape[1]), np.inf)
        begins = np.flatnonzero(np.diff(self._activity, prepend=-1))
        nearest[self._activity[begins]] = np.minimum.reduceat(found, begins, axis=0)
        return nearest

    def _set_thresholds(self, examples: Sequence[tuple[int, int, Trace]], background: Sequence[Trace]) -> None:
        """Each is compared with all templates once, before and after these are divided by their norms."""
        compared = [
            {part: one.distances(trace) for part, one in self._parts.items()}
            for trace in (*background, *(trace for _, _, trace in examples))
        ]
        beside, taught = compared[: len(background)], compared[len(background) :]
        places = [(index, number) for index, number, _ in examples]
        self._set_norms([index for index, _ in places], beside, taught)
        self._thresholds = self._between(places, beside, taught)

    def _set_norms(self, owners: Sequence[int], beside: Sequence[Apart], taught: Sequence[Apart]) -> None:
        """Each template's mean distance to background and to the other activities' examples. owners: of ``taught``."""
        for part, compared in self._parts.items():
            rows = [_mean(np.concatenate([one[part] for one in beside], axis=1))[None]] if beside else []
            rows += self._to_others(owners, [one[part] for one in taught])
            norms = _mean(np.vstack(rows).T) if rows else np.full(len(self._activity), np.nan)
            norms = np.where(norms > 0, norms, compared.to_nothing())
            self._norms[part] = norms[:, None].astype(np.float32)

    def _to_others(self, owners: Sequence[int], found: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float64]]:
        """``(1, templates)``: the mean distance to the other activities' examples; nothing where there is no other."""
        known = sorted(set(owners))
        if len(known) < 2:
            return []
        means = [
            _mean_end([one for one, owner in zip(found, owners, strict=True) if owner == index]) for index in known
        ]
        own = np.array(known)[:, None] == self._activity
        return [_mean(np.where(own, np.inf, np.stack(means)).T)[None]]

    def _between(
        self, places: Sequence[Place], beside: Sequence[Apart], taught: Sequence[Apart]
    ) -> NDArray[np.float64]:
        """``(activities, 1)``: the threshold, between the own examples' distances and those of all else: of the
        background, and of the other activities' examples, whichever is lower."""
        found = [self._nearest(self._summed(one)) for one in beside]
        # A background's mean distance, 1, is as near as any that is not known.
        around = np.concatenate([*found, np.ones((self._count, 1))], axis=1)
        nearest, own = self._among_taught(places, taught)
        thresholds = np.ones(self._count)
        for index in range(self._count):
            near = float(np.mean([one for one in own.get(index, ()) if math.isfinite(one)] or [LONE]))
            self.near[index] = near if index in own else math.inf
            thresholds[index] = min(
                threshold_between(near, around[index], NEAREST_PART, BETWEEN),
                threshold_between(near, nearest[index], NEAREST_TAUGHT, BETWEEN_TAUGHT),
            )
        return thresholds[:, None]

    def _among_taught(
        self, places: Sequence[Place], taught: Sequence[Apart]
    ) -> tuple[NDArray[np.float64], dict[int, list[float]]]:
        """How near each example comes to each activity, ``(activities, examples)``, infinite to its own; and how near
        the other examples of its own are to it."""
        rows, own = [], dict[int, list[float]]()
        for place, one in zip(places, taught, strict=True):
            found = self._summed(one)
            own.setdefault(place[0], []).append(float(self._nearest(found, but=place)[place[0]].min()))
            nearest = self._nearest(found).min(axis=1)
            nearest[place[0]] = math.inf
            rows.append(nearest)
        return np.stack(rows, axis=1), own


class _Compared:
    """One part of the templates."""

    def __init__(
        self,
        part: Part,
        traces: Sequence[Trace],
        background: Sequence[Trace],
        compare: type[Templates] | type[Pooled],
    ) -> None:
        self._part: Part = part
        every = np.concatenate([_rows(part, trace) for trace in (*traces, *background)])
        # Distances are differences of squares: what is far from zero beside its spread would leave nothing of them.
        self._center = every.mean(axis=0, dtype=np.float64).astype(np.float32)
        spread = (every - self._center).std(axis=0, dtype=np.float64)  # a square may be beyond float32
        self._scale = np.maximum(spread, LEAST_SPREAD).astype(np.float32)
        self._sequences = [(_rows(part, trace) - self._center) / self._scale for trace in traces]
        self._templates = compare(self._sequences)

    def distances(self, trace: Trace) -> NDArray[np.float32]:
        """``(templates, hops)``: at the end of each hop."""
        rows = _rows(self._part, trace)
        if rows.shape[1] != len(self._scale):
            return np.full((len(self._sequences), trace.hops), np.inf, np.float32)
        each = len(rows) // trace.hops
        return self._templates.distances((rows - self._center) / self._scale)[:, each - 1 :: each]

    def to_nothing(self) -> NDArray[np.float32]:
        """``(templates,)``: the mean distance to its own mean, of a template that nothing else is known beside."""
        return np.array([np.linalg.norm(one - one.mean(axis=0), axis=1).mean() + 1e-6 for one in self._sequences])


def threshold_between(near: float, beside: NDArray[np.float64], nearest: float, between: float) -> float:
    """near: the mean distance of an activity's examples to each other. beside: the distances of what is none of it, of
    which the ``nearest`` part may be nearer than what counts. Infinite where there is nothing beside."""
    known = beside[np.isfinite(beside)]
    far = float(np.quantile(known, nearest)) if len(known) else math.inf
    return max(near + between * (far - near), 0.05)


def windows_of(trace: Trace, longest: int) -> list[Trace]:
    """The trace, or where it has more hops than that, parts of it that cover it evenly."""
    if trace.hops <= longest:
        return [trace]
    length = max(longest * 3 // 4, 1)
    count = min(WINDOWS, -(-trace.hops // length) + 1)
    begins = np.linspace(0, trace.hops - length, count).round().astype(int)
    return [trace.part(begin, begin + length) for begin in dict.fromkeys(begins.tolist())]


def _thinned(traces: Sequence[Trace], longest: int) -> list[Trace]:
    """Even parts of all traces, ``MOST_COMPARED`` hops together at most, each as long as a path can be."""
    pieces = [trace.part(at, at + 4 * longest) for trace in traces for at in range(0, trace.hops, 4 * longest)]
    most = max(MOST_COMPARED // (4 * longest), 1)
    chosen = np.linspace(0, len(pieces) - 1, min(most, len(pieces))).round().astype(int)
    return [pieces[index] for index in chosen]


def _mean(found: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """``(templates,)``: of those distances that are finite; NaN where none is."""
    is_there = np.isfinite(found)
    total = np.where(is_there, found, 0).sum(axis=1, dtype=np.float64)
    count = is_there.sum(axis=1)
    means = np.full(len(found), np.nan)
    np.divide(total, count, out=means, where=count > 0)
    return means


def _mean_end(found: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """``(templates,)``: of the distances at the end of each of these."""
    return _mean(np.stack([one[:, -1] for one in found], axis=1))


def _rows(part: Part, trace: Trace) -> NDArray[np.float32]:
    """``(points, width)``: one after the other."""
    array = trace.shape if part == "shape" else trace.tokens
    hops, each, width = array.shape
    return array.reshape(hops * each, width)
