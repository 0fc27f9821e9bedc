"""mmg-run as its users run it: a process of its own on a real pty and a real ALSA device that come, go and fail."""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from mmg_tools.attached import AttachedRun
from mmg_tools.live_check import check, longest_ms
from mmg_tools.rested import RestedModels
from mmg_tools.soak import soak
from mmg_tools.virtual.microphone import AlsaMicrophone
from mmg_tools.virtual.scenario import Scenario
from mmg_tools.virtual.wearable import VirtualWearable
from recordings import mmg_run, need_ports

pytestmark = pytest.mark.realtime
need_ports()

START_S = 15.0
BACK_WITHIN_S = 3.0


def has_both(run: AttachedRun) -> bool:
    """Whether both are live by the newest decision."""
    sensors = run.decisions[-1].line["sensors"] if run.decisions else {}
    return len(sensors) == 2 and all(sensor["state"] == "live" for sensor in sensors.values())


def test_it_finds_what_is_plugged_in_and_says_what_it_took(wearable: VirtualWearable, tmp_path: Path) -> None:
    with AttachedRun({}, wearable.environment | {"MMG_SERIAL": str(tmp_path / "imu")}) as run:
        assert run.wait_for(lambda: has_both(run), START_S), run.notes
        mapped = Path(f"/proc/{run.pid}/maps").read_text()
        assert "libportaudio" in mapped
        assert "libav" not in mapped, "the camera's library is not even loaded"
        assert run.stop()[0] == 0
    taken = [note for note in run.notes if "using" in note]
    assert len(taken) == 2
    assert f"imu: using serial://{tmp_path}/imu?protocol=witmotion" in taken[0]
    assert "audio: using mic://default" in taken[1]
    assert not [note for note in run.notes if "Traceback" in note]


def test_unplugged_and_plugged_again_it_resumes_within_three_seconds_of_the_data(wearable: VirtualWearable) -> None:
    with AttachedRun(wearable.urls, wearable.environment) as run:
        assert run.wait_for(lambda: has_both(run), START_S), run.notes
        for device in wearable.devices.values():
            device.unplug()
        gone = ("imu: unplugged", "audio: unplugged", "audio: runs faster", "audio: stalled")
        assert run.wait_for(lambda: sum(any(word in note for word in gone) for note in run.notes) >= 2, START_S)
        before = len(run.decisions)
        for device in wearable.devices.values():
            device.plug()
        assert run.wait_for(lambda: len(run.decisions) > before, BACK_WITHIN_S), run.notes
        assert run.wait_for(lambda: has_both(run), START_S), run.notes
        assert run.decisions[-1].line["sensors"]["imu"].keys() >= {"state", "age_ms", "dropped", "clock"}
        code, seconds = run.stop()
    assert code == 0
    assert seconds < BACK_WITHIN_S


def test_a_microphone_that_is_absent_at_the_start_joins_when_it_appears(wearable: VirtualWearable) -> None:
    wearable.devices["audio"].unplug()
    with AttachedRun(wearable.urls, wearable.environment) as run:
        assert run.wait_for(lambda: len(run.decisions) > 2, START_S), run.notes
        assert run.decisions[-1].line["modalities"] == ["imu"]
        assert run.decisions[-1].line["sensors"]["audio"]["state"] == "absent"
        assert run.decisions[-1].line["sensors"]["audio"]["reason"]
        wearable.devices["audio"].plug()
        assert run.wait_for(lambda: has_both(run), START_S), run.notes


def test_a_required_imu_that_is_unplugged_ends_the_run_with_exit_code_3(wearable: VirtualWearable) -> None:
    with AttachedRun(wearable.urls, wearable.environment, ["--require", "imu"]) as run:
        assert run.wait_for(lambda: has_both(run), START_S), run.notes
        wearable.devices["imu"].unplug()
        assert run.wait(START_S) == 3
    assert any("required sensor lost: imu" in note for note in run.notes)


