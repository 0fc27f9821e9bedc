"""The run as the page shows it, by clocks that only move when they are told to."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from mmg.runs.step import Step
from mmg.sinks.event import Notice
from mmg.sinks.page.envelope import PAIRS, Envelope
from mmg.sinks.page.metrics import BOUNDS_S, Totals, metrics_text
from mmg.sinks.page.state import State
from mmg.sinks.page.vitals import CpuShare, Latencies, resident_bytes
from mmg.types import Chunk, SensorState
from page_client import ABOUT, LIVE, decided
from prometheus_client.parser import text_string_to_metric_families


class Clock:
    """Seconds."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Orders:
    """What a run with controls says of itself."""

    is_paused = False
    problem = ""

    def offered(self, labels: tuple[str, ...]) -> dict[str, Any]:
        return {"mark": list(labels), "record": True, "pause": True, "teach": False}

    def recording(self) -> dict[str, Any] | None:
        return {"path": "day.mcap", "bytes": 7, "mark": "walk"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(clock: Clock) -> State:
    made = State(replace(ABOUT, sinks=[]), monotonic_s=clock, wall_s=lambda: 1e9 + clock.now_s)
    made.viewers = 1
    return made


def history(state: State) -> dict[str, Any]:
    return dict(json.loads("".join(state.history())))


def test_history_is_of_the_last_ten_minutes_oldest_first(state: State, clock: Clock) -> None:
    for hop in range(1, 1500):
        clock.now_s += 0.5
        state.take(decided(hop))
        if hop % 100 == 0:
            state.take(Notice(f"hop {hop}"))
    kept = history(state)
    assert len(kept["decisions"]) == 1200
    assert kept["decisions"][-1] == {
        "at": 1e9 + clock.now_s,
        "t": 749.5,
        "label": "walking",
        "confidence": 0.8,
        "modalities": ["imu", "audio"],
    }
    clock.now_s += 590
    kept = history(state)
    assert [one["t"] for one in kept["decisions"]] == [hop / 2 for hop in range(1479, 1500)]
    assert (kept["notices"], kept["since_s"]) == ([], 590)
    clock.now_s += 60
    assert history(state) == {"decisions": [], "notices": [], "since_s": 650}


def test_what_is_taught_meanwhile_is_counted_as_the_labels_are(state: State) -> None:
    state.take(decided(1))
    state.take(decided(2, label="kneading"))
    families = {family.name: family for family in text_string_to_metric_families(metrics_text(state).decode())}
    counts = {sample.labels["label"]: sample.value for sample in families["mmg_decisions"].samples}
    assert (counts["walking"], counts["kneading"]) == (1, 1)


@pytest.mark.parametrize(("hop_s", "step_s", "lines"), [(0.1, 0.5, 1200), (0.3, 0.6, 1000), (2.0, 2.0, 300)])
def test_history_is_of_ten_minutes_and_no_longer_where_hops_are_shorter(
    clock: Clock, hop_s: float, step_s: float, lines: int
) -> None:
    state = State(replace(ABOUT, sinks=[], hop_s=hop_s), monotonic_s=clock, wall_s=clock)
    for hop in range(1, round(660 / hop_s)):
        clock.now_s += hop_s
        event = decided(hop)
        state.take(replace(event, decision=replace(event.decision, t_s=hop * hop_s)))
    kept = history(state)
    times = [one["t"] for one in kept["decisions"]]
    assert len(times) == pytest.approx(lines, abs=1)
    assert json.loads(state.hello())["step_s"] == step_s
    assert [later - one for one, later in pairwise(times)] == [pytest.approx(step_s)] * (len(times) - 1)


def test_while_it_is_paused_a_sensor_is_absent_for_all_and_its_age_grows(clock: Clock) -> None:
    orders = Orders()
    state = State(replace(ABOUT, controls=orders), monotonic_s=clock)  # type: ignore[arg-type]
    state.viewers = 1
    state.take(decided(1))
    orders.is_paused = True
    clock.now_s += 3
    sensor = json.loads(dict(state.vitals())["sensors"])["sensors"]["imu"]
    assert (sensor["state"], sensor["reason"], sensor["rate_hz"]) == ("absent", "paused", 0.0)
    assert sensor["age_ms"] == pytest.approx(LIVE.age_ms + 3000)
    families = {family.name: family for family in text_string_to_metric_families(metrics_text(state).decode())}
    told = {sample.labels["state"]: sample.value for sample in families["mmg_sensor_state"].samples}
    assert (told["live"], told["absent"]) == (0, 1)
    assert families["mmg_sensor_age_seconds"].samples[0].value > 3


def test_a_run_that_decides_too_late_is_unwell(state: State, clock: Clock) -> None:
    state.take(decided(1))
    clock.now_s += 1.5
    assert state.ills() == []
    clock.now_s += 0.1
    assert state.ills() == ["no decision for 1.6 s"]


def test_a_sensor_that_sleeps_is_not_ill(state: State) -> None:
    state.take(decided(1, imu=LIVE, audio=SensorState("asleep", 0.0, 0)))
    assert state.ills() == []


def test_a_run_is_unwell_while_it_is_paused_and_after_its_recording_stopped(clock: Clock) -> None:
    orders = Orders()
    state = State(replace(ABOUT, controls=orders), monotonic_s=clock)  # type: ignore[arg-type]
    state.take(decided(1))
    assert json.loads(state.hello())["controls"] == {
        "mark": ["walking", "still", "unknown"],
        "record": True,
        "pause": True,
        "teach": False,
    }
    orders.problem = "day.mcap: No space left on device"
    assert state.ills() == ["recording stopped: day.mcap: No space left on device"]
    orders.is_paused = True
    assert state.ills() == ["paused"]


def test_a_pause_is_told_at_once_and_its_sensors_are_absent(clock: Clock) -> None:
    orders = Orders()
    state = State(replace(ABOUT, controls=orders), monotonic_s=clock)  # type: ignore[arg-type]
    state.viewers = 1
    state.take(decided(1))
    orders.is_paused = True
    told = state.take(Notice("paused: no sensor is listened to"))
    assert [kind for kind, _ in told] == ["notice", "vitals", "sensors"]
    assert json.loads(told[1][1])["paused"] is True
    assert json.loads(told[1][1])["recording"] == {"path": "day.mcap", "bytes": 7, "mark": "walk"}
    imu = json.loads(told[2][1])["sensors"]["imu"]
    assert (imu["state"], imu["reason"], imu["clock"]) == ("absent", "paused", None)
    assert [kind for kind, _ in state.take(Notice("another"))] == ["notice"]


def test_while_nobody_looks_no_envelope_is_computed_and_none_is_kept(state: State) -> None:
    chunk = Chunk("imu", np.ones((25, 6), np.float32), np.arange(25, dtype=np.int64))
    state.viewers = 0
    state.take(Step(0, (chunk,), {}))
    assert [kind for kind, _ in state.take(decided(1))] == ["decision"]
    state.viewers = 1
    [_, (_, text)] = state.take(decided(2))
    assert json.loads(text)["sensors"]["imu"]["envelope"] == []


def test_every_metric_can_be_parsed_whatever_the_labels_and_reasons_are(clock: Clock) -> None:
    odd = 'wal"k\\ing\n走'
    state = State(replace(ABOUT, labels=(odd,)), monotonic_s=clock)
    state.take(decided(1, odd, imu=replace(LIVE, age_ms=1e9), audio=SensorState("faulty", 0.0, 9, 'a "reason"')))
    families = {family.name: family for family in text_string_to_metric_families(metrics_text(state).decode())}
    assert families["mmg_decisions"].samples[0].labels == {"label": odd}
    assert families["mmg_decisions"].samples[0].value == 1.0
    buckets = [one.value for one in families["mmg_hop_latency_seconds"].samples if one.name.endswith("_bucket")]
    assert buckets == sorted(buckets)
    assert len(buckets) == len(BOUNDS_S) + 1
    assert families["mmg_unwell"].samples[0].value == 1.0


def test_latencies_are_counted_in_the_bucket_whose_bound_they_do_not_exceed() -> None:
    totals = Totals()
    for latency_ms in (5.0, 5.1, 2000.0, None):
        totals.count("walking", latency_ms)
    assert (totals.buckets[0], totals.buckets[1], totals.buckets[-1], totals.decisions) == (1, 1, 1, 4)


def test_percentiles_are_of_the_last_minute() -> None:
    latencies = Latencies()
    assert latencies.percentiles(0.0) == {"p50": None, "p95": None}
    for second in range(100):
        latencies.add(float(second), float(second))
    assert latencies.percentiles(99.0) == {"p50": 69.0, "p95": 96.0}
    assert latencies.percentiles(500.0) == {"p50": None, "p95": None}


def test_the_processors_share_is_of_the_time_since_it_was_last_asked() -> None:
    now_s, spent_s = 0.0, 0.0
    share = CpuShare(lambda: now_s, lambda: spent_s)
    assert share.percent() == 0.0
    now_s, spent_s = 2.0, 0.1
    assert share.percent() == 5.0
    now_s = 4.0
    assert share.percent() == 0.0
    assert resident_bytes() > 1e6


@pytest.mark.parametrize("count", [1, 3, 8, 9, 25, 1000])
def test_an_envelope_holds_no_more_than_eight_pairs_and_misses_no_peak(count: int) -> None:
    samples = np.zeros((count, 6), np.float32)
    samples[-1, :3] = (2.0, 3.0, 6.0)
    envelope = Envelope("signal")
    envelope.add(Chunk("imu", samples[: count // 2], np.arange(count // 2, dtype=np.int64)))
    envelope.add(Chunk("imu", samples[count // 2 :], np.arange(count - count // 2, dtype=np.int64)))
    pairs = envelope.pairs()
    assert len(pairs) == min(count, PAIRS)
    assert max(high for _, high in pairs) == 7.0
    assert envelope.pairs() == []
