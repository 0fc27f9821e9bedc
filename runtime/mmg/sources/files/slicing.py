"""Cutting a whole recording into chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mmg.types import Times


def spans(times_ns: Times, every_ns: int) -> Iterator[slice]:
    """Slices of sorted times ``(T,)``, none empty, that start at multiples of ``every_ns`` after the first."""
    cells = (times_ns - times_ns[0]) // every_ns
    edges = [0, *(np.flatnonzero(np.diff(cells)) + 1).tolist(), len(times_ns)]
    for begin, end in pairwise(edges):
        yield slice(begin, end)


def sliced(blocks: Iterable[tuple[Times, NDArray[Any]]], every_ns: int) -> Iterator[tuple[Times, NDArray[Any]]]:
    """The same slices of sorted times ``(T,)`` and samples ``(T, ...)`` that come block by block."""
    first_ns: int | None = None
    times_ns: Times = np.empty(0, np.int64)
    samples: NDArray[Any] | None = None
    for more_ns, more in blocks:
        if samples is not None and len(times_ns):
            more_ns, more = np.concatenate((times_ns, more_ns)), np.concatenate((samples, more))
        times_ns, samples = more_ns, more
        first_ns = int(times_ns[0]) if first_ns is None else first_ns
        cells = (times_ns - first_ns) // every_ns
        edges = [0, *(np.flatnonzero(np.diff(cells)) + 1).tolist()]
        for begin, end in pairwise(edges):
            yield times_ns[begin:end], samples[begin:end]
        times_ns, samples = times_ns[edges[-1] :], samples[edges[-1] :]
    if samples is not None and len(times_ns):
        yield times_ns, samples
