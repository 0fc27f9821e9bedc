"""Many recordings with mmg-batch: how much two processes gain, what a kill costs, and how memory goes."""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from mmg.cli.progress import Progress, counted
from mmg.cli.reporting import stderr_reporter
from mmg_batch.results import DECISIONS, RECORDINGS, read_recordings
from mmg_training.wearer import Subject, plan, render_imu, render_sound
from mmg_training.wearer.record import write_imu, write_sound, write_truth

from mmg_tools.long_recordings import write

_report = stderr_reporter("batches")
DISTINCT, SUBJECT, SOUND_HZ = 10, 900, 16_000
LOOK_S = 0.2
LOOKED_AT = 4
"""So many times each distinct recording is decided in a look at the runs alone."""


@dataclass
class Told:
    """What was measured. Seconds are of the clock where they end in ``_s``, of processors in ``_cpu_s``.

    alone_cpu_s: the runs one after another in one process that holds the models. machine_gain: how much faster two such
    processes at a time are than one, which is what this machine's cores give at this hour. Both are the mean of three
    looks: before, between and after the batches, as a machine that is not alone runs faster and slower by the minute.
    memory_mib: the resident memory of the largest worker when a tenth, the half and nine tenths of the recordings were
    done. kills: how often a batch was killed and resumed. is_equal: whether its tables are those of an uninterrupted
    one.
    """

    recordings: int
    seconds: int
    alone_s: float = 0.0
    alone_cpu_s: float = 0.0
    machine_gain: float = 0.0
    one_s: float = 0.0
    two_s: float = 0.0
    two_cpu_s: float = 0.0
    memory_mib: list[float] = field(default_factory=list)
    long_s: float | None = None
    others_s: float | None = None
    kills: int = 0
    is_equal: bool | None = None
    ray_s: float | None = None
    is_ray_equal: bool | None = None


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and return the exit code: 1 where a table differs."""
    parser = argparse.ArgumentParser(prog="python -m mmg_tools.batches", description=__doc__)
    add = parser.add_argument
    add("--recordings", type=int, default=60, help="how many, of which ten are distinct (default: 60)")
    add("--seconds", type=int, default=60, help="of each (default: 60)")
    add("--kills", type=int, default=10, help="how often a batch is killed at random and resumed (default: 10)")
    add("--long", type=float, default=0.0, metavar="HOURS", help="a recording of so many hours among them")
    add("--ray", action="store_true", help="only on a Ray cluster of two nodes, one of which is killed")
    add("--seed", type=int, default=1)
    add("--json", action="store_true", help="one JSON object instead of lines")
    options = parser.parse_args(arguments)
    told = Told(options.recordings, options.seconds)
    with tempfile.TemporaryDirectory(prefix="mmg-batches-") as name:
        folder = Path(name)
        recordings = make(folder, options.recordings, options.seconds)
        if options.ray:
            on_ray(folder, recordings, told)
        else:
            measure(folder, recordings, told, options)
    if options.json:
        print(json.dumps(asdict(told), indent=2))
    else:
        print("\n".join(lines(told)))
    return 1 if False in (told.is_equal, told.is_ray_equal) else 0


def make(folder: Path, count: int, seconds: int) -> Path:
    """A folder of so many recordings of IMU, sound and labels: ten are rendered, and the others are links to them."""
    made = folder / "rendered"
    for number in counted(_report, "rendered", range(DISTINCT), DISTINCT, "recordings"):
        place = made / str(number)
        place.mkdir(parents=True)
        timeline = plan(Subject.numbered(SUBJECT + number), number, float(seconds))
        write_imu(render_imu(timeline, 100), place / "imu.csv")
        write_sound(render_sound(timeline, SOUND_HZ), place / "audio.wav", SOUND_HZ)
        write_truth(timeline, place / "labels.csv")
    recordings = folder / "recordings"
    recordings.mkdir()
    for number in range(count):
        (recordings / f"{number:05d}").symlink_to(made / str(number % DISTINCT))
    return recordings


def measure(folder: Path, recordings: Path, told: Told, options: argparse.Namespace) -> None:
    """All but Ray."""
    looks = [look_alone(recordings, told.recordings)]
    _report("one process")
    told.one_s, _, _ = finish(start(recordings, folder / "one", 1), folder / "one", told.recordings)
    looks.append(look_alone(recordings, told.recordings))
    _report("two processes")
    run = start(recordings, folder / "two", 2)
    told.two_s, told.two_cpu_s, told.memory_mib = finish(run, folder / "two", told.recordings)
    looks.append(look_alone(recordings, told.recordings))
    told.alone_s, told.alone_cpu_s, told.machine_gain = (
        statistics.fmean(column) for column in zip(*looks, strict=True)
    )
    told.is_equal = same(folder / "one", folder / "two")
    if options.kills:
        told.kills = kill(recordings, folder / "killed", options, told.two_s)
        told.is_equal = told.is_equal and same(folder / "two", folder / "killed")
    if options.long:
        _report(f"with a recording of {options.long:g} hours")
        (folder / "long").mkdir()
        (recordings / "long").mkdir()
        for sensor, path in write(folder / "long", round(options.long * 3600)).items():
            (recordings / "long" / f"{sensor}{path.suffix}").symlink_to(path)
        begun_s = time.monotonic()
        process = start(recordings, folder / "with-long", 2)
        while len(done(folder / "with-long")) < told.recordings:
            wait(process)
        told.others_s = time.monotonic() - begun_s
        finish(process, folder / "with-long", told.recordings + 1)
        told.long_s = time.monotonic() - begun_s


def look_alone(recordings: Path, count: int) -> tuple[float, float, float]:
    """Seconds and processor seconds of the runs alone, and what a second process at the same time gains."""
    _report("the runs alone, in one process and in two")
    [(alone_s, cpu_s)] = alone(recordings, count)
    two_s = max(wall_s for wall_s, _ in alone(recordings, count, processes=2))
    return alone_s, cpu_s, 2 * alone_s / two_s


def alone(recordings: Path, count: int, processes: int = 1) -> list[tuple[float, float]]:
    """Seconds and processor seconds of so many runs, from those of the distinct ones, whose models are loaded: of each
    of so many processes that do it at the same time."""
    code = (
        "import sys, time; from mmg.runs.process import set_up_process; set_up_process()\n"
        "from mmg import Pipeline; from mmg.runs.settings import Settings\n"
        "from mmg_batch.kept_bundle import KeptBundle\n"
        "bundle = KeptBundle.open_kept('starter')\n"
        f"for part in range({1 + LOOKED_AT}):\n"
        "    if part == 1: begun_s, cpu_s = time.monotonic(), time.process_time()\n"
        "    for folder in sys.argv[1:]:\n"
        "        bundle.begin_run()\n"
        "        run = Pipeline(bundle, {'imu': folder, 'audio': folder}, Settings())\n"
        "        for decision in run: pass\n"
        "        run.close()\n"
        "print(time.monotonic() - begun_s, time.process_time() - cpu_s)\n"
    )
    folders = [str(recordings / f"{number:05d}") for number in range(min(DISTINCT, count))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *folders]
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    times = [tuple(map(float, one.communicate()[0].split())) for one in running]
    share = count / len(folders) / LOOKED_AT
    return [(wall_s * share, cpu_s * share) for wall_s, cpu_s in times]


def start(recordings: Path, output: Path, workers: int, *words: str) -> subprocess.Popen[bytes]:
    """mmg-batch in a process of its own."""
    command = [sys.executable, "-m", "mmg_batch.cli", str(recordings), "-o", str(output), "--workers", str(workers)]
    return subprocess.Popen([*command, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes], output: Path, count: int) -> tuple[float, float, list[float]]:
    """Seconds, processor seconds, and the workers' memory at a tenth, the half and all. Raises RuntimeError."""
    begun_s, before, seen = time.monotonic(), _children_cpu_s(), list[float]()
    shares = [0.1, 0.5, 0.9]
    while process.poll() is None:
        if len(seen) < len(shares) and len(done(output)) >= shares[len(seen)] * count:
            seen.append(memory_mib(process.pid))
        time.sleep(LOOK_S)
    if process.returncode:
        assert process.stderr is not None
        raise RuntimeError(process.stderr.read().decode())
    return time.monotonic() - begun_s, _children_cpu_s() - before, seen


