"""UTD-MHAD's actions, on clips and on a stream in which the person does something else before and after."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmg.teaching.alignment import Templates
from mmg.teaching.trace import Trace
from numpy.typing import NDArray

from mmg_tools.teaching_check.episodes import Episode, Numbers, accuracy, beside, episodes, markdown
from mmg_tools.teaching_check.recordings import RATE_HZ, Clip, TraceOf

COLUMNS = ((True, 1), (True, 3), (False, 1), (False, 3), (False, 5))
LAST_ARM_ACTION = 21
"""Later ones are of the thigh, and no stream is of both."""
HOPS_A_SECOND = 2
PARTS = {"shape": 5, "tokens": 1}
"""Points of a hop."""
TRIED: dict[str, tuple[dict[str, float], bool]] = {
    "tokens, aligned": ({"tokens": 1}, False),
    "shape, aligned": ({"shape": 1}, False),
    "shape and half of tokens": ({"shape": 1, "tokens": 0.5}, False),
    "tokens, by background": ({"tokens": 1}, True),
    "shape, by background": ({"shape": 1}, True),
    "shape and all of tokens, by background": ({"shape": 1, "tokens": 1}, True),
    "**shape and half of tokens, by background**": ({"shape": 1, "tokens": 0.5}, True),
}
"""What is summed, and whether each is divided by the template's mean distance to the other activities."""


def motion_table(encode: TraceOf, clips: Sequence[Clip], count: int, seed: int) -> str:
    """The share of queries that is known, five ways."""
    traces = [encode(clip.samples) for clip in clips]
    spliced = _spliced(encode, clips, seed)
    apart = {(part, way): _apart(part, traces, spliced, way) for part in PARTS for way in ("clips", "stream")}
    actions, people = (np.array([getattr(clip, name) for clip in clips]) for name in ("action", "person"))

    def row(parts: dict[str, float], is_divided: bool, way: str) -> list[str]:
        def of(episode: Episode) -> Numbers:
            place = np.ix_(episode.examples, episode.queries)
            total: Numbers = np.zeros(1)
            for part, weight in parts.items():
                between = apart[part, "clips"]
                norm = beside(episode, between) if is_divided else between[np.isfinite(between)].mean()
                total = total + weight * apart[part, way][place] / norm
            return total

        found = [
            accuracy(episodes(actions, people, shots, count, seed, same_person=same), of) for same, shots in COLUMNS
        ]
        return [f"{one:.3f}" for one in found]

    means = np.stack([trace.tokens.mean(axis=(0, 1)) for trace in traces])
    means = means / np.concatenate([trace.tokens for trace in traces]).std(axis=(0, 1))
    first = []
    for same, shots in COLUMNS:
        found = episodes(actions, people, shots, count, seed, same_person=same)
        first.append(f"{accuracy(found, lambda episode: _prototypes(episode, means)):.3f}")
    rows = [("prototype of mean tokens, clips", first)]
    rows += [(f"{name}, {way}", row(*how, way)) for way in ("clips", "stream") for name, how in TRIED.items()]
    heads = [f"{'same' if same else 'others'}, {shots}" for same, shots in COLUMNS]
    return markdown("UTD-MHAD, 5 ways", heads, rows)


def _prototypes(episode: Episode, means: Numbers) -> Numbers:
    """``(examples, queries)``: to the mean of each one's activity (prototypes, Snell 2017, arXiv 1703.05175)."""
    own = np.stack([means[episode.examples[episode.of_example == way]].mean(axis=0) for way in episode.of_example])
    result: Numbers = np.linalg.norm(own[:, None] - means[episode.queries], axis=2)
    return result


def _spliced(encode: TraceOf, clips: Sequence[Clip], seed: int) -> list[tuple[Trace, float]]:
    """Each clip between two of other actions of its person, and where its end is, in hops."""
    random = np.random.default_rng(seed)
    found = []
    for clip in clips:
        is_arm = clip.action <= LAST_ARM_ACTION
        others = [
            one.samples
            for one in clips
            if one.person == clip.person and one.action != clip.action and (one.action <= LAST_ARM_ACTION) == is_arm
        ]
        before, after = random.choice(len(others), 2)
        whole = np.concatenate([others[before], clip.samples, others[after]])
        end = (len(others[before]) + len(clip.samples)) / RATE_HZ * HOPS_A_SECOND
        found.append((encode(whole), end))
    return found


def _apart(part: str, traces: Sequence[Trace], spliced: Sequence[tuple[Trace, float]], way: str) -> Numbers:
    """``(clips as templates, clips as queries)``: at a clip's end, or in a stream the nearest within half a
    second of it."""
    each = PARTS[part]
    scale = np.concatenate([_rows(part, trace) for trace in traces]).std(axis=0)
    templates = Templates([_rows(part, trace) / scale for trace in traces])
    if way == "clips":
        return np.stack([templates.distances(_rows(part, one) / scale)[:, -1] for one in traces], axis=1)
    columns = []
    for trace, end in spliced:
        found = templates.distances(_rows(part, trace) / scale)[:, each - 1 :: each]
        ends = np.arange(1, found.shape[1] + 1)
        columns.append(found[:, np.abs(ends - end) <= 1].min(axis=1))
    return np.stack(columns, axis=1)


def _rows(part: str, trace: Trace) -> NDArray[np.float32]:
    array = trace.shape if part == "shape" else trace.tokens
    return array.reshape(-1, array.shape[2])
