"""Runs with a gate: ports really closed and opened again, no decision late for one that sleeps, and all of it told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fakes import HOP_S, audio_chunk, audio_modality, imu_chunk, signal_modality, write_tiny_bundle
from mmg.bundle import Bundle
from mmg.engine import Engine
from mmg.errors import ConfigError, RequiredSensorLost, SourceLost
from mmg.recording.reader import open_recording
from mmg.recording.recorder import Recorder
from mmg.recording.sensors import sensor_of
from mmg.runs.gating import as_json
from mmg.runs.live import LivePipeline
from mmg.runs.recorded import Pipeline
from mmg.runs.replay import Replay, as_recorded
from mmg.runs.settings import Settings
from mmg.runs.step import Step
from mmg.sinks.jsonl import line_of
from mmg.sources.ports.port import PortStatus
from mmg.types import Decision
from mmg_device_profiles.gate import GatePolicy, Wake
from recordings import DEMO
from scripted import CONNECTED, DevicePort, World

NAMES = ("imu", "audio")
GRACE_S = 0.2
ON_TIME_MS = 60.0


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    path = write_tiny_bundle(tmp_path_factory.mktemp("gate") / "tiny", signal_modality(state_hops=4), audio_modality())
    with Bundle.open(path) as opened:
        yield opened


class Run:
    """A live run with a gate on scripted ports; ``wake`` says what wakes the microphone."""

    def __init__(
        self,
        bundle: Bundle,
        wake: Wake | None,
        *,
        required: tuple[str, ...] = (),
        record: Callable[[Step], None] = lambda _: None,
        start_ns: int = 0,
    ) -> None:
        self.world, self.notes, self.opened = World(NAMES), list[str](), list[DevicePort]()
        self.world.now_ns = start_ns
        policy = None if wake is None else GatePolicy(watch=("imu",), wake={"audio": wake})
        self.pipeline = LivePipeline(
            bundle,
            self.make_ports(),
            Settings(grace_s=GRACE_S, required=required, gate=policy),
            report=self.notes.append,
            record=record,
            monotonic_ns=lambda: self.world.now_ns,
        )
        self.pipeline.start()

    def make_ports(self) -> list[DevicePort]:
        ports = []
        for name in NAMES:
            port = self.world.sensors[name].port = DevicePort(name)
            port.status = CONNECTED
            ports.append(port)
        self.opened += ports
        return ports

    def unplug(self, reason: str = "unplugged") -> None:
        """The microphone gives nothing from now on, and its port says why."""
        microphone = self.world.sensors["audio"]
        microphone.talking, microphone.port.status = False, PortStatus(reason=reason)

    @property
    def is_open(self) -> bool:
        """Whether the port of the microphone is."""
        return self.world.sensors["audio"].port.is_open

    def run(self, seconds: float) -> list[Decision]:
        return list(self.world.run(self.pipeline, seconds))


def test_a_sensor_that_sleeps_is_never_opened_and_delays_nothing(bundle: Bundle) -> None:
    run = Run(bundle, Wake(look_s=600.0))
    made = run.run(6.0)
    assert [port.started for port in run.opened] == [1, 0]
    assert np.allclose(np.diff([decision.t_s for decision in made]), HOP_S)
    assert all(decision.latency_ms["event_to_decision"] <= ON_TIME_MS for decision in made)
    assert all(decision.sensors["audio"].state == "asleep" for decision in made)
    assert "audio" not in run.pipeline.engine.loaded
    run.pipeline.close()
    assert run.notes == ["imu: connected: scripted", "gate: audio was awake 0% of the time"]


def test_what_is_woken_is_opened_and_decides_within_two_hops(bundle: Bundle) -> None:
    run = Run(bundle, Wake(confidence=1.0, after_s=3.0, look_s=600.0))
    made = run.run(10.0)
    woken = next(place for place, decision in enumerate(made) if "audio" in decision.gate.awake)  # type: ignore[union-attr]
    assert made[woken].gate.why == {"audio": f"confidence {made[woken - 1].confidence:.2f} below 1"}  # type: ignore[union-attr]
    assert made[woken - 1].sensors["audio"].state == "asleep"
    assert "audio" in made[woken + 1].modalities
    assert run.is_open
    assert all(decision.latency_ms["event_to_decision"] <= ON_TIME_MS for decision in made)
    assert np.allclose(np.diff([decision.t_s for decision in made]), HOP_S)


def test_a_look_closes_its_port_again_and_the_next_one_starts_it_again(bundle: Bundle) -> None:
    run = Run(bundle, Wake(look_s=4.0))
    made = run.run(16.0)
    microphone = run.world.sensors["audio"].port
    assert (len(run.opened), microphone.started) == (2, 3)
    assert 2 <= microphone.closed <= 3
    heard = [decision.t_s for decision in made if decision.sensors["audio"].state == "live"]
    assert np.allclose(np.diff(heard), 4.5), "a look every four seconds, and a hop for itself"
    assert all(decision.gate.why == {"audio": "a look"} for decision in made if "audio" in decision.gate.awake)  # type: ignore[union-attr]
    run.pipeline.close()
    assert run.notes[:1] == ["imu: connected: scripted"]
    assert [note for note in run.notes if note.startswith("audio")] == ["audio: connected: scripted"]


def test_one_that_was_unplugged_in_its_sleep_is_told_once_and_the_run_goes_on(bundle: Bundle) -> None:
    run = Run(bundle, Wake(look_s=3.0))
    run.run(2.0)
    run.unplug()
    made = run.run(30.0)
    assert np.allclose(np.diff([decision.t_s for decision in made]), HOP_S)
    assert all(decision.latency_ms["event_to_decision"] <= ON_TIME_MS for decision in made)
    awake = [decision for decision in made if "audio" in decision.gate.awake]  # type: ignore[union-attr]
    assert awake[-1].sensors["audio"].reason == "unplugged"
    assert [note for note in run.notes if "audio" in note][:1] == ["audio: unplugged"]
    assert len([note for note in run.notes if "audio" in note]) == 1


def test_one_that_does_not_come_back_from_its_sleep_is_stale_after_five_seconds(bundle: Bundle) -> None:
    engine = Engine(bundle, NAMES)
    made = [*engine.push(audio_chunk(0, 2)), *engine.push(imu_chunk(0, 2))]
    engine.let_sleep(["audio"])
    made += engine.push(imu_chunk(2, 2))
    engine.let_sleep([])
    made += engine.push(imu_chunk(4, 8))
    states = [decision.sensors["audio"].state for decision in made]
    assert states == ["live"] * 4 + ["asleep"] * 3 + ["warming"] * 10 + ["stale"] * 6


def test_one_that_cannot_be_started_again_is_tried_now_and_then_and_says_why(bundle: Bundle) -> None:
    run = Run(bundle, Wake(confidence=1.0, look_s=0.0))
    tried = []

    def refuse(*_: object) -> None:
        tried.append(run.world.now_ns)
        raise SourceLost("scripted://audio", "its driver does not let go of it")

    microphone = run.world.sensors["audio"].port
    start, microphone.start = microphone.start, refuse  # type: ignore[assignment]
    made = run.run(10.0)
    assert np.allclose(np.diff([decision.t_s for decision in made]), HOP_S)
    assert 8 <= len(tried) <= 20
    awake = [one for one in made if one.gate and "audio" in one.gate.awake]
    assert {one.sensors["audio"].reason for one in awake[2:]} == {"its driver does not let go of it"}
    assert [note for note in run.notes if "audio" in note] == ["audio: its driver does not let go of it"]
    microphone.start = start  # type: ignore[method-assign]
    assert run.run(4.0)[-1].modalities == NAMES
    assert run.notes[-1] == "audio: connected: scripted"


def test_one_that_takes_seconds_to_open_delays_nothing_and_is_told(bundle: Bundle) -> None:
    run = Run(bundle, Wake(confidence=1.0, look_s=0.0))
    run.unplug("looking for the device")
    slow = run.run(5.0)
    run.world.sensors["audio"].talking = True
    run.world.sensors["audio"].port.status = CONNECTED
    made = slow + run.run(3.0)
    assert all(decision.latency_ms["event_to_decision"] <= ON_TIME_MS for decision in made)
    assert made[-1].modalities == NAMES
    assert [note for note in run.notes if "audio" in note] == [
        "audio: looking for the device",
        "audio: connected: scripted",
    ]


def test_where_the_sensor_that_watches_goes_the_other_is_woken(bundle: Bundle) -> None:
    run = Run(bundle, Wake(look_s=600.0))
    run.run(3.0)
    run.world.sensors["imu"].talking = False
    made = run.run(60.0)
    assert np.allclose(np.diff([decision.t_s for decision in made]), HOP_S), "no gap"
    assert run.world.sensors["audio"].port.started == 1
    assert made[-1].modalities == ("audio",)
    assert made[-1].gate.why == {"audio": "nothing else decides"}  # type: ignore[union-attr]
    run.world.sensors["imu"].talking = True
    assert run.run(6.0)[-1].gate.asleep == ("audio",)  # type: ignore[union-attr]
    assert not run.is_open


def test_a_sensor_that_watches_and_starts_late_opens_nothing(bundle: Bundle) -> None:
    run = Run(bundle, Wake(look_s=600.0))
    run.world.sensors["imu"].talking = False
    run.run(4.0)
    run.world.sensors["imu"].talking = True
    assert run.run(6.0)[-1].modalities == ("imu",)
    assert [port.started for port in run.opened] == [1, 0]


def test_a_sensor_that_watches_and_never_comes_is_stood_in_for(bundle: Bundle) -> None:
    run = Run(bundle, Wake(look_s=600.0))
    run.world.sensors["imu"].talking = False
    assert run.run(10.0)[-1].modalities == ("audio",)


def test_a_required_sensor_may_sleep_but_must_come_when_it_is_woken(bundle: Bundle) -> None:
    run = Run(bundle, Wake(look_s=20.0), required=("audio",))
    run.run(15.0)
    run.unplug()
    with pytest.raises(RequiredSensorLost, match="audio: unplugged"):
        run.run(15.0)


def test_motion_wakes(bundle: Bundle) -> None:
    still = Run(bundle, Wake(motion=50.0, look_s=0.0))
    assert "audio" not in still.run(5.0)[-1].modalities
    moving = Run(bundle, Wake(motion=0.001, look_s=0.0))
    assert "audio" in moving.run(5.0)[-1].modalities


def test_without_a_gate_nothing_of_it_is_said(bundle: Bundle) -> None:
    run = Run(bundle, None)
    assert "gate" not in json.loads(line_of(run.run(3.0)[-1]))
    assert run.is_open


def test_a_pause_ends_with_sleepers_still_asleep_and_counts_as_nothing(bundle: Bundle) -> None:
    run = Run(bundle, Wake(look_s=4.0))
    run.run(6.0)
    started = run.world.sensors["audio"].port.started
    run.pipeline._listening.close()
    run.world.elapse(600.0)
    run.pipeline._listening.start(run.pipeline._asleep())
    made = run.run(2.0)
    assert all("audio" in decision.gate.asleep for decision in made)  # type: ignore[union-attr]
    assert [port.started for port in run.opened] == [2, started]
    assert run.run(4.0)[-1].gate
    assert run.pipeline._decider.gating
    assert 0.05 < run.pipeline._decider.gating.share_awake()["audio"] < 0.2


@pytest.mark.parametrize("as_tokens", [(), ("imu",), NAMES])
def test_a_recording_of_it_decides_and_sleeps_again_as_it_did_live(
    bundle: Bundle, tmp_path: Path, as_tokens: tuple[str, ...]
) -> None:
    policy = GatePolicy(watch=("imu",), wake={"audio": Wake(motion=0.01, after_s=2.0, look_s=4.0)})
    path, start_ns = tmp_path / "day.mcap", 10**12
    sensors = [
        sensor_of(bundle.manifest.modality(name), f"scripted://{name}", tokens=name in as_tokens) for name in NAMES
    ]
    clock = World(NAMES)
    recorder = Recorder(
        path,
        sensors,
        origin_ns=start_ns,
        metadata={"gate": as_json(policy), "bundle_digest": bundle.digest},
        monotonic_ns=lambda: clock.now_ns,
        sync_s=0.001,
    )
    run = Run(bundle, policy.wake["audio"], record=recorder.step, start_ns=start_ns)
    run.pipeline.keep_tokens(as_tokens)
    made = run.run(6.0)
    run.world.sensors["audio"].late_ns = 2_500_000_000  # soon after it was woken
    live = [line_of(decision) for decision in made + run.run(6.0)]
    assert "its samples arrive" in live[-1]
    recorder.close()
    recording = open_recording(path)
    settings = as_recorded(recording, bundle, Settings(), print, NAMES, grace=None, precision=None, unknown=None)
    assert settings.gate == policy
    again = [line_of(decision) for decision in Replay(bundle, recording, NAMES, settings)]
    assert [without_latency(line) for line in again] == [without_latency(line) for line in live]
    assert {'"asleep":["audio"]' in line for line in live} == {True, False}


@pytest.mark.parametrize("as_tokens", [(), ("audio",)])
def test_a_recording_without_a_gate_is_decided_as_if_its_sensors_took_time_to_open(
    bundle: Bundle, tmp_path: Path, as_tokens: tuple[str, ...]
) -> None:
    path, clock = tmp_path / "day.mcap", World(NAMES)
    sensors = [
        sensor_of(bundle.manifest.modality(name), f"scripted://{name}", tokens=name in as_tokens) for name in NAMES
    ]
    metadata = {"bundle_digest": bundle.digest}
    recorder = Recorder(path, sensors, origin_ns=0, metadata=metadata, monotonic_ns=lambda: clock.now_ns, sync_s=0.001)
    run = Run(bundle, None, record=recorder.step)
    run.pipeline.keep_tokens(as_tokens)
    run.run(12.0)
    recorder.close()
    policy = GatePolicy(watch=("imu",), wake={"audio": Wake(confidence=1.0, after_s=2.0, look_s=0.0)})
    made = list(Replay(bundle, open_recording(path), NAMES, Settings(grace_s=GRACE_S, gate=policy)))
    woken = next(place for place, one in enumerate(made) if one.gate and "audio" in one.gate.awake)
    first = next(place for place, one in enumerate(made) if one.sensors["audio"].state == "live")
    assert first == woken + 1, "the hop in which it opens is not whole"


def without_latency(line: str) -> dict[str, object]:
    return {key: value for key, value in json.loads(line).items() if key != "latency_ms"}


def gated(policy: GatePolicy, told: list[str], *names: str) -> list[Decision]:
    """The decisions of the demo by the starter."""
    urls = {name: str(DEMO / {"imu": "imu.csv", "audio": "audio.ogg"}[name]) for name in names}
    with Bundle.open("starter") as starter:
        pipeline = Pipeline(starter, urls, Settings(gate=policy, duration_s=20.0), report=told.append)
        made = list(pipeline)
        pipeline.close()
    return made


def test_a_recorded_run_lets_a_sleeper_hear_nothing() -> None:
    told = list[str]()
    policy = GatePolicy(watch=("imu",), wake={"audio": Wake(confidence=0.6, look_s=10.0)})
    made = gated(policy, told, "imu", "audio")
    assert len(made) == 40
    for decision in made:
        assert decision.gate is not None
        is_heard = decision.sensors["audio"].state == "live"
        assert is_heard <= ("audio" in decision.gate.awake)
    assert {decision.sensors["audio"].state for decision in made} == {"asleep", "warming", "live"}
    assert [note for note in told if note.startswith("gate: audio was awake")]


@pytest.mark.parametrize(
    ("policy", "names", "line"),
    [
        (
            GatePolicy(watch=("imu",), wake={"video": Wake(), "audio": Wake()}),
            ("imu", "audio"),
            "gate: video is never woken: a camera must be named, and allowed with --allow-video",
        ),
        (
            GatePolicy(watch=("audio",), wake={"imu": Wake()}),
            ("imu",),
            "gate: nothing sleeps: this run does not have audio",
        ),
        (GatePolicy(watch=("imu",), wake={"audio": Wake()}), ("imu",), "gate: nothing sleeps: this run has no sensor"),
    ],
)
def test_what_a_policy_cannot_do_in_this_run_is_told_and_the_run_goes_on(
    policy: GatePolicy, names: tuple[str, ...], line: str
) -> None:
    told = list[str]()
    assert len(gated(policy, told, *names)) == 40
    assert any(note.startswith(line) for note in told), told


def test_a_policy_that_does_not_fit_the_bundle_ends_the_run() -> None:
    with pytest.raises(ConfigError, match=r"gate\.wake\.audio: can never wake"):
        gated(GatePolicy(watch=("imu",), wake={"audio": Wake(look_s=0.0)}), [], "imu", "audio")
