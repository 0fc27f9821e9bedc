"""The virtual IMU: every protocol says exactly what the scenario holds, and time goes on through every fault."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from mmg.errors import ConfigError
from mmg.sources.protocols import PROTOCOLS, Samples, join, open_parser
from mmg_tools.virtual.serial_device import DeviceClock, VirtualSerial
from numpy.typing import NDArray

PATIENCE_S = 5.0
HZ = 500
PERIOD_NS = 1_000_000_000 // HZ
LEAD_NS = 100_000_000


def motion(samples: int) -> NDArray[np.float32]:
    """Anything that a wrist can do."""
    largest = np.array([30, 30, 30, 8, 8, 8])
    return np.random.default_rng(1).uniform(-largest, largest, (samples, 6)).astype(np.float32)


def ramp(samples: int) -> NDArray[np.float32]:
    """Every sample tells its place by its first number, see ``places``."""
    imu = np.zeros((samples, 6), np.float32)
    imu[:, 0] = np.arange(samples) / 100
    return imu


def places(samples: Samples) -> list[int]:
    return [int(place) for place in np.rint(samples.values[:, 0] * 100)]


class Reader:
    """Has the port open, and parses."""

    def __init__(self, device: VirtualSerial) -> None:
        self.parser = open_parser(device.protocol)
        self._port = os.open(device.link, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)

    def bytes_within(self, seconds: float) -> bytes:
        """What comes next; empty where nothing does."""
        ready, _, _ = select.select([self._port], [], [], seconds)
        return os.read(self._port, 65536) if ready else b""

    def is_hung_up(self) -> bool:
        poll = select.poll()
        poll.register(self._port, 0)
        return bool(poll.poll(PATIENCE_S * 1000))

    def samples(self, count: int) -> Samples:
        """The next samples, so many at least."""
        parts: list[Samples] = []
        while sum(map(len, parts)) < count:
            data = self.bytes_within(PATIENCE_S)
            assert data, "nothing came"
            parts.append(self.parser.feed(data))
        return join([part for part in parts if len(part)])

    def read_until(self, happened: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not happened():
            assert time.monotonic() < deadline_s, "it never happened"
            self.parser.feed(self.bytes_within(0.02))

    def close(self) -> None:
        os.close(self._port)


class Bench:
    """Makes devices, opens them, and puts everything away."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: list[VirtualSerial | Reader] = []

    def device(self, imu: NDArray[np.float32], protocol: str = "xsens", *, loop: bool = False) -> VirtualSerial:
        """One that is plugged in; its scenario begins in a moment."""
        device = VirtualSerial(self._folder / "imu", imu, protocol, rate_hz=HZ, loop=loop)
        self._open.append(device)
        device.begin(time.monotonic_ns() + LEAD_NS)
        device.plug()
        return device

    def reader(self, device: VirtualSerial) -> Reader:
        reader = Reader(device)
        self._open.append(reader)
        return reader

    def close(self) -> None:
        for thing in reversed(self._open):
            thing.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_says_what_the_scenario_holds(bench: Bench, protocol: str) -> None:
    imu = motion(200)
    reader = bench.reader(bench.device(imu, protocol))
    samples = reader.samples(100)
    columns = 6 if samples.has_gyro else 3
    # Who opens it late hears it late: what was said before is gone.
    late = int(np.abs(imu[:, :columns] - samples.values[0, :columns]).max(axis=1).argmin())
    heard = imu[late : late + len(samples), :columns]
    np.testing.assert_allclose(samples.values[:, :columns], heard, rtol=1e-5, atol=0.005)
    assert late < 50
    assert reader.parser.counters.skipped_bytes == 0
    assert reader.parser.counters.gaps == 0


def test_an_unknown_protocol_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="klingon: unknown protocol"):
        VirtualSerial(tmp_path / "imu", motion(1), "klingon")


def test_unplugged_it_is_gone_and_plugged_again_the_body_has_moved_on(bench: Bench) -> None:
    device = bench.device(ramp(5000))
    reader = bench.reader(device)
    before = places(reader.samples(10))[-1]
    device.unplug()
    assert not device.link.is_symlink()
    assert reader.is_hung_up()
    unplugged_ns = time.monotonic_ns()
    select.select([], [], [], 0.1)  # the body moves on
    device.plug()
    after = places(bench.reader(device).samples(1))[0]
    away_ns = time.monotonic_ns() - unplugged_ns
    assert 40 < after - before <= away_ns // PERIOD_NS + 60
    device.plug()
    device.unplug()
    device.unplug()


