"""Whether a sound stands out from what was heard before: an example in which there was none is no example."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mmg.teaching.trace import Trace

BLOCK = 256
"""Tokens that are compared with all others at once, for the memory that it takes."""
FEWEST = 16
"""Tokens of what was heard before; with fewer nothing is told apart."""
USUAL_PART = 0.2
"""The calmest part of what was heard before says how alike its tokens are: the rest may have been talk."""
STEADY = 0.45
"""How alike, in multiples of the tokens' own length, where it is quiet: eight seconds of noise give 0.33 to 0.37, rain
and crying 0.5 to 0.6, in which even a loud sound is no further from all that was heard than that is from itself."""
TIMES = 2.5
"""A token that is so many times as far from all that was heard before is something else. Of 4 s of the same noise the
furthest is at most twice as far, of knocks with a peak of -50 dBFS in noise of -70 dBFS four times."""
TOKENS = 2
"""So many of an example's tokens must be something else, as a click of the cable may be in one."""


def stands_out(trace: Trace, heard: Sequence[Trace]) -> bool:
    """Whether a sound's tokens are unlike those of ``heard``; true where this cannot be told, as too little was heard
    or too much of it."""
    before = [_rows(one) for one in heard]
    every = np.concatenate(before) if before else np.zeros((0, 1), np.float32)
    if len(every) < FEWEST:
        return True
    # What the encoder saw of neighbours overlaps.
    usual = float(np.quantile(_nearest(every, every, beside=trace.tokens.shape[1]), USUAL_PART))
    if usual > STEADY * float(np.median(np.linalg.norm(every, axis=1))):
        return True
    found = np.sort(_nearest(_rows(trace), every))
    return bool(found[-min(TOKENS, len(found))] > TIMES * usual)


def _rows(trace: Trace) -> NDArray[np.float32]:
    return trace.tokens.reshape(-1, trace.tokens.shape[2])


def _nearest(first: NDArray[np.float32], second: NDArray[np.float32], beside: int = -1) -> NDArray[np.float32]:
    """``(first,)``: the distance of each to the nearest of ``second``, but for those of its own number or so many
    ``beside`` it."""
    found, places = [], np.arange(len(second))
    for begin in range(0, len(first), BLOCK):
        apart = _distances(first[begin : begin + BLOCK], second)
        own = np.arange(begin, begin + len(apart))[:, None]
        apart[np.abs(own - places) <= beside] = np.inf
        found.append(apart.min(axis=1))
    return np.concatenate(found)


def _distances(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """``(first, second)``."""
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1) - 2 * (first @ second.T)
    found: NDArray[np.float32] = np.sqrt(np.maximum(squares, 0))
    return found
