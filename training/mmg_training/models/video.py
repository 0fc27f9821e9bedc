"""The video encoder: small frames to one token a hop; at 4 frames a second it looks 5 s back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mmg_training.models.causal import CausalConv, StreamingEncoder, run_layers

LAGS = 2
"""How many frames back the change of light is seen, one by one."""


class Shrink(nn.Module):
    """A convolution with stride s, batch norm and ReLU: (N, Cin, H, W) -> (N, Cout, H / s, W / s)."""

    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, stride + 1, stride=stride, padding=stride // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(cout)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x)))

    def fold(self) -> None:
        """Put the batch norm into the convolution's weights. In evaluation mode only, and for good."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv, self.norm = fuse_conv_bn_eval(self.conv, self.norm), nn.Identity()


class VideoEncoder(StreamingEncoder):
    """Frames (B * T, H, W, 3) uint8 RGB -> tokens (B, T / N, D). The states say what B is: no tensor has five axes.

    frame: height and width, multiples of 16; widths: channels at 1/4, 1/8 and 1/16 of its size; width: channels of a
    frame's vector; frames_per_token: N.
    """

    def __init__(
        self, frame: tuple[int, int], widths: tuple[int, int, int], width: int, token_dim: int, frames_per_token: int
    ) -> None:
        super().__init__()
        self.frame, self.width = frame, width
        height, breadth = frame
        quarter, eighth, sixteenth = widths
        # To a quarter at once: at full size the memory traffic costs more than all the rest of the network.
        self.shrinks = nn.Sequential(
            Shrink(3 + LAGS, quarter, 4), Shrink(quarter, eighth, 2), Shrink(eighth, sixteenth, 2)
        )
        cells = (height // 16) * (breadth // 16)
        self.project = nn.Linear(sixteenth * cells, width)
        layers = [
            CausalConv(width, width, 3, skip=True),
            CausalConv(width, width, 3, dilation=2, skip=True),
            CausalConv(width, width, 3, dilation=4, skip=True),
            CausalConv(width, token_dim, 2 * frames_per_token, stride=frames_per_token, relu=False),
        ]
        self.layers = nn.ModuleList(layers)
        self.state_shapes = ((1, LAGS, height * breadth), *(layer.state_shape for layer in layers))

    def forward(self, x: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        batch, (height, width) = states[0].shape[0], self.frame
        colour = x.float().permute(0, 3, 1, 2) / 255.0 - 0.5  # (B * T, 3, H, W)
        light = colour.mean(dim=1).reshape(batch, -1, height * width)  # (B, T, H * W)
        joined = torch.cat((states[0], light), dim=1)  # (B, LAGS + T, H * W)
        count = light.shape[1]
        changes = [
            (light - joined[:, LAGS - lag : LAGS - lag + count]).reshape(-1, 1, height, width)  # (B * T, 1, H, W)
            for lag in range(1, LAGS + 1)
        ]
        y = self.shrinks(
            torch.cat((colour, *(2.0 * change for change in changes)), dim=1)
        )  # (B * T, C, H / 16, W / 16)
        y = torch.relu(self.project(y.flatten(1)))  # (B * T, width)
        y = y.reshape(batch, -1, self.width).transpose(1, 2)  # (B, width, T)
        y, following = run_layers(self.layers, y, states[1:])
        return y.transpose(1, 2), [joined[:, count:], *following]  # (B, T / N, D)

    def fold(self) -> None:
        """Fold every batch norm below."""
        super().fold()
        for shrink in self.shrinks:
            shrink.fold()  # type: ignore[operator]
