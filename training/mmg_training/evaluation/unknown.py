"""The tables of what is none of the labels: how well it is told from what is known, and what that costs the known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from mmg.engine.unknown import DEFAULT_UNKNOWN
from numpy.typing import NDArray
from torch import Tensor

from mmg_training.data.sessions import Dataset, NamedTest, Session
from mmg_training.evaluation.decide import Decisions, decide, having, shared
from mmg_training.evaluation.scores import calibration_error
from mmg_training.evaluation.subsets import MOST_HOPS
from mmg_training.evaluation.tables import Cell, Table, plus
from mmg_training.metrics import UnknownScore
from mmg_training.models.multimodal import MultimodalModel
from mmg_training.task import HOP_S, Task, subsets_of
from mmg_training.unknown import Unknown

Subset = tuple[str, ...]
Teller = Callable[[Sequence[Session], Subset], Decisions]
"""Decides every hop of sessions from these modalities, with ``Decisions.unknown``, None where they cannot tell."""

KEPT, TAKEN_FOR = 0.95, 3
LEAST_HOPS = 100


def by_fit(model: MultimodalModel, unknown: Unknown, temperatures: Mapping[Subset, float]) -> Teller:
    """Tells with a checkpoint's model and what was fitted for it, at the usual rate."""

    def tell(sessions: Sequence[Session], names: Subset) -> Decisions:
        made = decide(model, sessions, names)
        logit = unknown.logit(names, made.means, DEFAULT_UNKNOWN)
        logits = made.logits / temperatures.get(names, 1.0)
        surest = torch.log_softmax(logits, dim=1).amax(dim=1)
        margin = None if logit is None else torch.from_numpy(logit).float() - surest
        return Decisions(logits, made.labels, made.embedding, {}, {}, margin)

    return tell


def score_unknown(task: Task, tell: Teller, dataset: Dataset) -> tuple[UnknownScore, ...]:
    """Each set of other life, from each subset of its modalities that can tell it, beside all known from these."""
    known: dict[Subset, NDArray[np.float64]] = {}
    found = []
    for test in dataset.unknown:
        for names in subsets_of(shared(task, test.sessions)) if test.sessions else ():
            made = tell(test.sessions, names)
            if made.unknown is None:
                continue
            if names not in known:
                known[names] = _known(task, tell, dataset, names)
            # A hop that the engine does not decide has none.
            margins, kept = _decided(made.unknown), known[names]
            if not len(margins) or not len(kept):
                continue
            found.append(
                UnknownScore(
                    name=test.name,
                    kind=test.kind,
                    modalities=names,
                    auroc=auroc(kept, margins),
                    accepted=float((margins <= 0).mean()),
                    accepted_kept=float((margins < np.quantile(kept, KEPT)).mean()),
                    taken_for=_taken_for(task, made),
                    samples=len(margins),
                )
            )
    return tuple(found)


def unknown_table(task: Task, tell: Teller, dataset: Dataset, notes: Sequence[str]) -> Table:
    """What ``score_unknown`` gives."""
    rows: list[tuple[Cell, ...]] = []
    for one in score_unknown(task, tell, dataset):
        hour = round(one.accepted * 3600 / HOP_S)
        figures = (one.auroc, one.accepted_kept, one.accepted, hour, one.taken_for, one.samples)
        rows.append((one.name, one.kind, plus(one.modalities), *figures))
    head = (
        "none of the labels",
        "data",
        "modalities",
        "AUROC",
        f"accepted at {KEPT:.0%} kept",
        "accepted",
        "false decisions an hour",
        "taken for",
        "decisions",
    )
    kinds = ", ".join(dict.fromkeys(test.kind for test in dataset.unknown))
    told = (
        *notes,
        "Accepted: decided as one of the labels. AUROC and what is accepted where 95 % of the known is kept: beside "
        f"all labelled tests from these modalities, at most {MOST_HOPS} hops of each. The last columns: as shipped, "
        f"at --unknown {DEFAULT_UNKNOWN:g}; a decision a hop.",
    )
    return Table("unknown", "None of these", head, tuple(rows), kinds, told)


