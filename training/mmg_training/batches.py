"""Batches for training: random stretches of random sessions, augmented, and the contexts to decide in them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from mmg.errors import ConfigError
from numpy.typing import NDArray
from torch import Tensor

from mmg_training.augment import Augment
from mmg_training.config import TrainConfig
from mmg_training.data.sessions import TICKS_PER_HOP, UNLABELLED, Dataset, Pool, Session
from mmg_training.dropout import context_mask, drop_modalities


@dataclass(frozen=True)
class Batch:
    """``hops`` hops of B sequences. samples: each modality's, of the sequences that have it; rows: which ones those
    are. every: (B,) all their numbers; available: (B, M) which modalities they have; labels: (B, hops), negative where
    there is none. Then one entry a context to decide: its sequence, the hop that it ends with, which tokens it has
    (Q, M, K), and its label."""

    hops: int
    samples: dict[str, Tensor]
    rows: dict[str, Tensor]
    every: Tensor
    available: Tensor
    labels: Tensor
    row: Tensor
    hop: Tensor
    present: Tensor
    label: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(
            self,
            samples={name: value.to(device) for name, value in self.samples.items()},
            rows={name: value.to(device) for name, value in self.rows.items()},
            **moved,  # type: ignore[arg-type]
        )


class Batches:
    """The batch of any step: a function of the seed, the process and the step, so that a run can stop and go on."""

    def __init__(self, data: Dataset, config: TrainConfig, process: int = 0, processes: int = 1) -> None:
        self.data, self.config, self.process, self.processes = data, config, process, processes
        if not any(pool.sessions for pool in data.training):
            raise ConfigError("data: nobody is left to train on: everyone is named for another part")
        long_enough = (
            replace(pool, sessions=tuple(one for one in pool.sessions if one.hops >= config.sequence_hops))
            for pool in data.training
        )
        self.pools = [pool for pool in long_enough if pool.sessions and pool.share > 0]
        if not self.pools:
            raise ConfigError(f"data: no session is {config.sequence_hops} hops long; shorten sequence_hops")
        self.shares = np.array([pool.share for pool in self.pools]) / sum(pool.share for pool in self.pools)
        self.augment = Augment(config.augment, data.backgrounds)
        self.moments = [_moments(pool) if pool.anchored else [] for pool in self.pools]

    def draw(self, step: int) -> Batch:
        """The batch of step ``step``."""
        rng, config, task = np.random.default_rng((self.config.seed, self.process, step)), self.config, self.data.task
        gathered: dict[str, list[NDArray[Any]]] = {name: [] for name in task.modalities}
        rows: dict[str, list[int]] = {name: [] for name in task.modalities}
        labels = []
        for number in range(config.batch):
            session, tick = self._choose(rng, ((step - 1) * self.processes + self.process) * config.batch + number)
            samples, label = session.cut(task, tick, config.sequence_hops)
            labels.append(label)
            for name, values in samples.items():
                gathered[name].append(values)
                rows[name].append(number)
        available = np.array([[number in rows[name] for name in task.modalities] for number in range(config.batch)])
        row = np.repeat(np.arange(config.batch), config.contexts)
        last = config.sequence_hops - 1
        hop = np.full(len(row), last) if task.clips else rng.integers(0, config.sequence_hops, len(row))
        labelled = np.array([name in (config.data.labelled or task.modalities) for name in task.modalities])
        kept = drop_modalities(rng, available[row] & labelled, config.dropout.modality)
        known = np.stack(labels)[row, hop] >= 0
        told = kept.any(axis=1) & known  # a sequence without any labelled modality has nothing to decide from
        row, hop, kept = row[told], hop[told], kept[told]
        cuts = {name: torch.from_numpy(np.stack(parts)) for name, parts in gathered.items() if parts}
        owners = {name: torch.tensor(numbers) for name, numbers in rows.items() if numbers}
        torch_rng = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
        return Batch(
            hops=config.sequence_hops,
            samples=self.augment(torch_rng, cuts, owners, config.batch),
            rows=owners,
            every=torch.arange(config.batch),
            available=torch.from_numpy(available),
            labels=torch.from_numpy(np.stack(labels)),
            row=torch.from_numpy(row),
            hop=torch.from_numpy(hop),
            present=torch.from_numpy(context_mask(rng, kept, config.dropout.stretch, config.dropout.full_context)),
            label=torch.from_numpy(np.stack(labels)[row, hop]),
        )

    def _choose(self, rng: np.random.Generator, place: int) -> tuple[Session, int]:
        number = int(rng.choice(len(self.pools), p=self.shares))
        pool, moments = self.pools[number], self.moments[number]
        length = self.config.sequence_hops * TICKS_PER_HOP
        if moments and rng.random() < pool.anchored:
            of_label = moments[int(rng.integers(len(moments)))]
            which, tick = of_label[int(rng.integers(len(of_label)))]
            session = pool.sessions[which]
            first = int(tick) - int(rng.integers(length))
            return session, min(max(first, 0), session.hops * TICKS_PER_HOP - length)
        # Each session once, in another order each time round, where there is one pool.
        count = len(pool.sessions)
        order = np.random.default_rng((self.config.seed, place // count)).permutation(count)
        session = pool.sessions[order[place % count]]
        return session, int(rng.integers(session.hops * TICKS_PER_HOP - length + 1))


def _moments(pool: Pool) -> list[NDArray[np.int64]]:
    """For each label of the pool, the moments (session, tick) at which it goes on. What has none is seen around."""
    found: dict[int, list[tuple[int, int]]] = {}
    for number, session in enumerate(pool.sessions):
        for tick, label in enumerate(session.labels.tolist()):
            if label == UNLABELLED:
                continue
            found.setdefault(label, []).append((number, tick))
    return [np.array(found[label]) for label in sorted(found)]
