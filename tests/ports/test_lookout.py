"""Looking for microphones where PortAudio crashes, hangs or lacks something: it costs a line, and never the process."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmg.errors import SourceError
from mmg.sources.ports.discovery import Found, find_devices
from mmg.sources.ports.microphone import lookout
from mmg.sources.ports.microphone.device import Microphone
from mmg.sources.ports.microphone.lookout import Lookout, Sight
from mmg.sources.ports.microphone.port import MicrophonePort, list_microphones
from ports.microphone.sounds import SOUND, until
from recordings import need_ports

need_ports()

SAYS = "import sys, json\nfor _ in sys.stdin:\n    print(json.dumps({'alsa': 'default device'}), flush=True)\n    "
SEES = "print(json.dumps({'devices': [[3, 'mic', 2, 48000.0]], 'default': 3}), flush=True)"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookout, "PATIENCE_S", 0.3)
    monkeypatch.setattr(lookout, "PAUSE_S", 0.05)


@pytest.fixture
def looking(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Lookout]]:
    monkeypatch.setattr(lookout, "PATIENCE_S", 2.0)
    monkeypatch.setattr(lookout, "PAUSE_S", 0.05)
    monkeypatch.delenv("ALSA_CONFIG_PATH", raising=False)
    made: list[Lookout] = []
    yield made
    for one in made:
        one.rest()


def scripted(looking: list[Lookout], code: str) -> Lookout:
    looking.append(Lookout((sys.executable, "-c", code)))
    return looking[-1]


def test_what_it_sees_is_told_and_one_process_looks_again_and_again(looking: list[Lookout]) -> None:
    one = scripted(looking, SAYS + SEES.replace("'mic'", "str(__import__('os').getpid())"))
    sights = [one.look("mic://x") for _ in range(3)]
    assert len({sight.microphones[0].name for sight in sights if sight}) == 1
    one.rest()
    another = one.look("mic://x")
    assert another is not None
    assert another != sights[0]
    assert another.microphones[0]._replace(name="") == Microphone(3, "", 2, 48000.0)
    assert another.default == 3


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        ("__import__('os').abort()", "no sound: ALSA has no default device: sudo apt-get install --reinstall "),
        ("sys.exit(3)", "no sound: ALSA has no default device: "),
        ("__import__('threading').Event().wait()", "no sound: the sound system does not answer"),
        ("print(json.dumps({'missing': 'no library'}), flush=True)", "PortAudio is missing: sudo apt-get install"),
        ("print(json.dumps({'problem': 'host error'}), flush=True)", "no sound: ALSA has no default device: "),
    ],
)
def test_whatever_happens_to_it_is_a_line(looking: list[Lookout], does: str, reason: str) -> None:
    one = scripted(looking, SAYS + does)
    for _ in range(2):
        with pytest.raises(SourceError) as caught:
            one.look("mic://x")
        assert str(caught.value).startswith(f"mic://x: {reason}")


def test_a_crash_that_alsa_does_not_explain_names_its_signal(looking: list[Lookout]) -> None:
    one = scripted(looking, "import os, sys\nsys.stdin.readline()\nos.abort()")
    with pytest.raises(SourceError, match="no sound: PortAudio ended with SIGABRT: sudo apt-get install"):
        one.look("mic://x")


def test_each_failure_is_followed_by_a_longer_pause(looking: list[Lookout], monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(lookout, "time", SimpleNamespace(sleep=pauses.append, monotonic=lambda: sum(pauses)))
    monkeypatch.setattr(lookout, "POLL_S", 100.0)
    one = scripted(looking, "")
    for _ in range(12):
        with pytest.raises(SourceError):
            one.look("mic://x")
    assert pauses == pytest.approx([0.05 * 2 ** min(number, 6) for number in range(11)])


def test_a_look_that_hangs_ends_with_its_port(looking: list[Lookout], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookout, "PATIENCE_S", 60.0)
    one = scripted(looking, "import sys, threading\nsys.stdin.readline()\nthreading.Event().wait()")
    began_s, asked = time.monotonic(), iter(range(100))
    assert one.look("mic://x", lambda: next(asked) > 2) is None
    assert time.monotonic() - began_s < 2


def test_without_a_process_to_be_had_there_is_a_line(looking: list[Lookout]) -> None:
    looking.append(Lookout(("/nowhere/python",)))
    with pytest.raises(SourceError, match="no process can be started to look for microphones: No such file"):
        looking[-1].look("mic://x")


CONFIGURATIONS = {
    "is empty": ("", "ALSA has no configuration in {path}, which ALSA_CONFIG_PATH names: unset ALSA_CONFIG_PATH"),
    "has no default": ("pcm.other { type null }", "ALSA has no default device in {path}, which"),
    "is damaged": ("pcm.!default { type nul", "ALSA has no readable configuration in {path}, which"),
    "is not there": (None, "ALSA has no configuration in {path}, which"),
}


@pytest.mark.parametrize("which", CONFIGURATIONS)
def test_a_configuration_that_portaudio_cannot_bear_is_told_by_the_port_and_by_the_list(
    which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, (text, told) = tmp_path / "alsa.conf", CONFIGURATIONS[which]
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(path))
    reason = f"no sound: {told.format(path=path)}"
    with pytest.raises(SourceError) as caught:
        list_microphones()
    assert str(caught.value).startswith(f"mic://: {reason}")
    [found] = find_devices(kinds=("audio",))
    assert (found.url, found.device) == ("", "microphones")
    assert found.problem.startswith(reason)
    port = MicrophonePort("mic://default", SOUND)
    port.start(lambda _: None)
    until(lambda: port.status.reason.startswith(reason))
    port.close()


@pytest.mark.usefixtures("impatient")
def test_a_sound_system_that_hangs_is_told_and_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "fifo")  # without a writer, opening it never returns
    (tmp_path / "alsa.conf").write_text(
        f'pcm.hangs {{ type file  slave.pcm {{ type null }}  file "/dev/null"  infile "{tmp_path}/fifo" }}\n'
        "pcm.!default { type plug  slave.pcm hangs }\n"
    )
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "alsa.conf"))
    problem = "no sound: the sound system does not answer"
    assert find_devices(kinds=("audio",)) == [Found("audio", "", "microphones", problem=problem)]
    port = MicrophonePort("mic://default", SOUND)
    port.start(lambda _: None)
    until(lambda: port.status.reason == problem)
    began_s = time.monotonic()
    port.close()
    assert time.monotonic() - began_s < 2


def test_looking_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookout, "LOOKOUT", Lookout((sys.executable, "-c", SAYS + SEES)))
    monkeypatch.setattr("mmg.sources.ports.microphone.port.LOOKOUT", lookout.LOOKOUT)
    assert list_microphones() == Sight([Microphone(3, "mic", 2, 48000.0)], 3)
    assert lookout.LOOKOUT._process is None
