"""Joining the sensors of a GoPro, which sample each at its own pace, payload by payload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mmg.types import Times

# Nothing waits longer than this for the other sensor: both come a payload at a time, so that one without samples lost
# its own, whatever a payload lasts.
PATIENCE_NS = 3_000_000_000
# A sample is with the other sensor's where one of these is no further away than this many of its periods.
REACH = 1.0


class Joiner:
    """One or two streams ``(T, 3)`` on the time line of the faster one: the slower one's samples are read off the lines
    between them.

    periods_ns: each stream's time from sample to sample. alone: samples of the faster one that are left out, because
    the other has none around them.
    """

    def __init__(self, periods_ns: Mapping[str, float]) -> None:
        self._periods_ns = periods_ns
        self.lead = min(periods_ns, key=lambda name: periods_ns[name])
        self._times: dict[str, Times] = {name: np.empty(0, np.int64) for name in periods_ns}
        self._values: dict[str, NDArray[np.float64]] = {name: np.empty((0, 3)) for name in periods_ns}
        self.alone = 0

    def push(self, name: str, times_ns: Times, values: NDArray[np.float64]) -> None:
        """Take samples that are later than all before them."""
        self._times[name] = np.concatenate([self._times[name], times_ns])
        self._values[name] = np.concatenate([self._values[name], values])

    def take(self, *, all_of_it: bool = False) -> tuple[Times, dict[str, NDArray[np.float64]]]:
        """The times that every stream has reached, and each stream's values there; at the end, all that there is."""
        lead, others = self.lead, [name for name in self._times if name != self.lead]
        times = self._times[lead]
        count = len(times)
        if others and count and not all_of_it:
            reached = min((int(self._times[name][-1]) if len(self._times[name]) else times[0] - 1) for name in others)
            reached = max(reached, int(times[-1]) - PATIENCE_NS)
            count = int(np.searchsorted(times, reached, side="right"))
        times = times[:count]
        found = {name: self._read_off(name, times) for name in others}
        together = np.ones(count, np.bool_)
        for near, _ in found.values():
            together &= near
        self.alone += int((~together).sum())
        rows = {name: values[together] for name, (_, values) in found.items()}
        rows[lead] = self._values[lead][:count][together]
        self._times[lead], self._values[lead] = self._times[lead][count:], self._values[lead][count:]
        for name in others:
            self._forget(name, times)
        return times[together], rows

    def _read_off(self, name: str, times: Times) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Whether this stream has a sample near each time, and its values there."""
        own, values = self._times[name], self._values[name]
        if len(own) == 0:
            return np.zeros(len(times), np.bool_), np.zeros((len(times), 3))
        after = np.minimum(own.searchsorted(times), len(own) - 1)
        before = np.maximum(after - 1, 0)
        distance = np.minimum(np.abs(own[after] - times), np.abs(times - own[before]))
        since = (times - own[0]).astype(np.float64)
        axis = (own - own[0]).astype(np.float64)
        read = np.stack([np.interp(since, axis, values[:, column]) for column in range(3)], axis=1)
        return distance <= REACH * self._periods_ns[name], read

    def _forget(self, name: str, times: Times) -> None:
        """Let go of what lies before the last sample at or before the times that were taken."""
        if len(times):
            first = max(0, int(self._times[name].searchsorted(times[-1], side="right")) - 1)
            self._times[name], self._values[name] = self._times[name][first:], self._values[name][first:]
