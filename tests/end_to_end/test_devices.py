"""mmg-devices as its users run it: a process, what it prints, and what it leaves alone."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from forked import mmg
from mmg.cli.devices import main
from mmg.sources.ports.discovery import Found
from mmg_tools.virtual.microphone import AlsaMicrophone
from mmg_tools.virtual.serial_device import VirtualSerial
from recordings import ROOT, need_ports

STILL = np.array([[0.1, 0.2, 9.8, 0.01, 0.02, 0.03]], np.float32)

need_ports()


class Wearable:
    """An IMU on a pty and a microphone, and the environment in which a process sees them."""

    def __init__(self, folder: Path) -> None:
        self.imu = VirtualSerial(folder / "wrist imu", STILL, "witmotion", loop=True)
        self.microphone = AlsaMicrophone(folder, np.zeros(16000, np.int16))
        self.environment = {
            **os.environ,
            "MMG_SERIAL": str(self.imu.link),
            "ALSA_CONFIG_PATH": str(self.microphone.config),
            "JACK_NO_START_SERVER": "1",
        }

    def look(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return mmg("devices", *arguments, timeout_s=30, cwd=ROOT, environment=self.environment)


@pytest.fixture
def wearable(tmp_path: Path) -> Iterator[Wearable]:
    wearable = Wearable(tmp_path)
    yield wearable
    wearable.imu.close()
    wearable.microphone.close()


def test_what_is_plugged_in_is_a_table_and_a_command_that_uses_it(wearable: Wearable) -> None:
    wearable.imu.plug()
    wearable.microphone.plug()
    done = wearable.look("--sensors", "imu,audio", "--seconds", "1")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    path = str(wearable.imu.link).replace(" ", "%20")
    url = f"serial://{path}?protocol=witmotion&baud=115200"
    [imu] = [line for line in lines if url in line and line.startswith("imu ")]
    assert f"  {wearable.imu.link}  " in imu
    assert "  witmotion at 115200 baud, with gyro, " in imu
    assert imu.endswith(" Hz")
    [audio] = [line for line in lines if "mic://default" in line and line.startswith("audio ")]
    assert audio.endswith(", 16000 Hz")
    assert "\x1b" not in done.stdout
    assert shlex.split(lines[-1]) == ["mmg-run", "--sensors", "imu,audio", "--imu", url, "--audio", "mic://default"]
    assert "mmg-devices: listening on " in done.stderr
    assert " for up to 1 s ..." in done.stderr


def test_json_is_an_array_of_what_was_found(wearable: Wearable) -> None:
    wearable.imu.plug()
    wearable.microphone.plug()
    done = wearable.look("--json", "--seconds", "1", "--serial", str(wearable.imu.link))
    assert done.returncode == 0, done.stderr
    found = [Found(**one) for one in json.loads(done.stdout)]
    [imu] = [one for one in found if one.device == str(wearable.imu.link)]
    assert imu.rate_hz == pytest.approx(100, rel=0.1)
    assert (imu.modality, imu.has_gyro, imu.problem) == ("imu", True, "")
    assert [one.url for one in found if one.modality == "audio"] == ["mic://default", "mic://wrist_mic"]


def test_nothing_usable_is_exit_code_3(wearable: Wearable) -> None:
    wearable.imu.plug()
    wearable.imu.stall()
    done = wearable.look("--sensors", "audio")
    assert (done.returncode, done.stdout) == (3, "")
    told = "no usable audio device: plug one in, or see mmg at work without: mmg-run --demo"
    assert done.stderr == f"mmg-devices: {told}\n"
    done = wearable.look("--sensors", "imu", "--seconds", "0.5")
    [imu] = [line for line in done.stdout.splitlines() if str(wearable.imu.link) in line]
    assert "  -  silent for 0.5 s: " in imu


@pytest.mark.parametrize(
    "arguments",
    [["--sensors", "ppg"], ["--sensors", ""], ["--seconds", "0"], ["--seconds", "long"], ["--colour"]],
)
def test_a_wrong_flag_is_exit_code_2(wearable: Wearable, arguments: list[str]) -> None:
    done = wearable.look(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "mmg-devices: error: " in done.stderr


def test_control_c_ends_it_with_a_line(wearable: Wearable) -> None:
    wearable.imu.plug()
    wearable.imu.stall()
    command = [sys.executable, "-m", "mmg.cli.devices", "--sensors", "imu", "--seconds", "60"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=wearable.environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "listening on " in process.stderr.readline()
        # SIGTERM is taken as Ctrl-C; SIGINT is ignored here where the tests run in a shell's background.
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 130
        assert (process.stderr.read(), process.stdout.read()) == ("mmg-devices: stopped\n", "")


RECORD_OPENED = """
import os, sys
opened = []
def note(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        opened.append(os.fsdecode(arguments[0]))
sys.addaudithook(note)
from pathlib import Path
from mmg.sources.ports import discovery
root = Path(sys.argv[1])
found = [*discovery.find_devices(kinds=["video"], root=root), *discovery.find_devices(kinds=["video"])]
print([one.device for one in found][:1], {"av", "numpy"} & set(sys.modules))
print([path for path in opened if "dev/video" in path])
print(str(root / "sys/class/video4linux/video0/name") in opened)
"""


def test_no_camera_is_ever_opened(tmp_path: Path) -> None:
    folder = tmp_path / "sys/class/video4linux/video0"
    folder.mkdir(parents=True)
    (tmp_path / "dev").mkdir()
    for path, text in ((folder / "name", "Wrist Cam"), (folder / "index", "0"), (tmp_path / "dev/video0", "")):
        path.write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", RECORD_OPENED, str(tmp_path)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout == "['Wrist Cam'] set()\n[]\nTrue\n", done.stderr


def test_a_camera_that_the_profile_forbids_is_shown_and_never_advised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    watch = tmp_path / "watch.toml"
    watch.write_text('name = "watch"\ndescription = "made"\n[privacy]\nvideo = "never"\n')
    camera = Found("video", "camera:///dev/video0", "Wrist Cam")
    monkeypatch.setattr("mmg.sources.ports.discovery.find_devices", lambda **_: [camera])
    assert main(["--sensors", "video", "--profile", str(watch)]) == 3
    shown = capsys.readouterr()
    assert shown.out == "video  Wrist Cam  -  stays off: privacy.video of profile watch is never\n"
    assert shown.err == "mmg-devices: no usable video device\n"


def test_help_teaches_and_loads_no_numpy() -> None:
    code = "import sys; from mmg.cli.devices import main\ntry: main(['--help'])\nfinally: print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.endswith("130 stopped by Ctrl-C\nFalse\n")
    for word in ("MMG_SERIAL=", "--json | jq", "never opened"):
        assert word in done.stdout
