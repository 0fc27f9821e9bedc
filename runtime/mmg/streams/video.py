"""Frames: at each instant that the model asks for, the newest one that had been captured."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmg.bundle.manifest import Modality
from mmg.streams.grid import Hop, HopGrid, check_chunk, in_order
from mmg.types import Chunk


class VideoStream:
    """Cuts frames into hops of ``(n, H, W, 3)`` uint8 at the model's rate.

    Frame ``j`` of a hop is the newest one captured up to the middle of its interval of ``1 / rate_hz``: looking at
    the middle gives the camera half an interval to deliver before the hop ends. One frame may be held for two
    intervals; a hop that would need an older one is not whole.
    """

    def __init__(self, modality: Modality, grid: HopGrid) -> None:
        self._modality, self._grid = modality, grid
        count = round(modality.rate_hz * grid.hop_ns / 1e9)
        self._offsets_ns = np.round((np.arange(count) + 0.5) * 1e9 / modality.rate_hz).astype(np.int64)
        self._hold_ns = round(2e9 / modality.rate_hz)
        self._times: NDArray[np.int64] = np.empty(0, np.int64)
        self._frames: list[NDArray[Any]] = []
        self.next_hop: int = np.iinfo(np.int64).min
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.dropped = 0

    def push(self, chunk: Chunk) -> list[Hop]:
        """Take ``(T, H, W, 3)`` uint8 frames; one that is late or repeated is counted as dropped."""
        check_chunk(chunk, self._modality)
        self.dropped += chunk.dropped
        hops: list[Hop] = []
        for kept, time_ns, frame in zip(
            in_order(chunk.times_ns, self.last_ns), chunk.times_ns.tolist(), chunk.samples, strict=True
        ):
            if not kept:
                self.dropped += 1
                continue
            if self.first_ns is None:
                self.first_ns = time_ns
                self.next_hop = self._grid.hop_at(time_ns)
            self._times = np.append(self._times, time_ns)
            self._frames.append(frame)
            self.last_ns = time_ns
            while time_ns > self._grid.start_ns(self.next_hop) + int(self._offsets_ns[-1]):
                hops.append(self._cut())
        return hops

    def _cut(self) -> Hop:
        start_ns = self._grid.start_ns(self.next_hop)
        wanted = start_ns + self._offsets_ns
        # The first frame may be held backwards for one interval, so that a camera that starts with the hop has it.
        newest = np.searchsorted(self._times, wanted, "right") - 1
        chosen = np.maximum(newest, 0)
        age_ns = wanted - self._times[chosen]
        whole = bool((age_ns <= self._hold_ns).all() and (age_ns >= -self._hold_ns // 2).all())
        samples = np.stack([self._frames[index] for index in chosen]) if whole else None
        # The rate as of the newest frame: a hop holds too few frames to count them.
        input_hz = 1e9 / int(self._times[-1] - self._times[-2]) if len(self._times) > 1 else self._modality.rate_hz
        last_ns = int(self._times[max(newest[-1], 0)])
        hop = Hop(self.next_hop, samples, last_ns, self.dropped, input_hz)
        self.next_hop += 1
        if not whole:
            self.next_hop = max(self.next_hop, self._grid.hop_at(int(self._times[-1])))
        keep = max(int(np.searchsorted(self._times, self._grid.start_ns(self.next_hop), "right")) - 1, 0)
        self._times, self._frames = self._times[keep:], self._frames[keep:]
        return hop
