"""The baseline fusion: all tokens of a context side by side, zeros where one is missing, and a perceptron."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Concatenation(nn.Module):
    """Tokens (B, N, D) of every modality and age in a fixed order -> logits (B, labels) and embedding
    (B, embedding_dim)."""

    def __init__(
        self, modalities: int, slots: int, token_dim: int, labels: int, embedding_dim: int, dropout: float
    ) -> None:
        super().__init__()
        # For the loss of each modality's own tokens alone; the decision does not use it.
        self.reading = nn.Parameter(torch.zeros(modalities, token_dim, labels))
        self.reading_bias = nn.Parameter(torch.zeros(modalities, labels))
        self.read = nn.Sequential(
            nn.Flatten(), nn.Linear(slots * token_dim, 2 * token_dim), nn.GELU(), nn.Dropout(dropout)
        )
        self.classify = nn.Linear(2 * token_dim, labels)
        self.embed = nn.Linear(2 * token_dim, embedding_dim)

    def forward(self, tokens: Tensor, _modality: Tensor, _age: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        read = self.read(tokens * present[:, :, None])
        return self.classify(read), self.embed(read)
