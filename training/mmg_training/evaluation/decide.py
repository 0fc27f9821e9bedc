"""Decisions of a checkpoint's model over whole sessions from chosen modalities, as the device would make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmg_training.data.sessions import Session
from mmg_training.models.multimodal import MultimodalModel
from mmg_training.task import CONTEXT_HOPS, Task

TOGETHER = 32
AT_ONCE = 4096
"""Hops, of all sessions that are decided together: of these the networks' own numbers take a gigabyte."""

# Names of modalities to decide from, and which of their tokens to leave out: (N, M, CONTEXT_HOPS), index 0 the newest.
Asked = tuple[Sequence[str], NDArray[np.bool_] | None]


@dataclass(frozen=True)
class Decisions:
    """logits (N, L), labels (N,), embedding (N, E): a row for each hop of each session, one session after another, or
    for each clip. tokens: modality -> (N, CONTEXT_HOPS, E), each hop where modalities are compared, for clips only.
    means: modality -> (N, D), the mean token of the context, of a model's decisions. unknown: (N,), the logarithm of
    how much more probable none of the labels is than the most probable of them, where that is told."""

    logits: Tensor
    labels: Tensor
    embedding: Tensor
    tokens: dict[str, Tensor]
    means: dict[str, Tensor] = field(default_factory=dict)
    unknown: Tensor | None = None

    def known(self) -> Decisions:
        """Those alone whose label is known."""
        rows = self.labels >= 0
        tokens, means = ({name: one[rows] for name, one in some.items()} for some in (self.tokens, self.means))
        unknown = None if self.unknown is None else self.unknown[rows]
        return Decisions(self.logits[rows], self.labels[rows], self.embedding[rows], tokens, means, unknown)


def decide(model: MultimodalModel, sessions: Sequence[Session], names: Sequence[str]) -> Decisions:
    """Decide all hops of the sessions, or each clip at its end, from the named modalities only."""
    return decide_each(model, sessions, [(names, None)])[0]


@torch.no_grad()
def decide_each(model: MultimodalModel, sessions: Sequence[Session], asked: Sequence[Asked]) -> list[Decisions]:
    """What ``decide`` gives for each of ``asked``; a modality is encoded once for all of them."""
    parts: list[list[Decisions]] = [[] for _ in asked]
    done = 0
    for _, group in groupby(enumerate(sessions), lambda item: (item[1].hops, item[0] // TOGETHER)):
        some = [session for _, session in group]
        rows = slice(done, done + sum(decisions_in(model.task, session) for session in some))
        masks = [(names, None if present is None else present[rows]) for names, present in asked]
        for part, made in zip(parts, _decide_some(model, some, masks), strict=True):
            part.append(made)
        done = rows.stop
    return [_join(part) for part in parts]


def having(sessions: Sequence[Session], names: Sequence[str]) -> list[Session]:
    """The sessions with all of these modalities."""
    return [one for one in sessions if set(names) <= set(one.samples)]


def decisions_in(task: Task, session: Session) -> int:
    """How many decisions a session gives: one a hop, or one at the end of a clip."""
    return 1 if task.clips else session.hops


def subjects_of(task: Task, sessions: Sequence[Session]) -> NDArray[np.int64]:
    """(N,): the person of each decision whose label is known."""
    counts = [int((s.cut(task, 0, s.hops)[1][-decisions_in(task, s) :] >= 0).sum()) for s in sessions]
    return np.repeat([s.subject for s in sessions], counts).astype(np.int64)


def shared(task: Task, sessions: Sequence[Session]) -> tuple[str, ...]:
    """The modalities that all of these sessions have."""
    return tuple(name for name in task.modalities if all(name in session.samples for session in sessions))


def _decide_some(model: MultimodalModel, sessions: Sequence[Session], asked: Sequence[Asked]) -> list[Decisions]:
    task, hops = model.task, sessions[0].hops
    cuts, labels = zip(*(session.cut(task, 0, hops) for session in sessions), strict=True)
    wanted = [name for name in task.modalities if any(name in names for names, _ in asked)]
    tokens = _encode(model, cuts, hops, wanted)
    ends = torch.tensor([hops - 1]) if task.clips else torch.arange(hops)
    row, hop = torch.arange(len(sessions)).repeat_interleave(len(ends)), ends.repeat(len(sessions))
    truth = torch.from_numpy(np.stack(labels))[row, hop]
    made = []
    for names, present in asked:
        chosen = {name: tokens[name] for name in wanted if name in names}
        mask = torch.zeros(len(row), len(task.modalities), CONTEXT_HOPS, dtype=torch.bool)
        mask[:, [task.modalities.index(name) for name in chosen]] = True
        mask = mask if present is None else mask & torch.from_numpy(present)
        parts = zip(*(torch.split(one, AT_ONCE) for one in (row, hop, mask)), strict=True)
        logits, embedding = map(torch.cat, zip(*(model.fuse(chosen, *part) for part in parts), strict=True))
        embedded = model.hop_embeddings(chosen) if task.clips else {}
        means = {name: context_means(values)[:, ends].flatten(0, 1) for name, values in chosen.items()}
        made.append(Decisions(logits, truth, embedding, embedded, means))
    return made


def _encode(
    model: MultimodalModel, cuts: Sequence[Mapping[str, NDArray[Any]]], hops: int, names: Sequence[str]
) -> dict[str, Tensor]:
    """The tokens of whole sessions alike in length, a stretch at a time: each goes on from the one before."""
    stretch, carried = max(AT_ONCE // len(cuts), 1), dict[str, tuple[Tensor, ...]]()
    made: dict[str, list[Tensor]] = {name: [] for name in names}
    for first in range(0, hops, stretch):
        samples = {}
        for name in names:
            each = model.task.samples_per_hop(name)
            part = slice(first * each, (first + stretch) * each)
            samples[name] = torch.stack([as_input(name, cut[name][part]) for cut in cuts])
        for name, tokens in model.encode(samples, carried).items():
            made[name].append(tokens)
    return {name: torch.cat(parts, dim=1) for name, parts in made.items()}


def context_means(tokens: Tensor) -> Tensor:
    """Tokens (B, hops, n, D) -> of each hop the mean token of its context (B, hops, D)."""
    sums = nn.functional.pad(tokens.mean(dim=2).double().cumsum(dim=1), (0, 0, 1, 0))
    ends = torch.arange(1, sums.shape[1])
    firsts = (ends - CONTEXT_HOPS).clamp(min=0)
    return ((sums[:, ends] - sums[:, firsts]) / (ends - firsts)[:, None]).float()


def _join(parts: Sequence[Decisions]) -> Decisions:
    return Decisions(
        torch.cat([part.logits for part in parts]),
        torch.cat([part.labels for part in parts]),
        torch.cat([part.embedding for part in parts]),
        {name: torch.cat([part.tokens[name] for part in parts]) for name in parts[0].tokens},
        {name: torch.cat([part.means[name] for part in parts]) for name in parts[0].means},
    )


def as_input(name: str, values: NDArray[Any]) -> Tensor:
    """A cut's samples as the encoder takes them."""
    if name == "audio":
        values = values.astype(np.float32)[:, None] / np.float32(32768)
    return torch.from_numpy(np.ascontiguousarray(values))
