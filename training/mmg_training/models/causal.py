"""Causal convolutions with explicit state: one code path for a whole sequence and for one hop.

A layer sees ``history`` (the end of its own earlier input) before its input and returns the next history. Zeros are
both the state of a sequence's start and the padding of an offline run, so cutting a sequence into hops changes nothing
(the external-state form of MoViNet, arXiv 2103.11511, and of continual inference networks).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class CausalConv(nn.Module):
    """A convolution over time (B, Cin, T) -> (B, Cout, T / stride), batch norm and ReLU.

    history: how many of its input's frames it remembers. ``skip`` adds the input to the output.
    """

    def __init__(
        self,
        cin: int,
        cout: int,
        kernel: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        skip: bool = False,
        relu: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(cin, cout, kernel, stride=stride, dilation=dilation, bias=False)
        self.norm: nn.Module = nn.BatchNorm1d(cout)
        self.history = (kernel - 1) * dilation + 1 - stride
        self.state_shape = (1, cin, self.history)
        self.skip, self.relu = skip, relu

    def forward(self, x: Tensor, history: Tensor) -> tuple[Tensor, Tensor]:
        joined = torch.cat((history, x), dim=2)  # (B, Cin, history + T)
        y = self.norm(self.conv(joined))
        if self.relu:
            y = torch.relu(y)
        # Counted from the front: the end of a slice of length zero would be the whole.
        return (x + y if self.skip else y), joined[:, :, joined.shape[2] - self.history :]

    def fold(self) -> None:
        """Put the batch norm into the convolution's weights. In evaluation mode only, and for good."""
        if isinstance(self.norm, nn.BatchNorm1d):
            self.conv, self.norm = fuse_conv_bn_eval(self.conv, self.norm), nn.Identity()


class StreamingEncoder(nn.Module):
    """One modality's samples and the carried states in, tokens (B, n, D) and the next states out.

    state_shapes: the shape of each state for a batch of one. Zeros are the state of a sequence's start.
    """

    state_shapes: tuple[tuple[int, ...], ...]

    def initial(self, batch: int = 1) -> list[Tensor]:
        """The states at the start of ``batch`` sequences, where the weights are."""
        device = next(self.parameters()).device
        return [torch.zeros(batch, *shape[1:], device=device) for shape in self.state_shapes]

    def fold(self) -> None:
        """Fold every batch norm below."""
        for module in self.modules():
            if isinstance(module, CausalConv):
                module.fold()


def run_layers(layers: nn.ModuleList, x: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """A stack of ``CausalConv``, each with its own state: (B, C, T) -> (B, C', T')."""
    following = []
    for layer, state in zip(layers, states, strict=True):
        x, state = layer(x, state)
        following.append(state)
    return x, following
