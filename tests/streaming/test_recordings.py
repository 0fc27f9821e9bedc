"""Recordings through the pipeline: how they are cut and how fast they play changes nothing in what is decided."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from mmg.bundle import Bundle
from mmg.cli.run import DEMO
from mmg.pipeline import Pipeline, Settings
from mmg.types import Decision

SECONDS = 12.0


@pytest.fixture(scope="module")
def starter() -> Iterator[Bundle]:
    with Bundle.open("starter") as bundle:
        yield bundle


def decide(bundle: Bundle, settings: Settings, offset_s: float) -> list[Decision]:
    """The demo's decisions with its sound moved in time, without how long they took."""
    urls = {"imu": str(DEMO / "imu.csv"), "audio": f"{DEMO / 'audio.ogg'}?offset={offset_s}"}
    pipeline = Pipeline(bundle, urls, replace(settings, duration_s=SECONDS), sleep=lambda _: None)
    try:
        return [replace(decision, latency_ms={}) for decision in pipeline]
    finally:
        pipeline.close()


@pytest.mark.parametrize("offset_s", [0, 0.13, -0.37])
def test_the_pace_changes_how_recordings_are_cut_and_nothing_else(starter: Bundle, offset_s: float) -> None:
    fast, paced = (decide(starter, Settings(pace=pace), offset_s) for pace in ("fast", "realtime"))
    assert len(fast) >= (SECONDS - 1) / starter.manifest.hop_s
    assert fast == paced
    # Nothing that a recording holds comes too late, although chunks of a hop are longer than the grace.
    assert sum(set(decision.modalities) == {"imu", "audio"} for decision in fast) >= len(fast) - 2
