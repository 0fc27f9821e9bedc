"""Signals with a time stamp at every sample (IMU, PPG): resampled by their stamps, at any input rate."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmg.bundle.manifest import Modality
from mmg.streams.grid import Hop, HopGrid, check_chunk, in_order
from mmg.types import Chunk


class SignalStream:
    """Cuts a time-stamped signal into hops of ``(n, C)`` float32 at the model's rate.

    Sample ``j`` of a hop is the mean, over its own interval of ``1 / rate_hz``, of the straight lines that join the
    input samples: an interpolation where the input is slower than the model, an average where it is faster.
    Gaps of up to half a hop are bridged by such a line; a hop with a longer gap is not whole.
    """

    def __init__(self, modality: Modality, grid: HopGrid) -> None:
        self._modality, self._grid = modality, grid
        self._count = round(modality.rate_hz * grid.hop_ns / 1e9)
        self._gap_ns = grid.hop_ns // 2
        # A sensor that starts just after a hop did still has that hop: its first value is held backwards.
        self._hold_ns = grid.hop_ns // 10
        self._times: NDArray[np.int64] = np.empty(0, np.int64)
        self._values: NDArray[np.float32] = np.empty((0, len(modality.channels)), np.float32)
        self.next_hop: int = np.iinfo(np.int64).min
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.dropped = 0
        self._new, self._dropped_before = 0, 0
        self._lost: NDArray[np.int64] = np.empty(0, np.int64)

    def push(self, chunk: Chunk) -> list[Hop]:
        """Take ``(T, C)`` samples; rows that are late, repeated or not finite are counted as dropped."""
        check_chunk(chunk, self._modality)
        self.dropped += chunk.dropped
        hops: list[Hop] = []
        with np.errstate(over="ignore"):
            samples = chunk.samples.astype(np.float32, copy=False)
        finite = np.asarray(np.isfinite(samples).all(axis=1))
        kept = np.zeros(len(finite), np.bool_)
        kept[finite] = in_order(chunk.times_ns[finite], self.last_ns)
        times, values = chunk.times_ns[kept], samples[kept]
        lost_before: NDArray[np.int64] = np.cumsum(~kept, dtype=np.int64)
        if not len(times):
            self.dropped += int(lost_before[-1]) if len(lost_before) else 0
            return hops
        # Losses are counted up to the sample that ends a hop, so that they do not depend on the chunk's length.
        self._lost = lost_before[kept]
        self._dropped_before, self._new = self.dropped, len(times)
        if self.first_ns is None:
            self.first_ns = int(times[0])
            self.next_hop = self._grid.hop_at(self.first_ns)
        self._times = np.concatenate((self._times, times))
        self._values = np.concatenate((self._values, values))
        self.last_ns = int(times[-1])
        while self.last_ns >= self._grid.end_ns(self.next_hop):
            hops.append(self._cut())
        self.dropped = self._dropped_before + int(lost_before[-1])
        return hops

    def _cut(self) -> Hop:
        """Take the next hop off the buffer, which reaches beyond the hop's end."""
        start_ns, end_ns = self._grid.start_ns(self.next_hop), self._grid.end_ns(self.next_hop)
        begin = max(int(np.searchsorted(self._times, start_ns, "right")) - 1, 0)
        after = int(np.searchsorted(self._times, end_ns, "left"))
        times = self._times[begin : after + 1]
        # The position in this chunk of the sample that ended the hop; before it where an earlier chunk did.
        position = after - (len(self._times) - self._new)
        dropped = self._dropped_before + (int(self._lost[position]) if position >= 0 else 0)
        whole = times[0] - start_ns <= self._hold_ns and int(np.diff(times).max(initial=0)) <= self._gap_ns
        samples = self._resample(times, self._values[begin : after + 1], start_ns) if whole else None
        last_ns = int(self._times[max(after - 1, 0)])
        inside = after - int(np.searchsorted(self._times, start_ns, "left"))
        hop = Hop(self.next_hop, samples, last_ns, dropped, inside / (self._grid.hop_ns / 1e9))
        # After a long gap the next hop worth looking at is the one that the new samples begin in.
        self.next_hop = self.next_hop + 1 if whole else max(self.next_hop + 1, self._grid.hop_at(int(times[-1])))
        keep = max(int(np.searchsorted(self._times, self._grid.start_ns(self.next_hop), "right")) - 1, 0)
        self._times, self._values = self._times[keep:], self._values[keep:]
        return hop

    def _resample(self, times: NDArray[np.int64], values: NDArray[Any], start_ns: int) -> NDArray[np.float32]:
        seconds = (times - start_ns) / 1e9
        edges = np.arange(self._count + 1) / self._modality.rate_hz
        rows = values.astype(np.float64)
        areas = np.zeros_like(rows)
        steps = np.diff(seconds)[:, None]
        np.cumsum(steps * (rows[1:] + rows[:-1]) / 2, axis=0, out=areas[1:])
        left = np.clip(np.searchsorted(seconds, edges, "right") - 1, 0, len(seconds) - 2)
        into = (edges - seconds[left])[:, None]
        slopes = (rows[1:] - rows[:-1]) / steps
        # Before the first sample its value is held: a slope of zero to the left of it.
        slope = np.where(into < 0, 0.0, slopes[left])
        integral = areas[left] + into * rows[left] + into * into * slope / 2
        return (np.diff(integral, axis=0) * self._modality.rate_hz).astype(np.float32)
