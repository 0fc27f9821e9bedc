"""The microphone port on a device that PortAudio takes for real: exact sound, true times, and every way to lose it.

ALSA's file plugin cannot overrun: there PortAudio's own flag is handed to the callback.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np
import pytest
from mmg.bundle.manifest import Channel, Encoder, Modality, Tensor
from mmg.errors import BackendUnavailable, ConfigError
from mmg.sources.ports.microphone import portaudio
from mmg.sources.ports.microphone.device import Microphone
from mmg.sources.ports.microphone.lookout import Sight
from mmg.sources.ports.microphone.port import MicrophonePort, list_microphones
from mmg.sources.ports.microphone.portaudio import LONGEST_S, Block, Capture, PortAudio
from mmg.sources.ports.microphone.sample_count import SampleCount
from mmg.streams.grid import HopGrid
from mmg.types import Chunk
from mmg_tools.virtual.microphone import AlsaMicrophone
from numpy.typing import NDArray
from recordings import need_ports

RATE_HZ = 16000
ENCODER = Encoder(
    kind="streaming",
    tokens_per_hop=1,
    input=Tensor(name="sound", shape=(1, 8000, 1)),
    output=Tensor(name="tokens", shape=(1, 1, 8)),
    files=(),
)
SOUND = Modality(
    name="audio", kind="audio", rate_hz=RATE_HZ, channels=(Channel(name="sound", unit="1"),), encoder=ENCODER
)
PATIENCE_S = 8.0
MakeDevice: TypeAlias = Callable[[NDArray[np.int16], int], AlsaMicrophone]

need_ports()


def tone(seconds: float, rate_hz: int = RATE_HZ, channels: int = 1) -> NDArray[np.int16]:
    """440 Hz, ``(T, channels)``, with a little noise so that no two places are alike."""
    noise = np.random.default_rng(0).integers(-100, 100, (round(seconds * rate_hz), channels))
    wave = 8000 * np.sin(2 * np.pi * 440 * np.arange(len(noise)) / rate_hz)
    return (wave[:, None] + noise).astype(np.int16)


class Listener:
    """Opens ports and keeps what they deliver."""

    def __init__(self) -> None:
        self.chunks: queue.Queue[Chunk] = queue.Queue()
        self.ports: list[MicrophonePort] = []

    def open(self, url: str, modality: Modality = SOUND) -> MicrophonePort:
        port = MicrophonePort(url, modality)
        self.ports.append(port)
        port.start(self.chunks.put)
        return port

    def hear(self, seconds: float) -> list[Chunk]:
        """The next chunks, until they hold so much."""
        heard = [self.chunks.get(timeout=PATIENCE_S)]
        while sum(len(chunk.samples) / chunk.rate_hz for chunk in heard) < seconds:
            heard.append(self.chunks.get(timeout=PATIENCE_S))
        return heard

    def hear_on(self, seconds: float) -> list[Chunk]:
        """Chunks from a moment after the start, of whose sound a slow one loses some: the device waits for nobody."""
        self.hear(0.1)
        return self.hear(seconds)

    def forget(self) -> None:
        while not self.chunks.empty():
            self.chunks.get()


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    for port in listener.ports:
        port.close()


@pytest.fixture
def make_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeDevice]:
    """Makes a device that plays a sound at a rate. It is not plugged in yet."""
    made: list[AlsaMicrophone] = []

    def make(sound: NDArray[np.int16], rate_hz: int) -> AlsaMicrophone:
        made.append(AlsaMicrophone(tmp_path, sound, rate_hz))
        monkeypatch.setenv("ALSA_CONFIG_PATH", str(made[-1].config))
        monkeypatch.setenv("JACK_NO_START_SERVER", "1")
        return made[-1]

    yield make
    for device in made:
        device.close()


@pytest.fixture
def device(make_device: MakeDevice) -> AlsaMicrophone:
    return make_device(tone(6), RATE_HZ)


def until(happened: Callable[[], bool]) -> None:
    """Waits, and looks again."""
    deadline_s, pause = time.monotonic() + PATIENCE_S, threading.Event()
    while not happened():
        assert time.monotonic() < deadline_s, "it never happened"
        pause.wait(0.01)


def sound_of(chunks: list[Chunk]) -> NDArray[np.float32]:
    return np.concatenate([chunk.samples for chunk in chunks])


def times_of(chunks: list[Chunk]) -> NDArray[np.int64]:
    return np.concatenate([chunk.times_ns for chunk in chunks])


def place_in(played: NDArray[np.int16], heard: NDArray[np.float32]) -> int:
    """The sample of ``played`` at which ``heard`` begins."""
    place = played.tobytes().find(np.rint(heard[:200] * 32768).astype(np.int16).tobytes())
    assert place >= 0, "this was never played"
    return place // int(played[0].nbytes)


class Stream:
    """A running stream of PortAudio's, but for what a test makes of its reads."""

    def __init__(self, port: MicrophonePort, read: Callable[[Any, int], tuple[Any, bool]]) -> None:
        assert port._capture is not None, "not open"
        self._stream, self._read = port._capture.stream, read
        self.latency, self.close = self._stream.latency, self._stream.close
        port._capture.stream = self

    @property
    def read_available(self) -> int:
        return int(self._stream.read_available)

    def read(self, samples: int) -> tuple[Any, bool]:
        return self._read(self._stream, samples)


