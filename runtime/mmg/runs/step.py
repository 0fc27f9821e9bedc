"""A step of a live run: all that the engine's thread hears of the world at one moment. A recording keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mmg.engine.health import ReadAs
from mmg.sources.ports.port import PortStatus
from mmg.types import Chunk


@dataclass(frozen=True, slots=True)
class Step:
    """What came since the step before, and how each port was at its end.

    now_ns: the host's monotonic clock; every chunk was there before it.
    chunks: in each modality's order.
    statuses: of every port, by modality.
    read_as: how the values of a device were taken, of those ports whose device has changed.
    """

    now_ns: int
    chunks: tuple[Chunk, ...]
    statuses: Mapping[str, PortStatus]
    read_as: Mapping[str, ReadAs] = field(default_factory=dict)
