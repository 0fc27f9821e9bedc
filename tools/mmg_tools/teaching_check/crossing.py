"""Taught with one sensor and asked for by the other: simulated activities that the starter does not know."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from mmg.bundle import Bundle
from mmg.engine import Engine
from mmg.types import Chunk
from mmg_training.data.starter import OTHER_LIFE
from mmg_training.wearer import Subject, Timeline, clip, render_imu, render_sound

from mmg_tools.teaching_check.episodes import Episode, Numbers, accuracy, episodes, markdown

PEOPLE, SECONDS = 8, 5.0
"""One clip of each activity is of each of them."""
FIRST_PERSON = 9000
"""No training has people of such numbers."""
SENSORS = ("imu", "audio")
SHOTS = (1, 3, 5)


def crossing_table(bundle: Bundle, count: int, seed: int) -> str:
    """The share of queries that is known by the fusion's embedding of one sensor: the nearest example's, where each
    sensor's embeddings are taken from their mean, as two sensors' lie apart."""
    kinds = OTHER_LIFE.labels
    actions, people = (one.ravel() for one in np.indices((len(kinds), PEOPLE)))
    clips = [
        clip(Subject.numbered(FIRST_PERSON + int(who)), int(who), kinds[what], SECONDS)
        for what, who in zip(actions, people, strict=True)
    ]
    embedded = {name: _embedded(bundle, name, clips) for name in SENSORS}
    rows = []
    for given in SENSORS:
        for asked in SENSORS:
            apart = _apart(embedded[given], embedded[asked])
            found = [
                accuracy(episodes(actions, people, shots, count, seed, same_person=False), apart) for shots in SHOTS
            ]
            rows.append((f"taught with {given}, asked for by {asked}", [f"{one:.3f}" for one in found]))
    heads = [f"{shots} example{'s' * (shots > 1)}" for shots in SHOTS]
    return markdown(f"{len(kinds)} simulated activities, 5 ways, other people", heads, rows)


def _embedded(bundle: Bundle, name: str, clips: list[Timeline]) -> Numbers:
    """``(clips, E)``: the embedding of the last decision of each."""
    found = []
    for one in clips:
        rate_hz = round(bundle.manifest.modality(name).rate_hz)
        samples = render_imu(one, rate_hz) if name == "imu" else render_sound(one, rate_hz)[:, None]
        times_ns = (np.arange(len(samples)) * (1e9 / rate_hz)).round().astype(np.int64)
        engine = Engine(bundle, (name,))
        made = engine.push(Chunk(name, samples.astype(np.float32), times_ns, rate_hz))
        made += engine.advance(int(times_ns[-1]) + 10**9)
        found.append(made[-1].embedding)
    embedded = np.array(found)
    embedded -= embedded.mean(axis=0)
    result: Numbers = embedded / np.linalg.norm(embedded, axis=1, keepdims=True)
    return result


def _apart(given: Numbers, asked: Numbers) -> Callable[[Episode], Numbers]:
    return lambda episode: np.asarray(1 - given[episode.examples] @ asked[episode.queries].T)
