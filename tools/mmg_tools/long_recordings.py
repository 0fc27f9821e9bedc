"""What a long recording costs beside a short one: the time to the first decision, and memory."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from mmg.cli.progress import Progress
from mmg.cli.reporting import stderr_reporter

_report = stderr_reporter("long_recordings")
SHORT_S, LONG_S, LONGEST_S = 60, 7200, 28_800
ASKED_S = 20
IMU_HZ, SOUND_HZ = 100, 16_000
BLOCK_S = 60


@dataclass(frozen=True)
class Cost:
    """Of one run: seconds to the first decision and to the end, and the largest resident memory in MiB."""

    first_s: float
    whole_s: float
    memory_mib: float
    decisions: int


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m mmg_tools.long_recordings",
        description="Run mmg-run on recordings of IMU and sound of a minute, two hours and eight, and tell the time "
        "to the first decision, memory, and what --duration 20 costs. Takes two minutes and 1.3 GB for a while.",
    )
    parser.add_argument("--repeats", type=int, default=3, help="how often; medians are told (default: 3)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    options = parser.parse_args(arguments)
    with Progress(_report, "measuring"), tempfile.TemporaryDirectory(prefix="mmg-long-") as folder:
        recordings = {}
        for seconds in (SHORT_S, LONG_S, LONGEST_S):
            _report(f"write {seconds} s")
            recordings[seconds] = write(Path(folder), seconds)
        costs = {
            "a minute": repeat(recordings[SHORT_S], options.repeats),
            "two hours": repeat(recordings[LONG_S], options.repeats),
            f"{ASKED_S} s of a minute": repeat(recordings[SHORT_S], options.repeats, ASKED_S),
            f"{ASKED_S} s of eight hours": repeat(recordings[LONGEST_S], options.repeats, ASKED_S),
        }
    if options.json:
        print(json.dumps({name: asdict(cost) for name, cost in costs.items()}, indent=2))
    else:
        print(f"{'':24} {'first decision':>15} {'whole run':>11} {'memory':>10} {'decisions':>10}")
        for name, cost in costs.items():
            times = f"{cost.first_s:13.2f} s {cost.whole_s:9.2f} s"
            print(f"{name:24} {times} {cost.memory_mib:6.0f} MiB {cost.decisions:10d}")
    return 0


def write(folder: Path, seconds: int) -> dict[str, Path]:
    """A walk of so many seconds: a CSV at 100 Hz and a WAV at 16 kHz, both simulated."""
    paths = {"imu": folder / f"{seconds}.csv", "audio": folder / f"{seconds}.wav"}
    random = np.random.default_rng(5)
    with paths["imu"].open("w") as table, wave.open(str(paths["audio"]), "wb") as sound:
        table.write("t_ms,ax (m/s^2),ay (m/s^2),az (m/s^2),gx (rad/s),gy (rad/s),gz (rad/s)\n")
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(SOUND_HZ)
        for begin in range(0, seconds, BLOCK_S):
            times = begin + np.arange(BLOCK_S * IMU_HZ) / IMU_HZ
            steps = np.sin(2 * np.pi * 1.8 * times)
            rows = np.stack([2 * steps, steps, 9.8 + 3 * steps, steps / 2, steps, steps / 3], axis=1)
            rows += random.normal(0, 0.1, rows.shape)
            for time_ms, row in zip(range(begin * 1000, (begin + BLOCK_S) * 1000, 1000 // IMU_HZ), rows, strict=True):
                table.write(f"{time_ms},{','.join(f'{value:.4f}' for value in row)}\n")
            noise = random.normal(0, 800, BLOCK_S * SOUND_HZ).clip(-32768, 32767)
            sound.writeframes(noise.astype("<i2").tobytes())
    return paths


def repeat(recording: dict[str, Path], repeats: int, duration_s: int | None = None) -> Cost:
    """The medians of some runs."""
    runs = [run(recording, duration_s) for _ in range(repeats)]
    return Cost(
        statistics.median(one.first_s for one in runs),
        statistics.median(one.whole_s for one in runs),
        statistics.median(one.memory_mib for one in runs),
        runs[0].decisions,
    )


def run(recording: dict[str, Path], duration_s: int | None) -> Cost:
    """One run in a process of its own. Raises RuntimeError where it fails."""
    command = [sys.executable, "-m", "mmg.cli.run", "--format", "jsonl"]
    command += [part for name, path in recording.items() for part in (f"--{name}", str(path))]
    command += ["--duration", str(duration_s)] if duration_s else []
    begin_s = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    first = process.stdout.readline()
    first_s = time.monotonic() - begin_s
    decisions = bool(first) + sum(1 for _ in process.stdout)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with exit code {process.returncode}")
    return Cost(first_s, time.monotonic() - begin_s, usage.ru_maxrss / 1024, decisions)


if __name__ == "__main__":
    sys.exit(main())
