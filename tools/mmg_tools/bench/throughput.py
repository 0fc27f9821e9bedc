"""How many seconds of a recording one core decides in a second: ``mmg-run`` on the demo, IMU and sound.

Held to the goal is the demo with its sound as a WAV at the model's rate, as a device records it, on each backend. The
demo's own OGG at 44.1 kHz takes as much again to decode and to resample.
"""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from mmg.cli.sensors import DEMO
from mmg.errors import MmgError

from mmg_tools.attached import COMMAND
from mmg_tools.bench.needs import run_backends
from mmg_tools.bench.table import Figure, Reporter, Row

RUN = (*COMMAND, "--sensors", "imu,audio", "--format", "jsonl", "--pace", "fast")
GOAL = 300.0
HELD = "WAV at 16 kHz"
SHORT_S = 1.0
"""A run that has opened everything and decided once."""
HOP_S, MODEL_HZ = 0.5, 16_000
TICK_S = 1e-3
"""A difference of CPU times that is smaller is none."""


def measure(report: Reporter, *, quick: bool = False) -> list[Figure]:
    """Seconds of recording a second of CPU: of the whole process, and of what it does after its start."""
    with tempfile.TemporaryDirectory(prefix="mmg-bench-") as folder:
        wav = ("--imu", str(DEMO / "imu.csv"), "--audio", _as_wav(Path(folder)))
        runs = [_Runs(name, source, []) for name, source in ((HELD, wav), ("OGG at 44.1 kHz", ("--demo",)))]
        runs = [run.on(backend) for backend in run_backends() for run in runs]
        repeats = 1 if quick else 9
        for number in range(1, repeats + 1):
            report(f"throughput: {number} of {repeats}")
            # In turns: each sees the same machine.
            for run in runs:
                run.add()
    rows = tuple(row for run in runs for row in run.rows())
    return [Figure("throughput", "seconds of recording a second of one core", GOAL, False, rows, digits=0)]


def _as_wav(folder: Path) -> str:
    """The demo's sound at the model's rate, and where it is."""
    import soundfile
    import soxr

    sound, rate_hz = soundfile.read(DEMO / "audio.ogg", dtype="float32")
    soundfile.write(folder / "audio.wav", soxr.resample(sound, rate_hz, MODEL_HZ), MODEL_HZ, subtype="PCM_16")
    return str(folder / "audio.wav")


@dataclass(frozen=True)
class _Runs:
    """Of one source: pairs of a whole run and of one that ends after its first second. Their difference is a median."""

    name: str
    source: tuple[str, ...]
    pairs: list[tuple[tuple[float, int], tuple[float, int]]]

    def on(self, backend: str) -> _Runs:
        return _Runs(f"{self.name}, {backend}", (*self.source, "--backend", backend), [])

    def add(self) -> None:
        self.pairs.append((run_on_one_core(*self.source), run_on_one_core(*self.source, "--duration", f"{SHORT_S:g}")))

    def rows(self) -> tuple[Row, Row]:
        (_, decided), (_, first) = self.pairs[0]
        whole_s = median(whole for (whole, _), _ in self.pairs)
        pipeline_s = median(whole - short for (whole, _), (short, _) in self.pairs)
        recorded_s, further_s = decided * HOP_S, (decided - first) * HOP_S
        held, spent = self.name.startswith(HELD), {"recording_s": further_s, "CPU_s": pipeline_s}
        whole = {"recording_s": recorded_s, "CPU_s": whole_s}
        return (
            Row(f"{self.name}, without the start", further_s / max(pipeline_s, TICK_S), spent, held=held),
            Row(f"{self.name}, whole process", recorded_s / whole_s, whole, held=False),
        )


def run_on_one_core(*arguments: str) -> tuple[float, int]:
    """CPU seconds of ``mmg-run``, on one core, and how many decisions it made. Raises MmgError."""
    core = min(os.sched_getaffinity(0))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [*RUN, *arguments],
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        capture_output=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise MmgError(f"mmg-run: {done.stderr.decode(errors='replace').strip()[-300:]}")
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return cpu_s, len(done.stdout.splitlines())
