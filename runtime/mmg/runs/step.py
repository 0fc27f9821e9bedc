"""A step of a live run: all that the engine's thread hears of the world at one moment. A recording keeps them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from mmg.engine.encoded import Encoded
from mmg.engine.health import ReadAs
from mmg.sources.ports.port import PortStatus
from mmg.types import Chunk


@dataclass(frozen=True, slots=True)
class Step:
    """What came since the step before, and how each port was at its end.

    now_ns: the host's monotonic clock; every chunk was there before it.
    chunks: in each modality's order.
    statuses: of every port, by modality.
    encoded: of modalities of which tokens are recorded, and no samples: what their chunks became.
    read_as: how the values of a device were taken, of those ports whose device has changed.
    held_down: what holds the processor's clock down, where that is looked at; empty for nothing.
    """

    now_ns: int
    chunks: tuple[Chunk, ...]
    statuses: Mapping[str, PortStatus]
    read_as: Mapping[str, ReadAs] = field(default_factory=dict)
    encoded: tuple[Encoded, ...] = ()
    held_down: str = ""

    def only(self, names: Collection[str]) -> Step:
        """What it tells of these modalities."""
        if all(name in names for name in self.statuses):
            return self
        chunks = tuple(chunk for chunk in self.chunks if chunk.modality in names)
        statuses = {name: status for name, status in self.statuses.items() if name in names}
        read_as = {name: how for name, how in self.read_as.items() if name in names}
        encoded = tuple(one for one in self.encoded if one.modality in names)
        return Step(self.now_ns, chunks, statuses, read_as, encoded, self.held_down)

    def since(self, from_ns: int) -> Step:
        """What it tells of what was captured from then on."""
        chunks = tuple(_cut(chunk, from_ns) for chunk in self.chunks)
        encoded = tuple(
            replace(one, hops=tuple(hop for hop in one.hops if hop.last_ns >= from_ns)) for one in self.encoded
        )
        return replace(self, chunks=tuple(chunk for chunk in chunks if len(chunk.times_ns)), encoded=encoded)


def _cut(chunk: Chunk, from_ns: int) -> Chunk:
    first = int(chunk.times_ns.searchsorted(from_ns))
    if not first:
        return chunk
    return replace(chunk, samples=chunk.samples[first:], times_ns=chunk.times_ns[first:], dropped=0)
