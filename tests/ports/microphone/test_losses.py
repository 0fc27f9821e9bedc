"""A device that stalls, overruns, ends or goes, and joins again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mmg.sources.ports.microphone.port import MicrophonePort
from mmg.streams import HopGrid
from mmg_tools.virtual.microphone import AlsaMicrophone
from ports.microphone.sounds import (
    RATE_HZ,
    Listener,
    ending,
    place_in,
    sound_of,
    times_of,
    tone,
    until,
)
from recordings import need_ports

need_ports()


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


@pytest.mark.realtime
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


@pytest.mark.realtime
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


@pytest.mark.realtime
def test_an_overrun_is_counted_and_the_lost_samples_go_on_in_time(device: AlsaMicrophone, listener: Listener) -> None:
    def read(stream: Any, samples: int) -> tuple[Any, bool]:
        began_s = time.monotonic()
        piece, _ = stream.read(samples)
        return piece, time.monotonic() - began_s > 0.2

    device.plug()
    port = listener.open("mic://default")
    listener.hear(1.0)
    Stream(port, read)
    listener.hear(0.04)  # the read that was under way is none of the test's
    device.overrun(0.3)
    after = listener.hear(0.02)[-1]
    while not after.dropped:
        [after] = listener.hear(0.02)
    now_ns = time.monotonic_ns()
    assert after.dropped == pytest.approx(0.3 * RATE_HZ, abs=0.02 * RATE_HZ)
    assert abs(int(after.times_ns[-1]) - now_ns) < 20e6
    assert port.status.losses == (("overruns", 1), ("samples", after.dropped))


@pytest.mark.realtime
def test_a_loss_that_nobody_tells_is_believed_as_soon_as_if_each_block_were_read(
    device: AlsaMicrophone, listener: Listener
) -> None:
    def read(stream: Any, samples: int) -> tuple[Any, bool]:
        """As a driver does that waits for all that it is asked for; ALSA's file plugin makes up what is missing."""
        pieces = [stream.read(device.block) for _ in range(samples // device.block)]
        return b"".join(bytes(piece) for piece, _ in pieces), any(has_lost for _, has_lost in pieces)

    device.plug()
    port = listener.open("mic://default", hops=HopGrid(time.monotonic_ns(), 500_000_000))
    listener.hear(0.1)
    Stream(port, read)
    listener.hear(3.0)
    device.overrun(0.24)
    lost_s, off_ns, reads = time.monotonic(), 240e6, 0
    # The port's thread is left alone: at first it says by the count of samples, too early, when they were taken.
    while off_ns > 40e6 and time.monotonic() < lost_s + 8:
        [*_, newest] = chunks = listener.hear(0.02)
        off_ns, reads = time.monotonic_ns() - int(newest.times_ns[-1]), reads + len(chunks)
    assert port.status.losses == (("overruns", 0), ("samples", 0))
    assert 3.0 < time.monotonic() - lost_s < 4.5
    assert reads > 110


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
    listener.forget()
    listener.hear(0.2)
    overrun()
    until(lambda: dict(port.status.losses)["overruns"] == 2)
