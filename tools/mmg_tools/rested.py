"""What the models alone take when they run once a hop: ``python -m mmg_tools.rested``, until its input ends.

After a rest caches are cold, and a virtual machine may have to get its memory back first (docs/performance.md). So what
a live run takes is held to this, measured in the same seconds.
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
from mmg.cli.exit_codes import run_command
from mmg.cli.reporting import stderr_reporter
from mmg.errors import MmgError

from mmg_tools.bench.bare import Bare
from mmg_tools.bench.hops import Recording
from mmg_tools.bench.needs import run_backends

SENSORS, READY = ("imu", "audio"), "ready"
START_HOPS = 2
"""So many hops are not counted: what is first used is first loaded."""
RESTS, REST_S = 4, 0.5
LAST_WORDS_S = 10.0


class RestedModels:
    """The starter's models in a process of their own, run at the end of each hop from ``with`` to ``stop``."""

    def __enter__(self) -> RestedModels:
        command = [sys.executable, "-m", "mmg_tools.rested"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()  # that it is ready, or has ended
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        with self._process:  # closes its pipes and waits for its end
            pass

    def stop(self) -> list[float]:
        """Of each hop the ms from its end to the models' last result. Raises MmgError where there is none."""
        try:
            told, errors = self._process.communicate(timeout=LAST_WORDS_S)
        except subprocess.TimeoutExpired as error:
            raise MmgError(f"the models alone did not end within {LAST_WORDS_S:g} s") from error
        if self._process.returncode:
            raise MmgError(errors.strip().rpartition("\n")[2] or "the models alone ended without a word")
        late_ms: list[float] = json.loads(told)[START_HOPS:]
        if not late_ms:
            raise MmgError(f"the models alone ran no more than {START_HOPS} hops")
        return late_ms


def measure_rest() -> tuple[float, float]:
    """Wall ms of a hop's models, median: back to back, and after a rest of ``REST_S``."""
    with Bundle.open("starter") as bundle:
        models = Bare(bundle, Recording(bundle.manifest, SENSORS, START_HOPS + RESTS), run_backends()[0])

        def median_ms(rest_s: float) -> float:
            took_ms = []
            for hop in range(START_HOPS + RESTS):
                time.sleep(rest_s if hop >= START_HOPS else 0)
                begin_s = time.perf_counter()
                models(hop)
                took_ms.append((time.perf_counter() - begin_s) * 1e3)
            return float(np.median(took_ms[START_HOPS:]))

        return median_ms(0), median_ms(REST_S)


def main() -> int:
    """The command; returns its exit code."""
    return run_command(_run, stderr_reporter("rested"))


def _run() -> int:
    late_ms: list[float] = []
    with Bundle.open("starter") as bundle:
        hop_s, recording = bundle.manifest.hop_s, Recording(bundle.manifest, SENSORS, hops=8)
        models = Bare(bundle, recording, run_backends()[0])
        print(READY, flush=True)
        begin_s = time.monotonic()
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
