"""What a driver holds is taken when it is wanted, however slow its reads are."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mmg.sources.ports.microphone import portaudio
from mmg.sources.ports.microphone.port import MicrophonePort
from mmg.sources.ports.microphone.portaudio import LONGEST_S, Block, Capture
from mmg.sources.ports.microphone.sample_count import SampleCount
from ports.microphone.sounds import (
    RATE_HZ,
    SOUND,
)
from recordings import need_ports

need_ports()


class Driver:
    """A stream whose driver holds what has come by a scripted time, in blocks from the time 0 on.

    period: so many blocks come at once. tells: whether it tells how much it holds, which ALSA's virtual ones do not.
    """

    latency = 1.0

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *, period: int = 1, tells: bool = True, block_ms: int = 20
    ) -> None:
        self.now_ns, self.given, self.period, self.tells = 0, 0, period, tells
        self.block, self.block_ns = RATE_HZ * block_ms // 1000, block_ms * 1_000_000
        self.silences: list[tuple[int, int]] = []  # in ns: what is not heard in these comes later
        self.slow_ns = self.late_ns = self.read_ns = 0  # of the next read, of the next pause, of every read
        self.losses: set[int] = set()  # blocks before which an overrun is told
        self.overflows = 0  # so often read_available raises it
        self.pauses: list[float] = []
        self.reads: list[int] = []  # of how many blocks each was
        self.halted = False
        monkeypatch.setattr(portaudio, "time", SimpleNamespace(monotonic_ns=lambda: self.now_ns))
        self.capture = Capture("device", RATE_HZ, self.block)
        self.capture.stream = self

    @property
    def come(self) -> int:
        """Blocks that have come by now."""
        if self.halted:
            return self.given
        silent_ns = sum(max(min(self.now_ns, end) - begin, 0) for begin, end in self.silences)
        return (self.now_ns - silent_ns) // (self.block_ns * self.period) * self.period

    @property
    def read_available(self) -> int:
        if self.overflows:
            self.overflows -= 1
            raise importlib.import_module("sounddevice").PortAudioError("Input overflowed", -9981)
        return (self.come - self.given) * self.block if self.tells else 16320

    def read(self, samples: int) -> tuple[bytes, bool]:
        blocks = range(self.given + 1, self.given + 1 + samples // self.block)
        self.reads.append(len(blocks))
        self.halted = False  # PortAudio prepares a stream after an overrun, and starts it only at a read
        while self.come < blocks[-1]:
            self.now_ns += 100_000
            assert self.now_ns < 10**13, "this read would not return"
        self.given = blocks[-1]
        self.now_ns, self.slow_ns = self.now_ns + self.slow_ns + self.read_ns, 0
        return np.repeat(np.array(blocks, np.float32), self.block).tobytes(), not self.losses.isdisjoint(blocks)

    def pause(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        self.now_ns, self.late_ns = self.now_ns + round(seconds * 1e9) + self.late_ns, 0
        return False

    def take(self, wanted_ns: int = 0) -> Block:
        block = self.capture.take(wanted_ns, self.pause)
        assert block is not None
        return block

    def take_hops(self, hops: int, happens: Callable[[int], None] = lambda _: None) -> list[float]:
        """As the port does: take at each hop's end of 0.5 s. Returns by how much the newest sample was late, in ms."""
        late_ms = []
        self.take()
        for hop in range(hops):
            end_ns = 7_000_000 + (hop + 1) * 500_000_000
            self.now_ns = max(self.now_ns, end_ns)
            happens(hop)
            block = self.take(end_ns)
            while block.arrival_ns < end_ns:
                block = self.take(end_ns)
            late_ms.append((self.now_ns - self.block_ns * self.given) / 1e6)
        return late_ms


BLOCK_NS = 20_000_000


TELLING = pytest.mark.parametrize("tells", [True, False], ids=["telling", "virtual"])


@TELLING
def test_all_that_a_driver_holds_is_taken_and_then_the_block_that_is_wanted(
    monkeypatch: pytest.MonkeyPatch, tells: bool
) -> None:
    driver = Driver(monkeypatch, tells=tells)
    first = driver.take()
    assert (len(first.sound), first.end) == (320, 320)
    assert first.arrival_ns == pytest.approx(20_000_000, abs=1e6)
    driver.now_ns, driver.pauses, driver.reads = 505_000_000, [], []
    block = driver.take(530_000_000)
    assert (block.end, block.overrun) == (27 * 320, False)
    np.testing.assert_array_equal(block.sound[:, 0], np.repeat(np.arange(2, 28), 320))
    assert 0 <= block.arrival_ns - 540_000_000 < 1_000_000
    assert len(driver.pauses) <= 5, "it slept until the block was due"
    told, by_the_clock = [1, 2, 4, 8, 9, 1, 1], [1, 2, 4, 8, 4, 2, 1, 1, 1, 1, 1]
    assert driver.reads == (told if tells else by_the_clock), "what came meanwhile is read in few reads"


