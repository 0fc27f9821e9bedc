"""A model that trains in a moment."""

from __future__ import annotations

from mmg_training.models.sizes import ModelConfig

TINY = ModelConfig(
    imu_width=8,
    audio_width=8,
    mels=16,
    video_widths=(4, 4, 4),
    video_width=8,
    token_dim=8,
    embedding_dim=8,
    heads=2,
    layers=1,
)
