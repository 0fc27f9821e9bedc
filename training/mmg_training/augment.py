"""What differs between devices, people and rooms but never the activity: mounting, gain, noise, light, pace.

All of a batch at once, in the encoders' own shapes. Everything random comes from the generator that is handed in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mmg_training.config import AugmentConfig

QUIETEST = -3.0
"""The lowest peak that a sequence is set to, as a power of ten of full scale: -60 dBFS."""
TONE_TAPS, TONE_ANCHORS = 63, 7
"""Of the filter that colours a sound: its length, and how many gains from 0 Hz to 8 kHz it goes through."""


class Augment:
    """Cuts of a batch, imu (N, T, 6), audio (N, T) int16, video (N, T, H, W, 3) uint8 -> the encoders' input: imu and
    audio (N, T, 1) float32, video uint8."""

    def __init__(self, config: AugmentConfig, backgrounds: Sequence[NDArray[np.int16]]) -> None:
        self.config, self.backgrounds = config, backgrounds

    def __call__(
        self, rng: torch.Generator, samples: Mapping[str, Tensor], rows: Mapping[str, Tensor], batch: int
    ) -> dict[str, Tensor]:
        """rows: the sequence of each cut, of ``batch``; the modalities of a sequence keep one pace."""
        paces = torch.randn(batch, 3, generator=rng) * self.config.pace
        ends = _uniform(rng, -self.config.crop, self.config.crop, batch, 2)
        made = {}
        for name, values in samples.items():
            if self.config.pace or self.config.crop:
                values = at_pace(values, paces[rows[name]], ends[rows[name]])
            if name == "imu":
                made[name] = augment_imu(rng, values, self.config)
            elif name == "audio":
                made[name] = augment_audio(rng, values, self.backgrounds, self.config)
            else:
                made[name] = augment_video(rng, values, self.config)
        return made


def at_pace(values: Tensor, paces: Tensor, ends: Tensor) -> Tensor:
    """Values (N, T, ...) with time bent by three sines (N, 3), t + sum a_k sin(pi k t) / (pi k), which keeps both ends;
    then each end (N, 2) moved by a part of the whole."""
    count = values.shape[1]
    t, k = torch.linspace(0, 1, count), math.pi * torch.arange(1.0, 4.0)
    bent = t + ((paces / k)[:, :, None] * torch.sin(k[:, None] * t)).sum(1)
    bent = (ends[:, :1] + (1 + ends[:, 1:] - ends[:, :1]) * bent).clamp(0, 1) * (count - 1)
    number = torch.arange(len(values))[:, None]
    if not values.is_floating_point():
        return values[number, bent.round().long()]
    low = bent.floor().long().clamp(max=count - 2)
    part = (bent - low).reshape(*bent.shape, *[1] * (values.dim() - 2))
    return values[number, low] * (1 - part) + values[number, low + 1] * part


def augment_imu(rng: torch.Generator, imu: Tensor, config: AugmentConfig) -> Tensor:
    """Turned a little, or any way round; stronger or weaker; noise and bias; sometimes without the gyro."""
    count = len(imu)
    little = small_rotations(torch.randn(count, 3, generator=rng) * config.turn)
    any_way = _chance(rng, count, config.any_turn)
    turns = torch.where(any_way[:, None, None], random_rotations(rng, count), little)
    turned = torch.einsum("ntsc,ndc->ntsd", imu.reshape(count, -1, 2, 3), turns).flatten(2)
    strength = torch.exp(torch.randn(count, 1, 1, generator=rng) * config.strength)
    force, turning = turned[..., :3], turned[..., 3:] * strength
    steady = force.mean(dim=1, keepdim=True)
    force = steady + (force - steady) * strength + torch.randn(count, 1, 3, generator=rng) * config.bias
    noise = torch.rand(count, 1, 1, generator=rng) * config.noise
    noisy = torch.randn(imu.shape, generator=rng) * noise * torch.tensor([1.0] * 3 + [0.2] * 3)
    both = torch.cat((force, turning), dim=2) + noisy
    both[_chance(rng, count, config.no_gyro), :, 3:] = 0.0
    return both


def small_rotations(axes: Tensor) -> Tensor:
    """Rotation vectors (N, 3) in rad -> matrices (N, 3, 3), by Rodrigues' formula."""
    angle = axes.norm(dim=1).clamp(min=1e-6)[:, None, None]
    x, y, z = (axes / angle[:, 0]).unbind(1)
    zero = torch.zeros_like(x)
    cross = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), dim=1).reshape(-1, 3, 3)
    return torch.eye(3) + torch.sin(angle) * cross + (1 - torch.cos(angle)) * (cross @ cross)


def random_rotations(rng: torch.Generator, count: int) -> Tensor:
    """(N, 3, 3), every rotation equally likely: QR of a normal matrix (Mezzadri 2007)."""
    q, r = torch.linalg.qr(torch.randn(count, 3, 3, generator=rng))
    q = q * torch.diagonal(r, dim1=1, dim2=2).sign()[:, None, :]
    turned: Tensor = q * torch.linalg.det(q)[:, None, None].sign()
    return turned


