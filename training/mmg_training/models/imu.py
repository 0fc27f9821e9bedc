"""The IMU encoder: 50 Hz acceleration and angular rate to one token a hop; it hears 2.7 s back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmg_training.models.causal import CausalConv, StreamingEncoder, run_layers

# A g, and a turn in rad/s, that count as one.
GRAVITY, TURNING = 9.80665, 3.0


class ImuEncoder(StreamingEncoder):
    """Samples (B, T, 6) in m/s^2 and rad/s -> tokens (B, T / 25, D); ``width`` channels at 10 Hz."""

    def __init__(self, width: int, token_dim: int) -> None:
        super().__init__()
        layers = [
            CausalConv(8, width // 2, 7),  # 50 Hz
            CausalConv(width // 2, width, 10, stride=5),  # 10 Hz
            CausalConv(width, width, 3, skip=True),
            CausalConv(width, width, 3, dilation=2, skip=True),
            CausalConv(width, width, 3, dilation=4, skip=True),
            CausalConv(width, token_dim, 10, stride=5, relu=False),  # 2 Hz
        ]
        self.layers = nn.ModuleList(layers)
        self.state_shapes = tuple(layer.state_shape for layer in layers)

    def forward(self, x: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        scale = x.new_tensor([GRAVITY] * 3 + [TURNING] * 3)
        x = (x / scale).transpose(1, 2)  # (B, 6, T)
        # The lengths do not depend on how the sensor is worn: with them the layers need not learn every rotation.
        force = torch.sqrt((x[:, :3] ** 2).sum(1, keepdim=True) + 1e-6) - 1.0
        turning = torch.sqrt((x[:, 3:] ** 2).sum(1, keepdim=True) + 1e-6)
        y, following = run_layers(self.layers, torch.cat((x, force, turning), dim=1), states)
        return y.transpose(1, 2), following  # (B, T / 25, D)
