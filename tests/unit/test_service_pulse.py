"""What a run tells its service manager, on a real socket."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from mmg.runs.step import Step
from mmg.service.notify import LONGEST_STATUS, Pulse, ServiceManager, one_line
from mmg.types import Decision

STEP = Step(0, (), {})


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


@pytest.fixture
def pulse(manager: Manager) -> Iterator[Pulse]:
    made = Pulse(ServiceManager(manager.address))
    yield made
    made.close()


def decision(label: str = "walking") -> Decision:
    return Decision(3, 2.0, label, 0.914, {label: 0.914}, ("imu", "audio"), {}, ())


def test_it_is_ready_at_the_first_step_and_once(manager: Manager, pulse: Pulse) -> None:
    take = pulse.before(None)
    assert manager.heard() == []
    take(STEP)
    take(STEP)
    assert manager.heard() == ["READY=1", "WATCHDOG=1", "STATUS=listening"]


def test_each_hop_feeds_the_watchdog_and_an_engine_that_stands_still_does_not(manager: Manager, pulse: Pulse) -> None:
    ends_ns, taken = [0], list[Step]()
    pulse.follow(lambda: ends_ns[-1])
    take = pulse.before(taken.append)
    take(STEP)
    manager.heard()
    for end_ns in (500, 500, 500, 1000):
        ends_ns.append(end_ns)
        take(STEP)
    assert manager.heard() == ["WATCHDOG=1", "WATCHDOG=1"]
    for _ in range(1000):
        take(STEP)
    assert manager.heard() == []
    assert len(taken) == 1005


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
