"""What a sound's rate of samples means: their times, and what the model misses where it is low."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mmg.types import Times

LOWEST_HZ, HIGHEST_HZ = 100, 1_000_000


def sample_times_ns(position: int, count: int, rate_hz: int) -> Times:
    """When each sample was taken, from the first sample of the file on, without a rounding that adds up."""
    period_ns, part = divmod(1_000_000_000, rate_hz)
    if not part:
        return np.arange(position * period_ns, (position + count) * period_ns, period_ns, dtype=np.int64)
    seconds, rest = divmod(position, rate_hz)
    times_ns: Times = np.arange(rest, rest + count, dtype=np.int64) * 1_000_000_000 // rate_hz
    times_ns += seconds * 1_000_000_000
    return times_ns


def too_slow(name: str, rate_hz: int, model_hz: float) -> list[str]:
    """A note where the file holds less than the model was made for."""
    if rate_hz >= model_hz:
        return []
    missing = f"it contains nothing above {rate_hz / 2:g} Hz"
    return [f"{name} has {rate_hz} samples a second, the model {model_hz:g}: {missing}"]
