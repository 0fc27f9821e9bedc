"""Made samples, as plausible as health asks for, and ports that bring them at their own pace. No sensor is opened."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmg.bundle import Modality
from mmg.sources.ports.port import PortStatus
from mmg.types import Chunk

if TYPE_CHECKING:
    from mmg.types import Samples

BLOCK_S = 0.02
DISTINCT_HOPS = 4
"""So many different hops, one after another: what they hold does not change what they cost."""
GRAVITY_M_S2 = 9.81


def make_hops(modality: Modality, hop_s: float) -> list[Samples]:
    """Hops of samples as ``Chunk`` has them, at the model's rate: ``(T, C)`` float32, or ``(T, H, W, 3)`` uint8."""
    random = np.random.default_rng(0)
    shape = (modality.samples_in(hop_s), *modality.sample_shape)
    if modality.kind == "video":
        return [random.integers(16, 240, shape, np.uint8) for _ in range(DISTINCT_HOPS)]
    scale = 0.05 if modality.kind == "audio" else 0.5
    hops = [(random.standard_normal(shape) * scale).astype(np.float32) for _ in range(DISTINCT_HOPS)]
    down = [index for index, channel in enumerate(modality.channels) if channel.unit == "m/s^2"][-1:]
    for hop in hops:
        hop[:, down] += GRAVITY_M_S2
    return hops


def make_chunks(modality: Modality, hop_s: float) -> Iterator[Chunk]:
    """One chunk a hop, for ever, from time 0 on, stamped so that each ends its own hop."""
    hops, hop_ns, end = make_hops(modality, hop_s), round(hop_s * 1e9), 0
    count = len(hops[0])
    offsets_ns = np.round(np.arange(1, count + 1) * (hop_ns / count)).astype(np.int64)
    while True:
        yield Chunk(modality.name, hops[end % len(hops)], end * hop_ns + offsets_ns, modality.rate_hz)
        end += 1


class SyntheticPort:
    """A port whose device is a clock: blocks of synthetic samples, each delivered when its last one is captured."""

    def __init__(self, modality: Modality, hop_s: float) -> None:
        self.modality, self.url = modality.name, f"synthetic://{modality.name}"
        self.status = PortStatus(connected=True, reason="", device="synthetic samples")
        self.begin_ns: int | None = None
        """When the first sample's interval begins, in host monotonic time; None for when it is started."""
        self.cpu_s = 0.0
        """Processor time of the thread that delivers, which no real port would take."""
        self._rate_hz = modality.rate_hz
        self._samples: NDArray[np.generic] = np.concatenate(make_hops(modality, hop_s))
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, deliver: Callable[[Chunk], None], *_: object) -> None:
        """Begin; see Port. Its blocks come at their own pace."""
        self._thread = threading.Thread(
            target=self._play, args=(deliver,), name=f"synthetic {self.modality}", daemon=True
        )
        self._thread.start()

    def want(self, stamped_ns: int) -> None:
        """See Port. It never rests."""

    def close(self) -> None:
        """Stop; see Port."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _play(self, deliver: Callable[[Chunk], None]) -> None:
        block = max(round(self._rate_hz * BLOCK_S), 1)
        begin_ns = time.monotonic_ns() if self.begin_ns is None else self.begin_ns
        period_ns, given = 1e9 / self._rate_hz, 0
        while True:
            ticks = np.arange(given + 1, given + block + 1)
            times_ns = begin_ns + np.round(ticks * period_ns).astype(np.int64)
            if self._ended.wait(max((int(times_ns[-1]) - time.monotonic_ns()) / 1e9, 0.0)):
                return
            samples = self._samples.take((ticks - 1) % len(self._samples), axis=0)
            deliver(Chunk(self.modality, samples, times_ns, self._rate_hz))
            given += block
            self.cpu_s = time.thread_time()
