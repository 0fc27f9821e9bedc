"""Many targets, some at a time: starts workers, hears what they tell, and notices which of them die or hang."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from mmg.cli.progress import Progress
from mmg.cli.reporting import Reporter
from mmg.counts import count_of

from mmg_tools.fuzz.corpus import keep
from mmg_tools.fuzz.target import Target
from mmg_tools.fuzz.trial import Fault
from mmg_tools.fuzz.worker import Job

HUNG_S = 60.0
"""Without news for so long, where an input has a second of processor time, it hangs in native code."""
MOST_DEATHS = 5
"""Of workers on one target; then it gets no other."""
COVERED = re.compile(rb"\bcov: (\d+)")
TAIL_BYTES = 1 << 16


@dataclass
class Tally:
    """What became of one target. size: of all inputs, in bytes. coverage: of atheris edges, else lines. faults: each
    with an input that shows it."""

    target: str
    engine: str
    inputs: int = 0
    size: int = 0
    seconds: float = 0.0
    coverage: int = 0
    faults: dict[Fault, bytes] = field(default_factory=dict)

    @property
    def a_second(self) -> float:
        """Inputs a second."""
        return self.inputs / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Plan:
    """seconds: of all workers together, 0 without an end. bytes: the same in bytes. corpora: a folder a target of
    seeds. kept: where a folder a target gets what reaches more, and ``faults`` what shows a fault."""

    engine: str
    seed: int
    corpora: Path
    kept: Path
    seconds: float = 0.0
    bytes: int = 0
    workers: int = 1

    def job(self, target: Target, share: float, at: Path) -> Job:
        """The whole of one target's. share: its part of all bytes, where a time is spread evenly."""
        found = self.kept / target.name
        seeds = [str(self.corpora / target.name), str(found)]
        bytes_ = round(self.bytes * share)
        return Job(target, self.engine, self.seed, seeds, str(found), str(at), 0.0, bytes_)


