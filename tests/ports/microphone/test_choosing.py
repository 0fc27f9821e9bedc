"""Which device and which channels a URL names, and what is told of one that cannot be had."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from mmg.bundle.manifest import Channel, Modality
from mmg.errors import BackendUnavailable, ConfigError
from mmg.sources.ports.microphone.device import Microphone
from mmg.sources.ports.microphone.lookout import Sight
from mmg.sources.ports.microphone.port import MicrophonePort, list_microphones
from mmg_tools.virtual.microphone import AlsaMicrophone
from ports.microphone.sounds import (
    ENCODER,
    RATE_HZ,
    SOUND,
    Listener,
    run_python,
    until,
)
from recordings import need_ports

need_ports()


def test_devices_are_listed_with_what_a_url_needs(device: AlsaMicrophone) -> None:
    assert list_microphones() == ([], None)
    device.plug()
    there, default = list_microphones()
    assert [(one.number, one.name, one.rate_hz) for one in there] == [
        (0, "wrist_mic", RATE_HZ),
        (1, "default", RATE_HZ),
    ]
    assert default == 1


@pytest.mark.parametrize("name", ["0", "WRIST", "wrist_mic", "wrist%5Fmic"])
def test_a_device_is_found_by_number_and_by_part_of_its_name(
    device: AlsaMicrophone, listener: Listener, name: str
) -> None:
    device.plug()
    port = listener.open(f"mic://{name}?block_ms=10&latency=60")
    listener.hear(0.02)
    assert port.status.device == "wrist_mic, 16000 Hz, 1 ch"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mic://T", "several match: give more of the name, or the number: 0 is 'wrist_mic', 1 is 'default'"),
        ("mic://chest", "not plugged in (0 is 'wrist_mic', 1 is 'default')"),
        ("mic://7", "not plugged in (0 is 'wrist_mic', 1 is 'default')"),
        ("mic://default?rate=2000", "cannot be opened: Error opening RawInputStream: Invalid sample rate"),
    ],
)
def test_a_device_that_cannot_be_had_says_why(
    device: AlsaMicrophone, listener: Listener, url: str, reason: str
) -> None:
    device.plug()
    port = listener.open(url)
    until(lambda: port.status.reason != "looking for the device")
    assert (port.status.connected, port.status.reason) == (False, reason)


@pytest.mark.parametrize("option", ["channel=3", "channels=3"])
def test_a_channel_that_the_device_does_not_have_is_refused(
    device: AlsaMicrophone, listener: Listener, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = Sight([Microphone(0, "wrist_mic", 2, 16000.0)], 0)  # ALSA's plug plugin would make as many as are asked for
    monkeypatch.setattr("mmg.sources.ports.microphone.port._seen_by", lambda _: two)
    device.plug()
    port = listener.open(f"mic://wrist?{option}")
    until(lambda: port.status.reason == f"{option}: 'wrist_mic' has 2 channels")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("mic://default?volume=3", "unknown option 'volume'"),
        ("mic://default?gain=-3", "must be 0 to 60"),
        ("mic://default?channel=0", "must be 1 to 128"),
        ("mic://default?channel=1&channels=2", "give one of the two"),
        ("mic://default?rate=fast", "must be a number"),
        ("mic://default?channels=0", "must be 1 to 128"),
        ("mic://default?block_ms=0", "must be 1 to 1000"),
        ("mic://", "names nothing"),
    ],
)
def test_a_url_that_cannot_be_is_refused_before_anything_is_opened(url: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        MicrophonePort(url, SOUND)


def test_a_microphone_is_no_imu() -> None:
    acceleration = Modality(
        name="imu", kind="signal", rate_hz=50, channels=(Channel(name="ax", unit="m/s^2"),), encoder=ENCODER
    )
    with pytest.raises(ConfigError, match="does not give imu"):
        MicrophonePort("mic://default", acceleration)


def test_without_sounddevice_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    for use in (list_microphones, lambda: MicrophonePort("mic://default", SOUND)):
        with pytest.raises(BackendUnavailable, match="pip install soundfile soxr sounddevice"):
            use()


def test_without_portaudio_the_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from mmg.sources.ports.microphone.port import list_microphones\n"
        "list_microphones()"
    )
    ended = run_python(code)
    assert ended.stderr.splitlines()[-1] == (
        "mmg.errors.SourceError: mic://: PortAudio is missing: sudo apt-get install libportaudio2"
    )


def test_the_module_alone_does_not_load_sounddevice() -> None:
    ended = run_python("import sys, mmg.sources.ports.microphone.port; print('sounddevice' in sys.modules)")
    assert ended.stdout == "False\n", ended.stderr
