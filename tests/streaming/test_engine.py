"""What the engine promises whatever the data: the same decisions for every way of cutting and ordering its chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import times
from hypothesis import given, settings
from hypothesis import strategies as st
from mmg.bundle import Bundle
from mmg.engine import DEFAULT_GRACE_S, Engine
from mmg.types import UNKNOWN, Chunk, Decision
from unknowns import subsets_of, write_telling_starter

SECONDS = 8
HOP_NS = 500_000_000
NAMES = ("imu", "audio", "video")
SUBSETS = subsets_of(NAMES)


@pytest.fixture(scope="module", params=["starter", "starter that cannot tell the unknown from video alone"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    path = Path("starter")
    if request.param != "starter":
        fitted = [names for names in SUBSETS if names != ("video",)]
        path = write_telling_starter(tmp_path_factory.mktemp("telling") / "starter.mmg", fitted)
    with Bundle.open(path) as opened:
        yield opened


def make_sensor(name: str, seconds: float = SECONDS, start_ns: int = 0) -> Chunk:
    """One sensor's data as a single chunk, seeded by its name."""
    random = np.random.default_rng(NAMES.index(name))
    rate_hz = {"imu": 103.6, "audio": 44100.0, "video": 7.5}[name]
    count = int(seconds * rate_hz)
    times_ns = start_ns + np.round(np.arange(count) * 1e9 / rate_hz).astype(np.int64)
    samples: Any
    if name == "imu":
        times_ns[1:] += random.integers(-2_000_000, 2_000_000, count - 1)
        samples = (random.standard_normal((count, 6)) + [0, 0, 9.8, 0, 0, 0]).astype(np.float32)
    elif name == "audio":
        samples = (random.standard_normal((count, 2)) * 0.1).astype(np.float32)
    else:
        samples = random.integers(0, 255, (count, 48, 64, 3), dtype=np.uint8)
    return Chunk(name, samples, times_ns, rate_hz if name == "audio" else 0.0)


def cut(chunk: Chunk, places: Sequence[int]) -> list[Chunk]:
    """The same samples as several chunks."""
    borders = [0, *sorted(place % len(chunk.times_ns) for place in places), len(chunk.times_ns)]
    return [Chunk(chunk.modality, chunk.samples[a:b], chunk.times_ns[a:b], chunk.rate_hz) for a, b in pairwise(borders)]


