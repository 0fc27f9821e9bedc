"""What may be asked of a live run while it goes on: to listen to nothing for a while, to record, to mark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import HOP_S, audio_chunk, audio_modality, signal_modality, write_tiny_bundle
from mmg.bundle import Bundle
from mmg.errors import ConfigError, RequiredSensorLost, SourceLost
from mmg.recording.marks import spans
from mmg.recording.reader import open_recording
from mmg.recording.recorder import Recorder
from mmg.recording.sensors import sensor_of
from mmg.runs.controls import Controls
from mmg.runs.live import LivePipeline
from mmg.runs.settings import Settings
from mmg.runs.step import Step
from mmg.sources.ports.port import HELD
from mmg.types import Decision, SensorState
from scripted import CONNECTED, World

S = 10**9
NAMES = ("imu", "audio")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    path = write_tiny_bundle(tmp_path_factory.mktemp("tiny") / "tiny", signal_modality(state_hops=4), audio_modality())
    with Bundle.open(path) as opened:
        yield opened


class Run:
    """A live run on scripted ports. It is asked to pause at ``pause_ns``, and to go on at ``resume_ns``."""

    def __init__(
        self, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, *, required: tuple[str, ...] = (), recorder: Any = None
    ) -> None:
        self.world, self.told, self.sensed = World(NAMES), list[str](), list[dict[str, SensorState]]()
        for port in self.world.ports:
            port.status = CONNECTED
        self.pause_ns = self.resume_ns = 0
        self.away_ns = 0
        self.controls = Controls(can_record=recorder is not None, can_pause=True, monotonic_ns=self.now_ns)
        self.pipeline = LivePipeline(
            bundle,
            self.world.ports,
            Settings(duration_s=10.0, grace_s=0.2, required=required),
            report=self.told.append,
            record=recorder.step if recorder else lambda _: None,
            sensed=lambda sensors: self.sensed.append(dict(sensors)),
            origin_ns=0,
            monotonic_ns=self.now_ns,
        )
        self.controls.attach(self.pipeline, recorder)
        monkeypatch.setattr(self.pipeline._listening, "wait", self.wait)
        monkeypatch.setattr(self.pipeline._is_wanted, "wait", self.wait_paused)

    def now_ns(self) -> int:
        return self.world.now_ns

    def wait(self, *_: object) -> None:
        self.world.elapse(0.1)
        if self.away_ns and self.world.now_ns > self.resume_ns + self.away_ns:
            for sensor in self.world.sensors.values():
                sensor.talking = True
        if self.pause_ns <= self.world.now_ns < self.resume_ns:
            self.controls.do("pause", {"on": True})

    def wait_paused(self, _timeout_s: float) -> None:
        self.world.now_ns += S // 4
        if self.world.now_ns >= self.resume_ns:
            for sensor in self.world.sensors.values():
                sensor.talking = not self.away_ns
            self.controls.do("pause", {"on": False})


def test_while_it_is_paused_every_port_is_closed_and_nothing_is_decided(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(bundle, monkeypatch)
    run.pause_ns, run.resume_ns = 3 * S, 6 * S
    times = [decision.t_s for decision in run.pipeline if not run.controls.is_paused]
    assert [(port.started, port.closed) for port in run.world.ports] == [(2, 1), (2, 1)]
    assert times[:5] == [0.5, 1.0, 1.5, 2.0, 2.5]
    assert not [t for t in times if 3.5 < t <= 6.0]
    assert len([t for t in times if t > 6.0]) >= 6
    assert [line for line in run.told if "listened" in line] == [
        "paused: no sensor is listened to",
        "goes on: the sensors are listened to again",
    ]
    run.pipeline.close()


def test_what_comes_while_ports_close_for_a_pause_is_nobodys(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(bundle, monkeypatch)
    run.pause_ns, run.resume_ns = 3 * S, 60 * S
    steps: list[Step] = []
    run.pipeline._record = steps.append
    microphone = run.world.sensors["audio"].port
    late = [audio_chunk(3.0, 0.4)]

    def close() -> None:
        if late:
            microphone.deliver(late.pop())

    monkeypatch.setattr(microphone, "close", close)
    list(run.pipeline)
    assert run.controls.is_paused
    run.pipeline.close()
    assert not late
    assert max(int(chunk.times_ns[-1]) for step in steps for chunk in step.chunks) < 3.1 * S


@pytest.mark.parametrize("name", NAMES)
def test_a_port_that_its_driver_holds_after_a_pause_is_tried_again(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    run = Run(bundle, monkeypatch)
    run.pause_ns, run.resume_ns = 3 * S, 4 * S
    held = run.world.sensors[name].port
    start = held.start

    def refuse(*given: Any) -> None:
        run.world.sensors[name].talking = not 3 * S < run.world.now_ns < 6 * S
        if not run.world.sensors[name].talking:
            raise SourceLost(held.url, HELD)
        start(*given)

    monkeypatch.setattr(held, "start", refuse)
    told = {decision.t_s: decision for decision in run.pipeline}
    assert told[5.5].sensors[name].reason == HELD
    assert set(told[9.0].modalities) == set(NAMES)
    run.pipeline.close()


def test_a_required_sensor_may_take_its_time_after_a_pause(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(bundle, monkeypatch, required=("imu",))
    run.pause_ns, run.resume_ns, run.away_ns = 2 * S, 4 * S, 2 * S
    assert [decision for decision in run.pipeline if decision.t_s > 7.0]
    run.pipeline.close()
    late = Run(bundle, monkeypatch, required=("imu",))
    late.pause_ns, late.resume_ns, late.away_ns = 2 * S, int(2.5 * S), 60 * S
    late.pipeline._settings = Settings(duration_s=30.0, grace_s=0.2, required=("imu",))
    with pytest.raises(RequiredSensorLost):
        list(late.pipeline)
    late.pipeline.close()


def test_a_run_that_ends_while_it_is_paused_ends(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(bundle, monkeypatch)
    run.pause_ns, run.resume_ns = 2 * S, 60 * S
    assert [decision.t_s for decision in run.pipeline][-1] <= 2.5
    assert run.controls.is_paused
    run.pipeline.close()


def test_sensors_are_told_of_once_a_hop_only_while_nothing_is_decided(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(bundle, monkeypatch)
    decided: list[Decision] = []
    for decision in run.pipeline:
        decided.append(decision)
        if decision.t_s == 4.0:
            assert len(run.sensed) <= 1  # before the first decision
            for sensor in run.world.sensors.values():
                sensor.talking = False
    silent_hops = (10.0 - 4.0) / HOP_S
    assert silent_hops / 2 < len(run.sensed) <= silent_hops + 1
    assert run.sensed[-1]["imu"].state == "stale"
    run.pipeline.close()


@pytest.fixture
def recorder(bundle: Bundle, tmp_path: Path) -> Iterator[Recorder]:
    sensors = [sensor_of(bundle.manifest.modality(name), f"scripted://{name}") for name in NAMES]
    made = Recorder(tmp_path / "day.mcap", sensors, origin_ns=0, metadata={}, monotonic_ns=lambda: 0, wall_ns=lambda: 0)
    yield made
    made.close()


def test_recording_is_off_and_on_and_tells_how_much_is_left_out(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, recorder: Recorder, tmp_path: Path
) -> None:
    run = Run(bundle, monkeypatch, recorder=recorder)
    monkeypatch.setattr(recorder, "_monotonic_ns", run.now_ns)
    on_ns = 0
    for decision in run.pipeline:
        if decision.t_s == 3.0:
            assert run.controls.do("record", {"on": False}) == {"record": False}
            assert run.controls.recording() is None
            for sensor in run.world.sensors.values():
                sensor.port.status = CONNECTED.__class__(connected=True, reason="", device="another")
        elif decision.t_s == 6.0:
            on_ns = run.now_ns()
            run.controls.do("record", {"on": True})
            assert run.controls.recording() is not None
    run.pipeline.close()
    recorder.close()
    notes: list[str] = []
    recording = open_recording(tmp_path / "day.mcap")
    recording.notes = notes
    steps = list(recording.steps())
    assert not [step for step in steps if 3.3 * S < step.now_ns <= 6.0 * S]
    captured = np.concatenate([chunk.times_ns for step in steps for chunk in step.chunks])
    assert not ((captured > 3.3 * S) & (captured < on_ns)).any()
    assert ((captured >= on_ns) & (captured < on_ns + S // 25)).any()
    first = next(step for step in steps if step.now_ns > 6.0 * S)
    assert set(first.read_as) == set(NAMES)  # another device was plugged in meanwhile
    assert any("could not be recorded" in note for note in notes)


def test_marks_hold_until_they_end_and_none_goes_on_over_what_is_left_out(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, recorder: Recorder, tmp_path: Path
) -> None:
    run = Run(bundle, monkeypatch, recorder=recorder)
    controls = run.controls
    asked = {2.0: "walk", 3.0: "läuft 走", 4.0: None, 5.0: "still"}
    for decision in run.pipeline:
        if decision.t_s in asked:
            assert controls.do("mark", {"label": asked[decision.t_s]}) == {"mark": asked[decision.t_s]}
        elif decision.t_s == 6.0:
            controls.do("record", {"on": False})
            with pytest.raises(ConfigError, match="recording is off"):
                controls.do("mark", {"label": "walk"})
            controls.do("record", {"on": True})
    run.pipeline.close()
    recorder.close()
    held = [(label.label, round(label.seconds)) for label in spans(open_recording(tmp_path / "day.mcap").marks(), 10.0)]
    assert held == [("walk", 1), ("läuft 走", 1), ("still", 1)]


@pytest.mark.parametrize(
    ("name", "asked", "why"),
    [
        ("mark", {"label": ""}, "a text of up to 80 characters, or null"),
        ("mark", {"label": "x" * 81}, "a text of up to 80 characters"),
        ("mark", {"label": 7}, "a text"),
        ("mark", {"label": " "}, "blanks alone, line breaks and other control characters are none"),
        ("mark", {"label": "walk\n"}, "line breaks"),
        ("mark", {"label": "\x1b[2J"}, "line breaks and other control characters are none"),
        ("mark", {"label": "\ud800"}, "line breaks and other control characters are none"),
        ("mark", {}, "a text of up to 80 characters, or null"),
        ("mark", ["walk"], "send a JSON object"),
        ("record", {"on": 1}, "on is true or false"),
        ("pause", {}, "on is true or false"),
        ("dance", {}, "this run cannot"),
    ],
)
def test_an_order_that_cannot_be_is_one_line(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, recorder: Recorder, name: str, asked: object, why: str
) -> None:
    run = Run(bundle, monkeypatch, recorder=recorder)
    with pytest.raises(ConfigError, match=why):
        run.controls.do(name, asked)
    assert not recorder.is_off
    run.pipeline.close()


def test_without_a_recording_nothing_is_marked_and_of_recordings_nothing_is_paused(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(bundle, monkeypatch)
    controls = Controls(can_record=False, can_pause=False)
    controls.attach(run.pipeline, None)
    assert controls.offered(("walk",)) == {"mark": False, "record": False, "pause": False, "teach": False}
    for name, order in (("mark", {"label": "walk"}), ("record", {"on": False})):
        with pytest.raises(ConfigError, match=r"start mmg-run with --record DAY\.mcap"):
            controls.do(name, order)
    with pytest.raises(ConfigError, match="listens to no sensor"):
        controls.do("pause", {"on": True})
    assert (controls.is_paused, controls.problem, controls.recording()) == (False, "", None)
    run.pipeline.close()
