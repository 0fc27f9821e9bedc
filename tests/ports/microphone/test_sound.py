"""Sound is exact, and stamped when it sounded: rates, channels, gain, hops, crystals that are off."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from mmg.sources.ports.microphone.port import MicrophonePort
from mmg.sources.ports.microphone.portaudio import PORTAUDIO, Block, Capture
from mmg.sources.ports.microphone.sample_count import SampleCount
from mmg.streams.grid import HopGrid
from mmg.types import Chunk
from mmg_tools.virtual.microphone import AlsaMicrophone
from ports.microphone.sounds import (
    RATE_HZ,
    SOUND,
    Listener,
    MakeDevice,
    place_in,
    sound_of,
    times_of,
    tone,
    until,
)
from recordings import need_ports

need_ports()


@pytest.mark.realtime
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
    assert np.abs(late_ms).max() < 2  # of blocks of 10 ms; the virtual device itself wakes up to 1 ms late
    assert status.uncertainty_ms < 2
    assert abs(status.drift_ppm) < 300
    assert (status.connected, status.reason, status.device) == (True, "", "default, 16000 Hz, 1 ch")
    assert status.losses == (("overruns", 0), ("samples", 0))


@pytest.fixture
def few_periods(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The block of each look at what a chip of 32 periods holds."""
    looked_at: list[int] = []

    def held_s(capture: Capture) -> float:
        looked_at.append(capture.block)
        return 32 * capture.block / capture.rate_hz

    monkeypatch.setattr(Capture, "held_s", property(held_s))
    return looked_at


def refuse(block: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """From now on the device takes no stream in blocks of so many samples; those that are asked for are returned."""
    opened, open_stream = list[int](), PORTAUDIO.open

    def open_others(capture: Capture, **settings: Any) -> None:
        opened.append(capture.block)
        if capture.block == block:
            raise importlib.import_module("sounddevice").PortAudioError("Unanticipated host error")
        open_stream(capture, **settings)

    monkeypatch.setattr(PORTAUDIO, "open", open_others)
    return opened


def test_a_chip_of_few_periods_is_read_in_longer_ones(
    make_device: MakeDevice, listener: Listener, few_periods: list[int]
) -> None:
    make_device(tone(2), RATE_HZ, 20).plug()
    port = listener.open("mic://default")
    chunks = listener.hear_on(0.5)
    assert PORTAUDIO._streams == 1, "the first is closed"
    port.close()
    first = place_in(tone(2), sound_of(chunks))
    np.testing.assert_array_equal(sound_of(chunks) * 32768, tone(2)[first : first + len(sound_of(chunks))])
    assert few_periods[:2] == [160, 160], "32 periods of 10 ms are no hop"
    assert set(few_periods[2:]) == {320}
    assert PORTAUDIO._streams == 0


def test_a_chip_of_few_periods_that_refuses_longer_ones_is_read_in_short_ones(
    make_device: MakeDevice, listener: Listener, few_periods: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_device(tone(2), RATE_HZ, 20).plug()
    opened = refuse(320, monkeypatch)
    listener.open("mic://default")
    assert listener.hear_on(0.3)
    assert opened[:3] == [160, 320, 160]
    assert set(few_periods) == {160}


@pytest.mark.parametrize(("option", "asked"), [("", [160, 320]), ("?block_ms=10", [160])])
def test_a_chip_that_refuses_short_periods_is_asked_for_longer_ones(
    make_device: MakeDevice, listener: Listener, monkeypatch: pytest.MonkeyPatch, option: str, asked: list[int]
) -> None:
    make_device(tone(2), RATE_HZ, 20).plug()
    opened = refuse(160, monkeypatch)
    port = listener.open(f"mic://default{option}")
    until(lambda: port.status.connected or "cannot be opened: Unanticipated host error" in port.status.reason)
    assert opened[: len(asked)] == asked
    assert set(opened) == set(asked)
    assert port.status.connected == (320 in asked)


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
    blocks = {block.tobytes() for block in louder.clip(-1, 1).reshape(-1, device.block)}
    assert all(heard.tobytes() in blocks for chunk in chunks for heard in chunk.samples.reshape(-1, device.block))
    assert np.abs(louder).max() > 1


@pytest.mark.realtime
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