def kept_table(task: Task, tell: Teller, dataset: Dataset, notes: Sequence[str]) -> Table:
    """What the verdict costs what is known: every labelled test, and each subset of the held-out sessions."""
    rows: list[tuple[Cell, ...]] = []
    tests = [(test, shared(task, test.sessions)) for test in dataset.extra if test.sessions and not test.groups]
    held = NamedTest("held-out sessions", dataset.kind, tuple(dataset.test))
    tests = [*((held, names) for names in task.subsets() if having(held.sessions, names)), *tests]
    for test, names in tests:
        sessions = having(test.sessions, names)
        made = tell(sessions, names).known()
        if made.unknown is None or not len(made.labels):
            continue
        refused = _refused(made)
        made = replace(made, unknown=made.unknown.nan_to_num(nan=-50.0))
        right = (made.logits.argmax(1) == made.labels) & ~refused
        figures = (float(refused.float().mean()), float(right.float().mean()), _calibration(made))
        rows.append(
            (test.name, test.kind, plus(names), *figures, _most_refused(tell, sessions, names), len(made.labels))
        )
    head = ("what is known", "data", "modalities", "refused", "right", "ECE", "refused the most", "decisions")
    told = (
        *notes,
        f"As shipped, at --unknown {DEFAULT_UNKNOWN:g}. Refused counts as wrong, and ECE is of all scores. Refused the "
        f"most: of what is recorded apart, with {LEAST_HOPS} hops or more.",
    )
    kinds = ", ".join(dict.fromkeys(str(row[1]) for row in rows))
    return Table("kept", "What is known, beside none of these", head, tuple(rows), kinds, told)


def _refused(made: Decisions) -> Tensor:
    """Of each decision whether it is; what nobody decides is not."""
    assert made.unknown is not None
    return made.unknown.nan_to_num(nan=-50.0) > 0


def _most_refused(tell: Teller, sessions: Sequence[Session], names: Subset) -> str:
    """The source of which the most is refused, and how much; empty where all are of one."""
    shares = {}
    for source in dict.fromkeys(one.source for one in sessions):
        made = tell(tuple(one for one in sessions if one.source == source), names).known()
        if len(made.labels) >= LEAST_HOPS:
            shares[source] = float(_refused(made).float().mean())
    most = max(shares, key=shares.__getitem__, default="")
    return f"{most} {shares[most]:.2f}" if len(shares) > 1 else ""


def _taken_for(task: Task, made: Decisions) -> str:
    """The labels that it is taken for the most often, with their share of all decisions."""
    assert made.unknown is not None
    labels = made.logits.argmax(1)[made.unknown <= 0]
    count = max(len(_decided(made.unknown)), 1)
    shares = torch.bincount(labels, minlength=len(task.labels)) / count
    most = torch.argsort(shares, descending=True)[:TAKEN_FOR].tolist()
    return ", ".join(f"{task.labels[one]} {float(shares[one]):.2f}" for one in most if shares[one] > 0) or "nothing"


def auroc(known: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """How often a value of other life is above one that is known; ties count half."""
    order = np.sort(known)
    below = np.searchsorted(order, other, "left") + np.searchsorted(order, other, "right")
    return float(below.mean() / 2 / len(known))


def _known(task: Task, tell: Teller, dataset: Dataset, names: Subset) -> NDArray[np.float64]:
    parts = []
    tests = [one.sessions for one in dataset.extra if not one.elsewhere and shared(task, one.sessions) == names]
    for sessions in (dataset.test, *tests):
        chosen = having(sessions, names)
        if not chosen:
            continue
        margins = tell(chosen, names).known().unknown
        if margins is not None and len(decided := _decided(margins)):
            parts.append(decided[:: -(-len(decided) // MOST_HOPS)])
    return np.concatenate(parts) if parts else np.zeros(0)


def _decided(margins: Tensor) -> NDArray[np.float64]:
    """Without the hops that nobody decided."""
    values: NDArray[np.float64] = margins.double().numpy()
    return values[np.isfinite(values)]


def _calibration(made: Decisions) -> float:
    """Expected calibration error where none of the labels is one more of the scores."""
    assert made.unknown is not None
    shares = torch.softmax(made.logits, dim=1)
    odds = torch.exp(made.unknown.clamp(max=50.0)) * shares.amax(dim=1)  # of none of the labels
    unknown = (odds / (1 + odds))[:, None]
    return calibration_error(torch.cat((shares * (1 - unknown), unknown), dim=1), made.labels)