def kill(recordings: Path, output: Path, options: argparse.Namespace, whole_s: float) -> int:
    """Kill a batch again and again at a random moment, and let the last one end. How often it was killed."""
    generator = random.Random(options.seed)
    kills = 0
    with Progress(_report, "killed and resumed", options.kills, "times") as progress:
        for _ in range(options.kills):
            process = start(recordings, output, 2)
            try:
                process.wait(generator.uniform(0.2, 1.0) * (whole_s / options.kills + 2))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills += 1
            progress.step()
    finish(start(recordings, output, 2), output, options.recordings)
    return kills


def on_ray(folder: Path, recordings: Path, told: Told) -> None:
    """The batch on two nodes of this machine, of which one is killed when a third is done."""
    import ray
    from ray.cluster_utils import Cluster

    finish(start(recordings, folder / "here", 2), folder / "here", told.recordings)
    memory = 200 << 20
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": memory},
    )
    try:
        node = cluster.add_node(num_cpus=1, object_store_memory=memory)
        _report(f"a Ray cluster of two nodes at {cluster.address}")
        begun_s = time.monotonic()
        process = start(recordings, folder / "ray", 2, "--ray", str(cluster.address))
        while len(done(folder / "ray")) < told.recordings / 3:
            wait(process)
        cluster.remove_node(node, allow_graceful=False)
        _report("one node is killed")
        finish(process, folder / "ray", told.recordings)
        told.ray_s, told.is_ray_equal = time.monotonic() - begun_s, same(folder / "here", folder / "ray")
    finally:
        ray.shutdown()
        cluster.shutdown()  # type: ignore[no-untyped-call]


