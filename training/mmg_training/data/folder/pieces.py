"""A session cut where its sensors come and go, and to what lies near a label."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mmg_training.data.folder.reading import Read
from mmg_training.data.sessions import TICKS_PER_HOP, UNLABELLED, Session
from mmg_training.task import CONTEXT_HOPS, HOP_S, Task

SHORTEST_HOPS = CONTEXT_HOPS
"""What training draws; shorter pieces can be measured on, and not learnt from."""


def pieces_of(read: Read, task: Task, subject: int, ticks: NDArray[np.int16]) -> tuple[Session, ...]:
    """Stretches in which the same sensors are there all along. What has no label is kept for a context before one."""
    names = [name for name in task.modalities if name in read.present]
    if not names:
        return ()
    there = np.stack([read.present[name] for name in names])  # (M, hops)
    wanted = there.any(axis=0) & _near(ticks)
    change = np.any(np.diff(there, axis=1) != 0, axis=0) | (np.diff(wanted.astype(np.int8)) != 0)
    edges = [0, *(np.flatnonzero(change) + 1).tolist(), read.hops]
    made = []
    for first, last in pairwise(edges):
        if last > first and wanted[first]:
            samples = {
                name: read.samples[name][first * task.samples_per_hop(name) : last * task.samples_per_hop(name)]
                for number, name in enumerate(names)
                if there[number, first]
            }
            labels = ticks[first * TICKS_PER_HOP : last * TICKS_PER_HOP + 1]
            made.append(Session(read.session.name, subject, labels, samples))
    return tuple(made)


def too_short_s(pieces: Sequence[Session]) -> float:
    """The labelled seconds in pieces that are too short to draw from."""
    short = (one for one in pieces if one.hops < SHORTEST_HOPS)
    return HOP_S * sum(int((one.labels[1::TICKS_PER_HOP] != UNLABELLED).sum()) for one in short)


def _near(ticks: NDArray[np.int16]) -> NDArray[np.bool_]:
    """(hops,): has a label, or one comes within a context."""
    labelled = ticks[1::TICKS_PER_HOP] != UNLABELLED
    near = np.convolve(labelled, np.ones(CONTEXT_HOPS + 1))[CONTEXT_HOPS:] if len(labelled) else labelled
    return np.asarray(near > 0)
