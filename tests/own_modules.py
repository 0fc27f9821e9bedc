"""Small modules of anyone's, for the exporter: a PPG encoder and a fusion, and the spec that fits them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from mmg.bundle.manifest import Channel
from mmg_export import Sensor, Spec
from torch import Tensor, nn

TOKEN_DIM, EMBEDDING_DIM, LABELS = 6, 4, ("rest", "effort", "stress")
PPG = Sensor(rate_hz=64.0, channels=(Channel(name="ppg", unit="1"),))


class Ppg(nn.Module):
    """Half a second (1, 32, 1) -> one token."""

    def __init__(self, width: int = TOKEN_DIM) -> None:
        super().__init__()
        self.lin = nn.Linear(32, width)

    def forward(self, samples: Tensor) -> Tensor:
        return torch.tanh(self.lin(samples.transpose(1, 2)))


class Carrying(nn.Module):
    """The same with a running mean as its state (1, 1, 6)."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(32, TOKEN_DIM)

    def forward(self, samples: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        mean = 0.9 * mean + 0.1 * self.lin(samples.transpose(1, 2))
        return mean, mean


class MeanFusion(nn.Module):
    """The mean of the tokens that are there, the older the less, through two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.classify, self.embed = nn.Linear(TOKEN_DIM, len(LABELS)), nn.Linear(TOKEN_DIM, EMBEDDING_DIM)

    def forward(
        self, tokens: Tensor, modality: Tensor, age: Tensor, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        weight = 1.0 / (1.0 + age.float() + modality.float())
        if present is not None:
            weight = weight * present
        mean = (tokens * weight[:, :, None]).sum(1) / weight.sum(1, keepdim=True)
        return self.classify(mean), self.embed(mean)


def spec(sensor: Sensor = PPG, **changes: Any) -> Spec:
    """One sensor called ``ppg``."""
    made = Spec(name="own", labels=LABELS, sensors={"ppg": sensor}, token_dim=TOKEN_DIM, embedding_dim=EMBEDDING_DIM)
    return replace(made, **changes)


def seeded(kind: type[nn.Module], *arguments: Any) -> nn.Module:
    """The module with weights that are always the same, in evaluation mode."""
    torch.manual_seed(3)
    return kind(*arguments).eval()
