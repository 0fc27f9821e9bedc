"""What the models alone take when they run once a hop: ``python -m mmg_tools.rested``, until its input ends.

After a rest caches are cold, and a virtual machine may have to get its memory back first: what takes 0.3 ms again and
again took 40 ms after 0.4 s on one. So what a live run takes is held to this, measured in the same seconds.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from types import TracebackType

import numpy as np
from mmg import Bundle
from mmg.errors import MmgError

from mmg_tools.bench.bare import Bare
from mmg_tools.bench.hops import Recording

START_HOPS = 2
"""So many hops are not counted: what is first used is first loaded."""
SENSORS = ("imu", "audio")
RESTS, REST_S = 4, 0.5


class RestedModels:
    """The starter's models in a process of their own, run at the end of each hop from ``with`` to ``stop``."""

    def __enter__(self) -> RestedModels:
        command = [sys.executable, "-m", "mmg_tools.rested"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def stop(self) -> float:
        """p95 of the ms from a hop's end to the models' last result. Raises MmgError where there is none."""
        told, errors = self._process.communicate()
        late_ms = json.loads(told)[START_HOPS:] if self._process.returncode == 0 else []
        if not late_ms:
            raise MmgError(f"the models alone ran no hop: {errors.strip()}")
        return float(np.percentile(late_ms, 95))


def measure_rest() -> tuple[float, float]:
    """Wall ms of a hop's models, median: back to back, and after a rest of ``REST_S``."""
    took_ms: dict[float, list[float]] = {0: [], REST_S: []}
    with Bundle.open("starter") as bundle:
        models = Bare(bundle, Recording(bundle.manifest, SENSORS, START_HOPS + RESTS))
        for rest_s, times in took_ms.items():
            for hop in range(START_HOPS + RESTS):
                time.sleep(rest_s if hop >= START_HOPS else 0)
                begin_s = time.perf_counter()
                models(hop)
                times.append((time.perf_counter() - begin_s) * 1e3)
    short, long = (float(np.median(times[START_HOPS:])) for times in took_ms.values())
    return short, long


def main() -> int:
    """The command; returns its exit code."""
    late_ms: list[float] = []
    with Bundle.open("starter") as bundle:
        hop_s, recording = bundle.manifest.hop_s, Recording(bundle.manifest, SENSORS, hops=8)
        models, begin_s = Bare(bundle, recording), time.monotonic()
        while True:
            due_s = begin_s + (len(late_ms) + 1) * hop_s
            if select.select([sys.stdin], [], [], max(due_s - time.monotonic(), 0))[0]:
                break
            models(len(late_ms) % recording.hops)
            late_ms.append((time.monotonic() - due_s) * 1e3)
    print(json.dumps(late_ms))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
