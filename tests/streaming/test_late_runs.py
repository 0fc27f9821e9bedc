"""Live runs under load: fewer sensors decide as soon as decisions are late, and all of them again once they are not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
from fakes import HOP_S, audio_modality, signal_modality, tiny_files, tiny_manifest
from mmg.bundle import Bundle, write_bundle
from mmg.bundle.manifest import Subset
from mmg.engine.encoder import Encoder
from mmg.errors import RequiredSensorLost
from mmg.recording.reader import open_recording
from mmg.recording.recorder import Recorder
from mmg.recording.sensors import sensor_of
from mmg.runs.live import LivePipeline
from mmg.runs.replay import Replay, as_recorded
from mmg.runs.settings import Settings
from mmg.runs.step import Step
from mmg.sinks.jsonl import line_of
from mmg.types import Decision
from mmg_device_profiles.gate import GatePolicy, Wake
from scripted import CONNECTED, TICK_NS, DevicePort, World

NAMES = ("imu", "audio")
S = 10**9
DEADLINE_S = 0.7


def write(folder: Path, imu: float, audio: float) -> Path:
    """A bundle with these accuracies of the IMU alone and of the microphone alone."""
    manifest = tiny_manifest(signal_modality(state_hops=4), audio_modality())
    subsets = [(("imu",), imu), (("audio",), audio), (NAMES, 0.9)]
    stated = tuple(Subset(modalities=names, temperature=1.0, accuracy=one) for names, one in subsets)
    manifest = msgspec.structs.replace(manifest, subsets=stated)
    write_bundle(folder / "tiny", manifest, tiny_files(manifest))
    return folder / "tiny"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    with Bundle.open(write(tmp_path_factory.mktemp("late"), 0.8, 0.7)) as opened:
        yield opened


class Loaded:
    """A live run on a scripted clock, in which each hop of the microphone takes ``load_ns`` to encode."""

    def __init__(
        self,
        bundle: Bundle,
        deadline_s: float | None = DEADLINE_S,
        gate: GatePolicy | None = None,
        *,
        required: tuple[str, ...] = (),
        record: Callable[[Step], None] = lambda _: None,
        start_ns: int = 0,
    ) -> None:
        self.world, self.notes, self.load_ns, self.held_down = World(NAMES), list[str](), 0, ""
        self.world.now_ns = start_ns
        self.pipeline = LivePipeline(
            bundle,
            self.make_ports(),
            Settings(deadline_s=deadline_s, gate=gate, required=required),
            report=self.notes.append,
            record=record,
            held_down=lambda: self.held_down,
            monotonic_ns=lambda: self.world.now_ns,
        )
        self.pipeline.engine.at_work = self.at_work
        self._hops = 0
        self.pipeline.start()

    def make_ports(self) -> list[DevicePort]:
        ports = []
        for name in NAMES:
            port = self.world.sensors[name].port = DevicePort(name)
            port.status = CONNECTED
            ports.append(port)
        return ports

    def slowly(self, load: Callable[[], Encoder]) -> Callable[[], Encoder]:
        """It takes a second."""

        def take_a_second() -> Encoder:
            self.world.elapse(1.0)
            return load()

        return take_a_second

    def at_work(self, place: str) -> None:
        """Where a hop was encoded time passes, in which the sensors go on."""
        records = self.pipeline.engine._tracks["audio"]._records.values()
        hops = sum(record.tokens is not None for record in records)
        if place.startswith("audio"):
            self._hops = hops
        elif not place and hops > self._hops:
            self._hops = hops
            for _ in range(self.load_ns // TICK_NS):
                self.world.tick()

    def run(self, seconds: float) -> list[Decision]:
        return list(self.world.run(self.pipeline, seconds))


def late(decisions: list[Decision]) -> list[bool]:
    return [decision.latency_ms["event_to_decision"] > DEADLINE_S * 1e3 for decision in decisions]


def test_under_twice_the_load_fewer_decide_within_two_hops_and_all_again_within_ten(bundle: Bundle) -> None:
    run = Loaded(bundle)
    before = run.run(5.0)
    assert before[-1].modalities == NAMES
    run.load_ns = S
    loaded = run.run(30.0)
    assert "audio" in (loaded[1].gate.asleep if loaded[1].gate else ())
    run.load_ns = 0
    after = run.run(8.0)
    back = next(place for place, decision in enumerate(after) if decision.sensors["audio"].state == "live")
    assert back <= 10
    made = before + loaded + after
    assert np.allclose(np.diff([decision.t_s for decision in made]), HOP_S), "no gap"
    are_late = late(made)
    assert any(are_late)
    assert not any(one and other for one, other in pairwise(are_late)), "never twice in a row"
    assert after[-1].modalities == NAMES
    said = [note for note in run.notes if "behind" in note or "in time" in note]
    assert said[0].startswith("decisions were ")
    assert said[0].endswith("audio sleeps until they are in time")
    assert said[-1] == "decisions are in time: every sensor may be awake again"


def test_the_time_that_an_encoder_takes_to_load_is_no_load(bundle: Bundle) -> None:
    run = Loaded(bundle)
    microphone, track = run.world.sensors["audio"], run.pipeline.engine._tracks["audio"]
    microphone.talking, track._load = False, run.slowly(track._load)
    run.run(5.0)
    microphone.talking = True
    made = run.run(10.0)
    assert made[-1].modalities == NAMES
    assert all(decision.gate is not None and not decision.gate.asleep for decision in made)
    assert not [note for note in run.notes if "behind" in note]


def test_each_decision_says_why_a_sensor_sleeps(bundle: Bundle) -> None:
    run = Loaded(bundle)
    run.run(5.0)
    run.load_ns = S
    asleep = [decision for decision in run.run(5.0) if decision.gate and decision.gate.asleep]
    assert asleep
    for decision in asleep:
        assert decision.gate is not None
        assert decision.sensors["audio"].state == "asleep" or "audio" in decision.modalities
        assert "behind" in decision.gate.why["audio"]


def test_a_deadline_that_the_grace_does_not_let_be_kept_is_told(bundle: Bundle) -> None:
    notes = Loaded(bundle, deadline_s=0.3).notes
    assert notes == ["deadline: 300 ms counts as 700 ms: hops wait 200 ms for a late sensor"]
    assert not Loaded(bundle).notes


def test_a_bundle_that_does_not_say_which_sensors_it_can_do_without_is_told(tmp_path: Path, bundle: Bundle) -> None:
    manifest = msgspec.structs.replace(bundle.manifest, subsets=())
    write_bundle(tmp_path / "tiny", manifest, tiny_files(manifest))
    with Bundle.open(tmp_path / "tiny") as untold:
        why = "this bundle tells no accuracy with fewer sensors"
        assert Loaded(untold).notes == [f"deadline: no cheaper subset is known: {why}"]


def test_without_a_deadline_decisions_are_late_and_complete(bundle: Bundle) -> None:
    run = Loaded(bundle, deadline_s=None)
    run.run(5.0)
    run.load_ns = S
    loaded = run.run(10.0)
    assert sum(late(loaded)) > 2
    assert all(decision.gate is None for decision in loaded)


def test_in_time_nothing_sleeps_whoever_is_late_within_the_grace(bundle: Bundle) -> None:
    run = Loaded(bundle)
    run.world.sensors["audio"].late_ns = 180_000_000
    made = run.run(10.0)
    assert all(decision.gate is not None and not decision.gate.asleep for decision in made)


def test_a_slowed_processor_does_without_until_it_is_not(bundle: Bundle) -> None:
    run = Loaded(bundle)
    run.run(5.0)
    run.held_down = "soft temperature limit"
    held = run.run(5.0)
    assert held[-1].modalities == ("imu",)
    assert held[-1].gate is not None
    assert held[-1].gate.why == {"audio": "the processor is slowed: soft temperature limit"}
    run.held_down = ""
    assert run.run(5.0)[-1].modalities == NAMES


def test_where_the_sensors_themselves_are_late_nothing_sleeps(bundle: Bundle) -> None:
    run = Loaded(bundle)
    run.run(5.0)
    for sensor in run.world.sensors.values():
        sensor.talking = False
    run.world.elapse(1.2)
    for sensor in run.world.sensors.values():
        sensor.talking = True
    made = run.run(3.0)
    assert made[-1].modalities == NAMES
    assert all(decision.gate is not None and not decision.gate.asleep for decision in made)


def test_a_recording_of_it_gives_up_the_same_again(bundle: Bundle, tmp_path: Path) -> None:
    path, start_ns = tmp_path / "day.mcap", 10**12
    sensors = [sensor_of(bundle.manifest.modality(name), f"scripted://{name}") for name in NAMES]
    metadata = {"deadline_s": json.dumps(DEADLINE_S)}
    recorder = Recorder(
        path, sensors, origin_ns=start_ns, metadata=metadata, monotonic_ns=lambda: start_ns, sync_s=0.001
    )
    run = Loaded(bundle, record=recorder.step, start_ns=start_ns)
    live = run.run(5.0)
    run.load_ns = S
    live += run.run(8.0)
    run.load_ns, run.held_down = 0, "throttled"
    live += run.run(6.0)
    recorder.close()
    recording = open_recording(path)
    settings = as_recorded(recording, bundle, Settings(), print, NAMES, grace=None, precision=None, unknown=None)
    assert settings.deadline_s == DEADLINE_S
    again = list(Replay(bundle, recording, NAMES, settings))
    assert [told(one) for one in again] == [told(one) for one in live]
    assert {one.gate.why.get("audio", "")[:9] for one in live if one.gate} == {"", "decisions", "the proce"}


def told(decision: Decision) -> dict[str, object]:
    return {key: value for key, value in json.loads(line_of(decision)).items() if key != "latency_ms"}


@pytest.mark.parametrize("held_down", ["", "throttled"])
def test_where_the_few_that_are_left_are_lost_the_others_decide(bundle: Bundle, held_down: str) -> None:
    run = Loaded(bundle)
    run.run(5.0)
    run.held_down, run.load_ns = held_down, 0 if held_down else S
    assert run.run(5.0)[-1].sensors["audio"].state == "asleep"
    run.world.sensors["imu"].talking, run.load_ns = False, 0
    made = run.run(60.0)
    assert made[-1].modalities == ("audio",)
    assert len(made) >= 115


@pytest.mark.parametrize("gate", [None, GatePolicy(watch=("imu",), wake={"audio": Wake(motion=50.0, look_s=0.0)})])
def test_a_sensor_that_is_lost_when_heat_begins_comes_back(bundle: Bundle, gate: GatePolicy | None) -> None:
    run = Loaded(bundle, gate=gate)
    run.run(5.0)
    imu = run.world.sensors["imu"]
    imu.talking = False
    run.run(8.0)
    run.held_down = "throttled"
    made = run.run(5.0)
    assert made[-1].modalities == ("audio",)
    assert made[-1].gate is not None
    assert "imu" in made[-1].gate.awake
    imu.talking = True
    assert run.run(10.0)[-1].modalities == ("imu",)


def test_a_load_that_stays_is_tried_ever_less_often_and_told_once_a_minute(bundle: Bundle) -> None:
    run = Loaded(bundle)
    run.run(5.0)
    run.load_ns = S
    made = run.run(120.0)
    microphone = run.world.sensors["audio"].port
    tries = microphone.started - 1
    assert 2 <= tries <= 30
    assert sum(late(made)) <= tries + 1
    said = [note for note in run.notes if "behind" in note or "in time" in note]
    assert 1 <= len(said) <= 3
    later = microphone.started
    run.run(120.0)
    assert microphone.started - later <= tries // 2


def test_a_gate_lets_a_sensor_sleep_again_that_takes_longer_than_a_hop(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    wake = Wake(motion=0.5, hold_s=1.0, look_s=0.0)
    run = Loaded(bundle, None, GatePolicy(watch=("imu",), wake={"audio": wake}))
    moves = True
    monkeypatch.setattr(run.pipeline.engine, "motion_at", lambda _: float(moves))
    run.load_ns = S
    assert run.run(5.0)[-1].modalities == NAMES
    moves = False
    made = run.run(10.0)
    assert made[-1].sensors["audio"].state == "asleep"
    assert not any(late(made[-5:]))
    assert run.pipeline._decider.gating
    assert run.pipeline._decider.gating.share_awake()["audio"] > 0.25


def test_a_required_sensor_that_is_lost_ends_a_run_that_is_late_all_the_time(bundle: Bundle) -> None:
    run = Loaded(bundle, None, required=("imu",))
    run.load_ns = S
    run.run(5.0)
    run.world.sensors["imu"].talking = False
    with pytest.raises(RequiredSensorLost, match="imu"):
        run.run(10.0)


def test_relief_leaves_one_awake_that_watches(tmp_path: Path) -> None:
    policy = GatePolicy(watch=("imu",), wake={"audio": Wake(confidence=1.0, look_s=0.0)})
    with Bundle.open(write(tmp_path, 0.7, 0.8)) as bundle:
        run = Loaded(bundle, gate=policy)
        made = run.run(10.0)
        assert "audio" in made[-1].modalities
        run.held_down = "throttled"
        made += run.run(60.0)
    assert np.allclose(np.diff([decision.t_s for decision in made]), HOP_S), "no gap"
    assert made[-1].modalities == ("imu",)
