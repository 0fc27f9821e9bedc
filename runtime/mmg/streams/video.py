"""Frames: at each instant that the model asks for, the newest one that had been captured."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmg.bundle.manifest import Modality
from mmg.streams.grid import LATEST_NS, Hop, HopGrid, check_chunk, check_times
from mmg.types import Chunk


class VideoStream:
    """Cuts frames into hops of ``(n, H, W, 3)`` uint8 at the model's rate.

    Frame ``j`` of a hop is the newest one captured up to the middle of its interval of ``1 / rate_hz``: looking at
    the middle gives the camera half an interval to deliver before the hop ends. One frame may be held for two
    intervals; a hop that would need an older one is not whole.
    """

    def __init__(self, modality: Modality, grid: HopGrid) -> None:
        self._modality, self._grid = modality, grid
        self._count = round(modality.rate_hz * grid.hop_ns / 1e9)
        self._offsets_ns = [round((number + 0.5) * 1e9 / modality.rate_hz) for number in range(self._count)]
        self._hold_ns = round(2e9 / modality.rate_hz)
        self._times: list[int] = []
        self._frames: list[NDArray[Any]] = []
        self.next_hop: int = np.iinfo(np.int64).min
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.lag_ns = 0
        self.dropped = 0

    def push(self, chunk: Chunk) -> list[Hop]:
        """Take ``(T, H, W, 3)`` uint8 frames; one that is late or repeated is counted as dropped."""
        check_chunk(chunk, self._modality)
        times = chunk.times_ns.tolist()
        if times and max(max(times), -min(times)) > LATEST_NS:
            check_times(chunk.times_ns, self._modality)
        self.dropped += chunk.dropped
        hops: list[Hop] = []
        for time_ns, frame in zip(times, chunk.samples, strict=True):
            if self.last_ns is not None and time_ns <= self.last_ns:
                self.dropped += 1
                continue
            if self.first_ns is None:
                self.first_ns = time_ns
                self.next_hop = self._grid.hop_at(time_ns)
            self._times.append(time_ns)
            self._frames.append(frame.copy())  # the chunk's array may be used again
            self.last_ns = time_ns
            while time_ns > self._grid.start_ns(self.next_hop) + self._offsets_ns[-1]:
                hops.append(self._cut())
        return hops

    def _cut(self) -> Hop:
        times, start_ns = self._times, self._grid.start_ns(self.next_hop)
        chosen, whole = [], True
        for offset_ns in self._offsets_ns:
            wanted_ns = start_ns + offset_ns
            newest = bisect_right(times, wanted_ns) - 1
            # The first frame may be held backwards for one interval, so that a camera that starts with the hop has it.
            chosen.append(max(newest, 0))
            whole = whole and -self._hold_ns // 2 <= wanted_ns - times[chosen[-1]] <= self._hold_ns
        samples = None
        if whole:
            samples = np.empty((self._count, *self._modality.sample_shape), np.uint8)
            for number, index in enumerate(chosen):
                samples[number] = self._frames[index]
        # The rate as of the newest frame: a hop holds too few frames to count them.
        input_hz = 1e9 / (times[-1] - times[-2]) if len(times) > 1 else self._modality.rate_hz
        hop = Hop(self.next_hop, samples, times[chosen[-1]], self.dropped, input_hz)
        self.next_hop += 1
        if not whole:
            self.next_hop = max(self.next_hop, self._grid.hop_at(times[-1]))
        keep = max(bisect_right(times, self._grid.start_ns(self.next_hop)) - 1, 0)
        del self._times[:keep], self._frames[:keep]
        return hop
