"""The parts of a model as the exporter handles them: named tensors in, named tensors out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from mmg.counts import count_of
from mmg.errors import ModelError
from torch import Tensor, nn

from mmg_export.spec import Sensor, Spec

SAMPLES, TOKENS, MODALITY, AGE, PRESENT, LOGITS, EMBEDDING = (
    "samples",
    "tokens",
    "modality",
    "age",
    "present",
    "logits",
    "embedding",
)
FUSION = "fusion"


@dataclass(frozen=True)
class Part:
    """One encoder, or the fusion: ``module(**inputs)`` returns ``outputs`` by name.

    inputs: of one run, to trace it with. free: the input dimension that any size is for, by input; none for an encoder.
    """

    name: str
    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    free: Mapping[str, int]


class NamedEncoder(nn.Module):
    """An encoder's module called by names: ``samples`` and the states in, ``tokens`` and the next states out."""

    def __init__(self, module: nn.Module, states: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self.module, self.states = module, list(states)

    def forward(self, **feeds: Tensor) -> dict[str, Tensor]:
        made = self.module(feeds[SAMPLES], *(feeds[before] for before, _ in self.states))
        tokens, *following = made if isinstance(made, (tuple, list)) else (made,)
        if len(following) != len(self.states):
            raise ModelError(
                f"gives {count_of(len(following), 'output')} beside its tokens, but Sensor(states=...) has "
                f"{count_of(len(self.states), 'state')}: they must be the same states"
            )
        return {TOKENS: tokens, **{after: state for (_, after), state in zip(self.states, following, strict=True)}}


class NamedFusion(nn.Module):
    """A fusion's module with named outputs."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, tokens: Tensor, modality: Tensor, age: Tensor) -> dict[str, Tensor]:
        logits, embedding = _as_pair(self.module(tokens, modality, age))
        return {LOGITS: logits, EMBEDDING: embedding}


class FilledFusion(nn.Module):
    """The same for a number of tokens that is always the same: ``present`` (1, N) float32 is 0 for what fills up."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, tokens: Tensor, modality: Tensor, age: Tensor, present: Tensor) -> dict[str, Tensor]:
        logits, embedding = _as_pair(self.module(tokens, modality, age, present > 0.5))
        return {LOGITS: logits, EMBEDDING: embedding}


def _as_pair(made: object) -> Sequence[Tensor]:
    if not isinstance(made, (tuple, list)) or len(made) != 2:
        given = f"{len(made)} values" if isinstance(made, (tuple, list)) else f"a {type(made).__name__}"
        raise ModelError(f"gives {given}, not (logits, embedding): wrap the module")
    return made


def state_names(sensor: Sensor) -> list[tuple[str, str]]:
    """The input and output name of each state."""
    return [(f"history_{index}", f"next_history_{index}") for index in range(len(sensor.states))]


def encoder_part(name: str, module: nn.Module, spec: Spec) -> Part:
    """The part for one sensor; its traced samples are zeros, its states what they are at first."""
    sensor = spec.sensors[name]
    names = state_names(sensor)
    dtype = torch.uint8 if sensor.kind == "video" else torch.float32
    inputs = {SAMPLES: torch.zeros(sensor.shape(spec.hop_s), dtype=dtype), **initial_states(sensor)}
    return Part(name, NamedEncoder(module, names).eval(), inputs, (TOKENS, *(after for _, after in names)), {})


def initial_states(sensor: Sensor) -> dict[str, Tensor]:
    """What a streaming encoder carries at a stream's start."""
    names = [before for before, _ in state_names(sensor)]
    # Of this type whatever a program has made torch's own.
    return {name: torch.zeros(shape, dtype=torch.float32) for name, shape in zip(names, sensor.states, strict=True)}


def fusion_part(module: nn.Module, spec: Spec, *, count: int | None = None, masked: bool = True) -> Part:
    """The fusion of any number of tokens, or of ``count``, of which some may only fill up where it is masked."""
    # Not one: torch takes a size of one as a constant.
    shape = (1, count or max(2, min(5, spec.most_tokens)))
    inputs: dict[str, Tensor] = {
        TOKENS: torch.zeros(*shape, spec.token_dim, dtype=torch.float32),
        MODALITY: torch.zeros(shape, dtype=torch.int32),
        AGE: torch.zeros(shape, dtype=torch.int32),
    }
    if count is None or not masked:
        return Part(FUSION, NamedFusion(module).eval(), inputs, (LOGITS, EMBEDDING), dict.fromkeys(inputs, 1))
    inputs[PRESENT] = torch.ones(shape, dtype=torch.float32)
    return Part(FUSION, FilledFusion(module).eval(), inputs, (LOGITS, EMBEDDING), {})


def token_counts(spec: Spec) -> tuple[int, ...]:
    """The token counts of a whole context of each subset of the sensors, which is what most runs have; two at least,
    as the runtime knows by them which dimension is free."""
    tokens = [sensor.tokens_per_hop for sensor in spec.sensors.values()]
    sums = {sum(some) for size in range(1, len(tokens) + 1) for some in combinations(tokens, size)}
    counts = {spec.context_hops * number for number in sums}
    if len(counts) == 1:
        counts.add(max(1, max(counts) // 2) if max(counts) > 1 else 2)
    return tuple(sorted(counts))


@torch.no_grad()
def run_part(part: Part, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The module's own outputs. It may write into what it is given, and gives again what it gave: both are copies.
    Raises ModelError with the first line of whatever it raises."""
    try:
        made: dict[str, Tensor] = part.module(**{name: value.clone() for name, value in feeds.items()})
    except ModelError as error:
        raise ModelError(f"{part.name}: {error}") from error
    except Exception as error:  # anyone's code
        raise ModelError(f"{part.name}: its module cannot run: {first_line(error)}") from error
    for output, value in made.items():
        if not isinstance(value, Tensor):
            raise ModelError(f"{part.name}: gives {output} as a {type(value).__name__}, not a tensor: wrap the module")
        if value.dtype != torch.float32:
            raise ModelError(f"{part.name}: gives {output} of {value.dtype}, not torch.float32")
    return {output: value.clone() for output, value in made.items()}


def first_line(said: BaseException | str) -> str:
    """The first line of what an error says, at most 300 characters of it; its kind where it says nothing."""
    text = next((line for line in str(said).splitlines() if line.strip()), type(said).__name__)
    return text.strip()[:300]
