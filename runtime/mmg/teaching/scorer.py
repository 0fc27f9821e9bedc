"""How probable each taught activity is in what ends at this hop."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mmg.teaching.modality import LONE, Known, Place
from mmg.teaching.taught import Taught, check_comparable
from mmg.teaching.trace import Trace

STEEP = 10.0
"""How quickly the probability falls as the distance passes the threshold, in its multiples: between what suits a
wearer's own examples (12) and those of others (5 to 8) by the log loss; docs/teach.md has how often it is right."""

AGAIN = 0.5
"""What is done again is nearer to its examples than this: between them (0) and the threshold (1). What lies beyond may
be something else that is taken for it, of which the background must know."""


class Scorer:
    """What was taught, ready to be compared with what the sensors give.

    taught: activities with their examples. Raises ConfigError where they are more than can be compared in time.

    An activity's distance in a modality is that to its nearest example, in multiples of a threshold between its
    examples' distances to each other and the background's to them; see ``Known``. It is the mean of those modalities
    that are there and that it was taught with, so that what was taught with two is known with either.
    """

    def __init__(self, taught: Taught) -> None:
        check_comparable(taught)
        self.names = taught.names
        used = sorted({name for activity in taught.activities for name in activity.modalities})
        self._known = {name: Known(taught, name) for name in used}
        self.context_hops = max((known.context_hops for known in self._known.values()), default=0)
        """How many hops, with this one, can matter to the score."""

    def distances(self, traces: Mapping[str, Trace], but: Place | None = None) -> NDArray[np.float64]:
        """``(activities,)``: below 1 where the context that ends with these traces is like it; infinite where it was
        not taught with any of these modalities, or too little came so far. but: an example that does not count."""
        total, count = np.zeros(len(self.names)), np.zeros(len(self.names))
        for name, trace in traces.items():
            known = self._known.get(name)
            if known is not None and trace.hops:
                found = known.distances(trace, but)[:, -1]
                is_there = np.isfinite(found)
                total[is_there] += found[is_there]
                count += is_there
        found = np.full(len(self.names), np.inf)
        np.divide(total, count, out=found, where=count > 0)
        return found

    def repeated(self, heard: Mapping[str, Sequence[tuple[int, Trace]]]) -> set[int]:
        """The hops with which an activity ends that is done again, by ``AGAIN``. heard: of each modality its traces,
        and the number of the first hop of each."""
        places = [place for name in self._known for place in heard.get(name, ())]
        begin = min((first for first, _ in places), default=0)
        end = max((first + trace.hops for first, trace in places), default=0)
        total, count = np.zeros((2, len(self.names), end - begin))
        for name, known in self._known.items():
            limits = known.limits(AGAIN)
            for first, trace in heard.get(name, ()):
                here, apart = slice(first - begin, first - begin + trace.hops), known.apart(trace)
                is_there = np.isfinite(apart)
                total[:, here] += np.where(is_there, apart / limits, 0)
                count[:, here] += is_there
        found = np.full(total.shape, np.inf)
        np.divide(total, count, out=found, where=count > 0)
        return {begin + int(hop) for hop in np.flatnonzero((found < 1).any(axis=0))}

    def are_alike(self, activity: int) -> bool:
        """Whether the examples of the activity with this number are nearer to each other than one alone is taken to be
        to the next of its kind, in the mean of the modalities that it was taught with."""
        near = [float(known.near[activity]) for known in self._known.values()]
        return float(np.mean([one for one in near if math.isfinite(one)])) < LONE

    def score(self, traces: Mapping[str, Trace]) -> dict[str, float]:
        """The probability of each; the rest to 1 is that it is none of them. traces: what the modalities that are live
        gave for this hop and the unbroken ones before it."""
        if not self.names:
            return {}
        logits = [STEEP * (1 - one) for one in self.distances(traces).tolist()]
        highest = max(logits)
        if highest == -math.inf:
            return dict.fromkeys(self.names, 0.0)
        parts = [math.exp(one - highest) for one in logits]
        any_of_them = 1 / (1 + math.exp(-max(highest, -500.0)))
        whole = sum(parts)
        return {name: any_of_them * part / whole for name, part in zip(self.names, parts, strict=True)}
