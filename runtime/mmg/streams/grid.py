"""The hop grid, and what a stream gives for each hop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mmg.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mmg.bundle.manifest import Modality
    from mmg.types import Chunk


LATEST_NS = 1 << 61
"""Times are within 73 years of the clock's zero, so that their differences fit 64 bits."""


@dataclass(frozen=True, slots=True)
class HopGrid:
    """Hop ``k`` covers ``[origin + k * hop, origin + (k + 1) * hop)``, in nanoseconds."""

    origin_ns: int
    hop_ns: int

    def start_ns(self, hop: int) -> int:
        """When this hop begins."""
        return self.origin_ns + hop * self.hop_ns

    def end_ns(self, hop: int) -> int:
        """When this hop ends."""
        return self.origin_ns + (hop + 1) * self.hop_ns

    def hop_at(self, time_ns: int) -> int:
        """The hop that holds this instant."""
        return (time_ns - self.origin_ns) // self.hop_ns


@dataclass(frozen=True, slots=True)
class Hop:
    """One hop of one sensor.

    samples: ``(n, C)`` float32 or ``(n, H, W, 3)`` uint8 at the model's rate; None where the hop is not whole, and
        then the sensor's stream begins anew after it.
    last_ns: capture time of the newest sample before the hop's end.
    dropped: all that the stream had lost when it gave out this hop.
    input_hz: the rate at which samples came in.
    """

    index: int
    samples: NDArray[Any] | None
    last_ns: int
    dropped: int
    input_hz: float


def check_chunk(chunk: Chunk, modality: Modality, *, any_channels: bool = False) -> None:
    """Raise ConfigError where a chunk's arrays are not what ``Chunk`` says. Looks at no value: see ``check_times``."""
    samples, times = chunk.samples, chunk.times_ns
    if not (isinstance(samples, np.ndarray) and isinstance(times, np.ndarray)):
        raise ConfigError(f"{modality.name}: a chunk's samples and times must be numpy arrays")
    shape = samples.shape
    if samples.dtype != np.uint8 if modality.kind == "video" else samples.dtype.kind not in "fiu":
        values = "uint8 pixels" if modality.kind == "video" else "numbers"
        raise ConfigError(f"{modality.name}: a chunk has samples of {samples.dtype}, the model wants {values}")
    if times.ndim != 1 or len(shape) < 1 or shape[0] != times.shape[0] or times.dtype.kind != "i":
        raise ConfigError(f"{modality.name}: a chunk has samples {shape} with times {times.shape} of {times.dtype}")
    wanted = modality.sample_shape
    if any_channels and len(shape) == 2 and shape[1] >= 1:
        return
    if shape[1:] != wanted:
        raise ConfigError(f"{modality.name}: a chunk has samples {shape}, the model wants (T, {str(wanted)[1:-1]})")


def check_times(times_ns: NDArray[np.int64], modality: Modality) -> None:
    """Raise ConfigError where a time is so far off that differences would not fit."""
    if len(times_ns) and max(abs(int(times_ns.min())), abs(int(times_ns.max()))) > LATEST_NS:
        raise ConfigError(f"{modality.name}: a chunk has times beyond {LATEST_NS / 1e9:.0f} s, 73 years")


def all_finite(values: NDArray[Any]) -> bool:
    """Whether no value is infinite or NaN."""
    return bool(np.logical_and.reduce(np.isfinite(values), axis=None))


def is_in_order(times_ns: NDArray[np.int64], last_ns: int | None) -> bool:
    """Whether each time is later than the one before it and than ``last_ns``, and none is too far off."""
    first, newest = int(times_ns[0]), int(times_ns[-1])
    if not -LATEST_NS <= first <= newest <= LATEST_NS or (last_ns is not None and first <= last_ns):
        return False
    return len(times_ns) == 1 or bool(np.logical_and.reduce(times_ns[1:] > times_ns[:-1]))


def in_order(times_ns: NDArray[np.int64], last_ns: int | None) -> NDArray[np.bool_]:
    """True for each time that is later than every one before it and than ``last_ns``."""
    floor = np.iinfo(np.int64).min if last_ns is None else last_ns
    before = np.maximum.accumulate(np.concatenate(([floor], times_ns[:-1])))
    return np.asarray(times_ns > before)
