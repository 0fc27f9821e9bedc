"""A room with a wearer who rests or does a chore, as scripted ports hear it: live runs without waiting."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from chores import IMU_HZ, REST, SOUND_HZ, imu, sound
from fakes import times_ns
from mmg.sources.ports.port import PortStatus
from mmg.types import Chunk
from numpy.typing import NDArray
from scripted import CHUNK_NS, CONNECTED, World

LOOP_S = 16.0
RATES_HZ = {"imu": IMU_HZ, "audio": SOUND_HZ}


@cache
def loop(name: str, chore: str, seed: int) -> NDArray[np.float32]:
    """``(T, C)``: a chore as a sensor gives it. A hand at rest lies on a table."""
    if name == "audio":
        return (sound(chore, LOOP_S, seed)[:, None] / 32768).astype(np.float32)
    moved: NDArray[Any] = imu(chore, LOOP_S, seed)
    at_rest = moved.mean(axis=0) + (moved - moved.mean(axis=0)) / 4
    return (at_rest if chore == REST else moved).astype(np.float32)


class Room(World):
    """doing: the chore. hears: what the microphone gives in place of the chore's sound."""

    def __init__(self, names: tuple[str, ...] = ("imu", "audio"), seed: int = 1) -> None:
        super().__init__(names)
        self.doing, self._seed_of_loops = REST, seed
        self.hears: NDArray[np.float32] | None = None
        for name in names:
            self.plug(name)

    def unplug(self, name: str) -> None:
        """From now on it gives nothing."""
        self.sensors[name].talking = False
        self.sensors[name].port.status = PortStatus(reason="unplugged", device="scripted")

    def plug(self, name: str) -> None:
        """From now on it is there."""
        self.sensors[name].talking = True
        self.sensors[name].port.status = CONNECTED

    def _sample(self) -> None:
        for name, sensor in self.sensors.items():
            if sensor.talking:
                self._under_way.append((self.now_ns + sensor.late_ns, self._chunk(name)))

    def _chunk(self, name: str) -> Chunk:
        rate_hz, begin_s = RATES_HZ[name], (self.now_ns - CHUNK_NS) / 1e9
        other = self.hears if name == "audio" else None
        whole = loop(name, self.doing, self._seed_of_loops) if other is None else other
        count = round(CHUNK_NS / 1e9 * rate_hz)
        at = round(begin_s * rate_hz) % (len(whole) - count)
        return Chunk(name, whole[at : at + count], times_ns(begin_s, count, rate_hz), float(rate_hz))