@pytest.mark.parametrize("how", ["crashes", "hangs"])
def test_where_portaudio_cannot_start_the_imu_decides_on_and_a_line_says_why(
    wearable: VirtualWearable, tmp_path: Path, how: str
) -> None:
    config = tmp_path / "broken.conf"
    os.mkfifo(tmp_path / "fifo")  # without a writer, opening it never returns
    hangs = f'type file  slave.pcm {{ type null }}  file "/dev/null"  infile "{tmp_path}/fifo"'
    config.write_text("" if how == "crashes" else f"pcm.!default {{ {hangs} }}\n")
    urls = {"imu": wearable.urls["imu"], "audio": "mic://default"}
    with AttachedRun(urls, {"ALSA_CONFIG_PATH": str(config), "JACK_NO_START_SERVER": "1"}) as run:
        assert run.wait_for(lambda: any("audio: no sound: " in note for note in run.notes), START_S), run.notes
        before = len(run.decisions)
        assert run.wait_for(lambda: len(run.decisions) > before + 4, START_S), run.notes
        code, seconds = run.stop()
    assert (code, seconds < BACK_WITHIN_S) == (0, True)
    [told] = [note for note in run.notes if "audio: " in note and "looking" not in note]
    if how == "crashes":
        assert f"ALSA has no configuration in {config}, which ALSA_CONFIG_PATH names: unset" in told
    else:
        assert told.endswith("audio: no sound: the sound system does not answer")
    assert {state["state"] for state in (one.line["sensors"]["imu"] for one in run.decisions[4:])} == {"live"}


def test_a_camera_stays_closed_unless_it_is_allowed() -> None:
    done = mmg_run("--video", "camera:///dev/video0")
    assert done.returncode == 2
    assert "--allow-video" in done.stderr


def test_a_port_and_a_recording_do_not_mix() -> None:
    done = mmg_run("--imu", "serial:///dev/ttyUSB0", "--audio", "walk.wav")
    assert done.returncode == 2
    assert "a run takes one or the other" in done.stderr


def test_a_port_that_never_appears_is_told_and_ends_with_the_duration() -> None:
    done = mmg_run("--imu", "serial:///dev/no-such-port?protocol=witmotion&baud=9600", "--duration", "0.5")
    assert done.returncode == 3
    assert "no such device" in done.stderr
    assert len(done.stderr.splitlines()) <= 3


@pytest.mark.parametrize("protocol", ["witmotion", "text"])
def test_live_decisions_are_those_of_the_same_scenario_from_files_and_in_time(
    scenario: Scenario, tmp_path: Path, protocol: str
) -> None:
    report = check(scenario, tmp_path, imu=protocol)
    assert report.activities >= 2
    # In so short a play the first hops, which a live run does not hear whole, weigh more than in five minutes.
    assert report.equal >= 0.85, report
    assert report.latency_p95_ms < longest_ms(report.models_p95_ms), report


@pytest.mark.parametrize("rate_hz", [44100, 48000])
def test_a_microphone_that_takes_another_rate_than_the_models_is_decided_on_in_time(
    wearable: VirtualWearable, tmp_path: Path, rate_hz: int
) -> None:
    folder = tmp_path / "card"
    folder.mkdir()
    sound = np.random.default_rng(0).normal(0, 2000, 5 * rate_hz).astype(np.int16)
    with closing(AlsaMicrophone(folder, sound, rate_hz, loop=True)) as card:
        card.begin(time.monotonic_ns())
        card.plug()
        urls = wearable.urls | {"audio": f"mic://wrist_mic?rate={rate_hz}"}
        environment = wearable.environment | {"ALSA_CONFIG_PATH": str(card.config)}
        with RestedModels() as models, AttachedRun(urls, environment) as run:
            assert run.wait_for(lambda: len(run.decisions) > 12, START_S), run.notes
            models_ms = models.stop()
            latency_ms = [decision.latency_ms for decision in run.decisions[4:]]
            states = {decision.line["sensors"]["audio"]["state"] for decision in run.decisions[4:]}
    assert states == {"live"}
    assert np.median(latency_ms) < longest_ms(float(np.median(models_ms))), latency_ms


def test_it_lives_through_faults_at_random(tmp_path: Path) -> None:
    report = soak(seed=2, events=24, folder=tmp_path)
    # A minute is too short to judge memory to a megabyte or two: the allocator's pools still fill.
    assert [problem for problem in report.problems if not problem.startswith("memory")] == []
    assert report.grown_mib < 10, report
    assert report.hops_owed > 10, report
