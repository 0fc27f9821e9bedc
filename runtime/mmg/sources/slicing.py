"""Cutting a whole recording into chunks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mmg.types import Times

CHUNK_NS = 100_000_000


def spans(times_ns: Times) -> Iterator[slice]:
    """Slices of sorted times ``(T,)``, none empty, that start at multiples of 100 ms after the first."""
    cells = (times_ns - times_ns[0]) // CHUNK_NS
    edges = [0, *(np.flatnonzero(np.diff(cells)) + 1).tolist(), len(times_ns)]
    for begin, end in pairwise(edges):
        yield slice(begin, end)
