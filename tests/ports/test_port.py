"""The life of a port's thread: it tells what went wrong, goes on, and is silent once it is closed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
import pytest
from mmg.errors import SourceLost
from mmg.sources.ports import port
from mmg.sources.ports.port import PortStatus, PortThread
from mmg.streams import HopGrid
from mmg.types import Chunk

PATIENCE_S = 5.0
CHUNK = Chunk("imu", np.zeros((1, 6), np.float32), np.zeros(1, np.int64))

Step: TypeAlias = "Callable[[Scripted], object]"


class Scripted(PortThread):
    """Plays one session after another, each of them steps, and the last one for ever."""

    CLOSE_S = 0.2

    def __init__(self, *sessions: Sequence[Step]) -> None:
        super().__init__("scripted://x", "imu")
        self.sessions = list(sessions)
        self.stopping, self.ended = self._stopping, threading.Event()

    def give(self) -> None:
        self._deliver(CHUNK)

    def _session(self) -> None:
        session = self.sessions.pop(0) if len(self.sessions) > 1 else self.sessions[0]
        for step in session:
            step(self)
        self.ended.set()


def rest(scripted: Scripted) -> None:
    scripted.stopping.wait()


def give(scripted: Scripted) -> None:
    scripted.give()


def lose(error: Exception) -> Step:
    def session(scripted: Scripted) -> None:
        scripted.status = PortStatus(connected=True, reason="", device="it", losses=(("gaps", 3),), drift_ppm=5.0)
        raise error

    return session


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SourceLost("scripted://x", "unplugged"), "unplugged"),
        (ZeroDivisionError("by zero"), "failed: ZeroDivisionError: by zero"),
    ],
)
def test_a_lost_device_is_told_with_all_that_it_lost_and_looked_for_again(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    monkeypatch.setattr(port, "RETRY_S", 0.01)
    back, told = threading.Event(), list[PortStatus]()
    scripted = Scripted([lose(error)], [lambda _: back.set(), rest])
    scripted.start(lambda _: None, None, lambda: told.append(scripted.status))
    assert back.wait(PATIENCE_S)
    assert [status.reason for status in told] == [reason]
    assert scripted.status == PortStatus(connected=False, reason=reason, device="it", losses=(("gaps", 3),))
    scripted.close()


def test_what_a_device_still_holds_is_delivered_when_its_port_is_closed_and_nothing_later() -> None:
    heard: list[Chunk] = []
    resting = threading.Event()
    scripted = Scripted([give, lambda _: resting.set(), rest, give])
    scripted.start(heard.append)
    assert resting.wait(PATIENCE_S)
    scripted.close()
    assert len(heard) == 2
    assert scripted.ended.wait(PATIENCE_S)
    assert len(heard) == 2


def test_a_thread_that_a_driver_holds_is_left_behind_and_stays_silent() -> None:
    driver, heard = threading.Event(), list[Chunk]()
    scripted = Scripted([lambda _: driver.wait(), give])
    scripted.start(heard.append)
    started_s = time.monotonic()
    scripted.close()
    assert 0.2 <= time.monotonic() - started_s < 1
    driver.set()
    assert scripted.ended.wait(PATIENCE_S)
    assert heard == []


def test_a_port_that_was_never_started_can_be_closed() -> None:
    scripted = Scripted([rest])
    scripted.close()
    scripted.close()


def test_a_port_that_was_closed_before_it_was_ever_started_delivers_once_it_is() -> None:
    heard = threading.Event()
    scripted = Scripted([give, lambda scripted: scripted._stopping.wait()])
    scripted.close()
    scripted.start(lambda _: heard.set())
    assert heard.wait(PATIENCE_S)
    scripted.close()


def test_a_port_that_was_closed_starts_again_and_keeps_what_it_lost() -> None:
    heard, given = list[Chunk](), threading.Semaphore(0)

    def rest_now(scripted: Scripted) -> None:
        given.release()
        scripted._stopping.wait()

    def count(scripted: Scripted) -> None:
        scripted.status = PortStatus(connected=True, reason="", device="it", losses=(("gaps", 3),))

    scripted = Scripted([count, give, rest_now], [give, rest_now])
    for turn in (1, 2):
        scripted.start(heard.append)
        assert given.acquire(timeout=PATIENCE_S)
        assert len(heard) == turn
        assert scripted.status.losses == (("gaps", 3),)
        scripted.close()


def test_a_port_whose_driver_still_holds_its_thread_is_not_started_again() -> None:
    driver, heard = threading.Event(), list[Chunk]()
    scripted = Scripted([lambda _: driver.wait(), give], [give, lambda one: one._stopping.wait()])
    scripted.start(heard.append)
    scripted.close()
    with pytest.raises(SourceLost, match="its driver does not let go of it"):
        scripted.start(heard.append)
    driver.set()
    assert scripted.ended.wait(PATIENCE_S)
    assert heard == [], "what was let go late is silent"


class Resting(PortThread):
    """Rests once, after a sample of now."""

    def __init__(self) -> None:
        super().__init__("scripted://x", "imu")
        self.resting, self.ended, self.newest_ns = threading.Event(), threading.Event(), 0

    def _session(self) -> None:
        self.newest_ns = time.monotonic_ns()
        self.resting.set()
        while not self.ended.is_set():
            if not self._rest(self.newest_ns, 3600.0):
                self.ended.set()


@pytest.fixture
def resting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resting]:
    monkeypatch.setattr(port, "REST_S", 3600.0)
    started = Resting()
    started.start(lambda _: None, HopGrid(time.monotonic_ns(), 3600 * 10**9))
    assert started.resting.wait(PATIENCE_S)
    yield started
    started.close()


def test_a_rest_ends_when_samples_are_wanted_sooner(resting: Resting) -> None:
    resting.want(resting.newest_ns + 1)
    assert resting.ended.wait(PATIENCE_S)


def test_a_rest_ends_when_the_port_is_closed(resting: Resting) -> None:
    resting.close()
    assert resting.ended.wait(PATIENCE_S)


def test_a_rest_is_not_cut_for_less_than_a_millisecond() -> None:
    rests, until_ns = Resting(), 10**12
    rests._rests_until_ns = until_ns
    rests.want(until_ns - port.SOONER_NS)
    assert not rests._called.is_set()
    rests.want(until_ns - port.SOONER_NS - 1)
    assert rests._called.is_set()


def test_a_port_whose_driver_holds_what_was_wanted_a_hop_ago_does_not_rest() -> None:
    rests, now_ns = Resting(), time.monotonic_ns()
    rests._hop_ns = 3600 * 10**9
    rests.want(now_ns + rests._hop_ns)
    assert rests._rest(now_ns, 0.001)
    assert not rests._rest(now_ns - 1, 0.001)


@pytest.mark.parametrize(("newest", "wanted"), [(-5000, 40), (39, 40), (40, 540), (539, 540), (540, 1040)])
def test_samples_are_wanted_a_hop_after_those_that_the_engine_asked_for(newest: int, wanted: int) -> None:
    rests = Resting()
    rests._hop_ns = 500
    rests.want(40)
    assert rests._wanted_ns(newest) == wanted
