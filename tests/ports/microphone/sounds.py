"""A microphone that plays what a test makes up, and who listens to it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from mmg.bundle.manifest import Channel, Encoder, Modality, Tensor
from mmg.sources.ports.microphone.port import MicrophonePort
from mmg.streams import HopGrid
from mmg.types import Chunk
from mmg_tools.virtual.microphone import AlsaMicrophone
from numpy.typing import NDArray

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


class MakeDevice(Protocol):
    def __call__(self, sound: NDArray[np.int16], rate_hz: int, block_ms: int = ..., /) -> AlsaMicrophone: ...


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

    def open(self, url: str, modality: Modality = SOUND, hops: HopGrid | None = None) -> MicrophonePort:
        port = MicrophonePort(url, modality)
        self.ports.append(port)
        port.start(self.chunks.put, hops)
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


def ending(_stream: Any, _samples: int) -> tuple[Any, bool]:
    """As of a device that is gone."""
    raise importlib.import_module("sounddevice").PortAudioError("Unanticipated host error", -9999)


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
