"""The IMU encoder: 50 Hz acceleration and angular rate to one token a hop; it hears 2.7 s back, and 2 s more for the
direction of gravity."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmg_training.models.causal import CausalConv, StreamingEncoder, run_layers

# A g, and a turn in rad/s, that count as one.
GRAVITY, TURNING = 9.80665, 3.0
STEADY = 100
"""Samples over which gravity is averaged, the newest with the most weight."""


class ImuEncoder(StreamingEncoder):
    """Samples (B, T, 6) in m/s^2 and rad/s -> tokens (B, T / 25, D); ``width`` channels at 10 Hz.

    axes: the layers see the sensor's own axes and the lengths of both vectors. Without it they see only what does not
    depend on how the sensor is mounted: the lengths, and the parts along gravity and across it.
    """

    steady: Tensor

    def __init__(self, width: int, token_dim: int, axes: bool) -> None:
        super().__init__()
        self.axes = axes
        hann = torch.hann_window(2 * STEADY + 1)[1 : STEADY + 1]  # rises to the newest
        self.register_buffer("steady", (hann / hann.sum()).repeat(3, 1, 1), persistent=False)
        layers = [
            CausalConv(8 if axes else 10, width // 2, 7),  # 50 Hz
            CausalConv(width // 2, width, 10, stride=5),  # 10 Hz
            CausalConv(width, width, 3, skip=True),
            CausalConv(width, width, 3, dilation=2, skip=True),
            CausalConv(width, width, 3, dilation=4, skip=True),
            CausalConv(width, token_dim, 10, stride=5, relu=False),  # 2 Hz
        ]
        self.layers = nn.ModuleList(layers)
        self.state_shapes = (*(() if axes else ((1, 3, STEADY - 1),)), *(layer.state_shape for layer in layers))

    def forward(self, x: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        x = (x / x.new_tensor([GRAVITY] * 3 + [TURNING] * 3)).transpose(1, 2)  # (B, 6, T)
        force, turning = x[:, :3], x[:, 3:]
        if self.axes:
            seen = torch.cat((x, _length(force) - 1.0, _length(turning)), dim=1)
            y, following = run_layers(self.layers, seen, states)
            return y.transpose(1, 2), following  # (B, T / 25, D)
        joined = torch.cat((states[0], force), dim=2)  # (B, 3, STEADY - 1 + T)
        gravity = nn.functional.conv1d(joined, self.steady, groups=3)  # (B, 3, T)
        y, following = run_layers(self.layers, mount_free(force, turning, gravity), states[1:])
        return y.transpose(1, 2), [joined[:, :, joined.shape[2] - STEADY + 1 :], *following]


def mount_free(force: Tensor, turning: Tensor, gravity: Tensor) -> Tensor:
    """Acceleration, angular rate and gravity (B, 3, T) -> ten figures (B, 10, T) that no rotation of the sensor
    changes: the lengths of all three, the parts of the first two along gravity and across it, the cosine of force and
    gravity, and the dot and the triple product of the parts across."""
    up = gravity / _length(gravity)
    rise, spin = (force * up).sum(1, keepdim=True), (turning * up).sum(1, keepdim=True)
    sway, tilt = force - rise * up, turning - spin * up
    (a, b, c), (d, e, f) = torch.split(sway, 1, dim=1), torch.split(tilt, 1, dim=1)
    crossed = torch.cat((b * f - c * e, c * d - a * f, a * e - b * d), dim=1)
    return torch.cat(
        (
            _length(force) - 1.0,
            _length(turning),
            _length(gravity) - 1.0,
            rise - 1.0,
            spin,
            _length(sway),
            _length(tilt),
            rise / _length(force) - 1.0,
            (sway * tilt).sum(1, keepdim=True),
            (crossed * up).sum(1, keepdim=True),
        ),
        dim=1,
    )


def _length(vector: Tensor) -> Tensor:
    """(B, 3, T) -> (B, 1, T), never zero."""
    return torch.sqrt((vector**2).sum(1, keepdim=True) + 1e-6)
