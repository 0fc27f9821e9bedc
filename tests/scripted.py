"""A world of scripted ports and a clock that only moves when it is told to: live runs without waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from fakes import audio_chunk, imu_chunk
from mmg.runs.live import LivePipeline
from mmg.sources.ports.port import PortStatus
from mmg.types import Chunk, Decision

TICK_NS = 20_000_000
CHUNK_NS = 40_000_000
USUAL_DELAY_NS = 15_000_000
CONNECTED = PortStatus(connected=True, reason="", device="scripted", drift_ppm=12.0, jitter_ms=0.5, uncertainty_ms=0.1)
MAKE = {"imu": imu_chunk, "audio": audio_chunk}


class ScriptedPort:
    """A port whose chunks and status a test decides."""

    def __init__(self, modality: str) -> None:
        self.modality, self.url = modality, f"scripted://{modality}"
        self.status = PortStatus()
        self.started = self.closed = 0
        self.is_open = False
        self._deliver: Callable[[Chunk], None] | None = None

    def start(self, deliver: Callable[[Chunk], None], *_: object) -> None:
        self.started += 1
        self.is_open = True
        self._deliver = deliver

    def want(self, stamped_ns: int) -> None:
        """It never rests."""

    def deliver(self, chunk: Chunk) -> None:
        assert self._deliver is not None, "not started"
        self._deliver(chunk)

    def close(self) -> None:
        self.closed += 1
        self.is_open = False


class DevicePort(ScriptedPort):
    """It gives nothing while it is closed."""

    def deliver(self, chunk: Chunk) -> None:
        if self.is_open:
            super().deliver(chunk)


@dataclass
class Sensor:
    """What happens to one scripted sensor from now on: ``talking``, ``late_ns``, or a part of its samples lost."""

    port: ScriptedPort
    talking: bool = True
    late_ns: int = USUAL_DELAY_NS
    lost_part: float = 0.0

    @property
    def is_well(self) -> bool:
        return self.talking and self.late_ns == USUAL_DELAY_NS and not self.lost_part


class World:
    """Sensors that sample without end, a pipeline that hears of them, and the time, in ns since the start."""

    def __init__(self, names: tuple[str, ...], seed: int = 0) -> None:
        self.now_ns = 0
        self.sensors = {name: Sensor(ScriptedPort(name)) for name in names}
        self._random = np.random.default_rng(seed)
        self._under_way: list[tuple[int, Chunk]] = []
        self.unwell: dict[str, set[int]] = {name: set() for name in names}
        """The ends, in ns, of the 40 ms in which each sensor was not well, or what it sent was held up."""

    @property
    def ports(self) -> list[ScriptedPort]:
        return [sensor.port for sensor in self.sensors.values()]

    def run(self, pipeline: LivePipeline, seconds: float) -> Iterator[Decision]:
        """The decisions of so many seconds, each at the tick at which it was made."""
        end_ns = self.now_ns + round(seconds * 1e9)
        while self.now_ns < end_ns:
            self.tick()
            yield from pipeline.step()
            for closing in pipeline._listening._asleep.values():  # a gate closes a port in a thread of its own
                if closing:
                    closing.join()
            pipeline.check_required()

    def elapse(self, seconds: float) -> None:
        """Time passes, sensors sample, and the pipeline does not look."""
        end_ns = self.now_ns + round(seconds * 1e9)
        while self.now_ns < end_ns:
            self.tick()

    def tick(self) -> None:
        """A little time passes, and what is due is delivered."""
        self.now_ns += TICK_NS
        if self.now_ns % CHUNK_NS == 0:
            self._sample()
        due = [one for one in self._under_way if one[0] <= self.now_ns]
        self._under_way = [one for one in self._under_way if one[0] > self.now_ns]
        for _, chunk in due:
            self.sensors[chunk.modality].port.deliver(chunk)

    def _sample(self) -> None:
        """What was sampled in the 40 ms that end now is under way, in its sensor's order."""
        for name, sensor in self.sensors.items():
            earlier = [due_ns for due_ns, other in self._under_way if other.modality == name]
            if not sensor.is_well or earlier:
                self.unwell[name].add(self.now_ns)
            if not sensor.talking:
                continue
            chunk = MAKE[name]((self.now_ns - CHUNK_NS) / 1e9, CHUNK_NS / 1e9)
            if sensor.lost_part:
                kept = self._random.random(len(chunk.times_ns)) >= sensor.lost_part
                lost = int((~kept).sum())
                chunk = replace(chunk, samples=chunk.samples[kept], times_ns=chunk.times_ns[kept], dropped=lost)
            self._under_way.append((max([self.now_ns + sensor.late_ns, *earlier]), chunk))
