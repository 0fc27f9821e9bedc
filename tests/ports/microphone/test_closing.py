"""A port that is closed delivers what was held, and no device keeps a process from its end."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmg.sources.ports.microphone.port import MicrophonePort
from mmg.sources.ports.microphone.portaudio import Capture, PortAudio
from mmg.streams.grid import HopGrid
from mmg_tools.virtual.microphone import AlsaMicrophone
from ports.microphone.sounds import (
    PATIENCE_S,
    SOUND,
    Listener,
    run_python,
    until,
)
from recordings import need_ports

need_ports()


@pytest.mark.realtime
def test_what_a_driver_holds_is_delivered_when_the_port_is_closed(device: AlsaMicrophone, listener: Listener) -> None:
    device.plug()
    port = MicrophonePort("mic://default?latency=2000", SOUND)
    listener.ports.append(port)
    port.start(listener.chunks.put, HopGrid(time.monotonic_ns() - 10**9, 3600 * 10**9))
    heard_ns = int(listener.hear(0.6)[-1].times_ns[-1])
    until(lambda: time.monotonic_ns() - heard_ns > 300_000_000)
    listener.forget()
    closed_ns = time.monotonic_ns()
    port.close()
    newest_ns = int(listener.hear(0.02)[-1].times_ns[-1])
    assert abs(closed_ns - newest_ns) < 100e6


def test_closing_does_not_hang_on_a_device_that_does(device: AlsaMicrophone, listener: Listener) -> None:
    device.plug()
    port = listener.open("mic://default")
    listener.hear(0.1)
    device.stall()
    started_s = time.monotonic()
    port.close()
    assert time.monotonic() - started_s < 2
    port.close()
    listener.forget()
    assert listener.chunks.empty()
    device.resume()
    listener.open("mic://default")
    assert listener.hear(0.1)


HELD_AT_EXIT = """
import sys
from pathlib import Path
import numpy as np
from mmg_tools.virtual.microphone import AlsaMicrophone
from ports.microphone import sounds as t
device = AlsaMicrophone(Path(sys.argv[1]), t.tone(1))
device.plug()
listener = t.Listener()
port = listener.open("mic://default")
listener.hear(0.1)
device.stall()
if sys.argv[2] == "after the watchdog":
    t.until(lambda: not port.status.connected)
port.close()
print("closed", flush=True)
"""


@pytest.mark.parametrize("when", ["at once", "after the watchdog"])
def test_a_process_ends_though_the_device_holds_portaudio(tmp_path: Path, when: str) -> None:
    ended = run_python(HELD_AT_EXIT, tmp_path, when, ALSA_CONFIG_PATH=str(tmp_path / "asound.conf"))
    assert (ended.returncode, ended.stdout) == (0, "closed\n"), ended.stderr


def test_what_is_opened_too_late_is_closed_before_a_process_may_end() -> None:
    """Else the interpreter ends under a call of PortAudio's, and crashes."""
    audio, opened, returned = PortAudio(), threading.Event(), threading.Event()
    was_early: list[bool] = []
    opening = audio.ask(opened.wait)
    opening.add_done_callback(lambda _: audio.ask(lambda: was_early.append(returned.wait(0.3))))

    def end() -> None:
        audio.give_time_to_close(PATIENCE_S)
        returned.set()

    ending = threading.Thread(target=end)
    ending.start()
    opened.set()
    ending.join()
    assert was_early == [False]


def test_a_stream_that_cannot_be_started_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def start() -> None:
        raise OSError("start")

    stream = SimpleNamespace(start=start, close=lambda: calls.append("close"))
    sounddevice = SimpleNamespace(RawInputStream=lambda **_: stream, _libname="no such library")
    monkeypatch.setitem(sys.modules, "sounddevice", sounddevice)
    with pytest.raises(OSError, match="start"):
        PortAudio().open(Capture("device", 16000.0, 320), latency_s=1.0)
    assert calls == ["close"]
