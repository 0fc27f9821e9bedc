"""When each sample of a microphone was taken, by counting them. Reads no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mmg.sources.clock.clock_map import ClockMap

if TYPE_CHECKING:
    from mmg.sources.ports.microphone.portaudio import Block
    from mmg.types import Times

AHEAD_S = 0.5
"""More sound than time has passed: no microphone does that, but a virtual one whose feed has ended."""
BEHIND_S, COUNT_AFRESH_NS, COUNT_AFRESH_LATEST_NS = -0.1, 10_000_000_000, 60_000_000_000
"""Sound and time are counted afresh now and then, as over hours any crystal runs ahead by as much; but, if it can be,
not from a block that is late, behind which others come in a burst."""
CRYSTAL_ERROR = 1e-4


class SampleCount:
    """Capture times by counting samples, the lost ones too."""

    def __init__(self, rate_hz: float) -> None:
        self._period_ns = 1e9 / rate_hz
        self.clock, self.ahead_s = ClockMap(self._period_ns, rate_error=CRYSTAL_ERROR), 0.0
        self._given = self._index = self.newest_ns = 0
        self._before_ns = np.empty(0, np.int64)  # from each sample of a block to its newest
        self._since = 0, 0  # sample number and arrival from which ``ahead_s`` counts

    def place(self, block: Block) -> tuple[Times, int]:
        """Capture times ``(T,)`` int64, and how many samples are lost before this block.

        Those that ``end`` leaves out are known. Of an overrun PortAudio says only that it happened: the driver
        has begun anew, so the block is fresh, and it is late by what is missing.
        """
        samples = len(block.sound)
        lost = block.end - samples - self._given
        if not self._given:
            self._since = samples, block.arrival_ns
        elif block.overrun:
            due_ns = self.newest_ns + (lost + samples) * self._period_ns
            lost += max(round((block.arrival_ns - due_ns) / self._period_ns), 0)
        self._given, self._index = block.end, self._index + lost + samples
        [newest_ns] = self.clock.stamp_read((self._index - 1,), block.arrival_ns)
        if len(self._before_ns) != samples:
            # Within a block the nominal rate will do: a crystal is off by microseconds in it.
            self._before_ns = np.rint(np.arange(samples - 1, -1, -1) * self._period_ns).astype(np.int64)
        times_ns = newest_ns - self._before_ns
        if int(times_ns[0]) <= self.newest_ns:
            times_ns = np.maximum(times_ns, self.newest_ns + 1 + np.arange(samples))
        self.newest_ns = int(times_ns[-1])
        self._compare(block.arrival_ns)
        return times_ns, lost

    def _compare(self, arrival_ns: int) -> None:
        first, since_ns = self._since
        elapsed_ns = arrival_ns - since_ns
        self.ahead_s = ((self._index - first) * self._period_ns - elapsed_ns) / 1e9
        is_punctual = BEHIND_S < self.ahead_s < AHEAD_S
        if elapsed_ns > (COUNT_AFRESH_NS if is_punctual else COUNT_AFRESH_LATEST_NS) and self.ahead_s < AHEAD_S:
            self._since = self._index, arrival_ns
