"""What encoders are run on, hop after hop, and the contexts that the fusion is run on: random or recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmg.cli.progress import counted
from mmg.cli.reporting import Reporter
from mmg.counts import count_of
from mmg.errors import ConfigError, ModelError
from numpy.typing import NDArray

from mmg_export.parts import (
    AGE,
    MODALITY,
    SAMPLES,
    TOKENS,
    Part,
    initial_states,
    run_part,
    state_names,
)
from mmg_export.spec import Sensor, Spec

Array = NDArray[Any]
# A hop, and the (sensor, run) that the fusion sees at its end, in order.
Planned = tuple[int, list[tuple[str, int]]]
# The size of plausible noise in a unit; 1 for any other.
SCALES = {"m/s^2": 4.0, "fs": 0.1}
GRAVITY_M_S2 = 9.80665
# Recorded hops that are compared, and that int8 is calibrated with.
RECORDED_HOPS = 200
# The share of hops that a context with missing ones keeps.
KEPT = 0.6


@dataclass(frozen=True)
class Stream:
    """What the trained modules gave over some hops.

    runs: the samples of each run of each encoder. feeds: the same with the states that it began with, where they were
    kept. tokens: (1, n, D) of each run. planned: the contexts, see ``plan_contexts``. contexts: what the fusion was
    fed, with logits and embedding in ``decided``.
    """

    runs: Mapping[str, Sequence[Array]]
    feeds: Mapping[str, Sequence[dict[str, Array]]]
    tokens: Mapping[str, Sequence[Array]]
    contexts: Sequence[dict[str, Array]]
    decided: Sequence[dict[str, Array]]
    planned: Sequence[Planned]


def random_runs(name: str, spec: Spec, hops: int, seed: int) -> list[Array]:
    """The runs of an encoder over so many hops of plausible noise."""
    sensor, noise = spec.sensors[name], np.random.default_rng(seed)
    count = sensor.samples_in(spec.hop_s) * hops + sensor.samples_in(max(sensor.window_s - spec.hop_s, 0.0))
    if sensor.frame:
        return cut_runs(name, spec, noise.integers(0, 256, (count, *sensor.frame, 3), dtype=np.uint8))
    scales = np.array([SCALES.get(channel.unit, 1.0) for channel in sensor.channels])
    values = noise.standard_normal((count, len(sensor.channels))) * scales
    down = [index for index, channel in enumerate(sensor.channels) if channel.unit == "m/s^2"][2:3]
    values[:, down] += GRAVITY_M_S2
    return cut_runs(name, spec, values.astype(np.float32))


def cut_runs(name: str, spec: Spec, samples: Array) -> list[Array]:
    """A recording (T, C), or frames (T, H, W, 3), as the runs of an encoder: one a hop, once a window is full.

    Raises ConfigError where it is not such a recording.
    """
    sensor = spec.sensors[name]
    wanted = (*sensor.frame, 3) if sensor.frame else (len(sensor.channels),)
    if samples.shape[1:] != wanted:
        raise ConfigError(f"{name}: recorded samples are {list(samples.shape)}, not (T, {', '.join(map(str, wanted))})")
    with np.errstate(over="ignore"):
        samples = samples.astype(np.uint8 if sensor.frame else np.float32, copy=False)
    if not np.isfinite(samples).all():
        raise ConfigError(f"{name}: recorded samples are not finite as float32")
    step, length = sensor.samples_in(spec.hop_s), sensor.samples_in(sensor.window_s or spec.hop_s)
    starts = range(0, len(samples) - length + 1, step)
    return [np.ascontiguousarray(samples[at : at + length]).reshape(sensor.shape(spec.hop_s)) for at in starts]


def follow(
    parts: Mapping[str, Part],
    fusion: Part,
    spec: Spec,
    runs: Mapping[str, Sequence[Array]],
    progress: Reporter,
    *,
    keep_feeds: bool = False,
) -> Stream:
    """Run the modules over ``runs``, hop after hop, and the fusion at each hop. Raises ModelError, also for what is not
    finite."""
    feeds: dict[str, list[dict[str, Array]]] = {name: [] for name in runs}
    tokens: dict[str, list[Array]] = {name: [] for name in runs}
    for name, arrays in runs.items():
        first = _first_hop(spec.sensors[name], spec)
        states = {before: state.numpy() for before, state in initial_states(spec.sensors[name]).items()}
        for samples in counted(progress, f"{name} streamed", arrays, len(arrays), "hops"):
            feed = {SAMPLES: samples, **states}
            if keep_feeds:
                feeds[name].append(feed)
            made = _run_finite(parts[name], feed, first + len(tokens[name]))
            tokens[name].append(made[TOKENS].numpy())
            states = {before: made[after].numpy() for before, after in state_names(spec.sensors[name])}
    planned = plan_contexts(spec, {name: len(arrays) for name, arrays in runs.items()})
    contexts = [context_of(spec, tokens, hop, some) for hop, some in planned]
    decided: list[dict[str, Array]] = []
    for context in counted(progress, "fused", contexts, len(contexts), "hops"):
        made = _run_finite(fusion, context, planned[len(decided)][0])
        decided.append({key: value.numpy() for key, value in made.items()})
    return Stream(runs, feeds, tokens, contexts, decided, planned)


def plan_contexts(spec: Spec, counts: Mapping[str, int]) -> list[Planned]:
    """At each hop what the fusion sees: the subsets of the sensors in turn; in every third round hops are missing, as
    where a sensor was gone for a while."""
    names, planned, noise = list(counts), list[Planned](), np.random.default_rng(0)
    subsets = (1 << len(names)) - 1
    first = {name: _first_hop(spec.sensors[name], spec) for name in names}
    for hop in range(max(counts[name] + first[name] for name in names)):
        chosen = [name for bit, name in enumerate(names) if (1 + hop % subsets) >> bit & 1]
        some = [
            (name, hop - age - first[name])
            for name in chosen
            for age in reversed(range(spec.context_hops))
            if 0 <= hop - age - first[name] < counts[name]
        ]
        if hop // subsets % 3 == 2:
            some = [one for one, kept in zip(some, noise.random(len(some)) < KEPT, strict=True) if kept] or some[-1:]
        if some:
            planned.append((hop, some))
    return planned


def context_of(
    spec: Spec, tokens: Mapping[str, Sequence[Array]], hop: int, some: Sequence[tuple[str, int]]
) -> dict[str, Array]:
    """What the fusion is fed for these runs' tokens at this hop."""
    names = list(spec.sensors)
    counts = [spec.sensors[name].tokens_per_hop for name, _ in some]
    ages = [hop - run - _first_hop(spec.sensors[name], spec) for name, run in some]
    kinds = [names.index(name) for name, _ in some]
    return {
        TOKENS: np.concatenate([tokens[name][run] for name, run in some], axis=1),
        MODALITY: np.repeat(np.array(kinds, np.int32), counts)[None],
        AGE: np.repeat(np.array(ages, np.int32), counts)[None],
    }


def _first_hop(sensor: Sensor, spec: Spec) -> int:
    """The hop at whose end a window is full for the first time."""
    return max(round(sensor.window_s / spec.hop_s) - 1, 0)


def _run_finite(part: Part, feeds: Mapping[str, Array], hops: int) -> dict[str, torch.Tensor]:
    made = run_part(part, {key: torch.tensor(value) for key, value in feeds.items()})  # may be read-only
    for output, value in made.items():
        if not torch.isfinite(value).all():
            raise ModelError(f"{part.name}: {output} is not finite, {count_of(hops, 'hop')} after the beginning")
    return made
