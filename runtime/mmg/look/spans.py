"""Label spans of a recording: marks, and the truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from mmg.labels import Label
from mmg.look.decided import cut

MOST_SPANS = 5000
"""More would take more room in the page than they are worth."""


def within(spans: Iterable[Label], end_s: float, what: str, report: Callable[[str], None]) -> list[Label]:
    """The spans that lie in the recording, in the order of time. What is left out is counted, and told."""
    kept: list[Label] = []
    odd = beyond = 0
    for one in spans:
        if not (math.isfinite(one.start_s) and math.isfinite(one.end_s)) or one.end_s < one.start_s:
            odd += 1
        elif one.start_s > end_s or one.end_s < 0:
            beyond += 1
        else:
            kept.append(Label(max(one.start_s, 0.0), min(one.end_s, end_s), cut(one.label)))
    kept.sort(key=lambda mark: (mark.start_s, mark.end_s))
    for count, why in (
        (odd, "end before they begin, or name no time"),
        (beyond, f"lie outside the recording, which has {end_s:.1f} s"),
        (max(len(kept) - MOST_SPANS, 0), f"are more than the {MOST_SPANS} that a page has room for"),
    ):
        if count:
            report(f"{what}: {count} {'span' if count == 1 else 'spans'} left out: they {why}")
    return kept[:MOST_SPANS]


def label_places(spans: Sequence[Label], times_s: NDArray[np.float64], places: dict[str, int]) -> NDArray[np.int16]:
    """The place of the label of the first span that holds each time, -1 where none does. New labels get new places."""
    found = np.full(len(times_s), -1, np.int16)
    for one in reversed(spans):
        found[(times_s >= one.start_s) & (times_s < one.end_s)] = places.setdefault(cut(one.label), len(places))
    return found
