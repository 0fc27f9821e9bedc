"""The whole model as it is trained: three encoders over sequences and the fusion over contexts taken from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mmg_training.contract import CONTEXT_HOPS, LABELS, MODALITIES, TOKENS_PER_HOP
from mmg_training.models.audio import AudioConfig, AudioEncoder
from mmg_training.models.causal import StreamingEncoder
from mmg_training.models.fusion import Fusion, FusionConfig
from mmg_training.models.imu import ImuConfig, ImuEncoder
from mmg_training.models.video import VideoConfig, VideoEncoder


@dataclass(frozen=True)
class ModelConfig:
    """The settings of the four networks; their token sizes agree."""

    imu: ImuConfig = field(default_factory=ImuConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    video: VideoConfig = field(default_factory=VideoConfig)
    fusion: FusionConfig = field(default_factory=lambda: FusionConfig(labels=len(LABELS)))


class MultimodalModel(nn.Module):
    """``encode`` once, then ``fuse`` as many contexts as wanted."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoders = nn.ModuleDict(
            {"imu": ImuEncoder(config.imu), "audio": AudioEncoder(config.audio), "video": VideoEncoder(config.video)}
        )
        self.fusion = Fusion(config.fusion)

    def encoder(self, name: str) -> StreamingEncoder:
        """The streaming encoder of one modality."""
        encoder = self.encoders[name]
        assert isinstance(encoder, StreamingEncoder)
        return encoder

    def encode(self, samples: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole sequences from their start: samples (B, T, C), frames (B, T, H, W, 3) -> tokens (B, hops, n, D)."""
        tokens = {}
        for name, x in samples.items():
            encoder, batch = self.encoder(name), x.shape[0]
            y, _ = encoder(x.flatten(0, 1) if name == "video" else x, encoder.initial(batch))
            tokens[name] = y.reshape(batch, -1, TOKENS_PER_HOP[name], y.shape[2])
        return tokens

    def fuse(self, tokens: Mapping[str, Tensor], row: Tensor, hop: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Contexts that end at ``hop`` (Q,) of sequence ``row`` (Q,) -> logits (Q, L), embeddings (Q, D).

        present: (Q, modalities, CONTEXT_HOPS) bool, index 0 the newest hop. Hops before the start are never present.
        """
        age = torch.arange(CONTEXT_HOPS)
        past = hop[:, None] - age  # (Q, K)
        parts, kinds, ages, masks = [], [], [], []
        for name, y in tokens.items():
            index, count = MODALITIES.index(name), TOKENS_PER_HOP[name]
            parts.append(y[row[:, None], past.clamp(min=0)].flatten(1, 2))  # (Q, K * n, D)
            kinds.append(torch.full((len(row), CONTEXT_HOPS * count), index))
            ages.append(age.repeat_interleave(count).expand(len(row), -1))
            masks.append((present[:, index] & (past >= 0)).repeat_interleave(count, dim=1))
        logits, embedding = self.fusion(*(torch.cat(part, 1) for part in (parts, kinds, ages, masks)))
        return logits, embedding