@TELLING
@pytest.mark.parametrize("slow_ms", [1, 5, 60])
def test_one_slow_read_delays_no_later_hop(monkeypatch: pytest.MonkeyPatch, tells: bool, slow_ms: int) -> None:
    driver = Driver(monkeypatch, tells=tells)

    def happens(hop: int) -> None:
        driver.slow_ns = slow_ms * 1_000_000 * (hop == 20)

    late_ms = driver.take_hops(40, happens)
    assert max(late_ms[:20] + late_ms[21:]) < 2
    assert late_ms[20] < 21


@TELLING
@pytest.mark.parametrize("block_ms", [10, 20])
@pytest.mark.parametrize("read_ms", [5, 6, 8])
def test_reads_that_are_all_slow_delay_no_hop_by_more_than_a_block(
    monkeypatch: pytest.MonkeyPatch, tells: bool, block_ms: int, read_ms: int
) -> None:
    driver = Driver(monkeypatch, tells=tells, block_ms=block_ms)
    driver.read_ns = read_ms * 1_000_000  # as where another thread keeps the interpreter
    assert max(driver.take_hops(40)) < block_ms + read_ms + 2, "a block and a read"


@TELLING
@pytest.mark.parametrize("block_ms", [10, 20])
def test_a_hop_of_slow_reads_delays_no_later_one(monkeypatch: pytest.MonkeyPatch, tells: bool, block_ms: int) -> None:
    driver = Driver(monkeypatch, tells=tells, block_ms=block_ms)

    def happens(hop: int) -> None:
        driver.read_ns = 8_000_000 * (hop == 20)

    late_ms = driver.take_hops(40, happens)
    assert max(late_ms[:20] + late_ms[21:]) < 2


@pytest.mark.parametrize("late_ms", [30, 120, 300])
def test_a_pause_that_oversleeps_delays_no_later_hop(monkeypatch: pytest.MonkeyPatch, late_ms: int) -> None:
    driver = Driver(monkeypatch)

    def happens(hop: int) -> None:
        driver.late_ns = late_ms * 1_000_000 * (hop == 20)

    late = driver.take_hops(40, happens)
    assert max(late[:20] + late[21:]) < 2
    assert late[20] < 21


@pytest.mark.parametrize("period", [2, 4, 13])
def test_of_a_driver_with_long_periods_all_is_taken_that_has_come(monkeypatch: pytest.MonkeyPatch, period: int) -> None:
    driver = Driver(monkeypatch, period=period)
    count, errors_ms = SampleCount(RATE_HZ), list[float]()
    for hop in range(40):
        wanted_ns = 7_000_000 + hop * 500_000_000
        driver.now_ns = max(driver.now_ns, wanted_ns)
        times_ns, lost = count.place(driver.take(wanted_ns))
        assert not lost
        assert driver.given == driver.come, "the newest of what came at once, not the first"
        errors_ms.append((int(times_ns[-1]) - BLOCK_NS * driver.given) / 1e6)
    assert np.abs(errors_ms[5:]).max() < 2
    assert len(driver.pauses) < 40 * 2 * period, "it sleeps until a period is over"