def augment_audio(
    rng: torch.Generator, audio: Tensor, backgrounds: Sequence[NDArray[np.int16]], config: AugmentConfig
) -> Tensor:
    """Another gain, another tone colour, noise, and now and then a background; at last, where asked, another peak, so
    that no source is told by its level."""
    wave = audio.float() / 32768.0
    count, length = wave.shape
    if backgrounds:
        for number in torch.nonzero(_chance(rng, count, config.background)).flatten().tolist():
            chosen = backgrounds[int(torch.randint(len(backgrounds), (1,), generator=rng))]
            start = int(torch.randint(len(chosen), (1,), generator=rng))
            looped = np.take(chosen, np.arange(start, start + length), mode="wrap").astype(np.float32) / 32768.0
            wave[number] += torch.from_numpy(looped) * 10 ** _uniform(rng, -2.0, -0.7)
    if config.tone:
        wave = coloured(wave, torch.randn(count, TONE_ANCHORS, generator=rng) * config.tone)
    wave[:, 1:] += _uniform(rng, -0.4, 0.4, count, 1) * wave[:, :-1].clone()
    wave *= 10 ** _uniform(rng, -0.8, 0.4, count, 1)
    wave += torch.randn(wave.shape, generator=rng) * 10 ** _uniform(rng, -5.0, -2.6, count, 1)
    if config.level:
        peaks = wave.abs().amax(dim=1, keepdim=True).clamp(min=1e-6)
        levelled = wave / peaks * 10 ** _uniform(rng, QUIETEST, 0.0, count, 1)
        wave = torch.where(_chance(rng, count, config.level)[:, None], levelled, wave)
    return wave.clamp(-1.0, 1.0)[:, :, None]


def coloured(wave: Tensor, gains_db: Tensor) -> Tensor:
    """Sound (N, T) through a linear-phase filter each, whose gain in dB goes through ``gains_db`` (N, K) at K evenly
    spaced frequencies: another microphone, another room, another surface."""
    bins = TONE_TAPS // 2 + 1
    curve = functional.interpolate(gains_db[:, None], size=bins, mode="linear", align_corners=True)[:, 0]
    taps = torch.fft.irfft(10 ** (curve / 20), n=TONE_TAPS).roll(TONE_TAPS // 2, dims=1)
    taps = taps * torch.hann_window(TONE_TAPS + 2)[1:-1]
    padded = functional.pad(wave[None], (TONE_TAPS // 2, TONE_TAPS // 2))
    return functional.conv1d(padded, taps[:, None], groups=len(wave))[0]


def augment_video(rng: torch.Generator, video: Tensor, config: AugmentConfig) -> Tensor:
    """Another place of the camera, other light and colours, grain, a box that hides something, and mirrored where that
    is no other activity. Zero stays zero: in depth it is no return."""
    count, frames, height, width, _ = video.shape
    grid = functional.affine_grid(_places(rng, video, config), [count, 1, height, width], align_corners=False)
    flat = video.permute(0, 1, 4, 2, 3).flatten(1, 2).float()  # (N, T * 3, H, W)
    moved = functional.grid_sample(flat, grid, padding_mode="border", align_corners=False)
    moved = moved.reshape(count, frames, 3, height, width)
    gain = torch.exp(torch.randn(count, 1, 1, 1, 1, generator=rng) * config.gain)
    colour = torch.exp(torch.randn(count, 1, 3, 1, 1, generator=rng) * config.colour)
    light = torch.randn(count, 1, 1, 1, 1, generator=rng) * config.light
    if config.slope:
        down, across = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
        steep = torch.randn(2, count, 1, 1, 1, 1, generator=rng) * config.slope
        light = light + steep[0] * down + steep[1] * across
    if config.grain:
        grain = torch.rand(count, 1, 1, 1, 1, generator=rng) * config.grain
        light = light + grain * torch.randn(count, frames, 1, height, width, generator=rng)
    lit = torch.where(moved > 0, (moved * gain * colour + light).clamp(1, 255), moved)
    if config.erase:
        lit = lit * ~_boxes(rng, video, config.erase)
    return lit.round().to(torch.uint8).permute(0, 1, 3, 4, 2).contiguous()


def _places(rng: torch.Generator, video: Tensor, config: AugmentConfig) -> Tensor:
    """(N, 2, 3): where each pixel of the new picture was, for ``affine_grid``."""
    count, _, height, width, _ = video.shape
    zoom = torch.exp(torch.randn(count, generator=rng) * config.zoom)
    stretched = zoom * torch.exp(torch.randn(count, generator=rng) * config.stretch)
    mirrored = torch.where(_chance(rng, count, 0.5 if config.mirror else 0.0), -1.0, 1.0)
    roll, shear = (torch.randn(2, count, generator=rng) * config.roll).unbind(0)
    place = torch.zeros(count, 2, 3)
    place[:, 0, 0] = stretched * torch.cos(roll) * mirrored
    place[:, 0, 1] = zoom * (shear - torch.sin(roll)) * height / width
    place[:, 1, 0] = stretched * mirrored * torch.sin(roll) * width / height
    place[:, 1, 1] = zoom * torch.cos(roll)
    place[:, :, 2] = _uniform(rng, -1.0, 1.0, count, 2) * config.shift * 2 / torch.tensor([width, height])
    return place


def _boxes(rng: torch.Generator, video: Tensor, rate: float) -> Tensor:
    """(N, 1, 1, H, W) bool: one box all through a sequence, a tenth to a third of each side (cutout, DeVries and Taylor
    2017)."""
    count, _, height, width, _ = video.shape
    sides = _uniform(rng, 0.1, 0.33, count, 2)
    begins = torch.rand(count, 2, generator=rng) * (1 - sides)
    down, across = torch.arange(height) / height, torch.arange(width) / width
    rows = (down >= begins[:, :1]) & (down < begins[:, :1] + sides[:, :1])
    columns = (across >= begins[:, 1:]) & (across < begins[:, 1:] + sides[:, 1:])
    hidden = rows[:, :, None] & columns[:, None, :] & _chance(rng, count, rate)[:, None, None]
    return hidden[:, None, None]


def _uniform(rng: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    return low + (high - low) * torch.rand(shape or (1,), generator=rng)


def _chance(rng: torch.Generator, count: int, rate: float) -> Tensor:
    return torch.rand(count, generator=rng) < rate
