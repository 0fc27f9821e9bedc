"""Hops to measure with: samples that no check finds fault with, and two ways of work that take turns on them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np
from mmg import Bundle, Chunk, Engine
from mmg.bundle import Manifest, Modality
from mmg.errors import MmgError
from numpy.typing import NDArray

SUBSETS = (("imu",), ("audio",), ("imu", "audio"), ("imu", "audio", "video"))
BLOCK = 20
"""Hops at a stretch: long enough to warm the caches, short enough that both ways see the same machine."""
WARM = 20
"""Hops before the first that counts: contexts and windows of 8 hops are full then."""
GRAVITY_M_S2 = 9.81


class Recording:
    """Made-up samples of some modalities, a chunk for each hop, stamped so that the hop's last chunk completes it."""

    def __init__(self, manifest: Manifest, names: Sequence[str], hops: int) -> None:
        self.hops = hops
        self.samples = {name: _samples(manifest.modality(name), manifest, hops) for name in names}
        self._chunks = {name: _chunks(manifest.modality(name), manifest, self.samples[name]) for name in names}

    def chunks(self, hop: int) -> list[Chunk]:
        """Of each modality the hop's one."""
        return [chunks[hop] for chunks in self._chunks.values()]


class Pushed:
    """mmg's engine over a recording, hop by hop from its start."""

    def __init__(self, bundle: Bundle, recording: Recording, backend: str = "onnx") -> None:
        self._recording = recording
        self.engine = Engine(bundle, list(recording.samples), backend=backend)

    def __call__(self, hop: int) -> None:
        for chunk in self._recording.chunks(hop):
            self.engine.push(chunk)

    def require(self, decisions: int) -> None:
        """Raises MmgError where the engine did not decide as often: what was measured was not its work."""
        if self.engine.decided != decisions:
            raise MmgError(f"the engine decided {self.engine.decided} of {decisions} hops")


def take_turns(
    first: Callable[[int], object],
    second: Callable[[int], object],
    hops: int,
    *,
    block: int = BLOCK,
    pause_s: float = 0,
) -> tuple[float, float]:
    """CPU time of this thread in microseconds a hop of both, a median over blocks, each after a pause."""
    spent: tuple[list[int], list[int]] = ([], [])
    for begin in range(0, hops, block):
        for work, times in zip((first, second), spent, strict=True):
            if pause_s:
                time.sleep(pause_s)
            began_ns = time.thread_time_ns()
            for hop in range(begin, min(begin + block, hops)):
                work(hop)
            times.append(time.thread_time_ns() - began_ns)
    skipped = -(-WARM // block)
    made = [median(times[skipped:]) / block / 1e3 for times in spent]
    return made[0], made[1]


def noise(count: int) -> NDArray[np.float64]:
    """From -0.5 to 0.5, the same at every call: the fractions of n * n times the golden ratio are evenly spread.

    It does without numpy.random, whose memory is not mmg's.
    """
    return np.arange(count, dtype=np.float64) ** 2 * 0.6180339887498949 % 1 - 0.5


def _samples(modality: Modality, manifest: Manifest, hops: int) -> NDArray[Any]:
    shape = (modality.samples_in(manifest.hop_s) * hops, *modality.sample_shape)
    raw = noise(int(np.prod(shape))).reshape(shape)
    if modality.kind == "video":
        return ((raw + 0.5) * 255).astype(np.uint8)
    samples = (raw * (0.2 if modality.kind == "audio" else 1.0)).astype(np.float32)
    if modality.kind == "signal":
        samples[:, 2] += GRAVITY_M_S2
    return samples


def _chunks(modality: Modality, manifest: Manifest, samples: NDArray[Any]) -> list[Chunk]:
    count = modality.samples_in(manifest.hop_s)
    # Sound counts from its first sample on; of the others the last sample lies on the hop's end, and completes it.
    first = 0 if modality.kind == "audio" else 1
    times_ns = ((np.arange(len(samples)) + first) * (1e9 / modality.rate_hz)).astype(np.int64)
    return [
        Chunk(modality.name, samples[at : at + count], times_ns[at : at + count], modality.rate_hz)
        for at in range(0, len(samples), count)
    ]