def wait(process: subprocess.Popen[bytes]) -> None:
    """A moment. Raises RuntimeError where the process has ended."""
    time.sleep(LOOK_S)
    if process.poll() is not None:
        assert process.stderr is not None
        raise RuntimeError(process.stderr.read().decode())


def done(output: Path) -> list[Path]:
    """The parts that are there."""
    return list((output / RECORDINGS).glob("[!.]*.parquet"))


def same(one: Path, other: Path) -> bool:
    """Whether both tables are equal, and hold equal decisions in each part."""
    parts = [path.name for path in sorted(done(one))]
    return (
        parts == [path.name for path in sorted(done(other))]
        and read_recordings(one).equals(read_recordings(other))
        and all(pq.read_table(one / DECISIONS / name).equals(pq.read_table(other / DECISIONS / name)) for name in parts)
    )


def memory_mib(parent: int) -> float:
    """The largest resident memory of its children now."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    pages = [int(Path(f"/proc/{child}/statm").read_text().split()[1]) for child in children]
    return max(pages, default=0) * resource.getpagesize() / (1 << 20)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def lines(told: Told) -> list[str]:
    """For a person."""
    text = [f"{told.recordings} recordings of {told.seconds} s, of which {DISTINCT} are distinct"]
    if told.ray_s is not None:
        return [*text, f"Ray, two nodes, one killed: {told.ray_s:.0f} s, the table is {_equal(told.is_ray_equal)}"]
    rows: list[tuple[str, Any]] = [
        ("the runs alone, models loaded", f"{told.alone_s:.1f} s, {told.alone_cpu_s:.1f} s of a processor"),
        ("one process", f"{told.one_s:.1f} s, {told.one_s / told.alone_s - 1:+.1%} over the runs alone"),
        ("two processes", f"{told.two_s:.1f} s, {told.one_s / told.two_s:.2f} times as fast as one"),
        ("two of the runs alone at a time", f"{told.machine_gain:.2f} times as fast as one: what the machine gives"),
        (
            "processor time of two",
            f"{told.two_cpu_s:.1f} s, {told.two_cpu_s / told.alone_cpu_s - 1:+.1%} over the runs alone",
        ),
        ("memory of a worker, at 10, 50, 90 %", ", ".join(f"{one:.0f} MiB" for one in told.memory_mib)),
        (f"killed {told.kills} times and resumed", f"the table is {_equal(told.is_equal)}"),
    ]
    if told.long_s is not None and told.others_s is not None:
        rows.append(("with a long one", f"the others done after {told.others_s:.1f} s, all after {told.long_s:.1f} s"))
    return [*text, *[f"{name:38} {figure}" for name, figure in rows]]


def _equal(is_equal: bool | None) -> str:
    return "equal" if is_equal else "different"


if __name__ == "__main__":
    sys.exit(main())
