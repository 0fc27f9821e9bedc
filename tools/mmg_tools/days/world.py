"""The time, and all that happens in it: three sensors, their faults, and a process that is kept waiting at times."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mmg_tools.days.body import Motion, Sound, make_motion, make_sound
from mmg_tools.days.camera import Camera
from mmg_tools.days.faults import Fault, Pace, draw_faults
from mmg_tools.days.imu import Imu
from mmg_tools.days.microphone import Microphone
from mmg_tools.days.pace import Sensor
from mmg_tools.days.ports import WornCamera, WornMicrophone, WornSerial

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmg.bundle import Manifest
    from mmg.types import Chunk

UP_NS = 200 * 86_400 * 10**9
"""The host has been up for so long: a float64 holds no ns of that."""
FIRST_FAULT_NS = 12 * 10**9


class World:
    """happened: faults by sensor and name. fault: of each sensor, the one that lasts now, or the last."""

    def __init__(self, manifest: Manifest, pace: Pace, seed: int) -> None:
        self.now_ns = UP_NS
        self.motion: Motion = make_motion()
        self.sound: Sound = make_sound(manifest.modality("audio").rate_hz)
        self.imu_port = WornSerial(manifest.modality("imu"))
        self.microphone_port = WornMicrophone(manifest.modality("audio"))
        self.camera_port = WornCamera(manifest.modality("video"))
        video, audio = manifest.modality("video"), manifest.modality("audio")
        self.imu = Imu(self.imu_port, self.motion, seed, self.now_ns)
        self.microphone = Microphone(self.microphone_port, self.sound, audio.rate_hz, seed, self.now_ns)
        self.camera = Camera(self.camera_port, video.rate_hz, video.sample_shape[:2], seed, self.now_ns)
        self.sensors: dict[str, Sensor] = {"imu": self.imu, "audio": self.microphone, "video": self.camera}
        self.happened: Counter[tuple[str, str]] = Counter()
        self.begins: Callable[[Fault], None] = lambda _: None
        self.ends: Callable[[Fault], None] = lambda _: None
        """Called as a fault begins and ends."""
        first_ns = self.now_ns + FIRST_FAULT_NS
        self._drawn = {name: draw_faults(name, pace, seed, first_ns) for name in (*self.sensors, "run")}
        self._next = {name: next(faults) for name, faults in self._drawn.items()}
        self._is_on = dict.fromkeys(self._next, False)
        self._due_ns = {name: fault.begin_ns for name, fault in self._next.items()}
        self._paused_until_ns = self._newest_ns = 0
        self.pauses: list[tuple[int, int]] = []
        """Of the newest, from when to when."""

    @property
    def ports(self) -> tuple[WornSerial, WornMicrophone, WornCamera]:
        """Not started."""
        return self.imu_port, self.microphone_port, self.camera_port

    def hear(self, chunk: Chunk) -> None:
        """What a port delivers."""
        if len(chunk.times_ns):
            self._newest_ns = max(self._newest_ns, int(chunk.times_ns[-1]))

    def wait(self, until_ns: int, timeout_ns: int) -> None:
        """As ``Inbox.wait``: until a sample captured at ``until_ns`` or later comes, or the time is over."""
        self._newest_ns = 0
        end_ns = self.now_ns + timeout_ns
        sensors = tuple(self.sensors.values())
        while True:
            happens_ns = min(self._due_ns.values())
            sensor = min(sensors, key=_due_ns)
            next_ns = min(happens_ns, sensor.due_ns)
            if next_ns > max(end_ns, self._paused_until_ns):
                self.now_ns = max(end_ns, self._paused_until_ns)
                return
            self.now_ns = max(self.now_ns, next_ns)
            if happens_ns <= sensor.due_ns:
                self._happen()
            else:
                sensor.fire()
                if self._newest_ns >= until_ns and self.now_ns >= self._paused_until_ns:
                    return

    def _happen(self) -> None:
        """What is due begins or ends."""
        name = min(self._due_ns, key=self._due_ns.__getitem__)
        fault = self._next[name]
        if not self._is_on[name]:
            self.happened[name, fault.name] += 1
            self._begin(fault)
            self._is_on[name], self._due_ns[name] = True, fault.end_ns
            return
        if name in self.sensors:
            self.sensors[name].end(fault)
        self.ends(fault)
        self._next[name] = next(self._drawn[name])
        self._is_on[name], self._due_ns[name] = False, self._next[name].begin_ns

    def _begin(self, fault: Fault) -> None:
        if fault.sensor in self.sensors:
            self.sensors[fault.sensor].begin(fault)
        else:
            self._paused_until_ns = fault.end_ns
            self.pauses = [*self.pauses[-8:], (fault.begin_ns, fault.end_ns)]
        self.begins(fault)


def _due_ns(sensor: Sensor) -> int:
    return sensor.due_ns