def ending(_stream: Any, _samples: int) -> tuple[Any, bool]:
    """As of a device that is gone."""
    raise importlib.import_module("sounddevice").PortAudioError("Unanticipated host error", -9999)


def test_a_tone_arrives_bit_exact_and_is_stamped_when_it_sounded(device: AlsaMicrophone, listener: Listener) -> None:
    device.plug()
    port = listener.open("mic://default")
    chunks = listener.hear_on(2.5)
    sound, times_ns = sound_of(chunks), times_of(chunks)
    first = place_in(tone(6), sound)
    np.testing.assert_array_equal(sound, tone(6)[first : first + len(sound)].astype(np.float32) / 32768)
    assert sound.dtype == np.float32
    assert {(chunk.rate_hz, chunk.dropped) for chunk in chunks} == {(RATE_HZ, 0)}

    assert (np.diff(times_ns) > 0).all()
    index = first + np.arange(len(sound))
    truth_ns = device.due_ns[0] + (index - device.block + 1) * (1e9 / RATE_HZ)
    late_ms = (times_ns - truth_ns)[2 * RATE_HZ :] / 1e6
    status = port.status
    assert np.abs(late_ms).max() < 5 * status.uncertainty_ms + status.jitter_ms
    assert status.uncertainty_ms < 2
    assert abs(status.drift_ppm) < 300
    assert (status.connected, status.reason, status.device) == (True, "", "default, 16000 Hz, 1 ch")
    assert status.losses == (("overruns", 0), ("samples", 0))


def test_the_devices_own_rate_is_taken_where_it_refuses_the_models(make_device: MakeDevice, listener: Listener) -> None:
    make_device(tone(2, 48000), 48000).plug()
    listener.open("mic://wrist")
    chunks = listener.hear_on(0.5)
    first = place_in(tone(2, 48000), sound_of(chunks))
    np.testing.assert_array_equal(sound_of(chunks) * 32768, tone(2, 48000)[first : first + len(sound_of(chunks))])
    assert {chunk.rate_hz for chunk in chunks} == {48000}


def test_all_channels_come_where_they_are_asked_for(make_device: MakeDevice, listener: Listener) -> None:
    played = tone(2, channels=2)
    make_device(played, RATE_HZ).plug()
    listener.open("mic://wrist_mic?channels=2&rate=16000")
    heard = sound_of(listener.hear_on(0.5))
    first = place_in(played, heard)
    np.testing.assert_array_equal(heard * 32768, played[first : first + len(heard)])


@pytest.mark.parametrize("channel", [1, 2])
def test_one_channel_of_several_is_that_one(make_device: MakeDevice, listener: Listener, channel: int) -> None:
    played = tone(2, channels=2)
    make_device(played, RATE_HZ).plug()
    port = listener.open(f"mic://wrist_mic?channel={channel}&rate=16000")
    heard = sound_of(listener.hear_on(0.5))
    wanted = played[:, channel - 1 : channel].copy()
    first = place_in(wanted, heard)
    np.testing.assert_array_equal(heard * 32768, wanted[first : first + len(heard)])
    assert port.status.device == f"wrist_mic, 16000 Hz, channel {channel}"


