"""How wide the model is: settings, which need no torch."""

from __future__ import annotations

from dataclasses import dataclass

from mmg.errors import ConfigError

from mmg_training.ranges import Count, Share


@dataclass(frozen=True)
class ModelConfig:
    """Channels of each encoder, bands of the sound, and the fusion; all share the tokens' width.

    imu_axes: whether the IMU's own axes are seen, or only what does not depend on its mounting.
    audio_level: whether the level of sound is heard, or only each band's part of it.
    fusion: ``transformer``, or ``concatenation`` with zeros for what is missing, a baseline that is not exported.
    """

    imu_width: Count = 64
    imu_axes: bool = True
    audio_width: Count = 64
    mels: Count = 40
    video_widths: tuple[int, int, int] = (24, 32, 48)
    video_width: Count = 64
    token_dim: Count = 64
    embedding_dim: Count = 64
    heads: Count = 4
    layers: Count = 2
    dropout: Share = 0.1
    fusion: str = "transformer"
    audio_level: bool = True

    def __post_init__(self) -> None:
        if self.token_dim % self.heads:
            raise ConfigError(f"model.heads: {self.heads} does not divide token_dim {self.token_dim}")
        if min(self.video_widths) < 1:
            raise ConfigError(f"model.video_widths: {list(self.video_widths)} has a width below 1")


SIZES = {
    "small": ModelConfig(32, True, 32, 32, (12, 16, 24), 32, token_dim=32, embedding_dim=32, heads=2),
    "base": ModelConfig(),
    "large": ModelConfig(128, True, 128, 64, (32, 64, 96), 128, token_dim=128, embedding_dim=128),
}
