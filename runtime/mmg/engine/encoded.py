"""What a modality's samples became: tokens, hop by hop, which decide as the samples themselves do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmg.types import State

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class EncodedHop:
    """One hop. tokens: ``(tokens_per_hop, token_dim)`` float32, None where the hop gave none.

    state, reason, dropped: as in SensorState. last_ns: capture time of its newest sample. shape: of a signal that gave
    tokens, ``(points, channels)`` float32, see ``mmg.teaching.trace.shape_of``; else None. motion: of such a one, the
    standard deviation of its acceleration in m/s^2, where a gate wants it.
    """

    hop: int
    tokens: NDArray[Any] | None
    state: State
    reason: str
    last_ns: int
    dropped: int
    shape: NDArray[Any] | None = None
    motion: float | None = None


@dataclass(frozen=True, slots=True)
class Encoded:
    """The hops that one chunk completed, and where the modality's stream was after it; see ``Stream``."""

    modality: str
    hops: tuple[EncodedHop, ...]
    next_hop: int
    first_ns: int | None
    last_ns: int | None
    dropped: int
