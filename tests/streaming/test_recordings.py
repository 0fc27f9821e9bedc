"""Recordings through the pipeline: how they are cut and how fast they play changes nothing in what is decided."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from mmg.bundle import Bundle
from mmg.cli.sensors import DEMO
from mmg.errors import RequiredSensorLost
from mmg.runs.recorded import Pipeline
from mmg.runs.settings import Settings
from mmg.types import Decision

SECONDS = 12.0
PACES: tuple[Literal["fast", "realtime"], ...] = ("fast", "realtime")


@pytest.fixture(scope="module")
def starter() -> Iterator[Bundle]:
    with Bundle.open("starter") as bundle:
        yield bundle


def decide(
    bundle: Bundle, settings: Settings, offset_s: float, imu: Path = DEMO / "imu.csv"
) -> tuple[list[Decision], str]:
    """The demo's decisions with its sound moved in time, without how long they took, and what ended them."""
    urls = {"imu": str(imu), "audio": f"{DEMO / 'audio.ogg'}?offset={offset_s}"}
    pipeline = Pipeline(bundle, urls, replace(settings, duration_s=SECONDS), sleep=lambda _: None)
    made = []
    try:
        for decision in pipeline:
            made.append(replace(decision, latency_ms={}))
    except RequiredSensorLost as error:
        return made, str(error)
    finally:
        pipeline.close()
    return made, ""


@pytest.mark.parametrize("offset_s", [0, 0.13, -0.37])
def test_the_pace_changes_how_recordings_are_cut_and_nothing_else(starter: Bundle, offset_s: float) -> None:
    (fast, _), (paced, _) = (decide(starter, Settings(pace=pace), offset_s) for pace in PACES)
    assert len(fast) >= (SECONDS - 1) / starter.manifest.hop_s
    assert fast == paced
    # Nothing that a recording holds comes too late, although chunks of a hop are longer than the grace.
    assert sum(set(decision.modalities) == {"imu", "audio"} for decision in fast) >= len(fast) - 2


@pytest.mark.parametrize("offset_s", [0, 0.13, -0.37])
def test_a_required_sensor_is_lost_at_the_same_decision_however_recordings_are_cut(
    starter: Bundle, tmp_path: Path, offset_s: float
) -> None:
    rows = (DEMO / "imu.csv").read_text().splitlines()
    imu = tmp_path / "imu.csv"
    imu.write_text("\n".join(rows[:421]) + "\n")
    fast, paced = (decide(starter, Settings(pace=pace, required=("imu",)), offset_s, imu) for pace in PACES)
    assert fast == paced
    assert fast[1].startswith("required sensor lost: imu: stale")
