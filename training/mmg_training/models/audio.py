"""The audio encoder: 16 kHz sound to two tokens a hop; the log-mel spectrum is part of it; it hears 2.3 s back, and 2 s
more for the level."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmg_training.models.causal import CausalConv, StreamingEncoder, run_layers

# Samples of a spectrum and between two of them; the lowest frequency that a band holds.
RATE_HZ, WINDOW, STRIDE, LOW_HZ = 16_000, 320, 160, 60.0
STEADY = 200
"""Spectra over whose power the level is averaged, the newest with the most weight."""
LOUD, BANDS = 1e3, 1e4
"""What the spectrum and the bands are multiplied by where no level is heard, so that silence, 1e-10 of full scale, has
a power of 1: exporters drop an addend as small as that. In two parts, which float16 can hold."""
DEPTH, FRAME = 1e-4, 1e-5
"""A band is told from nothing down to the first's part of the level, and the second's of all bands just then: further
down it would be the rounding of float32."""


class AudioEncoder(StreamingEncoder):
    """Samples (B, T, 1) as a fraction of full scale -> tokens (B, T / 4000, D), through ``mels`` bands.

    level: the layers hear how loud the sound is. Without it they see each band's power as a part of the mean power in
    the last two seconds: how loud a source is, or how far a microphone is turned up, is no activity (a gain control in
    front of the network, as PCEN is, Wang et al. 2017).
    """

    dft: Tensor
    steady: Tensor
    cosines: Tensor
    sines: Tensor
    mel: Tensor

    def __init__(self, width: int, token_dim: int, mels: int, level: bool) -> None:
        super().__init__()
        self.level = level
        self.loud = 1.0 if level else LOUD
        self.register_buffer("dft", self.loud * dft_kernels(WINDOW), persistent=False)
        self.folded = False
        self.register_buffer("mel", (1.0 if level else BANDS) * mel_bands(mels), persistent=False)
        hann = torch.hann_window(2 * STEADY + 1)[1 : STEADY + 1]  # rises to the newest
        self.register_buffer("steady", (hann / hann.sum())[None, None], persistent=False)
        layers = [
            CausalConv(mels, width, 5),  # 100 Hz
            CausalConv(width, width, 10, stride=5),  # 20 Hz
            CausalConv(width, width, 3, skip=True),
            CausalConv(width, width, 3, dilation=2, skip=True),
            CausalConv(width, width, 3, dilation=4, skip=True),
            CausalConv(width, width, 3, dilation=8, skip=True),
            CausalConv(width, token_dim, 10, stride=5, relu=False),  # 4 Hz
        ]
        self.layers = nn.ModuleList(layers)
        overlap = (1, 1, WINDOW - STRIDE)
        powers = () if level else ((1, 1, STEADY - 1),)
        self.state_shapes = (overlap, *powers, *(layer.state_shape for layer in layers))

    def forward(self, x: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        joined = torch.cat((states[0], x.transpose(1, 2)), dim=2)  # (B, 1, overlap + T)
        overlap = joined[:, :, joined.shape[2] - states[0].shape[2] :]
        bands = self.powers(joined)  # (B, mels, T / stride)
        if self.level:
            heard = (torch.log(bands + 1e-6) + 8.0) / 4.0  # -1.5 (silence) to 2 (full scale)
            y, following = run_layers(self.layers, heard, states[1:])
            return y.transpose(1, 2), [overlap, *following]  # (B, T / 4000, D)
        mean = bands.mean(1, keepdim=True)
        powers = torch.cat((states[1], mean), dim=2)  # (B, 1, STEADY - 1 + T / stride)
        level = nn.functional.conv1d(powers, self.steady)  # (B, 1, T / stride)
        floor = DEPTH * level + FRAME * mean + 1.0
        relative = (torch.log((bands + floor) / (level + 1.0)) + 4.0) / 4.0
        y, following = run_layers(self.layers, relative, states[2:])
        recent = powers[:, :, powers.shape[2] - STEADY + 1 :]
        return y.transpose(1, 2), [overlap, recent, *following]

    def fold(self) -> None:
        """Fold every batch norm below, and the Fourier transform in its middle: half the products for the same sums.
        Training keeps the plain convolution, with which the shipped weights come out the same to the last bit."""
        super().fold()
        if not self.folded:
            cosines, sines = folded_dft(WINDOW)
            self.register_buffer("cosines", self.loud * cosines.to(self.dft), persistent=False)
            self.register_buffer("sines", self.loud * sines.to(self.dft), persistent=False)
            del self.dft
            self.folded = True

    def powers(self, x: Tensor) -> Tensor:
        """Sound (B, 1, overlap + T) -> the power in each band (B, mels, T / stride), 1 at full scale, or 1e10
        where no level is heard."""
        if self.folded:
            even, odd = folded_frames(x.reshape(x.shape[0], -1, STRIDE))
            real, imaginary = nn.functional.linear(even, self.cosines), nn.functional.linear(odd, self.sines)
            return nn.functional.linear(real**2 + imaginary**2, self.mel).transpose(1, 2)
        parts = nn.functional.conv1d(x, self.dft, stride=STRIDE)  # (B, 2 * bins, frames)
        bins = WINDOW // 2 + 1
        return torch.matmul(self.mel, parts[:, :bins] ** 2 + parts[:, bins:] ** 2)


def dft_kernels(window: int) -> Tensor:
    """Real, then imaginary parts of a Hann-windowed DFT (window + 2, 1, window): a full-scale sine has power 1."""
    n = torch.arange(window, dtype=torch.float64)
    hann = 0.5 - 0.5 * torch.cos(2 * math.pi * n / window)
    angle = 2 * math.pi * torch.arange(window // 2 + 1, dtype=torch.float64)[:, None] * n / window
    kernels = torch.cat((torch.cos(angle), torch.sin(angle))) * hann * (2 / hann.sum())
    return kernels[:, None].float()


def folded_dft(window: int) -> tuple[Tensor, Tensor]:
    """``dft_kernels`` for ``folded_frames``, each row a bin: (window / 2 + 1, window / 2) for the sums and (window / 2
    + 1, window / 2 - 1) for the differences. They are all there is to it, as Hann window and cosine are the same on
    both sides of the middle, the sine is so with the other sign, and the window is zero at its first sample."""
    half = window // 2
    kernels = dft_kernels(window)[:, 0]
    cosines, sines = kernels[: half + 1], kernels[half + 1 :]
    return torch.cat((cosines[:, half : half + 1], cosines[:, 1:half]), dim=1), sines[:, 1:half].contiguous()


def folded_frames(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Blocks of half a window (B, blocks, half) -> of each two in a row the middle sample and the sums of those as far
    before as after it (B, blocks - 1, half), and the differences of these (B, blocks - 1, half - 1)."""
    first, second = blocks[:, :-1, 1:], blocks[:, 1:]
    mirrored = second[:, :, 1:].flip(2)
    return torch.cat((second[:, :, :1], first + mirrored), dim=2), first - mirrored


def mel_bands(mels: int) -> Tensor:
    """Triangular bands (mels, window / 2 + 1), evenly spaced on the mel scale 2595 log10(1 + f / 700) (HTK)."""
    low, high = (2595 * math.log10(1 + hz / 700) for hz in (LOW_HZ, RATE_HZ / 2))
    edges = 700 * (10 ** (torch.linspace(low, high, mels + 2, dtype=torch.float64) / 2595) - 1)
    bins = torch.linspace(0, RATE_HZ / 2, WINDOW // 2 + 1, dtype=torch.float64)
    # A band narrower than the spacing of the bins would hear nothing at all.
    reach = torch.full_like(edges[1:-1], RATE_HZ / WINDOW)
    below = torch.maximum(edges[1:-1] - edges[:-2], reach)[:, None]
    above = torch.maximum(edges[2:] - edges[1:-1], reach)[:, None]
    offset = bins - edges[1:-1, None]
    return torch.clamp(torch.minimum(1 + offset / below, 1 - offset / above), min=0).float()
