"""What a module must be before it is worth converting: each check refuses in one line that names the part."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from mmg.cli.reporting import Reporter
from mmg.errors import ModelError
from torch import Tensor, nn

from mmg_export.parts import (
    AGE,
    EMBEDDING,
    FUSION,
    LOGITS,
    MODALITY,
    PRESENT,
    SAMPLES,
    TOKENS,
    Part,
    initial_states,
    run_part,
    state_names,
)
from mmg_export.spec import Sensor, Spec
from mmg_export.streams import random_runs

# Beyond rounding: a batch of two is summed in another order than one.
SAME = 1e-3


def require_evaluation(name: str, module: nn.Module) -> None:
    """Raises ModelError where the module, or one inside it, is in training mode."""
    for path, inner in module.named_modules():
        if inner.training:
            where = f"{path} ({type(inner).__name__})" if path else type(inner).__name__
            raise ModelError(f"{name}: {where} is in training mode: call .eval() first")


def probe_encoder(part: Part, spec: Spec, progress: Reporter) -> None:
    """Run it on random samples. Raises ModelError where its tokens or its states are not what ``spec`` says, where they
    are not finite, differ from one run to the next, or depend on what else is in the batch. A module that takes a batch
    of one only is not tried with two, which is said."""
    name, sensor = part.name, spec.sensors[part.name]
    samples = torch.from_numpy(random_runs(name, spec, 1, seed=7)[0])
    feeds = {SAMPLES: samples, **initial_states(sensor)}
    made = run_part(part, feeds)
    _require_tokens(part, made[TOKENS], sensor, spec)
    for before, after in state_names(sensor):
        if made[after].shape != feeds[before].shape:
            raise ModelError(
                f"{name}: state {before.rpartition('_')[2]} goes in as {list(feeds[before].shape)} and comes out as "
                f"{list(made[after].shape)}; its shape may not change"
            )
    _require_steady(part, feeds, made)
    other = torch.from_numpy(random_runs(name, spec, 1, seed=8)[0])
    alone = False
    axes = min([2, *map(len, sensor.states)])  # one without a batch is of a module that takes a batch of one
    for axis in range(axes) if sensor.kind != "video" else ():  # a recurrent layer's state has the batch second
        states = {key: torch.cat((value, value), axis) for key, value in feeds.items() if key != SAMPLES}
        if not alone:
            alone = _require_alone(part, {**states, SAMPLES: torch.cat((samples, other))}, made, TOKENS)
    if not alone:
        progress(f"{name}: takes a batch of one only, so it was not tried whether it depends on the rest of a batch")


def probe_fusion(part: Part, spec: Spec) -> None:
    """As ``probe_encoder``, for the fusion over a few token counts."""
    sizes = {LOGITS: (1, len(spec.labels)), EMBEDDING: (1, spec.embedding_dim)}
    for count in (1, spec.most_tokens):
        feeds = _random_context(part, spec, count)
        made = run_part(part, feeds)
        for output, size in sizes.items():
            if tuple(made[output].shape) != size:
                problem = f"gives {output} of {list(made[output].shape)} for {count} tokens, not {list(size)}"
                raise ModelError(f"{FUSION}: {problem}")
        _require_steady(part, feeds, made)
        second = _random_context(part, spec, count, seed=9)
        doubled = {key: torch.cat((value, second[key])) for key, value in feeds.items()}
        _require_alone(part, doubled, made, LOGITS)


def probe_filled(free: Part, filled: Mapping[int, Part], spec: Spec) -> None:
    """The fusion with tokens that only fill up, as LiteRT runs it, against the same without. Raises ModelError."""
    for count, part in filled.items():
        feeds = _random_context(free, spec, max(1, count - 1))
        padded = {
            key: torch.cat((value, value.new_zeros(1, count - value.shape[1], *value.shape[2:])), dim=1)
            for key, value in feeds.items()
        }
        padded[PRESENT] = (torch.arange(count) < feeds[AGE].shape[1]).float()[None]
        try:
            made = run_part(part, padded)
        except ModelError as error:
            raise ModelError(f"{error}; for litert it is called with a fourth, present (1, N) bool") from error
        for output, wanted in run_part(free, feeds).items():
            if not float((made[output] - wanted).abs().max()) <= SAME:
                raise ModelError(
                    f"{FUSION}: its {output} depend on tokens that are not present: litert fills up with them"
                )


def _require_tokens(part: Part, tokens: Tensor, sensor: Sensor, spec: Spec) -> None:
    shape = tuple(tokens.shape)
    if len(shape) == 3 and shape[:2] == (1, sensor.tokens_per_hop) and shape[2] != spec.token_dim:
        raise ModelError(f"{part.name}: gives tokens of width {shape[2]}, the fusion takes {spec.token_dim}")
    wanted = (1, sensor.tokens_per_hop, spec.token_dim)
    if shape != wanted:
        raise ModelError(f"{part.name}: gives {list(shape)}, not tokens {list(wanted)} (batch, tokens a hop, width)")


def _require_steady(part: Part, feeds: Mapping[str, Tensor], made: Mapping[str, Tensor]) -> None:
    again = run_part(part, feeds)
    for output, value in made.items():
        if not torch.isfinite(value).all():
            raise ModelError(f"{part.name}: {output} is not finite for plausible input")
        if not torch.equal(value, again[output]):
            raise ModelError(
                f"{part.name}: gives another {output} for the same input: it draws random numbers, or keeps a state in "
                "itself"
            )


def _require_alone(part: Part, doubled: Mapping[str, Tensor], made: Mapping[str, Tensor], output: str) -> bool:
    """Whether the module takes a batch of two. Raises ModelError where its first output is another one then."""
    try:
        beside = run_part(part, doubled)[output]
    except ModelError:
        return False
    if beside.shape[0] != 2:
        return False
    scale = 1.0 + float(made[output].abs().max())
    if not float((beside[:1] - made[output]).abs().max()) <= SAME * scale:
        raise ModelError(
            f"{part.name}: its {output} depend on what else is in the batch; the device has a batch of one"
        )
    return True


def _random_context(part: Part, spec: Spec, count: int, seed: int = 7) -> dict[str, Tensor]:
    noise = torch.Generator().manual_seed(seed)
    feeds = {
        TOKENS: torch.randn(1, count, spec.token_dim, generator=noise, dtype=torch.float32),
        MODALITY: torch.randint(0, len(spec.sensors), (1, count), generator=noise, dtype=torch.int32),
        AGE: torch.randint(0, spec.context_hops, (1, count), generator=noise, dtype=torch.int32),
    }
    return {name: feeds[name] for name in part.inputs}
