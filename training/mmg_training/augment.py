"""What differs between devices and rooms but never the activity: mounting, missing gyro, gain, noise, light."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmg_training.wearer.subject import rotation

Rng = np.random.Generator


def augment_imu(rng: Rng, imu: NDArray[np.float32]) -> NDArray[np.float32]:
    """(T, 6) -> (T, 6): turned a little, often turned any way round, sometimes without gyro."""
    turn = random_rotation(rng) if rng.random() < 0.35 else rotation(*rng.normal(0, 0.25, 3))
    turned = (imu.reshape(-1, 2, 3) @ turn.T.astype(np.float32)).reshape(-1, 6)
    turned *= rng.uniform(0.96, 1.04)
    turned += rng.normal(0, 1, turned.shape).astype(np.float32) * np.float32(rng.uniform(0, 0.05))
    if rng.random() < 0.25:
        turned[:, 3:] = 0.0
    return turned


def random_rotation(rng: Rng) -> NDArray[np.float64]:
    """A rotation matrix, every one equally likely: QR of a normal matrix (Mezzadri 2007)."""
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q


def augment_audio(rng: Rng, audio: NDArray[np.int16], background: NDArray[np.int16] | None) -> NDArray[np.float32]:
    """(T,) int16 -> (T, 1) float32: another gain, another tone colour, noise, and now and then a background."""
    wave = audio.astype(np.float32) / 32768.0
    if background is not None and rng.random() < 0.25:
        wave = wave + _fitted(rng, background, len(wave)) * np.float32(10 ** rng.uniform(-2.0, -0.7))
    tilt = np.float32(rng.uniform(-0.4, 0.4))
    wave[1:] += tilt * wave[:-1].copy()
    wave *= np.float32(10 ** rng.uniform(-0.8, 0.4))
    wave += rng.standard_normal(len(wave), dtype=np.float32) * np.float32(10 ** rng.uniform(-5.0, -2.6))
    clipped: NDArray[np.float32] = np.clip(wave, -1.0, 1.0)[:, None]
    return clipped


def _fitted(rng: Rng, wave: NDArray[np.int16], count: int) -> NDArray[np.float32]:
    start = int(rng.integers(len(wave)))
    looped: NDArray[np.float32] = np.take(wave, np.arange(start, start + count), mode="wrap").astype(np.float32)
    looped /= np.float32(32768)
    return looped


def augment_video(rng: Rng, video: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(T, H, W, 3) -> the same: other light and colours, mirrored, moved by a few pixels."""
    if rng.random() < 0.5:
        video = video[:, :, ::-1]
    video = np.roll(video, rng.integers(-3, 4, 2), axis=(1, 2))
    gain = rng.uniform(0.7, 1.3) * rng.uniform(0.85, 1.15, 3)
    table = np.arange(256)[:, None] * gain + rng.uniform(-15, 15)
    brighter = np.clip(table, 0, 255).astype(np.uint8)
    return np.stack([brighter[video[..., channel], channel] for channel in range(3)], axis=-1)
