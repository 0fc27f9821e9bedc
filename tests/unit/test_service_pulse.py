"""What a run tells its service manager, on a real socket."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import signal_modality, write_tiny_bundle
from mmg.bundle import Bundle
from mmg.runs.live import LivePipeline
from mmg.runs.settings import Settings
from mmg.service.notify import LONGEST_STATUS, Pulse, ServiceManager, one_line
from mmg.types import Decision
from scripted import ScriptedPort


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0", 1))
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        """Every line since it was asked before."""
        lines: list[str] = []
        while True:
            try:
                lines += self.socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return lines


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify") if request.param == "path" else f"@mmg-{uuid.uuid4().hex}")
    yield made
    made.socket.close()


class Clock:
    ns = 7_000 * 10**9


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pulse(manager: Manager, clock: Clock) -> Iterator[Pulse]:
    made = Pulse(ServiceManager(manager.address), 0.5, lambda: clock.ns)
    yield made
    made.close()


def decision(label: str = "walking") -> Decision:
    return Decision(3, 2.0, label, 0.914, {label: 0.914}, ("imu", "audio"), {}, ())


def test_it_is_ready_at_the_first_turn_and_once(manager: Manager, pulse: Pulse) -> None:
    assert manager.heard() == []
    pulse.beat()
    pulse.beat()
    assert manager.heard() == ["READY=1", "WATCHDOG=1", "STATUS=listening"]


def test_each_hop_feeds_the_watchdog_once_however_often_the_engine_turns(
    manager: Manager, pulse: Pulse, clock: Clock
) -> None:
    pulse.beat()
    manager.heard()
    for _ in range(8):
        clock.ns += 250_000_000
        pulse.beat()
        pulse.beat()
    assert manager.heard() == ["WATCHDOG=1"] * 4


def test_a_run_tells_its_manager_and_no_child_of_its_could_from_the_very_begin(manager: Manager) -> None:
    code = (
        "import os, sys\n"
        "from mmg.cli import run\n"
        "was = run.named_sensors\n"
        "def named(*given):\n"
        "    assert 'NOTIFY_SOCKET' not in os.environ\n"
        "    return was(*given)\n"
        "run.named_sensors = named\n"
        "sys.exit(run.main(sys.argv[1:]))"
    )
    environment = os.environ | {"NOTIFY_SOCKET": manager.address}
    words = [sys.executable, "-c", code, "--demo", "--duration", "1"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    heard = manager.heard()
    assert (heard[0], heard[-2:]) == ("READY=1", ["STOPPING=1", "STATUS=stopping"])


class StuckError(Exception):
    """In place of a hop that never ends."""


def test_a_live_run_without_any_sample_beats_and_an_engine_that_stands_still_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats, turns = 0, 0

    def beat() -> None:
        nonlocal beats
        beats += 1

    def step() -> list[Decision]:
        nonlocal turns
        turns += 1
        if turns == 3:
            raise StuckError
        return []

    with Bundle.open(write_tiny_bundle(tmp_path / "tiny", signal_modality())) as bundle:
        pipeline = LivePipeline(bundle, [ScriptedPort("imu")], Settings())
        pipeline.beat = beat
        monkeypatch.setattr(pipeline, "step", step)
        monkeypatch.setattr("mmg.runs.live.LONGEST_WAIT_S", 0.0)
        with pytest.raises(StuckError):
            next(iter(pipeline))
        pipeline.close()
    assert (beats, turns) == (3, 3)


def test_the_newest_decision_is_its_status_and_it_says_when_it_stops(manager: Manager, pulse: Pulse) -> None:
    pulse.decided(decision())
    assert manager.heard()[3:] == ["STATUS=walking 91% from imu, audio"]
    pulse.stopping()
    assert manager.heard() == ["STOPPING=1", "STATUS=stopping"]


@pytest.mark.parametrize("label", ["a\nMAINPID=1", "a\r\nWATCHDOG=trigger", "\x1b[31mred", "a\0b", "\udcff", "x" * 500])
def test_no_label_can_say_anything_else_to_the_manager(manager: Manager, pulse: Pulse, label: str) -> None:
    pulse.beat()
    manager.heard()
    pulse.decided(decision(label))
    [line] = manager.heard()
    assert line.startswith("STATUS=")
    assert line.isprintable()
    assert len(line) <= LONGEST_STATUS + len("STATUS=")


def test_a_short_line_stays_as_it_is() -> None:
    assert one_line("wäsche, 91 %") == "wäsche, 91 %"


def test_a_manager_that_takes_nothing_holds_nothing_up(manager: Manager) -> None:
    teller = ServiceManager(manager.address)
    for _ in range(2000):  # many times what its socket holds
        teller.tell("STATUS=" + "x" * 1000)
    teller.close()
    assert manager.heard()


@pytest.mark.parametrize("address", ["/nowhere/notify", "@nobody-listens-here", "/tmp/a\0b", "x" * 500])
def test_a_manager_that_is_not_there_costs_nothing(address: str) -> None:
    manager = ServiceManager(address)
    manager.tell("READY=1")
    manager.close()
