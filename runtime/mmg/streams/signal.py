"""Signals with a time stamp at every sample (IMU, PPG): resampled by their stamps, at any input rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmg.bundle.manifest import Modality
from mmg.streams.grid import Hop, HopGrid, all_finite, check_chunk, check_times, in_order, is_in_order
from mmg.types import Chunk

FIRST_ROOM = 256
"""Samples that the buffer holds at first; it grows to what a hop and the longest chunk need."""
EMPTY_ROWS, EMPTY_M_S2 = 10, 0.05
"""An acceleration of exactly zero on three axes is a read that failed, for gravity is always there. So is one of the
same small size on each: a bus without an answer gives ones alone, which are -1 step of the converter, 4 mg at most.
More in a row are kept: a sensor that is dead, or gives no gravity, is health's to tell."""


class SignalStream:
    """Cuts a time-stamped signal into hops of ``(n, C)`` float32 at the model's rate.

    Sample ``j`` of a hop is the mean, over its own interval of ``1 / rate_hz``, of the straight lines that join the
    input samples: an interpolation where the input is slower than the model, an average where it is faster.
    Gaps of up to half a hop are bridged by such a line; a hop with a longer gap is not whole.
    """

    def __init__(self, modality: Modality, grid: HopGrid) -> None:
        self._modality, self._grid = modality, grid
        self._edges_ns = np.arange(round(modality.rate_hz * grid.hop_ns / 1e9) + 1) * (1e9 / modality.rate_hz)
        self._edges_ns[-1] = grid.hop_ns  # a sum of periods may end a little beyond it
        self._scale = modality.rate_hz / 2e9
        self._gap_ns = grid.hop_ns // 2
        # A sensor that starts just after a hop did still has that hop: its first value is held backwards.
        self._hold_ns = grid.hop_ns // 10
        # The samples that are still needed are those from _begin to _end: the first is the last one at or before the
        # start of the next hop, or the first of all.
        self._times: NDArray[np.int64] = np.empty(FIRST_ROOM, np.int64)
        self._values: NDArray[np.float64] = np.empty((FIRST_ROOM, len(modality.channels)))
        self._begin = self._end = 0
        accelerations = [index for index, channel in enumerate(modality.channels) if channel.unit == "m/s^2"]
        self._accelerations = accelerations if len(accelerations) == 3 else []
        self._empty = EMPTY_ROWS
        """Rows without any acceleration up to now, in a row; one that has given none yet may have none to give."""
        self.next_hop: int = np.iinfo(np.int64).min
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.lag_ns = 0
        self.dropped = 0

    def push(self, chunk: Chunk) -> list[Hop]:
        """Take ``(T, C)`` samples; rows that are late, repeated, not finite or failed reads are counted as dropped."""
        check_chunk(chunk, self._modality)
        times, values, lost = chunk.times_ns, chunk.samples, None
        if not len(times):
            self.dropped += chunk.dropped
            return []
        if values.dtype != np.float32:
            with np.errstate(over="ignore"):
                values = values.astype(np.float32)
        if not (is_in_order(times, self.last_ns) and all_finite(values) and self._are_read(values)):
            check_times(times, self._modality)
            self.dropped += chunk.dropped
            given = np.asarray(np.isfinite(values).all(axis=1))
            given[given] = ~self._failed(values[given])
            kept = np.zeros(len(given), np.bool_)
            kept[given] = in_order(times[given], self.last_ns)
            # Losses are counted up to the sample that ends a hop, so that they do not depend on the chunk's length.
            lost = np.cumsum(~kept, dtype=np.int64)
            if not kept.any():
                self.dropped += int(lost[-1])
                return []
            times, values, before = times[kept], values[kept], lost[kept]
            lost, total = before, int(lost[-1])
        else:
            self.dropped += chunk.dropped
        self._append(times, values)
        hops: list[Hop] = []
        dropped_before = self.dropped
        while self.last_ns is not None and self.last_ns >= self._grid.end_ns(self.next_hop):
            hops.append(self._cut(dropped_before, lost))
        if lost is not None:
            self.dropped = dropped_before + total
        return hops

    def _are_read(self, values: NDArray[np.float32]) -> bool:
        """Whether no row is without acceleration: of most chunks two axes tell it."""
        if not self._accelerations:
            return True
        x, y, _ = self._accelerations
        alike = np.abs(values[:, x]) == np.abs(values[:, y])
        if np.count_nonzero(alike) and np.count_nonzero(self._are_empty(values)):
            return False
        self._empty = 0
        return True

    def _are_empty(self, values: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which rows have the same on each axis of acceleration, and no more than a step."""
        sizes: NDArray[np.float32] = np.abs(values[:, self._accelerations])
        return np.asarray((sizes[:, 0] <= EMPTY_M_S2) & (sizes[:, 0] == sizes[:, 1]) & (sizes[:, 1] == sizes[:, 2]))

    def _failed(self, values: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which rows are reads that failed: the first few of those in a row without any acceleration."""
        failed = np.zeros(len(values), np.bool_)
        if self._accelerations:
            for row, is_empty in enumerate(self._are_empty(values).tolist()):
                failed[row] = is_empty and self._empty < EMPTY_ROWS
                self._empty = min(self._empty + 1, EMPTY_ROWS) if is_empty else 0
        return failed

    def _append(self, times: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        count = len(times)
        if self.first_ns is None:
            self.first_ns = int(times[0])
            self.next_hop = self._grid.hop_at(self.first_ns)
        self.last_ns = int(times[-1])
        if self._end + count > len(self._times):
            self._make_room(count)
        end = self._end + count
        self._times[self._end : end] = times
        self._values[self._end : end] = values
        self._end = end

    def _make_room(self, count: int) -> None:
        """Move what is needed to the front, into larger buffers where these are too small."""
        held = slice(self._begin, self._end)
        self._end -= self._begin
        times, values = self._times[held], self._values[held]
        if 2 * (self._end + count) > len(self._times):
            room = 4 * (self._end + count)
            self._times, self._values = np.empty(room, np.int64), np.empty((room, values.shape[1]))
        self._times[: self._end], self._values[: self._end] = times, values
        self._begin = 0

    def _cut(self, dropped_before: int, lost: NDArray[np.int64] | None) -> Hop:
        """Take the next hop off the buffer, which reaches beyond the hop's end."""
        index = self.next_hop
        start_ns, end_ns = self._grid.start_ns(index), self._grid.end_ns(index)
        begin, after = self._begin, self._begin + int(self._times[self._begin : self._end].searchsorted(end_ns))
        times = self._times[begin : after + 1]
        dropped = dropped_before
        if lost is not None:
            # The position in this chunk of the sample that ended the hop; before it where an earlier chunk did.
            position = after - (self._end - len(lost))
            dropped += int(lost[position]) if position >= 0 else 0
        first_ns, last_ns, final_ns = int(times[0]), int(times[max(after - begin - 1, 0)]), int(times[-1])
        # Within a hop and its edges a float64 holds every nanosecond.
        since_ns = (times - start_ns).astype(np.float64)
        steps_ns = since_ns[1:] - since_ns[:-1]
        whole = first_ns - start_ns <= self._hold_ns and (begin == after or np.maximum.reduce(steps_ns) <= self._gap_ns)
        samples = None
        if whole:
            samples = self._resample(since_ns, steps_ns[:, None], self._values[begin : after + 1], first_ns >= start_ns)
        inside = after - begin - (first_ns < start_ns)
        # After a long gap the next hop worth looking at is the one that the new samples begin in.
        self.next_hop = index + 1 if whole else max(index + 1, self._grid.hop_at(final_ns))
        self._begin = after if final_ns <= self._grid.start_ns(self.next_hop) else max(after - 1, begin)
        return Hop(index, samples, last_ns, dropped, inside / (self._grid.hop_ns / 1e9))

    def _resample(
        self, since_ns: NDArray[np.float64], steps_ns: NDArray[np.float64], rows: NDArray[np.float64], late: bool
    ) -> NDArray[np.float32]:
        """The hop's samples, from the times since its start, the steps between them ``(n - 1, 1)``, and the values.

        From row to row the integral of the line through them is ``(a + b) / 2 * step``, and on the way from a,
        after the time u, ``(2 a + (b - a) / step * u) * u / 2``.
        late: whether the first one is not before the hop's start; its value is held back to there.
        """
        sums, slopes = rows[1:] + rows[:-1], rows[1:] - rows[:-1]
        sums *= steps_ns
        slopes /= steps_ns
        areas = np.empty_like(rows)
        areas[0] = 0
        np.add.accumulate(sums, out=areas[1:])
        left = since_ns.searchsorted(self._edges_ns)
        left -= 1
        if late:
            np.maximum(left, 0, out=left)
        into_ns = (self._edges_ns - since_ns.take(left))[:, None]
        integral = slopes.take(left, 0)
        if late:
            integral[into_ns[:, 0] < 0] = 0
        integral *= into_ns
        values = rows.take(left, 0)
        integral += values
        integral += values
        integral *= into_ns
        integral += areas.take(left, 0)
        samples = np.empty((len(left) - 1, rows.shape[1]), np.float32)
        means = integral[1:] - integral[:-1]
        return np.multiply(means, self._scale, out=samples, casting="same_kind")
