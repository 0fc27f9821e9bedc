"""The capture times of a chunk of sound, in a few numbers and to the last nanosecond."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mmg.types import Times

MOST_RUNS = 64
"""A chunk of more is no sound that was stamped block by block."""


def to_runs(times_ns: Times, rate_hz: float, now_ns: int) -> list[tuple[int, int]] | None:
    """Runs of so many samples that end so long before ``now_ns``, each a period before the next, as microphones are
    stamped.

    None where the times are not made of few such runs.
    """
    runs: list[tuple[int, int]] = []
    if rate_hz <= 0:
        return None
    back_ns = _back(len(times_ns), rate_hz)
    rest = times_ns
    while len(rest):
        expected = rest[-1] - back_ns[-len(rest) :]
        wrong = np.flatnonzero(expected != rest)
        count = len(rest) - (int(wrong[-1]) + 1 if len(wrong) else 0)
        runs.append((count, now_ns - int(rest[-1])))
        rest = rest[: len(rest) - count]
        if len(runs) > MOST_RUNS:
            return None
    return runs[::-1]


def from_runs(runs: list[tuple[int, int]], rate_hz: float, now_ns: int) -> Times:
    """The times ``(T,)`` int64 of these runs. Raises ValueError, and OverflowError beyond 64 bits."""
    if any(count < 0 for count, _ in runs):
        raise ValueError(f"runs of less than nothing: {runs}")
    return np.concatenate([now_ns - before_ns - _back(count, rate_hz) for count, before_ns in runs])


def to_text(times_ns: Times) -> str:
    """Any times as base64 of their int64."""
    return base64.b64encode(times_ns.astype("<i8").tobytes()).decode()


def from_text(text: str) -> Times:
    """See ``to_text``. Raises ValueError."""
    times_ns: Times = np.frombuffer(base64.b64decode(text, validate=True), "<i8").astype(np.int64)
    return times_ns


def _back(count: int, rate_hz: float) -> Times:
    """From each sample to the newest, in ns."""
    back_ns: Times = np.rint(np.arange(count - 1, -1, -1) * (1e9 / rate_hz)).astype(np.int64)
    return back_ns
