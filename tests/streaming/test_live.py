"""The live pipeline on scripted ports and a scripted clock: on time, whatever comes and goes, and never in the dark."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from fakes import HOP_S, audio_chunk, audio_modality, cut, imu_chunk, signal_modality, write_tiny_bundle
from fuzzing import times
from mmg.bundle import Bundle
from mmg.engine import Engine
from mmg.errors import ConfigError, NoSensorError, RequiredSensorLost
from mmg.runs.deciding import PATIENCE_S, REPORT_AGAIN_S, TRYING_PATIENCE_S
from mmg.runs.inbox import Inbox
from mmg.runs.live import LONGEST_WAIT_S, LivePipeline, open_ports
from mmg.runs.settings import Settings
from mmg.sources.ports.port import PortStatus
from mmg.types import Chunk, Decision
from scripted import CHUNK_NS, CONNECTED, MAKE, TICK_NS, USUAL_DELAY_NS, World

HOP_NS = round(HOP_S * 1e9)
GRACE_S = 0.2
Open = Callable[..., tuple[World, LivePipeline, list[str]]]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    path = write_tiny_bundle(tmp_path_factory.mktemp("live") / "tiny", signal_modality(state_hops=4), audio_modality())
    with Bundle.open(path) as opened:
        yield opened


@pytest.fixture
def open_world(bundle: Bundle) -> Iterator[Open]:
    opened: list[LivePipeline] = []

    def make(
        *names: str, seed: int = 0, required: tuple[str, ...] = (), grace_s: float = GRACE_S
    ) -> tuple[World, LivePipeline, list[str]]:
        world, notes = World(names or ("imu", "audio"), seed), list[str]()
        settings = Settings(grace_s=grace_s, required=required)
        pipeline = LivePipeline(bundle, world.ports, settings, report=notes.append, monotonic_ns=lambda: world.now_ns)
        opened.append(pipeline)
        pipeline.start()
        return world, pipeline, notes

    yield make
    for pipeline in opened:
        pipeline.close()


def test_a_live_run_decides_what_the_engine_decides_from_the_same_samples(bundle: Bundle, open_world: Open) -> None:
    world, pipeline, _ = open_world()
    live = list(world.run(pipeline, 6.0))
    engine = Engine(bundle, ["imu", "audio"])
    offline = [*engine.push(imu_chunk(0, 6)), *engine.push(audio_chunk(0, 6))]
    assert len(live) >= 10
    for one, other in zip(live, offline, strict=False):
        assert (one.t_s, one.label, one.modalities) == (other.t_s, other.label, other.modalities)
        assert one.scores == pytest.approx(other.scores, abs=1e-6)


def test_every_decision_comes_soon_after_its_hop_and_says_how_soon(open_world: Open) -> None:
    world, pipeline, _ = open_world()
    for decision in world.run(pipeline, 5.0):
        late_ms = world.now_ns / 1e6 - decision.t_s * 1e3
        assert 0 < late_ms <= 60
        assert decision.latency_ms["event_to_decision"] == pytest.approx(late_ms)


def test_an_unplugged_sensor_leaves_within_the_grace_and_comes_back_by_itself(open_world: Open) -> None:
    world, pipeline, notes = open_world()
    for port in world.ports:
        port.status = CONNECTED
    assert list(world.run(pipeline, 3.0))[-1].modalities == ("imu", "audio")
    world.sensors["imu"].talking = False
    world.sensors["imu"].port.status = PortStatus(reason="unplugged", device="scripted")
    without = list(world.run(pipeline, 4.0))
    times_s = [decision.t_s for decision in without]
    assert np.allclose(np.diff(times_s), HOP_S), "no hop is left out"
    assert [decision.sensors["imu"].state for decision in without][-5:] == ["stale"] * 5
    assert without[-1].sensors["imu"].reason == "unplugged"
    assert without[-1].sensors["imu"].clock is None
    assert without[-1].sensors["imu"].age_ms > 2000
    world.sensors["imu"].talking = True
    world.sensors["imu"].port.status = CONNECTED
    again = list(world.run(pipeline, 2.0))
    assert again[-1].sensors["imu"].state == "live"
    assert again[-1].sensors["imu"].reason == ""
    assert notes == [
        "imu: connected: scripted",
        "audio: connected: scripted",
        "imu: unplugged",
        "imu: connected: scripted",
    ]


def test_a_dead_sensor_delays_one_decision_by_the_grace_and_no_other(open_world: Open) -> None:
    world, pipeline, _ = open_world()
    list(world.run(pipeline, 3.1))
    world.sensors["audio"].talking = False
    late_ms = [decision.latency_ms["event_to_decision"] for decision in world.run(pipeline, 4.0)]
    assert sum(late > 60 for late in late_ms) == 1
    assert max(late_ms) <= GRACE_S * 1e3 + TICK_NS / 1e6


def test_encoders_load_when_their_sensor_first_appears(open_world: Open) -> None:
    world, pipeline, _ = open_world()
    world.sensors["audio"].talking = False
    list(world.run(pipeline, 2.0))
    assert "audio" not in pipeline.engine.loaded
    world.sensors["audio"].talking = True
    assert list(world.run(pipeline, 2.0))[-1].modalities == ("imu", "audio")
    assert pipeline.engine.loaded == ("imu", "audio")


def test_with_both_gone_nothing_is_made_up_and_decisions_resume_with_the_data(open_world: Open) -> None:
    world, pipeline, _ = open_world()
    list(world.run(pipeline, 2.0))
    for sensor in world.sensors.values():
        sensor.talking = False
    assert [decision.t_s for decision in world.run(pipeline, 30.0)] in ([], [2.0])
    back_s = world.now_ns / 1e9
    for sensor in world.sensors.values():
        sensor.talking = True
    resumed = list(world.run(pipeline, 3.0))
    assert resumed[0].t_s - back_s <= 2 * HOP_S
    assert np.allclose(np.diff([decision.t_s for decision in resumed]), HOP_S)


def test_a_required_sensor_that_goes_ends_the_run(open_world: Open) -> None:
    world, pipeline, _ = open_world(required=("imu",))
    list(world.run(pipeline, 2.0))
    world.sensors["imu"].talking = False
    world.sensors["imu"].port.status = PortStatus(reason="unplugged")
    gone_ns = world.now_ns
    with pytest.raises(RequiredSensorLost, match="imu: unplugged") as caught:
        list(world.run(pipeline, 3.0))
    assert caught.value.exit_code == 3
    assert world.now_ns - gone_ns <= HOP_NS + GRACE_S * 1e9 + 2 * TICK_NS


def test_a_required_sensor_has_some_seconds_to_appear(open_world: Open) -> None:
    world, pipeline, _ = open_world(required=("imu",))
    world.sensors["imu"].talking = False
    list(world.run(pipeline, PATIENCE_S))
    with pytest.raises(RequiredSensorLost, match="looking for the device"):
        list(world.run(pipeline, 0.1))


def test_a_required_sensor_that_is_plugged_in_has_time_to_be_understood(open_world: Open) -> None:
    world, pipeline, _ = open_world(required=("imu",))
    world.sensors["imu"].talking = False
    world.sensors["imu"].port.status = PortStatus(connected=True, reason="bytes, but no valid frames")
    list(world.run(pipeline, TRYING_PATIENCE_S))
    with pytest.raises(RequiredSensorLost, match="no valid frames"):
        list(world.run(pipeline, 0.1))


def test_a_pause_of_the_process_is_not_held_against_a_required_sensor(open_world: Open) -> None:
    world, pipeline, _ = open_world(required=("imu", "audio"))
    list(world.run(pipeline, 3.0))
    world.now_ns += 4 * 10**9
    assert [d for d in world.run(pipeline, 3.0) if d.sensors["imu"].state == "live"]


def test_an_engine_that_was_slow_decides_every_hop_with_all_that_had_come(
    open_world: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, pipeline, _ = open_world(required=("imu",))
    push, pushed = pipeline.engine.push, []

    def slow_push(chunk: Chunk) -> list[Decision]:
        pushed.append(chunk)
        if len(pushed) in (1, 200):  # as an encoder that is loaded, and a machine that stalls
            world.elapse(0.8)
        return push(chunk)

    monkeypatch.setattr(pipeline.engine, "push", slow_push)
    made = list(world.run(pipeline, 20.0))
    assert np.allclose(np.diff([decision.t_s for decision in made]), HOP_S)
    assert {state.state for decision in made[1:] for state in decision.sensors.values()} == {"live"}


def test_a_backlog_after_an_outage_is_decided_with_the_sensor_that_is_back(open_world: Open) -> None:
    world, pipeline, _ = open_world()
    list(world.run(pipeline, 3.0))
    world.sensors["audio"].talking = False
    list(world.run(pipeline, 2.0))
    world.sensors["audio"].talking = True
    world.elapse(3.0)
    states = [decision.sensors["audio"].state for decision in pipeline.step()]
    assert len(states) >= 5
    assert set(states[1:]) == {"live"}


def test_samples_from_the_future_are_refused_counted_and_told_and_hold_up_nobody(open_world: Open) -> None:
    world, pipeline, notes = open_world()
    for port in world.ports:
        port.status = CONNECTED
    list(world.run(pipeline, 3.0))
    world.sensors["audio"].talking = False
    list(world.run(pipeline, 2.0))
    for ahead_s in (3600.0, 3e9):
        world.sensors["imu"].port.deliver(imu_chunk(world.now_ns / 1e9 + ahead_s, 0.04))
    world.sensors["audio"].talking = True
    made = list(world.run(pipeline, 6.0))
    assert np.allclose(np.diff([decision.t_s for decision in made]), HOP_S)
    assert {state.state for state in made[-1].sensors.values()} == {"live"}
    assert made[-1].sensors["imu"].dropped == 4
    assert [note for note in notes if "ahead of the clock" in note]


def test_samples_that_come_later_than_the_grace_are_told_with_the_grace_that_waits_for_them(open_world: Open) -> None:
    world, pipeline, notes = open_world("imu")
    world.sensors["imu"].port.status = CONNECTED
    world.sensors["imu"].late_ns = 450_000_000
    late = list(world.run(pipeline, 10.0))
    [line] = [note for note in notes if "--grace" in note]
    assert line.startswith("imu: its samples arrive up to 0.")
    assert line.endswith("as they do in batches: --grace 0.6 waits for them")
    world, pipeline, notes = open_world("imu", grace_s=0.6)
    world.sensors["imu"].late_ns = 450_000_000
    in_time = list(world.run(pipeline, 10.0))
    assert len(in_time) >= 17 > len(late)
    assert not [note for note in notes if "--grace" in note]


def test_what_is_odd_about_a_sensor_that_delivers_is_told_and_shown_beside_it(open_world: Open) -> None:
    world, pipeline, notes = open_world("imu")
    world.sensors["imu"].port.status = replace(CONNECTED, note="its clock was set back by 0.3 s: bridged")
    decision = list(world.run(pipeline, 3.0))[-1]
    assert (decision.sensors["imu"].state, decision.sensors["imu"].reason) == ("live", "")
    assert decision.sensors["imu"].note == "its clock was set back by 0.3 s: bridged"
    told = ["imu: connected: scripted", "imu: its clock was set back by 0.3 s: bridged"]
    assert notes == told
    world.sensors["imu"].port.status = PortStatus(reason="unplugged", note="its clock was set back by 0.3 s: bridged")
    world.sensors["imu"].talking = False
    list(world.run(pipeline, 3.0))
    assert notes == [*told, "imu: unplugged"]


def test_samples_that_come_an_hour_late_are_told(open_world: Open) -> None:
    world, pipeline, notes = open_world()
    for port in world.ports:
        port.status = CONNECTED
    list(world.run(pipeline, 3.0))
    deliver = world.sensors["imu"].port.deliver

    def deliver_late(chunk: Chunk) -> None:
        deliver(replace(chunk, times_ns=chunk.times_ns - 3600 * 10**9))

    world.sensors["imu"].port.deliver = deliver_late  # type: ignore[method-assign]
    made = list(world.run(pipeline, 6.0))
    assert made[-1].modalities == ("audio",)
    assert made[-1].sensors["imu"].reason == "its samples arrive 3600 s late"
    assert "imu: its samples arrive 3600 s late" in notes


def test_a_sensor_that_is_bad_in_changing_ways_does_not_fill_the_log(open_world: Open) -> None:
    world, pipeline, notes = open_world("imu")
    world.sensors["imu"].port.status = CONNECTED
    random = np.random.default_rng(5)
    for _ in range(120):
        world.sensors["imu"].lost_part = random.uniform(0.0, 0.9)
        list(world.run(pipeline, 0.5))
    assert any("samples are lost" in note for note in notes)
    assert len(notes) < 60 / REPORT_AGAIN_S * 3


def test_what_was_decided_before_a_required_sensor_went_is_handed_out(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(("imu", "audio"))
    settings = Settings(grace_s=GRACE_S, required=("imu",))
    pipeline = LivePipeline(bundle, world.ports, settings, monotonic_ns=lambda: world.now_ns)

    def wait(*_: object) -> None:
        world.elapse(0.6)
        world.sensors["imu"].talking = world.now_ns < 4 * 10**9

    monkeypatch.setattr(pipeline._listening, "wait", wait)
    made: list[Decision] = []
    with pytest.raises(RequiredSensorLost):
        deque(map(made.append, pipeline))
    assert len(made) == pipeline.engine.decided > 5
    pipeline.close()


def test_starting_twice_starts_each_port_once(open_world: Open) -> None:
    world, pipeline, _ = open_world()
    pipeline.start()
    assert [port.started for port in world.ports] == [1, 1]


def test_a_run_with_a_duration_in_which_nothing_ever_came_is_an_error(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, waits = World(("imu",)), list[float]()

    pipeline = LivePipeline(bundle, world.ports, Settings(duration_s=1.0), monotonic_ns=lambda: world.now_ns)

    def wait(_awaited: dict[str, int], timeout_s: float, _enough: object) -> None:
        waits.append(timeout_s)
        world.now_ns += round(timeout_s * 1e9)

    monkeypatch.setattr(pipeline._listening, "wait", wait)
    with pytest.raises(NoSensorError, match="imu: looking for the device"):
        list(pipeline)
    assert max(waits) <= LONGEST_WAIT_S


def test_a_fault_is_told_though_no_decision_is_made(open_world: Open) -> None:
    world, pipeline, notes = open_world("imu")
    world.sensors["imu"].port.status = CONNECTED
    deliver = world.sensors["imu"].port.deliver
    world.sensors["imu"].port.deliver = lambda chunk: deliver(  # type: ignore[method-assign]
        replace(chunk, samples=np.ones_like(chunk.samples))
    )
    assert len(list(world.run(pipeline, 4.0))) <= 1
    assert notes == ["imu: connected: scripted", "imu: faulty: flat line"]


def test_what_a_port_notes_is_told_once_whatever_else_is_told(open_world: Open) -> None:
    world, pipeline, told = open_world()
    sensor = world.sensors["audio"]
    for note, reason in (("quiet: -71 dBFS", ""), ("quiet: -71 dBFS", "stalled"), ("quiet: -73 dBFS", "")):
        sensor.port.status = replace(CONNECTED, note=note, reason=reason)
        list(world.run(pipeline, 1.0))
    assert [line for line in told if "quiet" in line] == ["audio: quiet: -71 dBFS"]


def test_what_a_port_delivers_when_it_is_closed_is_recorded(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    world, recorded = World(("imu",)), list[Chunk]()
    pipeline = LivePipeline(
        bundle,
        world.ports,
        Settings(),
        record=lambda step: recorded.extend(step.chunks),
        monotonic_ns=lambda: world.now_ns,
    )
    pipeline.start()
    held = imu_chunk(0, 0.2)
    monkeypatch.setattr(world.ports[0], "close", lambda: world.ports[0].deliver(held))
    pipeline.close()
    assert [chunk.times_ns.tolist() for chunk in recorded] == [held.times_ns.tolist()]


def test_closing_closes_every_port_once_and_tells_what_was_lost(open_world: Open) -> None:
    world, pipeline, notes = open_world("imu")
    list(world.run(pipeline, 1.0))
    world.sensors["imu"].port.status = replace(CONNECTED, losses=(("checksum_errors", 3), ("gaps", 0)))
    pipeline.close()
    pipeline.close()
    assert [port.closed for port in world.ports] == [1]
    assert "imu: 3 checksum errors" in notes


def test_a_port_with_a_missing_library_is_left_out_and_the_rest_goes_on(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    notes: list[str] = []
    urls = {"imu": "iio://lsm6dsox", "audio": "mic://default"}
    [port] = open_ports(bundle.manifest, urls, Settings(), notes.append)
    assert port.modality == "imu"
    assert len(notes) == 1
    assert "pip install soundfile" in notes[0]


def test_an_option_that_cannot_be_is_refused_before_anything_starts(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="colour"):
        open_ports(bundle.manifest, {"imu": "serial:///dev/ttyUSB0?colour=red"}, Settings(), lambda _: None)


def test_a_full_inbox_drops_the_oldest_and_counts_it() -> None:
    inbox = Inbox(("imu",), seconds=2.0)
    for second in range(5):
        inbox.put(imu_chunk(second, 0.1))
    [kept] = inbox.take()
    assert set(kept.times_ns // 10**9) == {3, 4}
    assert kept.dropped == 3 * 5
    assert inbox.take() == []


def test_an_inbox_gives_the_same_samples_in_few_chunks_and_keeps_losses_in_their_place() -> None:
    inbox, parts = Inbox(("imu",)), list(cut(imu_chunk(0, 1), range(50)))
    for number, part in enumerate(parts):
        inbox.put(replace(part, dropped=7 if number == 20 else 0))
    first, second = inbox.take()
    assert (len(first.times_ns), first.dropped) == (20, 0)
    assert (len(second.times_ns), second.dropped) == (30, 7)
    assert np.array_equal(np.concatenate([first.samples, second.samples]), imu_chunk(0, 1).samples)


def woken_by(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """By which chunks the engine's thread is woken: modality and beginning, of 0.2 s each, sound 10 ms behind."""
    put, woken = list[tuple[str, float]](), list[tuple[str, float]]()
    monkeypatch.setattr(inbox._changed, "notify", lambda: woken.append(put[-1]))
    for begin_s in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        for name, make in MAKE.items():
            put.append((name, begin_s))
            inbox.put(make(begin_s - 0.01 * (name == "audio"), 0.2))
    return woken


