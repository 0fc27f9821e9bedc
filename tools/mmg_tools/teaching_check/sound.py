"""ESC-10's sounds: examples of one fold, and as another room another fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from mmg.teaching.alignment import Templates
from mmg.teaching.pooling import Pooled
from numpy.typing import NDArray

from mmg_tools.teaching_check.episodes import Episode, Numbers, accuracy, beside, episodes, markdown
from mmg_tools.teaching_check.recordings import Clip, TraceOf

COLUMNS = ((True, 1), (True, 3), (False, 1), (False, 3), (False, 5))
ALIGNED = 16
"""Tokens of a clip, or fewer where it is shorter, that are aligned."""
SHARED = 0.1


def sound_table(encode: TraceOf, clips: Sequence[Clip], count: int, seed: int) -> str:
    """The share of queries that is known, five of ten sounds."""
    traces = [encode(clip.samples) for clip in clips]
    scale = np.concatenate([trace.tokens for trace in traces]).std(axis=(0, 1))
    rows = [trace.tokens.reshape(-1, trace.tokens.shape[2]) / scale for trace in traces]
    means = np.stack([one.mean(axis=0) for one in rows])
    spread = _spread(rows)
    whitened = _spread([one @ _whitening(rows) for one in rows])
    turned = whitened - whitened.mean(axis=0)
    turned /= np.linalg.norm(turned, axis=1, keepdims=True)
    aligned = _at_ends(Templates([one[:ALIGNED] for one in rows]), rows)
    pooled = _at_ends(Pooled(rows), rows)
    tried: dict[str, Callable[[Episode], Numbers]] = {
        "prototype of mean tokens": lambda one: _prototypes(one, means),
        "prototype of mean and deviation": lambda one: _prototypes(one, spread),
        "the same, whitened within clips": lambda one: _prototypes(one, whitened),
        "the same, whitened, by angle": lambda one: _prototypes(one, turned),
        "tokens, aligned, by background": lambda one: _divided(one, aligned),
        "tokens, pooled over 2 s": lambda one: pooled[np.ix_(one.examples, one.queries)],
        "**tokens, pooled over 2 s, by background**": lambda one: _divided(one, pooled),
    }
    actions, people = (np.array([getattr(clip, name) for clip in clips]) for name in ("action", "person"))
    table = []
    for name, apart in tried.items():
        found = [
            accuracy(episodes(actions, people, shots, count, seed, same_person=same, one_giver=True), apart)
            for same, shots in COLUMNS
        ]
        table.append((name, [f"{one:.3f}" for one in found]))
    heads = [f"{'same fold' if same else 'another'}, {shots}" for same, shots in COLUMNS]
    return markdown("ESC-10, 5 of 10 ways", heads, table)


def _spread(rows: Sequence[Numbers]) -> Numbers:
    """``(clips, 2 * width)``: of each clip's tokens the mean and the deviation."""
    return np.stack([np.concatenate([one.mean(axis=0), one.std(axis=0)]) for one in rows])


def _whitening(rows: Sequence[Numbers]) -> Numbers:
    """``(width, width)``: by which tokens vary alike in all directions within a clip, save for the ``SHARED`` part."""
    within = np.mean([np.cov(one.T) for one in rows], axis=0)
    width = len(within)
    values, vectors = np.linalg.eigh((1 - SHARED) * within + SHARED * np.trace(within) / width * np.eye(width))
    result: Numbers = vectors @ np.diag(values**-0.5) @ vectors.T
    return result


def _at_ends(templates: Templates | Pooled, rows: Sequence[NDArray[np.float32]]) -> Numbers:
    """``(clips, clips)``: the mean over all ends of a clip at which there is enough of it."""
    columns = []
    for one in rows:
        found = templates.distances(one)[:, ALIGNED // 2 :]
        is_there = np.isfinite(found)
        columns.append(np.where(is_there, found, 0).sum(axis=1) / np.maximum(is_there.sum(axis=1), 1))
    return np.stack(columns, axis=1)


def _divided(episode: Episode, apart: Numbers) -> Numbers:
    found: Numbers = apart[np.ix_(episode.examples, episode.queries)] / beside(episode, apart)
    return found


def _prototypes(episode: Episode, means: Numbers) -> Numbers:
    own = np.stack([means[episode.examples[episode.of_example == way]].mean(axis=0) for way in episode.of_example])
    result: Numbers = np.linalg.norm(own[:, None] - means[episode.queries], axis=2)
    return result