def test_gain_makes_it_louder_and_counts_what_is_cut_off(device: AlsaMicrophone, listener: Listener) -> None:
    device.plug()
    port = listener.open("mic://default?gain=20")  # ten times: the tone of 8000 does not fit
    chunks = listener.hear_on(0.5)
    until(lambda: dict(port.status.losses)["clipped_samples"] > 0)
    louder = tone(6)[:, 0].astype(np.float32) / 32768 * np.float32(10)
    blocks = {block.tobytes() for block in louder.clip(-1, 1).reshape(-1, 320)}
    assert all(heard.tobytes() in blocks for chunk in chunks for heard in chunk.samples.reshape(-1, 320))
    assert np.abs(louder).max() > 1


def test_a_stalled_device_is_told_and_opened_again(device: AlsaMicrophone, listener: Listener) -> None:
    device.plug()
    port = listener.open("mic://default")
    listener.hear(0.2)
    device.stall()
    until(lambda: not port.status.connected)
    assert port.status.reason == "stalled: no sound for 1.0 s"
    listener.forget()
    device.resume()
    chunks = listener.hear(0.5)
    assert port.status.connected
    first = place_in(tone(6), sound_of(chunks))
    np.testing.assert_array_equal(sound_of(chunks) * 32768, tone(6)[first : first + len(sound_of(chunks))])
    resumed_ns = device.due_ns[first // device.block]
    assert abs(int(times_of(chunks)[device.block - 1]) - resumed_ns) < 100e6


def test_a_device_that_was_absent_joins_goes_and_joins_again(device: AlsaMicrophone, listener: Listener) -> None:
    port = listener.open("mic://default")
    until(lambda: port.status.reason == "not plugged in (there is none)")
    for _ in range(2):
        device.plug()
        plugged_s = time.monotonic()
        listener.hear(0.1)
        assert time.monotonic() - plugged_s < 3
        assert port.status.connected
        device.unplug()
        until(lambda: port.status.reason == "not plugged in (there is none)")
        listener.forget()


def test_rubbish_faster_than_time_is_taken_for_the_end_of_the_device(
    device: AlsaMicrophone, listener: Listener
) -> None:
    device.plug()
    port = listener.open("mic://default")
    listener.hear(0.1)
    listener.forget()
    device.unplug()
    until(lambda: not port.status.connected)
    rubbish = sum(len(listener.chunks.get().samples) for _ in range(listener.chunks.qsize()))
    assert rubbish < RATE_HZ
    assert port.status.reason.startswith("runs faster than real time")


def test_a_stream_that_ends_by_itself_is_an_unplugged_device_and_is_opened_again(
    device: AlsaMicrophone, listener: Listener
) -> None:
    device.plug()
    port = listener.open("mic://default")
    listener.hear(0.1)
    Stream(port, ending)
    ended_s = time.monotonic()
    until(lambda: port.status.reason == "unplugged")
    assert time.monotonic() - ended_s < 0.5
    listener.forget()
    listener.hear(0.1)
    assert port.status.connected


def test_an_overrun_is_counted_and_the_lost_samples_go_on_in_time(device: AlsaMicrophone, listener: Listener) -> None:
    def read(stream: Any, samples: int) -> tuple[Any, bool]:
        began_s = time.monotonic()
        piece, _ = stream.read(samples)
        return piece, time.monotonic() - began_s > 0.2

    device.plug()
    port = listener.open("mic://default")
    listener.hear(1.0)
    Stream(port, read)
    device.overrun(15)
    after = listener.hear(0.02)[-1]
    while not after.dropped:
        [after] = listener.hear(0.02)
    now_ns = time.monotonic_ns()
    assert after.dropped == pytest.approx(15 * device.block, abs=0.02 * RATE_HZ)
    assert abs(int(after.times_ns[-1]) - now_ns) < 20e6
    assert port.status.losses == (("overruns", 1), ("samples", after.dropped))


def test_losses_go_on_when_the_device_goes_and_comes_back(device: AlsaMicrophone, listener: Listener) -> None:
    def overrun() -> None:
        flags = iter([True])
        Stream(port, lambda stream, samples: (stream.read(samples)[0], next(flags, False)))

    device.plug()
    port = listener.open("mic://default")
    listener.hear(0.2)
    overrun()
    until(lambda: dict(port.status.losses)["overruns"] == 1)
    Stream(port, ending)
    until(lambda: port.status.reason == "unplugged")
    assert dict(port.status.losses)["overruns"] == 1
    until(lambda: port.status.connected)
    overrun()
    until(lambda: dict(port.status.losses)["overruns"] == 2)


def test_what_is_wanted_at_a_hops_end_comes_in_one_chunk_just_after_it(
    device: AlsaMicrophone, listener: Listener
) -> None:
    device.plug()
    hops, came_ns = HopGrid(time.monotonic_ns(), 250_000_000), list[int]()
    port = MicrophonePort("mic://default", SOUND)
    listener.ports.append(port)

    def deliver(chunk: Chunk) -> None:
        came_ns.append(time.monotonic_ns())
        listener.chunks.put(chunk)

    port.start(deliver, hops)
    chunks = listener.hear(2.5)[4:]
    ends = [hops.hop_at(int(chunk.times_ns[-1])) for chunk in chunks]
    assert np.diff(ends).tolist() == [1] * (len(ends) - 1)
    sound = sound_of(chunks)
    first = place_in(tone(6), sound)
    np.testing.assert_array_equal(sound, tone(6)[first : first + len(sound)].astype(np.float32) / 32768)
    into_ns = np.array([int(chunk.times_ns[-1]) - hops.start_ns(hop) for chunk, hop in zip(chunks, ends, strict=True)])
    assert np.median(into_ns) < 25e6
    assert port.status.losses == (("overruns", 0), ("samples", 0))


def blocks_of(seconds: int, *, ppm: float = 0.0) -> Iterator[Block]:
    """A second of sound each, from a crystal that runs fast by ``ppm``."""
    sound = np.zeros((RATE_HZ, 1), np.float32)
    for second in range(1, seconds + 1):
        yield Block(sound, second * RATE_HZ, 10**12 + round(second * 1e9 / (1 + ppm * 1e-6)), False)


@pytest.mark.parametrize("ppm", [100, -100])
def test_a_crystal_that_is_off_is_no_feed_that_has_ended_in_hours(ppm: float) -> None:
    count, furthest_s = SampleCount(RATE_HZ), 0.0
    for block in blocks_of(4 * 3600, ppm=ppm):
        _, lost = count.place(block)
        assert lost == 0
        furthest_s = max(furthest_s, abs(count.ahead_s))
    assert furthest_s < 0.1
    assert count.clock.quality.drift_ppm == pytest.approx(-ppm, abs=3)


def test_blocks_that_come_in_a_burst_after_a_halt_are_no_feed_that_has_ended() -> None:
    count, furthest_s = SampleCount(RATE_HZ), 0.0
    for second, block in enumerate(blocks_of(100)):
        late = 47 <= second < 52
        count.place(block._replace(arrival_ns=10**12 + 52 * 10**9) if late else block)
        furthest_s = max(furthest_s, count.ahead_s)
    assert furthest_s < 0.1


def test_a_feed_that_runs_free_is_noticed_after_hours_as_well() -> None:
    count = SampleCount(RATE_HZ)
    for block in blocks_of(3 * 3600):
        count.place(block)
    count.place(Block(block.sound, block.end + RATE_HZ, block.arrival_ns + 10**8, False))
    assert count.ahead_s > 0.5


class Driver:
    """A stream whose driver holds what has come by a scripted time, in blocks of 20 ms from the time 0 on.

    period: so many blocks come at once. tells: whether it tells how much it holds, which ALSA's virtual ones do not.
    """

    latency = 1.0

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, period: int = 1, tells: bool = True) -> None:
        self.now_ns, self.given, self.period, self.tells = 0, 0, period, tells
        self.silences: list[tuple[int, int]] = []  # in ns: what is not heard in these comes later
        self.slow_ns = self.late_ns = self.read_ns = 0  # of the next read, of the next pause, of every read
        self.losses: set[int] = set()  # blocks before which an overrun is told
        self.overflows = 0  # so often read_available raises it
        self.pauses: list[float] = []
        self.halted = False
        monkeypatch.setattr(portaudio, "time", SimpleNamespace(monotonic_ns=lambda: self.now_ns))
        self.capture = Capture("device", RATE_HZ, 320)
        self.capture.stream = self

    @property
    def come(self) -> int:
        """Blocks that have come by now."""
        if self.halted:
            return self.given
        silent_ns = sum(max(min(self.now_ns, end) - begin, 0) for begin, end in self.silences)
        return (self.now_ns - silent_ns) // (BLOCK_NS * self.period) * self.period

    @property
    def read_available(self) -> int:
        if self.overflows:
            self.overflows -= 1
            raise importlib.import_module("sounddevice").PortAudioError("Input overflowed", -9981)
        return (self.come - self.given) * 320 if self.tells else 16320

    def read(self, samples: int) -> tuple[bytes, bool]:
        assert samples == 320
        self.halted = False  # PortAudio prepares a stream after an overrun, and starts it only at a read
        while self.come <= self.given:
            self.now_ns += 100_000
            assert self.now_ns < 10**12, "this read would not return"
        self.given += 1
        self.now_ns, self.slow_ns = self.now_ns + self.slow_ns + self.read_ns, 0
        return np.full(samples, self.given, np.float32).tobytes(), self.given in self.losses

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
            late_ms.append((self.now_ns - BLOCK_NS * self.given) / 1e6)
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
    driver.now_ns, driver.pauses = 505_000_000, []
    block = driver.take(530_000_000)
    assert (block.end, block.overrun) == (27 * 320, False)
    np.testing.assert_array_equal(block.sound[:, 0], np.repeat(np.arange(2, 28), 320))
    assert 0 <= block.arrival_ns - 540_000_000 < 1_000_000
    assert len(driver.pauses) <= 5, "it slept until the block was due"


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
def test_reads_that_are_all_slow_delay_no_hop_by_more_than_a_block(
    monkeypatch: pytest.MonkeyPatch, tells: bool
) -> None:
    driver = Driver(monkeypatch, tells=tells)
    driver.read_ns = 5_000_000  # as where another thread keeps the interpreter
    assert max(driver.take_hops(40)) < 26, "a block and a read"


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
def test_sound_before_a_silence_is_given_without_that_after_it(monkeypatch: pytest.MonkeyPatch, tells: bool) -> None:
    driver = Driver(monkeypatch, tells=tells)
    driver.take()
    driver.silences = [(300_000_000, 1_000_000_000)]
    driver.now_ns = 400_000_000
    before = driver.take(400_000_000)
    assert (before.end, before.overrun) == (15 * 320, False)
    assert before.arrival_ns == pytest.approx(300_000_000, abs=105e6 if not tells else 5e6)
    after = driver.take(400_000_000)
    assert after.sound[0, 0] == 16
    assert after.arrival_ns == pytest.approx(1_020_000_000 + BLOCK_NS * (after.end // 320 - 16), abs=2e6)


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


def test_a_feed_without_end_is_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(monkeypatch)
    driver.now_ns = 3600 * 10**9
    assert len(driver.take().sound) / RATE_HZ == pytest.approx(LONGEST_S, abs=0.1)


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

    def take(wanted_ns: int, _pause: Callable[[float], bool]) -> Block | None:
        wanted.append(wanted_ns)
        return Block(np.zeros((320, 1), np.float32), 320 * len(wanted), now[0], False) if len(wanted) < 6 else None

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
from ports import test_microphone as t
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


def run_python(code: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(Path(__file__).parent.parent), *filter(None, sys.path)])
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env={**os.environ, "PYTHONPATH": paths, **environment},
    )


@pytest.mark.parametrize("when", ["at once", "after the watchdog"])
def test_a_process_ends_though_the_device_holds_portaudio(tmp_path: Path, when: str) -> None:
    ended = run_python(HELD_AT_EXIT, tmp_path, when, ALSA_CONFIG_PATH=str(tmp_path / "asound.conf"))
    assert (ended.returncode, ended.stdout) == (0, "closed\n"), ended.stderr


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
    port = listener.open(f"mic://{name}?block_ms=20&latency=60")
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
