"""What a live run costs: ``mmg-run`` on virtual ports against the leanest loop over the same models, and against C.

The three take turns on two ports that play the same, a pty and an ALSA device. The loop is ``live_loop``, the C program
``live_floor.c``, which only reads. To these two sound comes in blocks of 20 ms, to mmg-run in those that it asks for.
All print a line a hop, and what lies between two such lines is measured: no start counts.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from mmg.errors import MmgError

from mmg_tools.attached import COMMAND
from mmg_tools.bench.needs import run_backends
from mmg_tools.bench.table import Figure, Reporter, Row
from mmg_tools.virtual.microphone import BLOCK_MS, NAME
from mmg_tools.virtual.scenario import Scenario, render
from mmg_tools.virtual.wearable import VirtualWearable

GOAL_LOOP, GOAL_FLOOR, GOAL_P95_MS, GOAL_WAKES_HZ = 1.0, 3.5, 20.0, 12.0
FLOOR = Path(__file__).with_name("live_floor.c")
SUBSETS = (("imu", "audio"), ("audio",))
HELD = SUBSETS[0]
"""The others are told and held to no goal, but that of latency."""
TURNS, HOPS, SETTLING_HOPS, SCENARIO_S = 5, 20, 8, 60.0
"""HOPS: of a turn, 10 s. SETTLING_HOPS: before them; by then the process that looked for microphones has ended, and the
IMU, whose first two seconds are listened to sample by sample, is left alone."""
HOP_S, PATIENCE_S, PLAIN_BLOCK_MS = 0.5, 30.0, 20


@dataclass(frozen=True, slots=True)
class Usage:
    """Of a process since its start: CPU seconds, and how often its threads slept and were woken. at_s: monotonic."""

    cpu_s: float
    wakes: dict[str, int]
    at_s: float


class Side(NamedTuple):
    """A program, and what it needs in its environment."""

    command: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a turn. percent: of a core. wakes_hz: voluntary context switches of all threads. resident_mib: at the end."""

    percent: float
    wakes_hz: float
    resident_mib: float
    lines: tuple[str, ...]

    @property
    def latencies_ms(self) -> list[float]:
        """From each hop's end to its decision, as mmg-run says."""
        return [json.loads(line)["latency_ms"]["event_to_decision"] for line in self.lines]


def measure(report: Reporter, *, quick: bool = False) -> list[Figure]:
    """Each subset on each backend: CPU time over that of the loop and of C, wakes, latency and memory."""
    costs: dict[tuple[tuple[str, ...], str], list[Cost]] = {}
    turns, hops = (1, 2) if quick else (TURNS, HOPS)
    with tempfile.TemporaryDirectory(prefix="mmg-bench-") as name:
        floor = build_floor(Path(name), report)
        scenario = render(seconds=SCENARIO_S)
        for names in SUBSETS:
            wears = partial(wearing, scenario, names, Path(name))
            with wears(BLOCK_MS) as wearable, wears(PLAIN_BLOCK_MS) as plain:
                sides = commands(wearable, plain, floor)
                for turn in range(turns):
                    report(f"live: {'+'.join(names)}, turn {turn + 1} of {turns}")
                    for side, (command, environment) in sides.items():
                        cost = run_side(command, environment, hops)
                        costs.setdefault((names, side), []).append(cost)
    return figures(costs)


def wearing(scenario: Scenario, names: Sequence[str], folder: Path, block_ms: int) -> VirtualWearable:
    """What plays it for these sensors. block_ms: how much sound comes at once."""
    place = Path(tempfile.mkdtemp(dir=folder))
    imu = "witmotion" if "imu" in names else None
    return VirtualWearable(scenario, place, imu=imu, loop=True, block_ms=block_ms)


