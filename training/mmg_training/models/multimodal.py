"""The whole model as it is trained: an encoder a modality over sequences, and the fusion over contexts from them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from mmg.errors import ConfigError
from torch import Tensor, nn

from mmg_training.models.audio import AudioEncoder
from mmg_training.models.causal import StreamingEncoder
from mmg_training.models.concatenation import Concatenation
from mmg_training.models.fusion import Fusion
from mmg_training.models.imu import ImuEncoder
from mmg_training.models.sizes import ModelConfig
from mmg_training.models.video import VideoEncoder
from mmg_training.task import CONTEXT_HOPS, TOKENS_PER_HOP, Task


class MultimodalModel(nn.Module):
    """``encode`` once, then ``fuse`` as many contexts as wanted."""

    def __init__(self, task: Task, config: ModelConfig) -> None:
        super().__init__()
        self.task, self.config = task, config
        self.encoders = nn.ModuleDict({name: make_encoder(name, task, config) for name in task.modalities})
        self.fusion = make_fusion(task, config)
        # Into the space where the hops of two modalities are compared; a bundle has no need of it.
        self.align = nn.ModuleDict(
            {name: nn.Linear(config.token_dim, config.embedding_dim) for name in task.modalities}
        )

    def encoder(self, name: str) -> StreamingEncoder:
        """The streaming encoder of one modality."""
        encoder = self.encoders[name]
        assert isinstance(encoder, StreamingEncoder)
        return encoder

    def encode(
        self, samples: Mapping[str, Tensor], carried: dict[str, tuple[Tensor, ...]] | None = None
    ) -> dict[str, Tensor]:
        """Whole sequences from their start: samples (B, T, C), frames (B, T, H, W, 3) -> tokens (B, hops, n, D).

        carried: the states of each modality's encoder after what came before; this call replaces them.
        """
        tokens, carried = {}, {} if carried is None else carried
        for name, x in samples.items():
            encoder, batch = self.encoder(name), x.shape[0]
            before = carried.get(name) or encoder.initial(batch)
            y, carried[name] = encoder(x.flatten(0, 1) if name == "video" else x, before)
            tokens[name] = y.reshape(batch, -1, TOKENS_PER_HOP[name], y.shape[2])
        return tokens

    def hop_embeddings(self, tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tokens (B, hops, n, D) -> each hop's in the space that the modalities share (B, hops, E)."""
        return {name: self.align[name](y.mean(dim=2)) for name, y in tokens.items()}

    def fuse(self, tokens: Mapping[str, Tensor], row: Tensor, hop: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Contexts that end at ``hop`` (Q,) of sequence ``row`` (Q,) -> logits (Q, L), embeddings (Q, E).

        present: (Q, modalities, CONTEXT_HOPS) bool, index 0 the newest hop. Hops before the start are never present.
        """
        if not len(row):  # as of a batch without a label; torch cannot tell how to reshape nothing
            one = row.new_zeros(1)
            logits, embedding = self.fuse(tokens, one, one, present.new_zeros(1, *present.shape[1:]))
            return logits[:0], embedding[:0]
        age = torch.arange(CONTEXT_HOPS, device=row.device)
        past = hop[:, None] - age  # (Q, K)
        parts, kinds, ages, masks = [], [], [], []
        if isinstance(self.fusion, Concatenation):
            nothing = next(iter(tokens.values()))
            tokens = {
                name: tokens.get(name, nothing.new_zeros(*nothing.shape[:2], TOKENS_PER_HOP[name], nothing.shape[3]))
                for name in self.task.modalities
            }
        for name, y in tokens.items():
            index, count = self.task.modalities.index(name), TOKENS_PER_HOP[name]
            parts.append(y[row[:, None], past.clamp(min=0)].flatten(1, 2))  # (Q, K * n, D)
            kinds.append(torch.full((len(row), CONTEXT_HOPS * count), index, device=row.device))
            ages.append(age.repeat_interleave(count).expand(len(row), -1))
            masks.append((present[:, index] & (past >= 0)).repeat_interleave(count, dim=1))
        logits, embedding = self.fusion(*(torch.cat(part, 1) for part in (parts, kinds, ages, masks)))
        return logits, embedding


def make_encoder(name: str, task: Task, config: ModelConfig) -> StreamingEncoder:
    """The untrained streaming encoder of one modality."""
    if name == "imu":
        return ImuEncoder(config.imu_width, config.token_dim, config.imu_axes)
    if name == "audio":
        return AudioEncoder(config.audio_width, config.token_dim, config.mels, config.audio_level)
    per_token = task.samples_per_hop("video") // TOKENS_PER_HOP["video"]
    return VideoEncoder(task.frame, config.video_widths, config.video_width, config.token_dim, per_token)


def make_fusion(task: Task, config: ModelConfig) -> Fusion | Concatenation:
    """The untrained fusion. Raises ConfigError where there is no such kind."""
    if config.fusion not in ("transformer", "concatenation"):
        raise ConfigError(f"model.fusion: {config.fusion!r} is neither transformer nor concatenation")
    if config.fusion == "concatenation" and task.kinds:
        raise ConfigError("model.fusion: concatenation knows labels only, and this set has kinds besides")
    if config.fusion == "concatenation":
        slots = CONTEXT_HOPS * sum(TOKENS_PER_HOP[name] for name in task.modalities)
        return Concatenation(
            len(task.modalities), slots, config.token_dim, len(task.labels), config.embedding_dim, config.dropout
        )
    return Fusion(
        labels=len(task.labels) + len(task.kinds),
        groups=task.groups,
        modalities=len(task.modalities),
        ages=CONTEXT_HOPS,
        token_dim=config.token_dim,
        embedding_dim=config.embedding_dim,
        heads=config.heads,
        layers=config.layers,
        dropout=config.dropout,
    )
