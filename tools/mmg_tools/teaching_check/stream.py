"""One taught activity amid other life: how often is it known, and how often is it seen where it was not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from mmg.teaching.modality import Known
from mmg.teaching.taught import Example, Taught
from mmg.teaching.trace import Trace
from numpy.typing import NDArray

from mmg_tools.teaching_check.episodes import markdown
from mmg_tools.teaching_check.recordings import Clip, TraceOf, other_life

EVERY = 4
"""One recording of so many is other life here."""
LISTENED = (20, 60)
"""Hops of a recording that are background: what is heard before teaching."""
LISTENED_TO = 6
"""Recordings, none of them among those that are tested on."""
APART_HOPS = 6
"""False alarms that are nearer to each other are one."""


def life_table(encode: TraceOf, clips: Sequence[Clip], data: Path, hop_s: float, seed: int) -> str:
    """Every action of every person by itself, taught by the same person with 3 examples, or by others with 5."""
    random = np.random.default_rng(seed)
    life = [encode(samples) for _, samples in other_life(data, EVERY)]
    heard = [trace.part(*LISTENED) for trace in life[::4] if trace.hops > LISTENED[1]]
    tested = [trace for number, trace in enumerate(life) if number % 4]
    hours = sum(trace.hops for trace in tested) * hop_s / 3600
    traces = [encode(clip.samples) for clip in clips]
    rows = []
    for same, shots in ((True, 3), (False, 5)):
        best, known, alarms = [], [], []
        for action, person in sorted({clip[:2] for clip in clips}):
            own = [trace for clip, trace in zip(clips, traces, strict=True) if clip[:2] == (action, person)]
            others = [
                trace
                for clip, trace in zip(clips, traces, strict=True)
                if clip.action == action and clip.person != person
            ]
            given = random.permutation(len(own if same else others))
            examples = [(own if same else others)[index] for index in given[:shots]]
            queries = [own[index] for index in given[shots:]] if same else own
            if not queries:  # one trial of the set is missing
                continue
            listened = [heard[index] for index in random.choice(len(heard), LISTENED_TO, replace=False)]
            at = _taught(examples, listened, hop_s)
            found = np.array([at.distances(trace)[0, -1] for trace in queries])
            elsewhere = [at.distances(trace)[0] for trace in tested]
            best.append((found < _limit(elsewhere, hours)).mean())
            known.append((found < 1).mean())
            alarms.append(_alarms(elsewhere, 1.0) / hours)
        cells = [f"{np.mean(best):.3f}", f"{np.mean(known):.3f}", f"{np.mean(alarms):.2f}"]
        rows.append((f"{'same person' if same else 'other people'}, {shots} examples", cells))
    heads = ["recall at 1 false alarm an hour", "recall at the threshold", "false alarms an hour at it"]
    return markdown(f"one of 27 actions, {hours:.1f} h of other life", heads, rows)


def _taught(examples: Iterable[Trace], background: Sequence[Trace], hop_s: float) -> Known:
    taught = Taught({"imu": ""}, hop_s=hop_s)
    for trace in examples:
        taught = taught.add("taught", Example({"imu": trace}))
    return Known(taught.with_background("imu", background), "imu")


def _limit(elsewhere: Sequence[NDArray[np.float64]], hours: float) -> float:
    """The distance below which there is one false alarm an hour."""
    every = np.sort(np.concatenate(elsewhere))
    for limit in every[: int(hours) * 50]:
        if _alarms(elsewhere, float(limit)) > hours:
            return float(limit)
    return float(every[0])


def _alarms(elsewhere: Sequence[NDArray[np.float64]], limit: float) -> int:
    count = 0
    for found in elsewhere:
        places = np.flatnonzero(found <= limit)
        if len(places):
            count += 1 + int((np.diff(places) > APART_HOPS).sum())
    return count
