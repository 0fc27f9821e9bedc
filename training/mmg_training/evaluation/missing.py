"""The table of missing hops: how accuracy falls as one modality, or each of them, goes missing for more of the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmg_training.data.sessions import Session
from mmg_training.evaluation.decide import Asked, decide_each, having
from mmg_training.evaluation.tables import Cell, Table
from mmg_training.models.multimodal import MultimodalModel
from mmg_training.task import CONTEXT_HOPS, HOP_S, Task

RATES = tuple(tenth / 10 for tenth in range(11))
# The mean length of what is missing, where the rate lets it be that short.
STRETCH_HOPS = 3
DRAWS = 3
EVERY = "all"


@dataclass(frozen=True)
class MissingCurves:
    """accuracy: for each modality, and for ``all``, the accuracy at each of ``rates``; nothing: the share of contexts
    that kept no token at all when all go missing."""

    rates: tuple[float, ...]
    accuracy: dict[str, tuple[float, ...]]
    nothing: tuple[float, ...]


def measure_missing(
    model: MultimodalModel, sessions: Sequence[Session], rates: Sequence[float] = RATES, seed: int = 0
) -> MissingCurves:
    """Each modality missing alone, then all independently, in the sessions that have all of the task's. A context
    without any token counts as guessed: right in one of as many times as there are labels."""
    task, names = model.task, model.task.modalities
    sessions = having(sessions, names)
    rng = np.random.default_rng((seed, 0x60E))
    cases = [*((name,) for name in names), names]
    masks = [contexts(rng, task, sessions, case, rate) for case in cases for rate in rates for _ in range(DRAWS)]
    asked: list[Asked] = [(names, mask) for mask in masks]
    known = [task.modalities.index(name) for name in names]
    figures = np.zeros((len(masks), 2))
    for number, made in enumerate(decide_each(model, sessions, asked)):
        nothing = np.asarray(~masks[number][:, known].any(axis=(1, 2)))
        right: NDArray[np.bool_] = (made.logits.argmax(1) == made.labels).numpy()
        told = (made.labels >= 0).numpy()
        figures[number] = np.where(nothing[told], 1 / len(task.labels), right[told]).mean(), nothing[told].mean()
    means = figures.reshape(len(cases), len(rates), DRAWS, 2).mean(axis=2)
    accuracy = dict(zip([*names, EVERY], means[:, :, 0].tolist(), strict=True))
    return MissingCurves(
        tuple(rates), {name: tuple(row) for name, row in accuracy.items()}, tuple(means[-1, :, 1].tolist())
    )


def missing_hops(rng: np.random.Generator, rate: float, rows: int, hops: int) -> NDArray[np.bool_]:
    """(rows, hops): true where a hop is missing, each with probability ``rate``, in stretches.

    A Markov chain of two states from its stationary distribution. What is missing lasts ``STRETCH_HOPS`` in the mean,
    or longer where the rate leaves what is present less than a hop.
    """
    if rate >= 1:
        return np.ones((rows, hops), bool)
    length = max(STRETCH_HOPS, rate / (1 - rate))
    begin = rate / (1 - rate) / length
    gone = np.empty((rows, hops), bool)
    gone[:, 0] = rng.random(rows) < rate
    for hop in range(1, hops):
        chance = rng.random(rows)
        gone[:, hop] = np.where(gone[:, hop - 1], chance >= 1 / length, chance < begin)
    return gone


def contexts(
    rng: np.random.Generator, task: Task, sessions: Sequence[Session], missing: Sequence[str], rate: float
) -> NDArray[np.bool_]:
    """(N, M, CONTEXT_HOPS), index 0 the newest hop: the tokens that each decision has when ``missing`` lose hops."""
    parts = []
    for session in sessions:
        gone = np.zeros((len(task.modalities), session.hops), bool)
        rows = [task.modalities.index(name) for name in missing]
        gone[rows] = missing_hops(rng, rate, len(rows), session.hops)
        ends = np.array([session.hops - 1]) if task.clips else np.arange(session.hops)
        past = ends[:, None] - np.arange(CONTEXT_HOPS)
        parts.append((~gone[:, past.clip(min=0)] & (past >= 0)).transpose(1, 0, 2))
    return np.concatenate(parts)


def missing_table(curves: MissingCurves, kind: str, notes: Sequence[str]) -> Table:
    """A row for each rate."""
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (f"{rate:.0%}", *(values[place] for values in curves.accuracy.values()), curves.nothing[place])
        for place, rate in enumerate(curves.rates)
    )
    head = ("missing", *map(column, curves.accuracy), "nothing left")
    told = (*notes, MISSING_NOTE, "Nothing left: the share of contexts when all go missing.")
    return Table("missing", "Accuracy by the share of hops that are missing", head, rows, kind, told)


def column(name: str) -> str:
    """What a curve is called in tables and plots."""
    return "all, independently" if name == EVERY else f"{name} goes missing"


MISSING_NOTE = (
    f"Hops go missing in stretches of {STRETCH_HOPS * HOP_S:g} s or more in the mean, {DRAWS} draws; a context with "
    "nothing left counts as guessed evenly among the labels. Tokens "
    "are left out of the fusion; the encoders still hear what was missing, while the device's begin anew after a gap."
)