def test_what_nobody_reads_is_lost_and_counted_and_who_comes_late_hears_the_present(bench: Bench) -> None:
    device = bench.device(ramp(5000))
    deadline_s = time.monotonic() + PATIENCE_S
    while device.lost_bytes < 3000:
        assert time.monotonic() < deadline_s
        select.select([], [], [], 0.01)
    assert device.sent_bytes == 0
    lost = device.lost_bytes // 53
    assert places(bench.reader(device).samples(1))[0] >= lost


def test_a_reader_that_does_not_read_blocks_nothing(bench: Bench) -> None:
    device = bench.device(np.zeros((50, 6), np.float32), "text", loop=True)
    bench.reader(device)
    deadline_s = time.monotonic() + PATIENCE_S
    while not device.lost_bytes:
        assert time.monotonic() < deadline_s
        select.select([], [], [], 0.01)
    assert device.sent_bytes > 4000


def test_a_stall_holds_the_bytes_back_and_their_samples_are_missing_after_it(bench: Bench) -> None:
    device = bench.device(ramp(5000))
    reader = bench.reader(device)
    reader.samples(5)
    device.stall()
    while reader.bytes_within(0.05):
        pass
    assert device.plugged
    gaps = reader.parser.counters.gaps
    device.resume()
    reader.samples(5)
    assert reader.parser.counters.gaps > gaps + 10


def test_corrupted_bytes_fail_their_checksums_until_it_is_over(bench: Bench) -> None:
    device = bench.device(motion(100), loop=True)
    reader = bench.reader(device)
    device.corrupt(0.02)
    counters = reader.parser.counters
    reader.read_until(lambda: counters.checksum_errors > 3 and counters.samples > 3)
    device.corrupt(0)
    reader.samples(20)
    errors = counters.checksum_errors
    reader.samples(50)
    assert counters.checksum_errors == errors


def test_jitter_delays_samples_and_keeps_their_order(bench: Bench) -> None:
    device = bench.device(ramp(5000))
    start_ns = time.monotonic_ns()
    device.set_jitter(40)
    heard = bench.reader(device)
    late_ms, seen = [], []
    for _ in range(20):
        samples = heard.samples(1)
        seen += places(samples)
        late_ms.append((time.monotonic_ns() - start_ns) / 1e6 - seen[-1] * PERIOD_NS / 1e6)
    assert seen == list(range(len(seen)))
    assert max(late_ms) > 40


def test_a_drifting_device_counts_faster_than_the_body_moves(bench: Bench) -> None:
    device = bench.device(ramp(5000))
    device.set_drift(100_000)
    samples = bench.reader(device).samples(220)
    assert samples.device_time_ns is not None
    ran_ns = int(samples.device_time_ns[-1] - samples.device_time_ns[20])
    moved_ns = (places(samples)[-1] - places(samples)[20]) * PERIOD_NS
    assert ran_ns / moved_ns == pytest.approx(1.1, abs=0.02)


@pytest.mark.parametrize("protocol", ["vectornav-binary", "xsens", "text"])
@pytest.mark.parametrize("seconds", [7, -7])
def test_a_jump_of_its_clock_leaves_its_pace(bench: Bench, protocol: str, seconds: int) -> None:
    device = bench.device(ramp(5000), protocol)
    reader = bench.reader(device)
    both = reader.samples(5)
    device.jump_clock(seconds)
    for _ in range(20):  # what it has sent by then comes first
        both = join([both, reader.samples(10)])
        assert both.device_time_ns is not None
        moved_ns = int(both.device_time_ns[-1] - both.device_time_ns[0])
        if abs(moved_ns) > 3 * 10**9:
            break
    assert moved_ns // 10**9 in (seconds, seconds - 1 + (seconds < 0))
    assert np.diff(places(both)).tolist() == [1] * (len(both) - 1)


def test_it_falls_silent_at_the_end_or_begins_anew(bench: Bench) -> None:
    reader = bench.reader(bench.device(ramp(20)))
    assert places(reader.samples(20)) == list(range(20))
    assert not reader.bytes_within(0.05)
    reader = bench.reader(bench.device(ramp(20), loop=True))
    assert places(reader.samples(50))[:50] == [k % 20 for k in range(50)]


def test_a_clock_goes_on_smoothly_where_its_drift_changes() -> None:
    clock = DeviceClock(1_000)
    assert clock.ran_at(5_001_000) == 5_000_000
    fast = clock.drifting(1000, 5_001_000)
    assert fast.ran_at(5_001_000) == 5_000_000
    assert fast.ran_at(6_001_000) == 6_001_000
    assert fast.host_at(6_001_000) == 6_001_000
    assert fast.drifting(0, 6_001_000).ran_at(7_001_000) == 7_001_000