@pytest.mark.parametrize(
    ("awaited", "enough", "woken"),
    [
        (["imu", "audio"], all, [("audio", 1.0)]),
        (["imu"], all, [("imu", 1.0), ("audio", 1.0)]),
        (["audio"], all, [("audio", 1.0)]),
        (["imu", "audio"], any, [("imu", 1.0), ("audio", 1.0)]),
    ],
)
def test_the_engine_is_woken_when_all_that_it_waits_for_has_reached_the_hops_end(
    monkeypatch: pytest.MonkeyPatch,
    awaited: list[str],
    enough: Callable[[Iterable[bool]], bool],
    woken: list[tuple[str, float]],
) -> None:
    inbox = Inbox(("imu", "audio"))
    inbox.wait(dict.fromkeys(awaited, 10**9), 0.0, enough)
    assert woken_by(inbox, monkeypatch) == woken


def test_a_port_that_is_lost_ends_the_wait() -> None:
    inbox = Inbox(("imu",))
    inbox.wake()
    inbox.wait({"imu": 10**9}, 3600.0)
    inbox.take()
    assert not inbox._is_due()


def test_what_was_taken_wakes_nobody_again(monkeypatch: pytest.MonkeyPatch) -> None:
    inbox = Inbox(("imu", "audio"))
    inbox.put(imu_chunk(0, 1.2))
    inbox.take()
    inbox.wait({"imu": 10**9}, 0.0)
    assert woken_by(inbox, monkeypatch), "it does not forget how far a modality has come"
    inbox.take()
    assert not inbox._is_due()