def build_floor(folder: Path, report: Reporter) -> Path | None:
    """The compiled C program; None, and the reason told, where it cannot be made."""
    made, compiler = folder / "live_floor", shutil.which("cc")
    if compiler is None:
        report("live: without the C program: no compiler: sudo apt-get install gcc libc6-dev")
        return None
    done = subprocess.run(
        [compiler, "-O2", "-o", made, FLOOR, "-l:libportaudio.so.2"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        report(f"live: without the C program: {done.stderr.strip().splitlines()[0][:200]}")
        return None
    return made


def commands(wearable: VirtualWearable, plain: VirtualWearable, floor: Path | None) -> dict[str, Side]:
    """What runs on the wearables' ports, in the order of the turns: for each backend mmg and the loop, then C.

    plain: the wearable of the loop and of C.
    """
    terminal = (str(plain.devices["imu"].link),) if "imu" in plain.devices else ()
    urls = tuple(word for sensor, url in wearable.urls.items() for word in (f"--{sensor}", url))
    sides: dict[str, Side] = {}
    for backend in run_backends():
        run = (*COMMAND, "--format", "jsonl", "--backend", backend, *urls)
        sides[f"mmg, {backend}"] = Side(run, wearable.environment)
        loop = (sys.executable, "-m", "mmg_tools.bench.live_loop", backend, NAME, *terminal)
        sides[f"loop, {backend}"] = Side(loop, plain.environment)
    if floor is not None:
        sides["C"] = Side((str(floor), NAME, *terminal), plain.environment)
    return sides


def run_side(command: Sequence[str], environment: Mapping[str, str], hops: int) -> Cost:
    """One turn: the process from its start, measured over so many hops. Raises MmgError where it ends by itself."""
    with _started(command, environment, PATIENCE_S + (SETTLING_HOPS + hops) * HOP_S) as process:
        _take(process, SETTLING_HOPS)
        before = usage(process.pid)
        decided = _take(process, hops)
        after = usage(process.pid)
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    seconds = after.at_s - before.at_s
    woken = sum(count - before.wakes.get(thread, 0) for thread, count in after.wakes.items())
    return Cost(
        percent=(after.cpu_s - before.cpu_s) / seconds * 100,
        wakes_hz=woken / seconds,
        resident_mib=pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        lines=decided,
    )


@contextmanager
def _started(
    command: Sequence[str], environment: Mapping[str, str], patience_s: float
) -> Iterator[subprocess.Popen[str]]:
    """The process, which is ended after the block, or when its time is over."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | dict(environment)
    ) as process:
        over = threading.Timer(patience_s, process.kill)
        over.start()
        try:
            yield process
            process.terminate()
            process.communicate()
        finally:
            process.kill()
            over.cancel()


def _take(process: subprocess.Popen[str], count: int) -> tuple[str, ...]:
    """Its next lines. Raises MmgError where there are fewer."""
    assert process.stdout is not None
    assert process.stderr is not None
    lines = tuple(islice(process.stdout, count))
    if len(lines) < count:
        process.kill()
        raise MmgError(f"{process.args!r}: ended or fell silent: {process.stderr.read().strip()[-300:]}")
    return lines


def usage(pid: int) -> Usage:
    """As of now. The kernel's clock of another process's CPU time counts nanoseconds, /proc hundredths of a second."""
    clock = ~pid << 3 | 2  # clock_getcpuclockid(3), MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED) of the kernel
    wakes = {}
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines())
        wakes[status.parent.name] = int(fields["voluntary_ctxt_switches"])
    return Usage(time.clock_gettime(clock), wakes, time.monotonic())


def figures(costs: Mapping[tuple[tuple[str, ...], str], Sequence[Cost]]) -> list[Figure]:
    """Medians over the turns, and what they are compared with."""
    over_loop, over_floor, late, wakes = [], [], [], []
    for (names, side), mine in costs.items():
        if not side.startswith("mmg"):
            continue
        backend = side.removeprefix("mmg, ")
        what, held = f"{'+'.join(names)}, {backend}", names == HELD
        loops, floors = costs[names, f"loop, {backend}"], costs.get((names, "C"))
        spent, of_loop = (median(one.percent for one in some) for some in (mine, loops))
        resident = {"resident_MiB": median(one.resident_mib for one in mine)}
        over_loop.append(Row(what, spent / of_loop, {"mmg_%": spent, "loop_%": of_loop, **resident}, held))
        woken = {"loop_/s": median(one.wakes_hz for one in loops)}
        if floors is not None:
            of_floor = median(one.percent for one in floors)
            over_floor.append(Row(what, spent / of_floor, {"mmg_%": spent, "C_%": of_floor}, held))
            woken["C_/s"] = median(one.wakes_hz for one in floors)
        wakes.append(Row(what, median(one.wakes_hz for one in mine), woken, held))
        p50, p95, most = np.percentile([ms for one in mine for ms in one.latencies_ms], (50, 95, 100))
        late.append(Row(what, float(p95), {"p50_ms": float(p50), "longest_ms": float(most)}))
    made = [
        Figure(
            "live", "CPU time of mmg-run on virtual ports over that of the bare loop", GOAL_LOOP, True, tuple(over_loop)
        ),
        Figure(
            "live over C", "CPU time of mmg-run over that of C that only reads", GOAL_FLOOR, True, tuple(over_floor)
        ),
        Figure(
            "live lateness", "from a hop's end to its decision, p95 in ms", GOAL_P95_MS, True, tuple(late), digits=1
        ),
        Figure("live wakes", "how often any thread is woken, a second", GOAL_WAKES_HZ, True, tuple(wakes), digits=1),
    ]
    return [figure for figure in made if figure.rows]
