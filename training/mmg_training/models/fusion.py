"""The fusion: a small pre-norm transformer over whichever tokens are present, read out at one class token."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

# Not minus infinity: a row of nothing but masked tokens must stay finite in every runtime.
MASKED = -1e4


class Attention(nn.Module):
    """Softmax attention of every token to every token of its sequence, (B * N, D) -> (B * N, D), or, with
    ``only_first``, of the first token of each, -> (B, D)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, batch: int, bias: Tensor | None, *, only_first: bool) -> Tensor:
        dim = x.shape[1]
        parts = self.qkv(x).reshape(batch, -1, 3 * self.heads, dim // self.heads).transpose(1, 2)
        q, k, v = parts.split(self.heads, dim=1)  # (B, heads, N, D / heads)
        if only_first:
            q = q[:, :, :1]
        scores = torch.matmul(q, k.transpose(2, 3)) / math.sqrt(dim // self.heads)  # (B, heads, N or 1, N)
        if bias is not None:
            scores = scores + bias
        y = torch.matmul(torch.softmax(scores, dim=3), v)
        return self.out(y.transpose(1, 2).reshape(-1, dim))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention, then a two-layer perceptron, each after a layer norm and added to its input.

    Tokens are rows, (B * N, D): of a linear layer over rows every converter makes one operator, bias included.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm, self.attention = nn.LayerNorm(dim), Attention(dim, heads)
        self.mlp = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, batch: int, bias: Tensor | None, *, only_first: bool) -> Tensor:
        y = self.attention(self.attention_norm(x), batch, bias, only_first=only_first)
        if only_first:
            x = x.reshape(batch, -1, x.shape[1])[:, 0]
        x = x + self.dropout(y)
        return x + self.dropout(self.mlp(x))  # type: ignore[no-any-return]


class Fusion(nn.Module):
    """Tokens (B, N, D), modality (B, N) and age (B, N) int -> logits (B, labels) and embedding (B, embedding_dim).

    Two heads read the class token: one for the labels, one for prototypes and alignment. To the first is added what the
    mean token of each modality that is there says by itself, a linear reading: late fusion is then the least that the
    transformer can do. modalities and ages: the sizes of the two embedding tables. groups: for each label the classes
    that it is made of, where there are more classes than labels. Training sees the logits of all classes, whoever
    decides those of the labels' summed probabilities.
    """

    def __init__(
        self,
        *,
        labels: int,
        modalities: int,
        ages: int,
        token_dim: int,
        embedding_dim: int,
        heads: int,
        layers: int,
        dropout: float,
        groups: Sequence[Sequence[int]] = (),
    ) -> None:
        super().__init__()
        largest = max(map(len, groups), default=0)
        # Filled up with the number of a class that is never there. No buffer: training averages those.
        filled = [[*group, *[labels] * (largest - len(group))] for group in groups]
        self.members = filled if len(groups) < labels else []
        self.modality = nn.Parameter(torch.zeros(modalities, token_dim))
        self.age = nn.Parameter(torch.zeros(ages, token_dim))
        self.class_token = nn.Parameter(torch.zeros(1, 1, token_dim))
        self.blocks = nn.ModuleList(Block(token_dim, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(token_dim)
        self.classify = nn.Linear(token_dim, labels)
        self.embed = nn.Linear(token_dim, embedding_dim)
        self.reading = nn.Parameter(torch.zeros(modalities, token_dim, labels))
        self.reading_bias = nn.Parameter(torch.zeros(modalities, labels))
        nn.init.uniform_(self.reading, -(token_dim**-0.5), token_dim**-0.5)
        for table in (self.modality, self.age, self.class_token):
            nn.init.normal_(table, std=0.2)

    def forward(
        self, tokens: Tensor, modality: Tensor, age: Tensor, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """``present`` (B, N) bool is for training, where one batch holds contexts of many shapes; the device feeds
        only what is present."""
        x = tokens + nn.functional.embedding(modality, self.modality) + nn.functional.embedding(age, self.age)
        x = torch.cat((self.class_token.expand(x.shape[0], -1, -1), x), dim=1)  # (B, 1 + N, D)
        bias = None
        if present is not None:
            absent = torch.nn.functional.pad(~present, (1, 0), value=False)  # the class token is always there
            bias = absent[:, None, None, :] * MASKED  # (B, 1, 1, 1 + N)
        batch, _, dim = x.shape
        x = x.reshape(-1, dim)
        *blocks, last = self.blocks
        for block in blocks:
            x = block(x, batch, bias, only_first=False)
        # Nobody reads the last block's other tokens. Training makes them all the same: its dropout draws for each, and
        # the shipped weights come out to the bit.
        x = last(x, batch, bias, only_first=not self.training)
        if self.training:
            x = x.reshape(batch, -1, dim)[:, 0]
        read = self.norm(x)
        logits = self.classify(read) + self._read_alone(tokens, modality, present)
        return logits if self.training else self.told(logits), self.embed(read)

    def told(self, logits: Tensor) -> Tensor:
        """Logits of the classes (B, C) -> of the labels (B, L), whose probabilities are those of their classes,
        summed."""
        if not self.members:
            return logits
        members = torch.tensor(self.members, device=logits.device)
        return torch.logsumexp(nn.functional.pad(logits, (0, 1), value=MASKED)[:, members], dim=2)

    def _read_alone(self, tokens: Tensor, modality: Tensor, present: Tensor | None) -> Tensor:
        """The sum over the modalities that are there of the reading of their mean token (B, labels)."""
        kinds = torch.arange(len(self.reading), device=modality.device, dtype=modality.dtype)
        member = (modality[:, :, None] == kinds).to(tokens.dtype)  # (B, N, modalities)
        if present is not None:
            member = member * present[:, :, None]
        count = member.sum(dim=1)[:, :, None]  # (B, modalities, 1)
        means = torch.matmul(member.transpose(1, 2), tokens) / torch.clamp(count, min=1.0)  # (B, modalities, D)
        readings = torch.matmul(means[:, :, None], self.reading)[:, :, 0] + self.reading_bias  # (B, modalities, labels)
        return (readings * torch.clamp(count, max=1.0)).sum(dim=1)
