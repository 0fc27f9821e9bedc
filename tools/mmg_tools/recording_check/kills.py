"""Recorders that are killed at random moments: what is on the disk can be read, and lacks two seconds at most."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmg.cli.progress import counted
from mmg.cli.reporting import Reporter
from mmg.errors import SourceError
from mmg.recording.reader import open_recording
from mmg.recording.recorder import Recorder
from mmg.recording.sensors import Sensor
from mmg.runs.step import Step
from mmg.sources.ports.port import PortStatus
from mmg.types import Chunk

AT_ONCE = 8
SHORTEST_S, LONGEST_S = 0.2, 5.0
MOST_LOST_S = 2.0
STEP_S = 0.25
SENSORS = (
    Sensor("imu", "signal", ("ax", "ay", "az", "gx", "gy", "gz"), "serial:///dev/ttyUSB0"),
    Sensor("audio", "audio", ("mono",), "mic://default"),
)


@dataclass
class Kills:
    """unreadable: files that cannot be opened. lost_s: the longest time before a kill that is not in its file."""

    tried: int = 0
    unreadable: int = 0
    lost_s: float = 0.0

    @property
    def problems(self) -> list[str]:
        """What is not as it must be."""
        broken = [f"{self.unreadable} files of killed recorders cannot be read"] * bool(self.unreadable)
        return broken + [f"a kill takes {self.lost_s:.1f} s"] * (self.lost_s > MOST_LOST_S)


def check_kills(folder: Path, count: int, seed: int, report: Reporter = lambda _: None) -> Kills:
    """Kill so many recorders of sensors that sample at their real pace."""
    kills, chance = Kills(), random.Random(seed)
    firsts = range(0, count, AT_ONCE)
    for first in counted(report, "killed", firsts, len(firsts), "groups"):
        batch = [_begin(folder / f"killed-{number}.mcap") for number in range(first, min(first + AT_ONCE, count))]
        moments = sorted(
            (time.monotonic() + chance.uniform(SHORTEST_S, LONGEST_S), place) for place in range(len(batch))
        )
        killed_ns = {}
        for moment, place in moments:
            time.sleep(max(moment - time.monotonic(), 0))
            killed_ns[place] = time.monotonic_ns()
            batch[place][1].send_signal(signal.SIGKILL)
        for place, (path, process) in enumerate(batch):
            with process:
                process.wait()
            kills.tried += 1
            try:
                recording = open_recording(path)
                newest_ns = max((step.now_ns for step in recording.steps()), default=recording.origin_ns)
            except SourceError:
                kills.unreadable += 1
                continue
            kills.lost_s = round(max(kills.lost_s, (killed_ns[place] - newest_ns) / 1e9), 2)
            path.unlink()
    return kills


def _begin(path: Path) -> tuple[Path, subprocess.Popen[bytes]]:
    """A recorder that records already."""
    process = subprocess.Popen([sys.executable, "-m", __name__, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return path, process


def _feed(path: Path) -> None:
    """Record made-up sensors until the end comes."""
    recorder = Recorder(path, SENSORS, origin_ns=time.monotonic_ns(), metadata={})
    print("recording", flush=True)
    random_ = np.random.default_rng(0)
    status = PortStatus(connected=True, reason="", device="made up")
    while True:
        time.sleep(STEP_S)
        now_ns = time.monotonic_ns()
        imu = Chunk("imu", random_.normal(size=(25, 6)).astype(np.float32), now_ns - np.arange(24, -1, -1) * 10_000_000)
        sound = random_.integers(-3000, 3000, (4000, 1)).astype(np.float32) / np.float32(32768)
        audio = Chunk("audio", sound, now_ns - np.arange(3999, -1, -1) * 62_500, 16_000.0)
        recorder.step(Step(now_ns, (imu, audio), {"imu": status, "audio": status}))


if __name__ == "__main__":
    _feed(Path(sys.argv[1]))
