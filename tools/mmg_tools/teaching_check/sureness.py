"""How sure it is that it is a taught action, and how often that is right."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from mmg.teaching.scorer import Scorer

from mmg_tools.teaching_check.episodes import Numbers, episodes, markdown
from mmg_tools.teaching_check.recordings import Clip, TraceOf
from mmg_tools.teaching_check.untaught import background_of, numbers_of, taught_of

BINS = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
EPISODES = 40


def sureness_table(encode: TraceOf, clips: Sequence[Clip], data: Path, hop_s: float, seed: int) -> str:
    """At each clip's end, five taught actions and as many hours of others: right is the taught action that it is."""
    traces = [encode(clip.samples) for clip in clips]
    actions, people = numbers_of(clips)
    heard = background_of(encode, data)
    rows = []
    for title, same, shots in (("same person, 2 examples", True, 2), ("other people, 5 examples", False, 5)):
        told: list[tuple[float, bool, bool]] = []
        for episode in episodes(actions, people, shots, EPISODES, seed, same_person=same):
            scorer = Scorer(taught_of("imu", traces, actions, episode.examples, heard, hop_s))
            person = people[episode.queries[0]]
            others = np.flatnonzero(~np.isin(actions, episode.ways) & (people == person))
            for place in (*episode.queries, *others):
                scores = scorer.score({"imu": traces[place]})
                name = max(scores, key=scores.__getitem__)
                is_taught = actions[place] in episode.ways
                told.append((sum(scores.values()), name == f"action {actions[place]}", is_taught))
        rows.append((title, _cells(*(np.array(column) for column in zip(*told, strict=True)))))
    heads = [f"{low:.0%} to {high:.0%}" for low, high in pairwise(BINS)]
    return markdown("UTD-MHAD, five taught actions: right where it is sure to", heads, rows)


def _cells(sure: Numbers, right: Numbers, is_taught: Numbers) -> list[str]:
    """Taught and other actions weigh alike."""
    weights = np.where(is_taught, 0.5 / max(is_taught.sum(), 1), 0.5 / max((~is_taught).sum(), 1))
    cells = []
    for low, high in pairwise(BINS):
        within = (sure >= low) & ((sure < high) | (high == 1.0))
        cells.append(f"{np.average(right[within], weights=weights[within]):.2f}" if within.any() else "")
    return cells
