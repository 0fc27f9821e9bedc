"""Batches for training: random stretches of random sessions, augmented, and the contexts to decide in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmg_training.augment import augment_audio, augment_imu, augment_video
from mmg_training.config import TrainConfig
from mmg_training.contract import MODALITIES
from mmg_training.dropout import context_mask, drop_modalities
from mmg_training.sessions import TICKS_PER_HOP, Session


@dataclass(frozen=True)
class Batch:
    """samples: each modality's sequences, of the sequences that have it; rows: which ones those are. Then one entry a
    context: its sequence, the hop that it ends with, which tokens it has (Q, M, K), and its label."""

    samples: dict[str, Tensor]
    rows: dict[str, Tensor]
    row: Tensor
    hop: Tensor
    present: Tensor
    label: Tensor


class Batches:
    """An endless supply, the same for the same seed."""

    def __init__(self, simulated: Sequence[Session], real: Sequence[Session], config: TrainConfig) -> None:
        self.simulated, self.config = simulated, config
        # Each source of real sessions is as likely as another, however many sessions it has.
        self.real = [[session for session in real if session.source == source] for source in _sources(real)]
        self.backgrounds = [
            session.audio for session in real if session.source == "esc10" and session.audio is not None
        ]
        self.rng = np.random.default_rng((config.seed, 0xBA7C))

    def draw(self) -> Batch:
        """The next batch."""
        rng, config = self.rng, self.config
        chosen = [self._choose() for _ in range(config.batch)]
        gathered: dict[str, list[Tensor]] = {name: [] for name in MODALITIES}
        rows: dict[str, list[int]] = {name: [] for name in MODALITIES}
        labels = []
        for number, session in enumerate(chosen):
            last = len(session.labels) - 1 - config.sequence_hops * TICKS_PER_HOP
            samples, label = session.cut(int(rng.integers(last + 1)), config.sequence_hops)
            labels.append(label)
            for name, values in samples.items():
                gathered[name].append(self._augment(name, values))
                rows[name].append(number)
        available = np.array([[name in session.modalities for name in MODALITIES] for session in chosen])
        row = np.repeat(np.arange(config.batch), config.contexts)
        hop = rng.integers(0, config.sequence_hops, len(row))
        kept = drop_modalities(rng, available[row], config.modality_dropout)
        return Batch(
            samples={name: torch.stack(parts) for name, parts in gathered.items() if parts},
            rows={name: torch.tensor(numbers) for name, numbers in rows.items() if numbers},
            row=torch.from_numpy(row),
            hop=torch.from_numpy(hop),
            present=torch.from_numpy(context_mask(rng, kept, config.stretch_dropout, config.full_context)),
            label=torch.from_numpy(np.stack(labels)[row, hop]),
        )

    def _choose(self) -> Session:
        sets: Sequence[Sequence[Session]] = [self.simulated]
        if self.real and self.rng.random() < self.config.data.real_share:
            sets = self.real
        sessions = sets[int(self.rng.integers(len(sets)))]
        return sessions[int(self.rng.integers(len(sessions)))]

    def _augment(self, name: str, values: np.ndarray) -> Tensor:
        rng = self.rng
        if name == "imu":
            return torch.from_numpy(augment_imu(rng, values))
        if name == "video":
            return torch.from_numpy(augment_video(rng, values))
        background = self.backgrounds[int(rng.integers(len(self.backgrounds)))] if self.backgrounds else None
        return torch.from_numpy(augment_audio(rng, values, background))


def _sources(sessions: Sequence[Session]) -> list[str]:
    return sorted({session.source for session in sessions})