# --- whatever happens to sensors -------------------------------------------------------------------------------------

EVENTS = times(200)
KINDS = ("unplug", "stall", "late", "corrupt", "future", "pause", "recover")


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(2))
def test_through_random_events_every_hop_that_a_sensor_lived_through_is_decided_in_time(
    open_world: Open, seed: int
) -> None:
    world, pipeline, _ = open_world(seed=seed)
    random = np.random.default_rng(seed)
    made: dict[int, int] = {}
    unseen: set[int] = set()
    sizes: list[int] = []
    for number in range(EVENTS):
        begin = world.now_ns // HOP_NS
        happen(world, str(random.choice(list(world.sensors))), str(random.choice(KINDS)), random)
        unseen |= set(range(begin - 1, world.now_ns // HOP_NS + 1)) if world.now_ns // HOP_NS > begin else set()
        for decision in world.run(pipeline, random.uniform(0.04, 3)):
            made[decision.hop] = world.now_ns
            check_honest(decision)
        if number in (EVENTS // 2, EVENTS - 1):
            gc.collect()
            sizes.append(len(gc.get_objects()))
    lived = [hop for hop in range(3, world.now_ns // HOP_NS - 1) if any(lived_through(world, hop))]
    assert len(lived) > EVENTS / 2, "the test has something to look at"
    assert [hop for hop in lived if hop not in made] == []
    assert max(made[hop] - (hop + 1) * HOP_NS for hop in lived if hop not in unseen) <= GRACE_S * 1e9 + TICK_NS
    assert sizes[1] - sizes[0] < 3 * EVENTS, "nothing piles up"


def lived_through(world: World, hop: int) -> Iterator[bool]:
    """Of each sensor, whether it was well in this hop and, as a fault is lifted by two good hops, in two before it."""
    begin_ns, end_ns = (hop - 2) * HOP_NS, (hop + 1) * HOP_NS + 2 * CHUNK_NS
    for unwell in world.unwell.values():
        yield not any(begin_ns - CHUNK_NS < ended_ns <= end_ns for ended_ns in unwell)


def happen(world: World, name: str, kind: str, random: np.random.Generator) -> None:
    sensor = world.sensors[name]
    sensor.talking, sensor.late_ns, sensor.lost_part, sensor.port.status = True, USUAL_DELAY_NS, 0.0, CONNECTED
    if kind in ("unplug", "stall"):
        sensor.talking = False
        sensor.port.status = replace(CONNECTED, connected=kind == "stall", reason=kind)
    elif kind == "late":
        sensor.late_ns = int(random.uniform(0, 0.6) * 1e9)
    elif kind == "future":
        sensor.port.deliver(MAKE[name](world.now_ns / 1e9 + 10 ** random.uniform(0.5, 9), 0.04))
    elif kind == "pause":
        world.elapse(random.uniform(0.1, 4.0))
    elif kind == "corrupt":
        sensor.lost_part = random.uniform(0.05, 0.9)


def check_honest(decision: Decision) -> None:
    assert sum(decision.scores.values()) == pytest.approx(1)
    assert decision.modalities
    assert any(state.state == "live" for state in decision.sensors.values())
