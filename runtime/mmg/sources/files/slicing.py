"""Cutting a whole recording into chunks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mmg.types import Times


def spans(times_ns: Times, every_ns: int) -> Iterator[slice]:
    """Slices of sorted times ``(T,)``, none empty, that start at multiples of ``every_ns`` after the first."""
    cells = (times_ns - times_ns[0]) // every_ns
    edges = [0, *(np.flatnonzero(np.diff(cells)) + 1).tolist(), len(times_ns)]
    for begin, end in pairwise(edges):
        yield slice(begin, end)
