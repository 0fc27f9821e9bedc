"""How a run is made, and the one way from its settings to an engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mmg.backends import AUTO, CPU_ONLY
from mmg.bundle import Bundle
from mmg.engine import DEFAULT_GRACE_S, Engine
from mmg.engine.unknown import DEFAULT_UNKNOWN
from mmg.runs.look_ahead import LOOK_AHEAD_S
from mmg.runs.process import prepare_for_threads

if TYPE_CHECKING:
    from mmg_device_profiles.gate import GatePolicy

    from mmg.teaching.scorer import Scorer


@dataclass(frozen=True, slots=True)
class Settings:
    """How a run is made.

    required: modalities whose loss ends the run.
    pace: of recordings: ``fast`` is as fast as the machine can, ``realtime`` keeps their own pace.
    duration_s: stop after so much of the sensors' time; None goes on to the recordings' end, or for ever.
    grace_s: how long after a hop's end a late modality is waited for.
    look_ahead_s: how much of a recording is read, at most, before the first decision, to know whether its units can be
        right; 0 finds out on the way, as with a port.
    backend: ``onnx``, ``litert``, or ``auto``. preferred_backend: which one ``auto`` takes where several are installed.
    providers: onnxruntime's execution providers, the preferred one first.
    taught: what knows the activities that were taught, of the bundle's encoders.
    unknown: the share of what is known that may be refused as none of the labels; 0 tells it never.
    deadline_s: of a live run: where decisions come later than that after their hop's end, a cheaper subset decides
        until they are in time; None lets them be late.
    gate: which sensors watch, and what wakes the others; without it all are awake.
    """

    allow_video: bool = False
    required: tuple[str, ...] = ()
    pace: Literal["fast", "realtime"] = "fast"
    duration_s: float | None = None
    grace_s: float = DEFAULT_GRACE_S
    look_ahead_s: float = LOOK_AHEAD_S
    backend: str = AUTO
    preferred_backend: str = AUTO
    precision: str = "fp32"
    threads: int = 1
    providers: tuple[str, ...] = CPU_ONLY
    taught: Scorer | None = None
    unknown: float = DEFAULT_UNKNOWN
    deadline_s: float | None = None
    gate: GatePolicy | None = None


def make_engine(
    bundle: Bundle,
    modalities: Sequence[str],
    settings: Settings,
    *,
    origin_ns: int = 0,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> Engine:
    """The engine of every run, recorded, live or profiled; see ``Engine`` for the arguments and what it raises."""
    prepare_for_threads()
    return Engine(
        bundle,
        modalities,
        origin_ns=origin_ns,
        grace_s=settings.grace_s,
        backend=settings.backend,
        preferred_backend=settings.preferred_backend,
        precision=settings.precision,
        threads=settings.threads,
        providers=settings.providers,
        clock=clock,
        taught=settings.taught,
        unknown=settings.unknown,
    )
