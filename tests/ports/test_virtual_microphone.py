"""The virtual microphone's own side, at its FIFO; microphone/ hears it through PortAudio."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
from mmg_tools.virtual.microphone import BLOCK_MS, NAME, AlsaMicrophone, processes_with
from numpy.typing import NDArray

PATIENCE_S = 5.0
BLOCK = 16 * BLOCK_MS
BLOCK_NS = BLOCK_MS * 1_000_000


def counting(blocks: int) -> NDArray[np.int16]:
    """Every block is full of its own number, from 1."""
    return np.repeat(np.arange(1, blocks + 1), BLOCK).astype(np.int16)


class Ear:
    """Reads the FIFO as ALSA does."""

    def __init__(self, folder: Path) -> None:
        self._pipe = os.open(folder / NAME, os.O_RDONLY | os.O_NONBLOCK)

    def blocks(self, count: int) -> list[float]:
        """The next blocks, each by its one value in int16 steps."""
        heard: list[float] = []
        while len(heard) < count:
            ready, _, _ = select.select([self._pipe], [], [], PATIENCE_S)
            assert ready, "nothing came"
            block = np.frombuffer(os.read(self._pipe, BLOCK * 4), "<f4")
            assert len(block) == BLOCK
            assert len(set(block.tolist())) == 1
            heard.append(float(block[0]) * 32768)
        return heard

    def hears_within(self, seconds: float) -> bool:
        return bool(select.select([self._pipe], [], [], seconds)[0])

    def close(self) -> None:
        os.close(self._pipe)


class Make(Protocol):
    def __call__(self, sound: NDArray[np.int16], *, loop: bool = False) -> tuple[AlsaMicrophone, Ear]: ...


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    closing: list[Callable[[], None]] = []

    def make(sound: NDArray[np.int16], *, loop: bool = False) -> tuple[AlsaMicrophone, Ear]:
        device = AlsaMicrophone(tmp_path, sound, loop=loop)
        closing.append(device.close)
        device.begin(time.monotonic_ns() + BLOCK_NS)
        device.plug()
        ear = Ear(tmp_path)
        closing.append(ear.close)
        return device, ear

    yield make
    for close in reversed(closing):
        close()


def test_it_plays_every_block_and_then_silence_or_anew(make: Make) -> None:
    assert make(counting(3))[1].blocks(5) == [1, 2, 3, 0, 0]
    assert make(counting(3), loop=True)[1].blocks(7) == [1, 2, 3, 1, 2, 3, 1]


def test_a_loop_has_no_seam_where_its_sound_is_no_whole_number_of_blocks(tmp_path: Path) -> None:
    sound = np.arange(500, dtype=np.int16)
    device = AlsaMicrophone(tmp_path, sound, loop=True)
    heard = np.concatenate([np.frombuffer(device._block_at(k * BLOCK), "<f4") * 32768 for k in range(4)])
    np.testing.assert_array_equal(heard, np.arange(4 * BLOCK) % 500)
    device.close()


def test_an_overrun_loses_its_blocks(make: Make) -> None:
    device, ear = make(counting(100))
    first = ear.blocks(2)[-1]
    device.overrun(5 * BLOCK_MS / 1e3)
    numbers = [first, *ear.blocks(3)]
    assert sum(np.diff(numbers) - 1) == 5


def test_clipped_sound_is_cut_at_full_scale(make: Make) -> None:
    device, ear = make(np.full(BLOCK, 3000, np.int16), loop=True)
    assert ear.blocks(1) == [3000]
    device.clip(100)
    while (heard := ear.blocks(1)) == [3000]:
        pass
    assert heard == [32767]
    device.clip(1)
    while (heard := ear.blocks(1)) == [32767]:
        pass
    assert heard == [3000]


@pytest.mark.realtime
def test_time_goes_on_through_a_stall_and_unplugging(make: Make, tmp_path: Path) -> None:
    device, ear = make(counting(1000))
    before = ear.blocks(1)[0]
    device.stall()
    while ear.hears_within(0.1):
        ear.blocks(1)
    device.resume()
    stalled = ear.blocks(1)[0]
    assert stalled - before >= 5
    device.unplug()
    assert not (tmp_path / NAME).exists()
    device.unplug()
    select.select([], [], [], 0.1)
    device.plug()
    device.plug()
    again = Ear(tmp_path)
    number = round(again.blocks(1)[0])
    again.close()
    assert number - stalled >= 4
    assert abs(time.monotonic_ns() - device.due_ns[number - 1]) < 200e6


def test_the_times_of_blocks_take_no_memory(make: Make) -> None:
    device, ear = make(counting(3))
    ear.blocks(3)
    assert isinstance(device.due_ns, range)
    assert np.diff(list(device.due_ns)[:3]).tolist() == [BLOCK_NS, BLOCK_NS]


def test_processes_are_found_by_their_environment() -> None:
    waiting = [sys.executable, "-c", "print(flush=True); input()"]
    environment = {**os.environ, "MMG_TEST": str(os.getpid())}
    with subprocess.Popen(waiting, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout
        one.stdout.readline()
        assert processes_with(MMG_TEST=str(os.getpid())) == [one.pid]
        one.communicate("\n")
    assert processes_with(MMG_TEST=str(os.getpid())) == []


def test_a_reader_that_is_quicker_than_the_drain_does_no_harm(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    taken, read = list[int](), os.read

    def take_first(pipe: int, size: int) -> bytes:
        if size > BLOCK * 4:  # the device itself, which drains what nobody has read: somebody was quicker
            taken.append(size)
            read(pipe, size)
        return read(pipe, size)

    microphone, ear = make(counting(500))
    monkeypatch.setattr(os, "read", take_first)
    microphone.plug()
    deadline_s = time.monotonic() + PATIENCE_S
    while not taken and time.monotonic() < deadline_s:
        select.select([], [], [], 0.01)
    assert taken
    monkeypatch.setattr(os, "read", read)
    assert ear.blocks(1)
