"""What taught activities cost: the time of a hop, on top of what a run without them takes."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from mmg.teaching.scorer import Scorer
from mmg.teaching.taught import Example, Taught
from mmg.teaching.trace import Trace

from mmg_tools.teaching_check.episodes import markdown
from mmg_tools.teaching_check.recordings import Clip, TraceOf

ACTIVITIES, EXAMPLES = 10, 5
STREAMED = 40
"""Clips, one after the other, of which each hop is timed."""
WARM_HOPS = 10
"""Not timed: the first ones touch memory and code for the first time."""


def cost_table(imu: TraceOf, moved: Sequence[Clip], audio: TraceOf, heard: Sequence[Clip], hop_s: float) -> str:
    """Ten activities of five examples, each an action and a sound, by the sensors that are there."""
    of_sensor = {"imu": _by_action(imu, moved), "audio": _by_action(audio, heard)}
    taught = Taught(dict.fromkeys(of_sensor, ""), hop_s=hop_s)
    for number in range(ACTIVITIES):
        for place in range(EXAMPLES):
            traces = {name: found[number][place] for name, found in of_sensor.items()}
            taught = taught.add(f"action {number}", Example(traces))
    scorer = Scorer(taught)
    streams = {"imu": _streamed(imu, moved), "audio": _streamed(audio, heard)}
    rows = []
    for title, names in (("the IMU", ("imu",)), ("sound", ("audio",)), ("both", ("imu", "audio"))):
        spent_ms = _timed(scorer, {name: streams[name] for name in names})
        rows.append((title, [f"{np.mean(spent_ms):.2f}", f"{np.percentile(spent_ms, 95):.2f}"]))
    title = f"{ACTIVITIES} taught activities of {EXAMPLES} examples, with"
    return markdown(title, ["mean ms a hop", "p95 ms a hop"], rows)


def _by_action(encode: TraceOf, clips: Sequence[Clip]) -> list[list[Trace]]:
    """The traces of the first examples of the first actions."""
    numbers = sorted({clip.action for clip in clips})[:ACTIVITIES]
    chosen = [[clip for clip in clips if clip.action == number][:EXAMPLES] for number in numbers]
    return [[encode(clip.samples) for clip in some] for some in chosen]


def _streamed(encode: TraceOf, clips: Sequence[Clip]) -> Trace:
    even = np.linspace(0, len(clips) - 1, STREAMED).round().astype(int)
    return encode(np.concatenate([clips[place].samples for place in even]))


def _timed(scorer: Scorer, streams: dict[str, Trace]) -> list[float]:
    """Milliseconds of each hop, looked at as the engine does: with as many before it as can matter."""
    spent_ms = []
    for end in range(scorer.context_hops, min(trace.hops for trace in streams.values()) + 1):
        traces = {name: trace.part(end - scorer.context_hops, end) for name, trace in streams.items()}
        begin_ns = time.perf_counter_ns()
        scorer.score(traces)
        spent_ms.append((time.perf_counter_ns() - begin_ns) / 1e6)
    return spent_ms[WARM_HOPS:]