class Campaign:
    """Runs targets, and holds what became of each in ``tallies``, also after Ctrl-C."""

    def __init__(self, plan: Plan, targets: Sequence[Target], report: Reporter, hung_s: float = HUNG_S) -> None:
        self.plan, self._targets, self._report, self._hung_s = plan, targets, report, hung_s
        self.tallies = [Tally(target.name, plan.engine) for target in targets]
        self._stop = threading.Event()

    def run(self) -> None:
        """All of them. Raises KeyboardInterrupt, once every worker has ended."""
        with (
            tempfile.TemporaryDirectory(prefix="mmg-fuzz-", ignore_cleanup_errors=True) as folder,
            ThreadPoolExecutor(self.plan.workers) as pool,
        ):
            pairs = zip(self._targets, self.tallies, strict=True)
            # The longest first would need known speeds; by share they are near enough.
            futures = [pool.submit(self._fuzz, target, tally, Path(folder)) for target, tally in pairs]
            try:
                self._wait(futures)
            except BaseException:
                self._stop.set()
                for future in futures:
                    future.cancel()
                raise

    def _wait(self, futures: Sequence[Future[None]]) -> None:
        in_bytes = bool(self.plan.bytes)
        total = self.plan.bytes / 1e6 if in_bytes else self.plan.seconds
        with Progress(self._report, "fuzzing", total or None, "MB" if in_bytes else "s of workers") as progress:
            left = set(futures)
            while left:
                done, left = wait(left, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                size, seconds = sum(t.size for t in self.tallies), sum(t.seconds for t in self.tallies)
                inputs, faults = sum(t.inputs for t in self.tallies), sum(len(t.faults) for t in self.tallies)
                note = f"{inputs:,} inputs, {count_of(faults, 'fault')}"
                progress.at(min(size / 1e6 if in_bytes else seconds, total), total or None, note=note)

    def _fuzz(self, target: Target, tally: Tally, folder: Path) -> None:
        """One target to its end, by another worker where one dies."""
        shares = sum(one.share for one in self._targets)
        job = self.plan.job(target, target.share / shares, folder / f"{target.name}.at")
        limit_s = self.plan.seconds / len(self._targets)
        for death in range(MOST_DEATHS):
            now = replace(
                job,
                seed=job.seed + death,
                seconds=max(limit_s - tally.seconds, 0.001) if limit_s else 0.0,
                bytes=max(job.bytes - tally.size, 1) if job.bytes else 0,
            )
            if self._work(now, tally, folder) or self._stop.is_set():
                return

    def _work(self, job: Job, tally: Tally, folder: Path) -> bool:
        """Whether the worker came to its own end."""
        log = folder / f"{tally.target}.log"
        before = replace(tally)
        with log.open("ab") as told:
            worker = subprocess.Popen(
                [sys.executable, "-m", "mmg_tools.fuzz.worker", job.words()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=told,
                env={**os.environ, "TMPDIR": str(folder)},
                start_new_session=True,  # Ctrl-C is for the campaign
            )
        with worker:
            try:
                is_over, is_hung = self._hear(worker, before, tally)
            finally:
                with suppress(ProcessLookupError):
                    worker.send_signal(signal.SIGKILL)
        tally.coverage = max(tally.coverage, _covered(log))
        if is_over or self._stop.is_set():
            return True
        at = Path(job.at).read_bytes()
        data = at[8 : 8 + int.from_bytes(at[:8], "little")]
        fault = Fault("hung", f"no answer for {self._hung_s:g} s") if is_hung else _death(worker.returncode, log)
        self._note(tally, fault, data)
        keep(self.plan.kept / "faults" / tally.target, log.read_bytes()[-TAIL_BYTES:], name=f"{fault.kind}.log")
        return False

    def _hear(self, worker: subprocess.Popen[bytes], before: Tally, tally: Tally) -> tuple[bool, bool]:
        """Take news until there is no more; whether it came to its end, and whether it hangs."""
        assert worker.stdout is not None
        descriptor, rest, heard_s = worker.stdout.fileno(), b"", time.monotonic()
        while not self._stop.is_set():
            if not select.select([descriptor], [], [], 0.2)[0]:
                if time.monotonic() - heard_s > self._hung_s:
                    return False, True
                continue
            came = os.read(descriptor, 1 << 20)
            if not came:
                worker.wait()
                return False, False
            heard_s = time.monotonic()
            *lines, rest = (rest + came).split(b"\n")
            for line in lines:
                if self._take(json.loads(line), before, tally):
                    return True, False
        return False, False

    def _take(self, news: dict[str, Any], before: Tally, tally: Tally) -> bool:
        tally.inputs, tally.size = before.inputs + news["inputs"], before.size + news["bytes"]
        tally.seconds = before.seconds + news["seconds"]
        tally.coverage = max(tally.coverage, news["coverage"])
        if "fault" in news:
            self._note(tally, Fault(**news["fault"]), bytes.fromhex(news["data"]))
        return bool(news.get("over"))

    def _note(self, tally: Tally, fault: Fault, data: bytes) -> None:
        if fault in tally.faults:
            return
        tally.faults[fault] = data
        folder = self.plan.kept / "faults" / tally.target
        path = keep(folder, data)
        self._report(f"{tally.target}: {fault.line()} ({len(data)} bytes, in {path})")


def _covered(log: Path) -> int:
    """Edges, as libFuzzer last told."""
    with log.open("rb") as file:
        file.seek(max(file.seek(0, 2) - TAIL_BYTES, 0))
        found = COVERED.findall(file.read())
    return int(found[-1]) if found else 0


def _death(code: int, log: Path) -> Fault:
    """Why the worker has ended, as far as its last line tells."""
    if code < 0:
        with suppress(ValueError):
            return Fault("died", f"by {signal.Signals(-code).name}")
    lines = log.read_bytes()[-TAIL_BYTES:].decode("utf-8", "replace").strip().splitlines()
    # atheris tells the exception before what libFuzzer says of the input.
    said = [after for before, after in pairwise(lines) if "Uncaught Python exception" in before] or lines[-1:]
    return Fault("died", f"with exit code {code}", ascii("".join(said)[:120])[1:-1])
