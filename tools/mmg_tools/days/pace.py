"""When samples are taken, and when they arrive. Times are ns of the host's clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from mmg.sources.ports.port import RETRY_S

if TYPE_CHECKING:
    from mmg.types import Chunk

    from mmg_tools.days.faults import Fault

RETRY_NS = round(RETRY_S * 1e9)
LATENCY_NS, JITTER_NS, DRAWN = 2_000_000, 1_000_000, 4096
DRIFT_PPM = 300.0


@dataclass(frozen=True, slots=True)
class Pace:
    """When a device's samples are taken: number ``number`` at ``time_ns``, the others ``period_ns`` apart.

    since_ns: what came before this was not taken so.
    """

    number: int
    time_ns: int
    period_ns: float
    since_ns: int

    def at(self, number: int) -> int:
        """The time of this sample."""
        return self.time_ns + round((number - self.number) * self.period_ns)

    def place(self, time_ns: int) -> float:
        """The sample, or between which two, at this time."""
        return self.number + (time_ns - self.time_ns) / self.period_ns

    def drifting(self, number: int, amount: float, usual_ns: float) -> Pace:
        """From this sample on; amount: 0 to 1, of which 0.5 is none."""
        period_ns = usual_ns * (1 + (amount - 0.5) * 2 * DRIFT_PPM * 1e-6)
        return Pace(number, self.at(number), period_ns, self.at(number))


class Sensor(Protocol):
    """A device and its port. due_ns: when something happens next, which ``fire`` does."""

    due_ns: int
    pace: Pace

    def fire(self) -> None: ...
    def begin(self, fault: Fault) -> None: ...
    def end(self, fault: Fault) -> None: ...

    def late_ns(self, chunk: Chunk) -> int | None:
        """Stamp less capture time of a chunk's newest sample; None where that is not known."""


def latencies(seed: int) -> Iterator[int]:
    """From capture to arrival, without end."""
    random = np.random.default_rng(seed)
    drawn = (LATENCY_NS + np.abs(random.normal(0, JITTER_NS, DRAWN))).astype(np.int64).tolist()
    while True:
        yield from drawn
