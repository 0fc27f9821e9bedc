"""What training minimises: the model over a batch, and each part of the loss that the settings switch on."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

import torch
from torch import Tensor, nn

from mmg_training import losses
from mmg_training.batches import Batch
from mmg_training.config import LossConfig
from mmg_training.models.fusion import Fusion
from mmg_training.models.multimodal import MultimodalModel
from mmg_training.task import CONTEXT_HOPS, TOKENS_PER_HOP

# The part of the training over which distillation comes in.
WARMING = 0.2


class Objective(nn.Module):
    """``forward(batch)`` gives the weighted parts by name; their sum is the loss.

    teacher: a frozen model that sees all labelled modalities; without one the model's own decision from these teaches
    those from each alone.
    """

    def __init__(
        self,
        model: MultimodalModel,
        config: LossConfig,
        labelled: tuple[str, ...],
        teacher: MultimodalModel | None = None,
    ) -> None:
        super().__init__()
        self.model, self.config, self.labelled = model, config, labelled
        self.frozen = (teacher,)  # in a tuple: no parameter of this module, never in training mode
        if teacher is not None:
            teacher.eval().requires_grad_(False)
            if isinstance(teacher.fusion, Fusion):
                teacher.fusion.members = []  # all classes are taught, as this model tells them while it learns

    def forward(self, batch: Batch, done: float) -> dict[str, Tensor]:
        """done: the part of the training that is over; distillation waits until there is something to teach."""
        config, model = self.config, self.model
        encoded = model.encode(batch.samples)
        tokens = spread(encoded, batch)
        row, hop, present = batch.row, batch.hop, batch.present
        decided = len(row)
        ends = {name: self._ends(batch, rows, (name,)) for name, rows in batch.rows.items()} if self._aligned() else {}
        whole = batch.every if config.distil and self.frozen[0] is None else batch.every[:0]
        asked = [*ends.values(), self._ends(batch, whole, self.labelled)]
        logits, embedding = model.fuse(
            tokens,
            torch.cat((row, *(part[0] for part in asked))),
            torch.cat((hop, *(part[1] for part in asked))),
            torch.cat((present, *(part[2] for part in asked))),
        )
        parts = {"labels": logits.sum() * 0.0}
        if decided:
            parts["labels"] = config.labels * nn.functional.cross_entropy(
                logits[:decided], batch.label, label_smoothing=config.label_smoothing
            )
        hops = model.hop_embeddings(encoded)
        if config.alone:
            parts["alone"] = config.alone * self._mean(self._read_alone(batch, name, encoded) for name in self.labelled)
        sizes = [len(part[0]) for part in asked]
        alone = dict(zip(ends, torch.split(embedding[decided:], sizes), strict=False))
        singly = dict(zip(ends, torch.split(logits[decided:], sizes), strict=False))
        pairs = [pair for pair in combinations(ends, 2) if self._shared(batch, pair) > 1]
        if config.clip:
            parts["clip"] = config.clip * self._mean(
                losses.clip_contrastive(*self._both(batch, alone, pair), config.temperature) for pair in pairs
            )
        if config.sequence:
            parts["sequence"] = config.sequence * self._mean(
                losses.sequence_contrastive(*self._both(batch, hops, pair), config.temperature) for pair in pairs
            )
        if config.hops:
            parts["hops"] = config.hops * self._mean(
                losses.clip_contrastive(a.flatten(0, 1), b.flatten(0, 1), config.temperature)
                for a, b in (self._both(batch, hops, pair) for pair in pairs)
            )
        if config.prototypes:
            clips = {name: y[:, None] for name, y in alone.items()}
            # Where labels change, only the last hop has the label of the whole context.
            steps = hops if model.task.clips else {name: y[:, -1:] for name, y in hops.items()}
            # Of labelled modalities only: a label says what the prototype is of.
            known = [name for name in ends if name in self.labelled]
            ways = [(first, second) for first in known for second in known]
            parts["prototypes"] = config.prototypes * self._mean(
                self._prototypes(batch, values, way) for values in (clips, steps) for way in ways
            )
        if config.distil:
            taught = self._teach(batch) if self.frozen[0] is not None else logits[len(logits) - len(batch.every) :]
            parts["distil"] = (
                config.distil
                * min(1.0, done / WARMING)
                * self._mean(
                    losses.distil(y[knows], taught[batch.rows[name]][knows], config.soften)
                    for name, y in singly.items()
                    if (knows := self._known(batch)[batch.rows[name]]).any()
                )
            )
        return parts

    def _known(self, batch: Batch) -> Tensor:
        """(B,): which sequences have a labelled modality, and so a teacher."""
        indexes = [self.model.task.modalities.index(name) for name in self.labelled]
        return batch.available[:, indexes].any(dim=1)

    def _read_alone(self, batch: Batch, name: str, encoded: dict[str, Tensor]) -> Tensor:
        """Of each hop, or of the whole clip."""
        if name not in encoded:
            return torch.zeros((), device=batch.every.device)
        labels, tokens = batch.labels[batch.rows[name]], encoded[name].mean(dim=2)
        if self.model.task.clips:
            labels, tokens = labels[:, -1:], tokens.mean(dim=1, keepdim=True)
        fusion, index = self.model.fusion, self.model.task.modalities.index(name)
        known = labels >= 0
        if not known.any():
            return tokens.sum() * 0.0
        logits = tokens[known] @ fusion.reading[index] + fusion.reading_bias[index]
        return nn.functional.cross_entropy(logits, labels[known], label_smoothing=self.config.label_smoothing)

    def _aligned(self) -> bool:
        config = self.config
        return bool(config.clip or config.sequence or config.hops or config.prototypes or config.distil)

    def _ends(self, batch: Batch, rows: Tensor, names: tuple[str, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """A whole context at the end of each of these sequences, from these modalities only."""
        present = torch.zeros(
            len(rows), len(self.model.task.modalities), CONTEXT_HOPS, dtype=torch.bool, device=rows.device
        )
        for name in names:
            index = self.model.task.modalities.index(name)
            present[:, index] = batch.available[rows, index, None]
        return rows, torch.full_like(rows, batch.hops - 1), present

    def _both(self, batch: Batch, values: dict[str, Tensor], pair: tuple[str, str]) -> tuple[Tensor, Tensor]:
        """The rows of two modalities' values that belong to a sequence with both."""
        first, second = (batch.rows[name] for name in pair)
        return values[pair[0]][torch.isin(first, second)], values[pair[1]][torch.isin(second, first)]

    def _prototypes(self, batch: Batch, values: dict[str, Tensor], pair: tuple[str, str]) -> Tensor:
        """Prototypes of one modality from the even sequences, queries of the same or another from the odd ones."""
        support, query = (batch.rows[name] for name in pair)
        last = batch.labels[:, -1]
        even, odd = (support % 2 == 0) & (last[support] >= 0), (query % 2 == 1) & (last[query] >= 0)
        if not even.any():
            return values[pair[1]].sum() * 0.0
        return losses.prototypical(
            values[pair[0]][even],
            last[support[even]],
            values[pair[1]][odd],
            last[query[odd]],
            self.config.scale,
        )

    @torch.no_grad()
    def _teach(self, batch: Batch) -> Tensor:
        teacher = self.frozen[0]
        assert teacher is not None
        tokens = spread(teacher.encode(batch.samples), batch)
        logits, _ = teacher.fuse(tokens, *self._ends(batch, batch.every, self.labelled))
        return logits

    @staticmethod
    def _shared(batch: Batch, pair: tuple[str, str]) -> int:
        """How many sequences of the batch have both."""
        first, second = (batch.rows[name] for name in pair)
        return int(torch.isin(first, second).sum())

    def _mean(self, values: Iterable[Tensor]) -> Tensor:
        """Zero where a batch has nothing to align."""
        found = list(values)
        return torch.stack(found).mean() if found else torch.zeros((), device=next(self.parameters()).device)


def spread(encoded: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    """Tokens of the sequences that have a modality -> of all; those that lack it stay zero and are never present."""
    return {
        name: y.new_zeros(len(batch.every), batch.hops, TOKENS_PER_HOP[name], y.shape[3]).index_copy(
            0, batch.rows[name], y
        )
        for name, y in encoded.items()
    }
