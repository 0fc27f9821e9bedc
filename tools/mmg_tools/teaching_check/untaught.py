"""Five taught actions, and others of the same people that were not taught: which are known, which are taken for one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmg.teaching.modality import Known
from mmg.teaching.taught import Example, Taught
from mmg.teaching.trace import Trace

from mmg_tools.teaching_check.episodes import episodes, markdown
from mmg_tools.teaching_check.recordings import Clip, TraceOf, other_life
from mmg_tools.teaching_check.stream import LISTENED

EVERY = 16
"""One recording of so many is background."""
EPISODES = 40


def untaught_table(encode: TraceOf, clips: Sequence[Clip], data: Path, hop_s: float, seed: int) -> str:
    """At the stored threshold, at each clip's end, with other people's glasses and phones as background."""
    traces = [encode(clip.samples) for clip in clips]
    actions, people = (np.array([getattr(clip, name) for clip in clips]) for name in ("action", "person"))
    life = [encode(samples) for _, samples in other_life(data, EVERY)]
    heard = [trace.part(*LISTENED) for trace in life if trace.hops > LISTENED[1]]
    rows = []
    for same, shots in ((True, 2), (False, 5)):
        right, taken = [], []
        for episode in episodes(actions, people, shots, EPISODES, seed, same_person=same):
            taught = Taught({"imu": ""})
            for place, action in zip(episode.examples, episode.of_example, strict=True):
                taught = taught.add(f"action {action}", Example({"imu": traces[place]}))
            known = Known(taught.with_background("imu", heard), "imu", hop_s)
            names = [int(name.split()[1]) for name in taught.names]
            told = [_found(known, traces[one], names) for one in episode.queries]
            right += [one == action for one, action in zip(told, episode.of_query, strict=True)]
            person = people[episode.queries[0]]
            others = np.flatnonzero(~np.isin(actions, episode.ways) & (people == person))
            taken += [_found(known, traces[one], names) is not None for one in others]
        cells = [f"{np.mean(right):.3f}", f"{np.mean(taken):.3f}"]
        rows.append((f"{'same person' if same else 'other people'}, {shots} examples", cells))
    return markdown("UTD-MHAD, five taught actions", ["known", "other actions taken for one"], rows)


def _found(known: Known, trace: Trace, names: Sequence[int]) -> int | None:
    """The action that is told at the end, or None."""
    distances = known.distances(trace)[:, -1]
    best = int(distances.argmin())
    return names[best] if distances[best] < 1 else None
