"""What a page of mmg-look costs: its size, the time that it takes to write, and memory."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from mmg.cli.progress import Progress
from mmg.cli.reporting import stderr_reporter

from mmg_tools.long_recordings import LONGEST_S, write

_report = stderr_reporter("look_sizes")
MINUTES_S = 300


@dataclass(frozen=True)
class Cost:
    """Of one page: megabytes, seconds to write it, and the largest resident memory in MiB."""

    page_mb: float
    seconds: float
    memory_mib: float


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m mmg_tools.look_sizes",
        description="Write mmg-look's pages of the demo, and of five minutes and eight hours of simulated IMU and "
        "sound, and tell their sizes. Takes some minutes and 1.2 GB for a while.",
    )
    parser.add_argument("--keep", metavar="DIR", type=Path, help="leave the pages here")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    options = parser.parse_args(arguments)
    with Progress(_report, "measuring"), tempfile.TemporaryDirectory(prefix="mmg-look-") as made:
        folder = Path(made)
        pages = options.keep or folder
        costs = {"the demo, 75 s": look(["--demo"], pages / "demo.html")}
        for name, seconds in (("five minutes", MINUTES_S), ("eight hours", LONGEST_S)):
            _report(f"write {seconds} s")
            recordings = write(folder, seconds)
            sensors = [part for sensor, path in recordings.items() for part in (f"--{sensor}", str(path))]
            costs[name] = look(sensors, pages / f"{seconds}.html")
    if options.json:
        print(json.dumps({name: asdict(cost) for name, cost in costs.items()}, indent=2))
    else:
        print(f"{'':16} {'page':>10} {'time':>10} {'memory':>10}")
        for name, cost in costs.items():
            print(f"{name:16} {cost.page_mb:7.2f} MB {cost.seconds:8.1f} s {cost.memory_mib:6.0f} MiB")
    return 0


def look(sensors: list[str], page: Path) -> Cost:
    """Write one page in a process of its own. Raises RuntimeError where that fails."""
    command = [sys.executable, "-m", "mmg.cli.look", *sensors, "-o", str(page), "--overwrite"]
    begin_s = time.monotonic()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    told = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with exit code {process.returncode}: {told[-500:]}")
    return Cost(page.stat().st_size / 1e6, time.monotonic() - begin_s, usage.ru_maxrss / 1024)


if __name__ == "__main__":
    sys.exit(main())
