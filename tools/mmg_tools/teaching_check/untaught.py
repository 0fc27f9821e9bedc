"""A few taught actions or sounds, and others that were not taught: which are known, which are taken for one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmg.teaching.modality import Apart, Known, Place
from mmg.teaching.taught import Example, Taught
from mmg.teaching.trace import Trace
from numpy.typing import NDArray

from mmg_tools.teaching_check.episodes import Numbers, episodes, markdown
from mmg_tools.teaching_check.recordings import Clip, TraceOf, other_life
from mmg_tools.teaching_check.stream import LISTENED

EVERY = 16
"""One recording of so many is background."""
EPISODES = 40
SOUNDS, SOUND_EXAMPLES = 2, 5
HEADS = ("known", "other {} taken for one")


class _BesideBackground(Known):
    """With the threshold that there is where one activity is taught: from the background alone."""

    def _among_taught(
        self, places: Sequence[Place], taught: Sequence[Apart]
    ) -> tuple[NDArray[np.float64], dict[int, list[float]]]:
        nearest, own = super()._among_taught(places, taught)
        return np.full_like(nearest, np.inf), own


def untaught_table(encode: TraceOf, clips: Sequence[Clip], data: Path, hop_s: float, seed: int) -> str:
    """At each clip's end, with other people's glasses and phones as background, by the stored threshold and by one
    from the background alone."""
    traces = [encode(clip.samples) for clip in clips]
    actions, people = numbers_of(clips)
    heard = background_of(encode, data)
    rows = []
    for threshold, how in (("", Known), (", threshold from the background alone", _BesideBackground)):
        for same, shots in ((True, 2), (False, 5)):
            told = _Told(actions)
            for episode in episodes(actions, people, shots, EPISODES, seed, same_person=same):
                known = how(taught_of("imu", traces, actions, episode.examples, heard, hop_s), "imu")
                person = people[episode.queries[0]]
                others = np.flatnonzero(~np.isin(actions, episode.ways) & (people == person))
                told.ask(known, traces, episode.ways.tolist(), episode.queries, others)
            rows.append((f"{'same person' if same else 'other people'}, {shots} examples{threshold}", told.cells))
    return markdown("UTD-MHAD, five taught actions", [head.format("actions") for head in HEADS], rows)


def untaught_sound_table(encode: TraceOf, clips: Sequence[Clip], hop_s: float, seed: int) -> str:
    """At each clip's end, by the stored threshold: two sounds are taught in one fold, and asked for in it or another.

    The background is one clip, of the fold that teaches, of each of four kinds; the other four are asked for.
    """
    traces = [encode(clip.samples) for clip in clips]
    kinds, folds = numbers_of(clips)
    random = np.random.default_rng(seed)
    rows = []
    for title, same in (("the same fold", True), ("another fold", False)):
        told = _Told(kinds)
        for _ in range(EPISODES):
            order, (giver, other) = random.permutation(np.unique(kinds)), random.permutation(np.unique(folds))[:2]
            ways, beside, rest = order[:SOUNDS], order[SOUNDS : SOUNDS + 4], order[SOUNDS + 4 :]
            own = {kind: np.flatnonzero((kinds == kind) & (folds == giver)) for kind in order}
            examples = np.concatenate([random.permutation(own[way])[:SOUND_EXAMPLES] for way in ways])
            heard = [traces[random.choice(own[kind])] for kind in beside]
            known = Known(taught_of("audio", traces, kinds, examples, heard, hop_s), "audio")
            there = (folds == (giver if same else other)) & ~np.isin(np.arange(len(kinds)), examples)
            asked, others = (np.flatnonzero(there & np.isin(kinds, some)) for some in (ways, rest))
            told.ask(known, traces, ways.tolist(), asked, others)
        rows.append((f"{title}, {SOUND_EXAMPLES} examples", told.cells))
    return markdown("ESC-10, two taught sounds", [head.format("sounds") for head in HEADS], rows)


class _Told:
    """What is told of clips that were taught, and of others. actions: of each clip."""

    def __init__(self, actions: Numbers) -> None:
        self._actions = actions
        self._right: list[bool] = []
        self._taken: list[bool] = []

    def ask(
        self, known: Known, traces: Sequence[Trace], names: Sequence[int], queries: Numbers, others: Numbers
    ) -> None:
        """queries: clips of what was taught. others: of what was not. names: of the activities, in their order."""
        self._right += [_found(known, traces[one], names) == self._actions[one] for one in queries]
        self._taken += [_found(known, traces[one], names) is not None for one in others]

    @property
    def cells(self) -> list[str]:
        """The part that is known, and the part of the others that is taken for one."""
        return [f"{np.mean(self._right):.3f}", f"{np.mean(self._taken):.3f}"]


def background_of(encode: TraceOf, data: Path) -> list[Trace]:
    """Pieces of other people's glasses and phones."""
    life = [encode(samples) for _, samples in other_life(data, EVERY)]
    return [trace.part(*LISTENED) for trace in life if trace.hops > LISTENED[1]]


def taught_of(
    modality: str,
    traces: Sequence[Trace],
    actions: Numbers,
    examples: Numbers,
    background: Sequence[Trace],
    hop_s: float,
) -> Taught:
    """These clips as examples, each of its action."""
    taught = Taught({modality: ""}, hop_s=hop_s)
    for place in examples:
        taught = taught.add(f"action {actions[place]}", Example({modality: traces[place]}))
    return taught.with_background(modality, background)


def numbers_of(clips: Sequence[Clip]) -> tuple[Numbers, Numbers]:
    """Of each clip its action and its person."""
    return np.array([clip.action for clip in clips]), np.array([clip.person for clip in clips])


def _found(known: Known, trace: Trace, names: Sequence[int]) -> int | None:
    """The action that is told at the end, or None."""
    distances = known.distances(trace)[:, -1]
    best = int(distances.argmin())
    return names[best] if distances[best] < 1 else None
