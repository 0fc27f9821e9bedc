"""Streams cut a sensor's samples into hops of the model's rate on one fixed grid, and notice what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mmg.streams.grid import Hop, HopGrid

if TYPE_CHECKING:
    from mmg.bundle.manifest import Modality
    from mmg.types import Chunk


class Stream(Protocol):
    """What the engine asks of each kind of sensor.

    The hops that come out depend on the samples and their times only, never on how they were cut into chunks.
    """

    next_hop: int
    """Every hop before this one was given out, or will never be whole."""
    first_ns: int | None
    """Capture time of the first usable sample."""
    last_ns: int | None
    """Capture time of the newest usable sample."""
    lag_ns: int
    """How much later than a hop's end the sample that ends the hop is stamped; before it where negative."""

    @property
    def dropped(self) -> int:
        """Samples lost before they came here, out of order, or not finite."""

    def push(self, chunk: Chunk) -> list[Hop]:
        """Take a chunk and return the hops that it ends, in order. Raises ConfigError where it does not fit."""


def open_stream(modality: Modality, grid: HopGrid) -> Stream:
    """The stream for this kind of modality."""
    if modality.kind == "signal":
        from mmg.streams.signal import SignalStream

        return SignalStream(modality, grid)
    if modality.kind == "audio":
        from mmg.streams.audio import AudioStream

        return AudioStream(modality, grid)
    from mmg.streams.video import VideoStream

    return VideoStream(modality, grid)


__all__ = ["Hop", "HopGrid", "Stream", "open_stream"]