def test_a_block_that_has_begun_dates_the_one_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(monkeypatch)
    driver.take()
    # Some sound chips tell within a period how far they are.
    fine = property(lambda self: self.now_ns * 16 // 1_000_000 - self.given * 320)
    monkeypatch.setattr(Driver, "read_available", fine)
    driver.late_ns = 50_000_000
    block = driver.take()
    assert block.arrival_ns == pytest.approx(block.end / RATE_HZ * 1e9, abs=1e5)
    assert driver.now_ns - block.arrival_ns > 5_000_000


@TELLING
@pytest.mark.parametrize("after_ms", [100, 300, 460])
def test_sound_before_a_silence_is_stamped_when_it_came(
    monkeypatch: pytest.MonkeyPatch, tells: bool, after_ms: int
) -> None:
    driver, count = Driver(monkeypatch, tells=tells), SampleCount(RATE_HZ)
    for hop in range(5):
        driver.now_ns = max(driver.now_ns, hop * 500_000_000)
        count.place(driver.take(hop * 500_000_000))
    silent_ns = BLOCK_NS * driver.given + after_ms * 1_000_000
    driver.silences, first = [(silent_ns, silent_ns + 800_000_000)], driver.given
    driver.now_ns = BLOCK_NS * driver.given + 480_000_000
    sound, times_ns = [np.empty(0, np.float32)], [np.empty(0, np.int64)]
    while len(sound) < 3 or driver.now_ns < silent_ns + 900_000_000:
        block = driver.take(driver.now_ns)
        sound.append(block.sound[:, 0])
        times_ns.append(count.place(block)[0])
    numbers, ends_ns = np.concatenate(sound)[::320], np.concatenate(times_ns)[319::320]
    np.testing.assert_array_equal(numbers, np.arange(first + 1, driver.given + 1))
    before = numbers * BLOCK_NS <= silent_ns
    assert before.sum() == after_ms // 20
    assert np.abs(ends_ns - numbers * BLOCK_NS)[before].max() < 5e6


def test_what_a_driver_tells_of_before_a_silence_is_given_without_that_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver = Driver(monkeypatch)
    driver.take()
    driver.silences = [(300_000_000, 1_000_000_000)]
    driver.now_ns = 400_000_000
    before = driver.take(400_000_000)
    assert (before.end, before.overrun) == (15 * 320, False)
    assert before.arrival_ns == pytest.approx(300_000_000, abs=5e6)
    after = driver.take(400_000_000)
    assert after.sound[0, 0] == 16
    assert after.arrival_ns == pytest.approx(1_020_000_000 + BLOCK_NS * (after.end // 320 - 16), abs=2e6)


@TELLING
def test_after_an_overrun_in_a_long_rest_the_first_block_is_waited_for_alone(
    monkeypatch: pytest.MonkeyPatch, tells: bool
) -> None:
    driver = Driver(monkeypatch, tells=tells)
    driver.take()
    driver.now_ns = 2_000_000_000
    driver.given, driver.losses = driver.come, {driver.come + 1}  # what the driver held is gone
    driver.reads = []
    block = driver.take()
    assert block.overrun
    assert driver.reads[0] == 1
    assert driver.now_ns < 2_050_000_000


@TELLING
def test_sound_before_an_overrun_is_stamped_before_it(monkeypatch: pytest.MonkeyPatch, tells: bool) -> None:
    driver = Driver(monkeypatch, tells=tells)
    count = SampleCount(RATE_HZ)
    for hop in range(5):
        driver.now_ns = max(driver.now_ns, hop * 500_000_000)
        count.place(driver.take(hop * 500_000_000))
    first = driver.given
    driver.losses, gone_ns = {first + 6}, BLOCK_NS * (first + 5)
    driver.silences = [(gone_ns, gone_ns + 90_000_000)]
    driver.now_ns = gone_ns + 10_000_000
    before, _ = count.place(driver.take(driver.now_ns))
    assert len(before) == 5 * 320
    assert abs(int(before[-1]) - gone_ns) < 2e6
    after, lost = count.place(driver.take(driver.now_ns))
    assert lost == pytest.approx(0.09 * RATE_HZ, abs=0.003 * RATE_HZ)
    assert abs(int(after[-1]) - driver.now_ns) < 2e6


def test_a_stream_that_halts_after_an_overrun_is_read_from_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(monkeypatch)
    driver.take()
    driver.halted, driver.overflows = True, 1
    block = driver.take()
    assert block.overrun
    assert driver.now_ns < 300_000_000


def test_another_error_than_an_overrun_is_a_device_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(monkeypatch)
    error = importlib.import_module("sounddevice").PortAudioError

    def gone(_: Driver) -> int:
        raise error("Unanticipated host error", -9999)

    monkeypatch.setattr(Driver, "read_available", property(gone))
    with pytest.raises(error):
        driver.take()


@TELLING
def test_a_feed_without_end_is_taken_in_parts(monkeypatch: pytest.MonkeyPatch, tells: bool) -> None:
    driver = Driver(monkeypatch, tells=tells)
    driver.take()
    driver.now_ns = 3600 * 10**9
    assert len(driver.take().sound) / RATE_HZ == LONGEST_S


def test_a_wait_ends_when_the_port_is_closed_with_what_had_come(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(monkeypatch)
    assert driver.capture.take(0, lambda _: True) is None
    driver.now_ns = 205_000_000
    block = driver.capture.take(10**12, lambda _: True)
    assert block is not None
    assert block.end == 10 * 320


@pytest.mark.parametrize(("held_s", "hop_s", "rests_s"), [(2.0, 10.0, 0.5), (0.4, 10.0, 0.3), (0.06, 0.5, 0.03)])
def test_a_driver_is_left_alone_no_longer_than_it_holds_the_sound(
    monkeypatch: pytest.MonkeyPatch, held_s: float, hop_s: float, rests_s: float
) -> None:
    port = MicrophonePort("mic://default", SOUND)
    wanted, now = list[int](), [10**12]
    waits = rest_by(port, now, monkeypatch)
    given = [0]

    def take(wanted_ns: int, _pause: Callable[[float], bool]) -> Block | None:
        wanted.append(wanted_ns)
        before, given[0] = given[0], round((now[0] - 10**12) * RATE_HZ / 1e9) + 320
        sound = np.zeros((given[0] - before, 1), np.float32)
        return Block(sound, given[0], now[0], False) if len(wanted) < 6 else None

    capture: Any = SimpleNamespace(device="it", rate_hz=RATE_HZ, held_s=held_s, take=take)
    port._capture, port._hop_ns = capture, round(hop_s * 1e9)
    port.want(now[0] + port._hop_ns)
    port._listen(capture)
    assert waits == pytest.approx([rests_s] * 5)
    assert wanted == [0] * 6, "the hop is longer than what it holds: all is taken meanwhile"


def rest_by(port: MicrophonePort, now: list[int], monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let a rest move this clock; returns how long each was."""
    waits = list[float]()

    def wait(seconds: float) -> None:
        waits.append(seconds)
        now[0] += round(seconds * 1e9)

    called: Any = SimpleNamespace(wait=wait, clear=lambda: None)
    port._called = called
    monkeypatch.setattr(time, "monotonic_ns", lambda: now[0])
    return waits
