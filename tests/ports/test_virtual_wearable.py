"""The whole wearable: a scenario, its files, its ports in Python, and the command."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from mmg.bundle.manifest import Channel, Encoder, Modality, Tensor
from mmg.errors import ConfigError
from mmg.sources.ports.serial.port import SerialPort
from mmg.sources.url import parse_url
from mmg.truth import Truth
from mmg.types import Chunk
from mmg_tools.virtual.scenario import SEED, SUBJECT, Scenario, render
from mmg_tools.virtual.wearable import VirtualWearable
from mmg_training.wearer import Subject, plan

PATIENCE_S = 10.0
VIRTUAL = [sys.executable, "-m", "mmg_tools.virtual.cli"]
IMU = Modality(
    name="imu",
    kind="signal",
    rate_hz=50,
    channels=tuple(
        Channel(name=name, unit="m/s^2" if name[0] == "a" else "rad/s") for name in ("ax", "ay", "az", "gx", "gy", "gz")
    ),
    encoder=Encoder(
        kind="streaming",
        tokens_per_hop=1,
        input=Tensor(name="imu", shape=(1, 25, 6)),
        output=Tensor(name="tokens", shape=(1, 1, 8)),
        files=(),
    ),
)


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return render(seconds=6.0)


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def place_in(scenario: Scenario, sample: np.typing.NDArray[np.float32]) -> int:
    """The IMU sample that this one was, within what its protocol can say."""
    distance = np.abs(scenario.imu - sample).max(axis=1)
    assert distance.min() < 0.005
    return int(distance.argmin())


def until(happened: Callable[[], bool]) -> None:
    """Waits, and looks again."""
    deadline_s, pause = time.monotonic() + PATIENCE_S, threading.Event()
    while not happened():
        assert time.monotonic() < deadline_s, "it never happened"
        pause.wait(0.01)


# --- scenario ------------------------------------------------------------------------------------------------------


def test_the_usual_five_minutes_have_every_activity() -> None:
    labels = {segment.label for segment in plan(Subject.numbered(SUBJECT), SEED, 300.0).segments}
    assert len(labels) == 12


def test_a_scenario_is_whole_and_begins_anew(scenario: Scenario) -> None:
    assert (scenario.imu.shape, scenario.imu.dtype.name) == ((600, 6), "float32")
    assert (scenario.sound.shape, scenario.sound.dtype.name) == ((96_000,), "int16")
    assert (scenario.seconds, len(scenario.labels), scenario.frames) == (6.0, 600, None)
    assert scenario.label_at(7.0) == scenario.label_at(1.0) == scenario.labels[100]
    assert render(seconds=0.333).seconds == 0.34


def test_its_files_are_the_very_same(scenario: Scenario, tmp_path: Path) -> None:
    scenario.save(tmp_path / "day")
    sound, rate_hz = soundfile.read(tmp_path / "day" / "audio.wav", dtype="int16")
    assert rate_hz == 16_000
    np.testing.assert_array_equal(sound, scenario.sound)
    table = np.loadtxt(tmp_path / "day" / "imu.csv", delimiter=",", skiprows=1)
    np.testing.assert_allclose(table[:, 1:], scenario.imu, atol=0.00051)
    assert Truth(tmp_path / "day" / "truth.csv").label_at(3.0) == scenario.label_at(3.0)


def test_its_files_go_into_a_folder_of_any_name(scenario: Scenario, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff")
    scenario.save(folder)
    assert soundfile.info(os.fsencode(folder / "audio.wav")).frames == len(scenario.sound)


@pytest.mark.parametrize(("subject", "seconds"), [(999, 10.0), (SUBJECT, 0.0), (SUBJECT, float("nan"))])
def test_a_scenario_that_must_not_be_is_refused(subject: int, seconds: float) -> None:
    with pytest.raises(ConfigError):
        render(subject, SEED, seconds)


# --- in Python -----------------------------------------------------------------------------------------------------


def test_two_do_not_play_in_one_folder(scenario: Scenario, tmp_path: Path) -> None:
    with VirtualWearable(scenario, tmp_path) as first:
        with (
            pytest.raises(ConfigError, match="another virtual wearable plays here"),
            VirtualWearable(scenario, tmp_path),
        ):
            pass
        assert first.devices["imu"].plugged
        assert (tmp_path / "imu").is_symlink()
    with VirtualWearable(scenario, tmp_path):
        pass


def test_a_serial_port_finds_it_and_finds_it_again(scenario: Scenario, tmp_path: Path) -> None:
    chunks: queue.Queue[Chunk] = queue.Queue()
    with VirtualWearable(scenario, tmp_path, loop=True) as wearable:
        port = SerialPort(parse_url(wearable.urls["imu"]), IMU)
        port.start(chunks.put)
        for _ in range(2):
            while not chunks.empty():
                chunks.get()
            chunk = chunks.get(timeout=PATIENCE_S)
            when_s = (int(chunk.times_ns[-1]) - wearable.start_ns) / 1e9
            assert abs(when_s % 6.0 - place_in(scenario, chunk.samples[-1]) / 100) < 0.25
            wearable.devices["imu"].unplug()
            until(lambda: not port.status.connected)
            wearable.devices["imu"].plug()
        port.close()
    assert [path.name for path in tmp_path.iterdir()] == ["asound.conf"]


def test_what_cannot_be_played_is_refused(scenario: Scenario, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no sensor to play"):
        VirtualWearable(scenario, tmp_path, imu=None, audio=False)
    with pytest.raises(ConfigError, match="has no frames"):
        VirtualWearable(scenario, tmp_path, video=True)
    with pytest.raises(ConfigError, match="cannot hold an ALSA device"):
        VirtualWearable(scenario, tmp_path / 'a"b')


def test_its_command_survives_a_shell(scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["somewhere/without/mmg-run"])
    folder = tmp_path / "a day's ?"
    folder.mkdir()
    wearable = VirtualWearable(scenario, folder, imu="xsens")
    assert parse_url(wearable.urls["imu"]).path == str(folder / "imu")
    shown = subprocess.run(
        ["sh", "-c", wearable.command.replace("mmg-run", 'printf "%s|"')], capture_output=True, text=True, check=True
    )
    words = ["--sensors", "imu,audio", "--imu", wearable.urls["imu"], "--audio", "mic://wrist_mic"]
    assert shown.stdout.split("|")[:-1] == words


# --- the command ---------------------------------------------------------------------------------------------------


def start(started: list[subprocess.Popen[str]], *arguments: str) -> subprocess.Popen[str]:
    # A job in the background ignores SIGINT, and so do its children: as on a terminal, this one does not.
    command = ["env", "--default-signal=INT,TERM,HUP", *VIRTUAL, *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    started.append(process)
    return process


def test_it_plays_to_the_end_tells_what_happens_and_leaves_nothing(
    started: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    faults = ["--fault", "0.2:imu:stall:0.2", "--fault", "0.3:audio:overrun:0.1"]
    process = start(started, "--seconds", "1", "--json", "--dir", str(tmp_path / "d"), *faults)
    assert process.stdout
    told: dict[str, Any] = json.loads(process.stdout.readline())
    assert set(told) == {"command", "environment", "urls", "scenario_start_ns", "seconds"}
    assert told["seconds"] == 1.0
    assert told["urls"]["imu"] == f"serial://{tmp_path}/d/imu?protocol=witmotion"
    assert (tmp_path / "d" / "imu").is_symlink()
    port = os.open(tmp_path / "d" / "imu", os.O_RDONLY | os.O_NOCTTY)
    assert os.read(port, 1) == b"\x55"
    os.close(port)
    rest, notes = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, rest) == (0, "")
    first = plan(Subject.numbered(SUBJECT), SEED, 1.0).segments[0].label
    for words in ("rendering 1 s", f"s  {first}", "fault: imu stall for 0.2 s", "fault over: imu stall", "the end"):
        assert words in notes
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["asound.conf"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(started: list[subprocess.Popen[str]], number: signal.Signals) -> None:
    process = start(started, "--seconds", "5", "--loop", "--imu", "text", "--random-faults", "60")
    assert process.stdout
    command = process.stdout.readline()
    folder = Path(command.split("=")[1].split("/asound.conf")[0])
    assert command.endswith("--audio mic://wrist_mic\n")
    assert folder.is_dir()
    process.send_signal(number)
    _, notes = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert notes.endswith("mmg-virtual: stopped\n")
    assert "Traceback" not in notes
    assert not folder.exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--imu", "klingon"], "invalid choice: 'klingon'"),
        (["--imu", "none", "--no-audio"], "no sensor to play"),
        (["--subject", "5"], "models are trained on"),
        (["--fault", "1:imu:melt:3"], "imu has no fault 'melt'"),
        (["--no-audio", "--fault", "1:audio:stall:3"], "there is no audio in this run"),
        (["--seconds", "9", "--fault", "10:imu:stall:3"], "the scenario ends at 9 s"),
        (["--random-faults", "-1"], "must be 0 to 600 per minute"),
        (["--seconds", "1", "--dir", "/proc/nowhere"], "/proc/nowhere: No such file"),
        (["--seconds", "1", "--save", "/dev/null/day"], "/dev/null/day: Not a directory"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from mmg_tools.virtual.cli import main

    try:
        code = main(["--seconds", "3", *arguments])
    except SystemExit as ended:
        code = int(str(ended.code))
    shown = capsys.readouterr()
    assert (code, shown.out) == (2, "")
    assert problem in shown.err.splitlines()[-1]


def test_it_never_loads_torch() -> None:
    code = "import sys, mmg_tools.virtual.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"torch", "av", "serial", "sounddevice", "soundfile"}
