"""The values that travel through mmg: chunks in, decisions out.

All times are integer nanoseconds on one clock (the host's monotonic clock, or a recording's own), all physical
quantities are SI: acceleration in m/s^2, angular rate in rad/s, sound pressure as a fraction of full scale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Times: TypeAlias = NDArray[np.int64]
    Samples: TypeAlias = NDArray[Any]

UNKNOWN = "unknown"
"""The label of what is none of the labels and none of the taught activities."""

Reached: TypeAlias = Callable[[float, float, str], None]
"""Called as work goes on: how much is done, of how much as far as is known (0: nobody knows), and what the work is."""

State = Literal["absent", "warming", "live", "doubted", "stale", "faulty", "asleep"]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some consecutive samples of one sensor, stamped at capture.

    samples: ``(T, C)`` float32 for a signal or for audio, ``(T, H, W, 3)`` uint8 RGB for video.
    times_ns: ``(T,)`` int64, the capture time of each sample, in order.
    rate_hz: the nominal rate where the source declares one, else 0. Audio must declare it.
    dropped: samples known to be lost immediately before this chunk.

    The arrays may be used again once the chunk was pushed.
    """

    modality: str
    samples: Samples
    times_ns: Times
    rate_hz: float = 0.0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class ClockHealth:
    """How a live sensor's clock runs against the host's monotonic clock.

    drift_ppm: how much longer than nominal the device's tick is; 0 where its nominal rate is not known.
    jitter_ms: standard deviation of the arrivals around the fitted clock.
    uncertainty_ms: standard deviation of the fitted clock itself, which is that of the capture times.
    """

    drift_ppm: float
    jitter_ms: float
    uncertainty_ms: float


@dataclass(frozen=True, slots=True)
class SensorState:
    """What one modality was doing at the end of a hop.

    age_ms: hop end minus the capture time of the newest sample before it; 0 where nothing was ever captured.
    dropped: samples lost, refused or out of order since the start.
    state: ``live`` and ``doubted`` ones are decided from: a doubted one's values can hardly be right. ``asleep`` is one
        that a gate has closed.
    reason: why a sensor is faulty or doubted, or what its port knows of why nothing comes; empty while all is well.
    clock: only of a live port that has delivered.
    note: what is odd about a sensor that delivers, and what is done about it; empty while nothing is.
    """

    state: State
    age_ms: float
    dropped: int
    reason: str = ""
    clock: ClockHealth | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Gated:
    """Who was asked for a decision where a gate lets sensors sleep.

    awake, asleep: the modalities, as it was when the decision was made. why: modality -> what it is awake for, of those
    that do not watch; or why it sleeps, of those that would be awake if decisions were in time.
    """

    awake: tuple[str, ...]
    asleep: tuple[str, ...]
    why: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Decision:
    """What the wearer is doing, for one hop of the grid.

    t_s: the hop's end in seconds since the engine's origin.
    scores: a calibrated probability for each label; they sum to 1. Where the bundle can tell it for these modalities,
        one of them is that of ``UNKNOWN``: what is done is none of the labels.
    modalities: those whose tokens were fused, in the bundle's order.
    embedding: the numbers of the fusion's ``(1, E)`` embedding, for prototypes.
    taught: the probability of each taught activity, which are also among the scores; empty where none is taught.
    gate: who was asked, in a run with a gate; else None.
    latency_ms: time spent in each stage, measured by the clock the engine was given; empty without one. It is not
        part of equality: two decisions are equal when everything that the data determines is equal.
    """

    hop: int
    t_s: float
    label: str
    confidence: float
    scores: Mapping[str, float]
    modalities: tuple[str, ...]
    sensors: Mapping[str, SensorState]
    embedding: tuple[float, ...]
    latency_ms: Mapping[str, float] = field(compare=False, default_factory=dict)
    taught: Mapping[str, float] = field(default_factory=dict)
    gate: Gated | None = None
