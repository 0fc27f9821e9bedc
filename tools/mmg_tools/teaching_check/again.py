"""Whether what is taught already is noticed when it is done again, and what else is taken for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmg.teaching.scorer import Scorer
from mmg.teaching.trace import Trace

from mmg_tools.teaching_check.episodes import episodes, markdown
from mmg_tools.teaching_check.recordings import Clip, TraceOf
from mmg_tools.teaching_check.untaught import EPISODES, background_of, numbers_of, taught_of


def again_table(encode: TraceOf, clips: Sequence[Clip], data: Path, hop_s: float, seed: int) -> str:
    """Five taught actions; the same person's other clips of them, and of other actions."""
    traces = [encode(clip.samples) for clip in clips]
    actions, people = numbers_of(clips)
    heard = background_of(encode, data)
    rows = []
    for title, same, shots in (
        ("same person, 2 examples", True, 2),
        ("same person, 3 examples", True, 3),
        ("other people, 5 examples", False, 5),
    ):
        own: list[bool] = []
        other: list[bool] = []
        for episode in episodes(actions, people, shots, EPISODES, seed, same_person=same):
            scorer = Scorer(taught_of("imu", traces, actions, episode.examples, heard, hop_s))
            person = people[episode.queries[0]]
            others = np.flatnonzero(~np.isin(actions, episode.ways) & (people == person))
            own += [_is_again(scorer, traces[place]) for place in episode.queries]
            other += [_is_again(scorer, traces[place]) for place in others]
        rows.append((title, [f"{np.mean(own):.3f}", f"{np.mean(other):.3f}"]))
    return markdown("UTD-MHAD, five taught actions", ["noticed when done again", "other actions taken for it"], rows)


def _is_again(scorer: Scorer, trace: Trace) -> bool:
    return bool(scorer.repeated({"imu": [(0, trace)]}))
