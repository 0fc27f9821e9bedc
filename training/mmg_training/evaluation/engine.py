"""Decisions of a bundle over whole sessions, by the runtime's engine: the code of the device, and no torch model."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from mmg import Bundle, Chunk, Engine
from mmg.bundle.manifest import Manifest
from mmg.cli.progress import counted
from mmg.cli.reporting import Reporter
from mmg.engine import DEFAULT_GRACE_S
from mmg.errors import ConfigError
from mmg.types import UNKNOWN
from numpy.typing import NDArray

from mmg_training.data.sessions import Session
from mmg_training.evaluation.decide import Decisions, having
from mmg_training.evaluation.subsets import Decider, Subset
from mmg_training.evaluation.tables import plus
from mmg_training.task import HOP_S, MODALITIES, Task

HOP_NS = round(HOP_S * 1e9)
LEAST = math.exp(-700)
"""Of a score, before its logarithm."""
HAIR = 1e-3
"""By how much of a score what nobody decided is wrong: of equal ones the first would be taken, and may be the truth."""


def by_engine(bundle: Bundle, task: Task, report: Reporter, backend: str = "auto", precision: str = "fp32") -> Decider:
    """Decides with a bundle's files of a backend and precision, from each of some subsets.

    Raises ConfigError where it was not made for ``task``.
    """
    manifest = bundle.manifest
    if manifest.labels != task.labels or manifest.hop_s != HOP_S:
        raise ConfigError(f"{bundle.path}: its labels or its hop are not those of the data set {task.name}")
    if not {modality.name for modality in manifest.modalities} <= set(task.modalities):
        raise ConfigError(f"{bundle.path}: has a sensor that is not one of {plus(task.modalities)} of {task.name}")

    def decide_subsets(sessions: Sequence[Session], subsets: Sequence[Subset]) -> dict[Subset, Decisions]:
        return {
            names: decide_with_engine(
                bundle, task, having(sessions, names), names, report, backend=backend, precision=precision
            ).known()
            for names in subsets
        }

    return decide_subsets


def task_of(manifest: Manifest) -> Task:
    """What a bundle is for; every hop is decided."""
    frames = [(round(one.rate_hz), one.frame) for one in manifest.modalities if one.frame is not None]
    names = tuple(name for name in MODALITIES if name in {one.name for one in manifest.modalities})
    return Task(manifest.name, manifest.labels, names, *(frames[0] if frames else ()))


def decide_with_engine(
    bundle: Bundle,
    task: Task,
    sessions: Sequence[Session],
    names: Sequence[str],
    report: Reporter = lambda _: None,
    *,
    backend: str = "auto",
    precision: str = "fp32",
) -> Decisions:
    """What ``evaluation.decide.decide`` gives, but logits are the logarithms of calibrated scores, and there are no
    tokens. A hop that the engine does not decide, because no sensor is live in it, counts as wrong: as equal scores for
    all labels, a hair less for the true one, and an embedding of zeros. Each session has an engine of its own, as after
    a start of the device."""
    manifest = bundle.manifest
    scores, embeddings, labels, margins, lacking = [], [], [], list[NDArray[np.float64]](), 0
    tells = any(subset.unknown is not None and set(subset.modalities) == set(names) for subset in manifest.subsets)
    for session in counted(report, f"{plus(names)} decided", sessions, len(sessions), "sessions"):
        hops = session.hops
        truth = session.cut(task, 0, hops)[1]
        row_scores = np.full((hops, len(task.labels)), 1 / len(task.labels))
        row_scores[truth >= 0, truth[truth >= 0]] *= 1 - HAIR
        row_embeddings = np.zeros((hops, manifest.fusion.embedding_dim), np.float32)
        row_margins = np.full(hops, np.nan)
        engine = Engine(bundle, names, backend=backend, precision=precision)
        decided = [decision for name in names for decision in engine.push(as_chunk(task, session, name))]
        for decision in decided + engine.advance(hops * HOP_NS + round(DEFAULT_GRACE_S * 1e9)):
            row_scores[decision.hop] = [decision.scores[label] for label in task.labels]
            row_embeddings[decision.hop] = decision.embedding
            unknown, surest = decision.scores.get(UNKNOWN, 0.0), row_scores[decision.hop].max()
            row_margins[decision.hop] = math.log(max(unknown, LEAST) / max(surest, LEAST))
            lacking += decision.modalities != tuple(names) and (not task.clips or decision.hop == hops - 1)
        kept = slice(hops - 1, hops) if task.clips else slice(0, hops)
        scores.append(row_scores[kept])
        embeddings.append(row_embeddings[kept])
        margins.append(row_margins[kept])
        labels.append(truth[kept])
    if lacking:
        report(f"{plus(names)}: {lacking} decisions lack a sensor, which the runtime found faulty or not whole")
    # A score of nothing is possible in floating point; its logarithm is not.
    logits = np.log(np.maximum(np.concatenate(scores), LEAST))
    return Decisions(
        torch.from_numpy(logits).float(),
        torch.from_numpy(np.concatenate(labels)),
        torch.from_numpy(np.concatenate(embeddings)),
        tokens={},
        unknown=torch.from_numpy(np.concatenate(margins)).float() if tells else None,
    )


def as_chunk(task: Task, session: Session, name: str) -> Chunk:
    """All of a modality's samples from time zero on, such that the runtime's resampling gives them back as they are.

    One more sample goes beyond the session's end: without it the engine could not know that the last hop is over.
    """
    samples = session.cut(task, 0, session.hops)[0][name]
    period_ns = 1e9 / task.rate_hz(name)
    edges_ns = np.round(np.arange(len(samples) + 1) * period_ns).astype(np.int64)
    if name == "audio":
        sound = samples.astype(np.float32)[:, None] / np.float32(32768)
        return Chunk(name, sound, edges_ns[:-1], float(task.rate_hz(name)))
    if name == "video":
        return Chunk(name, np.concatenate((samples, samples[-1:])), edges_ns + round(period_ns / 2))
    # Steps: the runtime averages the straight lines between samples over each interval.
    stepped = np.repeat(samples, 2, axis=0)
    times_ns = np.stack((edges_ns[:-1], edges_ns[1:] - 1), axis=1).ravel()
    return Chunk(name, np.concatenate((stepped, samples[-1:])), np.append(times_ns, edges_ns[-1]))
