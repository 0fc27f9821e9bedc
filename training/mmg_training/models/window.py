"""The window form of a streaming encoder: it sees the last hops again at every hop and carries nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmg_training.models.causal import StreamingEncoder


class WindowEncoder(nn.Module):
    """Samples of ``hops`` hops, (1, T, C) or frames (T, H, W, 3), in; the tokens (1, n, D) of the newest hop out.

    With a window as long as the encoder's memory and two hops more, these are the streaming form's tokens but for the
    zeros at the window's start.
    """

    def __init__(self, encoder: StreamingEncoder, hops: int) -> None:
        super().__init__()
        self.encoder, self.hops = encoder, hops

    def forward(self, samples: Tensor) -> Tensor:
        tokens, _ = self.encoder(samples, self.encoder.initial())
        return torch.chunk(tokens, self.hops, dim=1)[-1]
