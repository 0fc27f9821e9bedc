"""``python -m mmg_tools.fuzz.worker JOB``: one target in a process of its own, for a campaign.

It tells on standard output, a JSON object a line, how far it is and which faults it found, and has the input that it is
at in a file: whoever started it finds it there when it dies or hangs.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import resource
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmg_tools.fuzz.corpus import keep, read_seeds
from mmg_tools.fuzz.mutation import mutated
from mmg_tools.fuzz.target import Reader, Target
from mmg_tools.fuzz.trial import attempt, timed

TELL_S = 0.5
LOOK_EVERY = 16
"""The plain loop looks at the lines that one input in so many reaches: a watched one takes ten times as long."""
ADDRESS_BYTES = 2 << 30
"""Beyond what the process has when it begins."""
MOST_FAULTS = 50
OWN = ("mmg", "mmg_device_profiles", "mmg_fleet")
"""What atheris watches."""


@dataclass(frozen=True)
class Job:
    """engine: ``atheris``, ``plain`` or ``replay``, which tries the seeds and nothing else. seconds, bytes: what ends
    it, 0 for no end. seeds: folders that are read. found: where what reaches more is kept. at: the file of the input
    that is being tried.
    """

    target: Target
    engine: str
    seed: int
    seeds: list[str]
    found: str
    at: str
    seconds: float = 0.0
    bytes: int = 0

    def words(self) -> str:
        """As the worker's argument."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, words: str) -> Job:
        """What ``words`` gave."""
        fields = json.loads(words)
        return cls(**{**fields, "target": Target(**fields["target"])})


@dataclass
class Teller:
    """Counts inputs, and tells the campaign. Its end ends the process."""

    job: Job
    out: int
    inputs: int = 0
    size: int = 0
    coverage: int = 0
    known: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._begin_s = self._told_s = time.monotonic()
        with open(self.job.at, "w+b") as file:  # noqa: PTH123
            file.truncate(8 + max(self.job.target.longest, 1 << 20))
            self._at = mmap.mmap(file.fileno(), 0)

    def guarded(self, read: Reader) -> Callable[[bytes], bool]:
        """The reader within limits; whether nothing was wrong. What is wrong is told, and it goes on."""

        def call(data: bytes) -> bool:
            self._at[8 : 8 + len(data)] = data
            self._at[:8] = len(data).to_bytes(8, "little")
            fault = attempt(read, data)
            self.inputs += 1
            self.size += len(data)
            if fault and fault.what not in self.known and len(self.known) < MOST_FAULTS:
                self.known.add(fault.what)
                self.tell(fault=asdict(fault), data=data.hex())
            self._perhaps_tell()
            return fault is None

        return call

    def is_over(self) -> bool:
        """Whether the job is done."""
        job = self.job
        is_late = bool(job.seconds) and time.monotonic() - self._begin_s >= job.seconds
        return is_late or (bool(job.bytes) and self.size >= job.bytes)

    def tell(self, **more: Any) -> None:
        """A line to the campaign; where it is gone, the end."""
        seconds = time.monotonic() - self._begin_s
        news = {"inputs": self.inputs, "bytes": self.size, "seconds": seconds, "coverage": self.coverage, **more}
        try:
            os.write(self.out, f"{json.dumps(news)}\n".encode())
        except OSError:
            os._exit(1)

    def end(self) -> None:
        """The last news."""
        self.tell(over=True)
        # atheris is in the middle of its own loop, which ends with the process alone.
        os._exit(0)

    def _perhaps_tell(self) -> None:
        if self.is_over() and self.job.engine == "atheris":
            self.end()
        if (now_s := time.monotonic()) - self._told_s > TELL_S:
            self._told_s = now_s
            self.tell()


def main() -> None:
    """Runs the job that the argument holds."""
    job = Job.of(sys.argv[1])
    out = os.dup(1)
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("error")  # as in the tests: a user would see each of them
    read = _watched(job.target) if job.engine == "atheris" else job.target.load()
    read(b"")
    held = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (held + ADDRESS_BYTES,) * 2)
    teller = Teller(job, out)
    teller.tell()
    with timed():
        {"atheris": guided, "plain": plain, "replay": replay}[job.engine](teller, read)
    teller.end()


def has_atheris() -> bool:
    """Whether it is installed for this Python."""
    return find_spec("atheris") is not None


def _watched(target: Target) -> Reader:
    import atheris

    # For good: much is imported only when it is needed.
    atheris.instrument_imports(include=list(OWN)).__enter__()
    return target.load()


def guided(teller: Teller, read: Reader) -> None:
    """atheris's loop, which has no end of its own."""
    import atheris

    job = teller.job
    Path(job.found).mkdir(parents=True, exist_ok=True)
    folders = [job.found, *(folder for folder in job.seeds if folder != job.found and Path(folder).is_dir())]
    limits = ["-timeout=36000", "-rss_limit_mb=0", "-handle_int=0", "-handle_term=0", "-reload=0"]
    limits.append(f"-artifact_prefix={Path(job.at).parent}/")
    words = [sys.argv[0], *folders, f"-max_len={job.target.longest}", f"-seed={job.seed}", *limits]
    guarded = teller.guarded(read)

    def once(data: bytes) -> None:
        guarded(data)

    atheris.Setup(words, once)
    atheris.Fuzz()


def plain(teller: Teller, read: Reader) -> None:
    """Mutations of what reached a new line before."""
    from mmg_tools.fuzz.corpus import reach
    from mmg_tools.fuzz.lines import Line, of_mmg

    job, lines, guarded = teller.job, of_mmg(), teller.guarded(read)
    pool = read_seeds(*map(Path, job.seeds)) or [b""]
    reached: set[Line] = set()
    for data in pool:
        if guarded(data):
            reached |= reach(read, data, lines)
    draw = random.Random(job.seed)
    while not teller.is_over():
        data = mutated(pool, draw, job.target.longest)
        is_good = guarded(data)
        if is_good and teller.inputs % LOOK_EVERY == 0 and (fresh := reach(read, data, lines) - reached):
            reached |= fresh
            pool.append(data)
            keep(Path(job.found), data)
        teller.coverage = len(reached)


def replay(teller: Teller, read: Reader) -> None:
    """The seeds as they are."""
    guarded = teller.guarded(read)
    for data in read_seeds(*map(Path, teller.job.seeds)):
        guarded(data)


if __name__ == "__main__":
    main()
