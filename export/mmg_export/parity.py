"""The exported files against the trained modules, hop after hop, on inputs that neither has seen."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from mmg.backends import Session
from mmg.bundle.golden import difference
from mmg.bundle.verify import FP32_LIMITS
from mmg.cli.progress import counted
from mmg.cli.reporting import Reporter
from mmg.errors import ModelError

from mmg_export.parts import (
    EMBEDDING,
    FUSION,
    LOGITS,
    PRESENT,
    SAMPLES,
    TOKENS,
    Part,
    initial_states,
    run_part,
    state_names,
)
from mmg_export.spec import Sensor, Spec
from mmg_export.streams import Array, Stream, context_of

# The largest difference of an output that counts as the same, for each backend in fp32: what the device is held to.
TOLERANCES = dict(FP32_LIMITS)
# Hops that are encoded in one go, to compare with the same one by one.
WHOLE = 6


@dataclass(frozen=True)
class Errors:
    """tokens: the largest difference of a token by encoder. logits, embedding: of the fusion's outputs, from the files'
    own tokens on. agreement: the share of decisions that are the same. run_us: the median time of a run by part."""

    tokens: Mapping[str, float]
    logits: float
    embedding: float
    agreement: float
    hops: int
    run_us: Mapping[str, float]


def measure(sessions: Mapping[str, Session], spec: Spec, stream: Stream, progress: Reporter = lambda _: None) -> Errors:
    """Stream the same hops through the files. Raises ModelError."""
    tokens: dict[str, list[Array]] = {}
    times: dict[str, list[float]] = {}
    for name, runs in stream.runs.items():
        compared = counted(progress, f"{name} compared", runs, len(runs), "hops")
        tokens[name], times[name] = _encode(sessions[name], spec.sensors[name], compared)
    logits, embedding, same = 0.0, 0.0, 0
    times[FUSION], planned = [], zip(stream.planned, stream.decided, strict=True)
    for (hop, some), wanted in counted(progress, "fusion compared", planned, len(stream.planned), "hops"):
        feeds = context_of(spec, tokens, hop, some)
        if PRESENT in sessions[FUSION].inputs:
            feeds[PRESENT] = np.ones(feeds["age"].shape, np.float32)
        began_s = time.perf_counter()
        got, embedded = sessions[FUSION].run([LOGITS, EMBEDDING], feeds)
        times[FUSION].append(time.perf_counter() - began_s)
        logits = max(logits, difference(got, wanted[LOGITS]))
        embedding = max(embedding, difference(embedded, wanted[EMBEDDING]))
        same += int(got.argmax() == wanted[LOGITS].argmax())
    errors = {
        name: max(difference(a, b) for a, b in zip(tokens[name], stream.tokens[name], strict=True)) for name in tokens
    }
    run_us = {name: statistics.median(spent) * 1e6 for name, spent in times.items()}
    return Errors(errors, logits, embedding, same / len(stream.planned), len(stream.planned), run_us)


def _encode(session: Session, sensor: Sensor, runs: Iterable[Array]) -> tuple[list[Array], list[float]]:
    states = {before: state.numpy() for before, state in initial_states(sensor).items()}
    names = state_names(sensor)
    made, times = [], []
    for samples in runs:
        began_s = time.perf_counter()
        tokens, *following = session.run([TOKENS, *(after for _, after in names)], {SAMPLES: samples, **states})
        times.append(time.perf_counter() - began_s)
        states = {before: state for (before, _), state in zip(names, following, strict=True)}
        made.append(tokens)
    return made, times


def whole_error(part: Part, spec: Spec, stream: Stream) -> float | None:
    """Hops encoded in one go against the same hops one by one, by the module: the largest difference of a token. None
    where the module carries nothing, or takes one hop at a time only, or there is only one."""
    sensor, runs = spec.sensors[part.name], stream.runs[part.name][:WHOLE]
    if not sensor.states or len(runs) < 2:
        return None
    axis = 0 if sensor.frame else 1
    samples = torch.from_numpy(np.concatenate(runs, axis=axis))
    try:
        tokens = run_part(part, {SAMPLES: samples, **initial_states(sensor)})[TOKENS].numpy()
    except ModelError:
        return None
    streamed = np.concatenate(stream.tokens[part.name][:WHOLE], axis=1)
    return difference(tokens, streamed) if tokens.shape == streamed.shape else None


def require(what: str, error: float, tolerance: float) -> None:
    """Raises ModelError where ``error`` is above the tolerance, or is not a number."""
    if not error <= tolerance:
        raise ModelError(
            f"{what}: the exported file differs from the trained module by {error:.1e}, above {tolerance:.0e}"
        )