def by_time(*sensors: Chunk, piece: int = 7) -> list[Chunk]:
    """All chunks in the order in which a live run would see them."""
    pieces = [
        cut(sensor, range(0, len(sensor.times_ns), max(len(sensor.times_ns) // (piece * 10), 1))) for sensor in sensors
    ]
    return sorted((c for c in chain(*pieces) if len(c.times_ns)), key=lambda c: int(c.times_ns[-1]))


def replay(engine: Engine, chunks: Sequence[Chunk]) -> list[Decision]:
    """Push and advance as the pipeline does."""
    decisions: list[Decision] = []
    for chunk in chunks:
        decisions += engine.push(chunk)
        decisions += engine.advance(int(chunk.times_ns[-1]))
    return decisions


@pytest.fixture(scope="module")
def whole(bundle: Bundle) -> list[Decision]:
    engine = Engine(bundle, NAMES)
    return [decision for name in NAMES for decision in engine.push(make_sensor(name))]


@settings(max_examples=times(10), deadline=None)
@given(
    places=st.lists(st.integers(0, 10**6), max_size=30),
    order=st.lists(st.integers(0, 2), max_size=60),
)
def test_chunks_cut_anywhere_and_interleaved_anyhow_give_identical_decisions(
    bundle: Bundle, whole: list[Decision], places: list[int], order: list[int]
) -> None:
    queues = [cut(make_sensor(name), places) for name in NAMES]
    engine, decisions = Engine(bundle, NAMES), list[Decision]()
    for index in [*order, *[i for i, queue in enumerate(queues) for _ in queue]]:
        if queues[index]:
            decisions += engine.push(queues[index].pop(0))
    assert decisions == whole
    assert len(decisions) >= SECONDS * 2 - 1


@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_each_subset_decides_at_every_hop_with_scores_that_sum_to_one(bundle: Bundle, names: tuple[str, ...]) -> None:
    decisions = replay(Engine(bundle, names), by_time(*map(make_sensor, names)))
    assert [decision.hop for decision in decisions] == list(range(len(decisions)))
    assert len(decisions) >= SECONDS * 2 - 1
    telling = {subset.modalities for subset in bundle.manifest.subsets if subset.unknown}
    for decision in decisions:
        assert decision.modalities == names
        assert sum(decision.scores.values()) == pytest.approx(1)
        assert decision.confidence == max(decision.scores.values())
        assert decision.scores[decision.label] == decision.confidence
        assert (UNKNOWN in decision.scores) == (names in telling)


@settings(max_examples=times(10), deadline=None)
@given(hops=st.integers(1, SECONDS * 2 - 2))
def test_the_future_never_changes_the_past(bundle: Bundle, whole: list[Decision], hops: int) -> None:
    engine, decisions = Engine(bundle, NAMES), list[Decision]()
    for name in NAMES:
        sensor = make_sensor(name)
        past = sensor.times_ns <= hops * HOP_NS
        future = np.random.default_rng(5).permuted(sensor.samples[~past], axis=0)
        decisions += engine.push(Chunk(name, sensor.samples[past], sensor.times_ns[past], sensor.rate_hz))
        decisions += engine.push(Chunk(name, future, sensor.times_ns[~past], sensor.rate_hz))
    # Audio's resampler looks 20 ms ahead, so the last hop before the change may know of it.
    assert decisions[: hops - 1] == whole[: hops - 1]
    assert decisions[hops + 1 :] != whole[hops + 1 :] or hops >= SECONDS * 2 - 2


@pytest.mark.parametrize("ending", NAMES)
def test_a_sensor_that_ends_midway_leaves_the_rest_deciding_within_a_hop_and_the_grace(
    bundle: Bundle, ending: str
) -> None:
    sensors = [make_sensor(name, seconds=3.1 if name == ending else SECONDS) for name in NAMES]
    engine = Engine(bundle, NAMES)
    made: list[tuple[Decision, int]] = []
    for chunk in by_time(*sensors, piece=20):
        now_ns = int(chunk.times_ns[-1])
        made += [(decision, now_ns) for decision in [*engine.push(chunk), *engine.advance(now_ns)]]
    assert [decision.hop for decision, _ in made] == list(range(len(made)))
    assert len(made) >= SECONDS * 2 - 2
    for decision, now_ns in made:
        late_s = (now_ns - (decision.hop + 1) * HOP_NS) / 1e9
        assert late_s <= DEFAULT_GRACE_S + 0.15, decision.hop
    states = [decision.sensors[ending].state for decision, _ in made]
    assert set(states[:5]) == {"live"}
    assert set(states[7:]) == {"stale"}
    assert ending not in made[-1][0].modalities
    ages = [decision.sensors[ending].age_ms for decision, _ in made[8:]]
    assert np.diff(ages) == pytest.approx(500)


@pytest.mark.parametrize(("seconds", "state"), [(1.30, "live"), (1.20, "stale")])
def test_late_by_less_than_half_a_hop_is_not_gone(bundle: Bundle, seconds: float, state: str) -> None:
    engine = Engine(bundle, ("imu", "audio"))
    engine.push(make_sensor("imu", seconds))
    engine.push(make_sensor("audio", 1.6))
    third = engine.advance(round((1.5 + DEFAULT_GRACE_S) * 1e9))[-1]
    assert (third.hop, third.modalities[-1:]) == (2, ("audio",))
    assert third.sensors["imu"].state == state


def test_a_sensor_that_comes_back_joins_without_a_restart(bundle: Bundle) -> None:
    early, late = make_sensor("audio", 2.0), make_sensor("audio", 3.0, start_ns=5_000_000_000)
    decisions = replay(Engine(bundle, ("imu", "audio")), by_time(make_sensor("imu"), early, late))
    states = {decision.hop: decision.sensors["audio"].state for decision in decisions}
    assert states[2] == "live"
    assert states[7] == "stale"
    assert {states[hop] for hop in range(11, 15)} == {"live"}


def test_a_sensor_that_never_comes_is_absent_and_costs_the_grace_once(bundle: Bundle) -> None:
    engine = Engine(bundle, ("imu", "audio"))
    delays_ns = []
    for chunk in by_time(make_sensor("imu"), piece=60):
        now_ns = int(chunk.times_ns[-1])
        for decision in [*engine.push(chunk), *engine.advance(now_ns)]:
            assert decision.sensors["audio"].state == "absent"
            assert decision.modalities == ("imu",)
            delays_ns.append(now_ns - (decision.hop + 1) * HOP_NS)
    assert delays_ns[0] >= DEFAULT_GRACE_S * 1e9
    assert max(delays_ns[1:]) < 50_000_000


def test_tokens_of_a_late_modality_are_used_once_they_are_there(bundle: Bundle) -> None:
    engine, audio = Engine(bundle, ("imu", "audio")), make_sensor("audio")
    engine.push(make_sensor("imu"))
    [first, *_] = engine.advance(round((0.5 + DEFAULT_GRACE_S) * 1e9))
    assert first.modalities == ("imu",)
    second = engine.push(audio)[0]
    assert second.modalities == ("imu", "audio")
    assert second.sensors["audio"].state == "live"


def test_a_clock_that_jumps_by_years_costs_no_more_than_one_that_does_not(bundle: Bundle) -> None:
    engine = Engine(bundle, ("imu",))
    years_ns = 10 * 365 * 86400 * 1_000_000_000
    before, after = make_sensor("imu"), make_sensor("imu", start_ns=years_ns)
    decisions = [*engine.push(before), *engine.push(after), *engine.advance(3 * years_ns)]
    assert len(decisions) in range(SECONDS * 4 - 4, SECONDS * 4 + 1)
    assert decisions[-1].t_s > 10 * 365 * 86400


def test_nothing_alive_means_no_decision(bundle: Bundle) -> None:
    assert Engine(bundle, NAMES).advance(60 * HOP_NS) == []


def test_latency_is_measured_only_with_a_clock_and_is_not_part_of_equality(bundle: Bundle) -> None:
    ticks = iter(range(0, 10**12, 1000))
    timed = Engine(bundle, ("imu",), clock=lambda: next(ticks)).push(make_sensor("imu"))
    untimed = Engine(bundle, ("imu",)).push(make_sensor("imu"))
    assert timed == untimed
    assert list(timed[0].latency_ms) == ["resample", "imu", "fusion", "post"]
    assert untimed[0].latency_ms == {}


@pytest.mark.parametrize("name", ["imu", "video"])
@pytest.mark.parametrize("hops", [1, 6, 13])
def test_signal_and_video_never_look_beyond_the_hop(bundle: Bundle, name: str, hops: int) -> None:
    sensor = make_sensor(name)
    later = sensor.times_ns > hops * HOP_NS + 20_000_000
    changed = sensor.samples.copy()
    changed[later] = np.random.default_rng(5).permuted(changed[later], axis=0)
    before = Engine(bundle, (name,)).push(sensor)
    after = Engine(bundle, (name,)).push(Chunk(name, changed, sensor.times_ns))
    assert after[:hops] == before[:hops]
    assert after[hops + 1 :] != before[hops + 1 :]


def make_messy(name: str, random: np.random.Generator) -> Chunk:
    """A sensor that starts late, has gaps, steps back, loses samples and gives some that are not finite."""
    sensor = make_sensor(name, 6.0)
    times_ns, samples = sensor.times_ns.copy(), sensor.samples.copy()
    count = len(times_ns)
    if random.random() < 0.5:
        times_ns += int(random.random() * 2e9)
    for size_ns in random.choice([20e6, 40e6, 60e6, 200e6, 300e6, 800e6, 3e9, -20e6, -100e6, -1e9], 3):
        times_ns[random.integers(1, count) :] += int(size_ns)
    if name != "video":
        begin = random.integers(0, count)
        samples[begin : begin + count // 15] = np.nan
    kept = np.ones(count, np.bool_)
    begin = random.integers(0, count)
    kept[begin : begin + count // 20] = False
    return Chunk(name, samples[kept], times_ns[kept], sensor.rate_hz)


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(times(10)))
def test_damaged_data_cut_and_interleaved_in_any_way_gives_identical_decisions(bundle: Bundle, seed: int) -> None:
    random = np.random.default_rng(seed)
    sensors = [make_messy(name, random) for name in NAMES]
    engine = Engine(bundle, NAMES)
    expected = [decision for sensor in sensors for decision in engine.push(sensor)]
    queues = [cut(sensor, random.integers(1, len(sensor.times_ns), 20).tolist()) for sensor in sensors]
    engine, decisions = Engine(bundle, NAMES), []
    while any(queues):
        queue = queues[random.integers(0, 3)]
        if queue:
            decisions += engine.push(queue.pop(0))
    assert decisions == expected


def test_tokens_from_before_a_fault_do_not_count(bundle: Bundle) -> None:
    sound = make_sensor("audio")
    muted = sound.samples.copy()
    muted[sound.times_ns > 3_000_000_000] = 0
    chunks = by_time(make_sensor("imu"), Chunk("audio", muted, sound.times_ns, sound.rate_hz))
    faulty = [one for one in replay(Engine(bundle, ("imu", "audio")), chunks) if one.sensors["audio"].state == "faulty"]
    assert len(faulty) >= 3
    assert all(one.modalities == ("imu",) for one in faulty)


def test_an_engine_that_runs_for_long_remembers_no_more_than_its_context(bundle: Bundle) -> None:
    engine = Engine(bundle, ("imu",))
    for minute in range(3):
        engine.push(make_sensor("imu", 60.0, start_ns=minute * 60_000_000_000))
    [track] = engine._tracks.values()
    assert len(track._records) <= bundle.manifest.context_hops + 2
