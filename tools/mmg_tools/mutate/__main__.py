"""``python -m mmg_tools.mutate``: does a test notice each of some small errors, put into the code one at a time?

Each worker has a copy of the tree that this is called in. Where a mutation is not noticed, a test is missing, or the
code is not needed, or it does the same.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from mmg.cli.exit_codes import handle_signals, raise_interrupt, run_command
from mmg.cli.progress import Progress
from mmg.cli.reporting import stderr_reporter
from mmg.errors import ConfigError

from mmg_tools.mutate.mutations import AREAS, Mutation, choose, find_again, find_mutations
from mmg_tools.mutate.trial import LIMIT_FACTOR, SHORTEST_LIMIT_S, Copy, Stage, TestFiles

_report = stderr_reporter("mutate")
CLEAN_LIMIT_S = 1800.0
CLEAN_FILES = 6
"""So many test files are run at once on the tree as it is."""
ENDINGS = ("caught", "timeout", "survived", "not found", "not run")


@dataclass
class Verdict:
    """ending: one of ``ENDINGS``. by: the test that caught it. stage: the last one that ran."""

    number: int
    mutation: Mutation
    ending: str = "not run"
    by: str = ""
    stage: str = ""
    seconds: float = 0.0

    def line(self) -> str:
        """What is printed of it."""
        one = self.mutation
        how = f"caught by {self.by}" if self.ending == "caught" else self.ending
        how = f"SURVIVED in {one.line}" if self.ending == "survived" else how
        return f"{self.change()}  {how}  {self.seconds:.1f} s"

    def change(self) -> str:
        """What is changed, and where."""
        one = self.mutation
        change = f"`{_short(one.before)}` -> `{_short(one.after)}`"
        return f"{self.number:3} {one.area:<8} {one.path}:{one.row}  {change}"


@dataclass
class Clean:
    """What the tests do on the tree as it is: seconds of each file, and the tests that fail anyway or at times."""

    seconds: dict[str, float] = field(default_factory=dict)
    unsteady: set[str] = field(default_factory=set)

    def limit_s(self, files: Iterable[str]) -> float:
        """How long these files may take."""
        return max(SHORTEST_LIMIT_S, LIMIT_FACTOR * sum(self.seconds.get(name, 0.0) for name in files))


class Campaign:
    """Tries mutations in several copies at once."""

    def __init__(self, copies: Sequence[Copy], tests: TestFiles, scope: str) -> None:
        self._copies, self._tests, self._scope = copies, tests, scope
        self._idle: SimpleQueue[Copy] = SimpleQueue()
        for copy in copies:
            self._idle.put(copy)
        self.clean = Clean()

    def run(self, verdicts: Sequence[Verdict]) -> None:
        """Fill in the verdicts; those that Ctrl-C leaves stay "not run"."""
        needed: dict[str, set[str]] = defaultdict(set)
        for verdict in verdicts:
            for stage in self._tests.stages(verdict.mutation, self._scope, {}):
                needed[stage.marker] |= set(stage.files)
        with ThreadPoolExecutor(len(self._copies)) as pool:
            try:
                self._wait([pool.submit(self._measure, *batch) for batch in _batches(needed)], "clean runs")
                _report(f"not counted, as they fail anyway: {', '.join(sorted(self.clean.unsteady)) or 'none'}")
                self._wait([pool.submit(self._try, verdict) for verdict in verdicts], "mutations")
            except BaseException as error:
                pool.shutdown(wait=False, cancel_futures=True)
                for copy in self._copies:
                    copy.stop()
                if not isinstance(error, KeyboardInterrupt):
                    raise
                _report("stopped")

    def _wait(self, futures: Sequence[Future[None]], what: str) -> None:
        with Progress(_report, "done", len(futures), what) as progress:
            left = set(futures)
            while left:
                done, left = wait(left, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                progress.at(len(futures) - len(left), len(futures))

    def _measure(self, marker: str, files: Sequence[str]) -> None:
        copy = self._idle.get()
        try:
            outcome = copy.run(files, marker, CLEAN_LIMIT_S, ())
        finally:
            self._idle.put(copy)
        if outcome.code is None or (not outcome.passed and not outcome.seconds):
            raise ConfigError(f"the tests do not run: {', '.join(files)}: {', '.join(outcome.failed)}")
        for name in files:
            self.clean.seconds[name] = self.clean.seconds.get(name, 0.0) + outcome.seconds.get(name, 0.0)
        self.clean.unsteady |= set(outcome.failed)

    def _try(self, verdict: Verdict) -> None:
        copy = self._idle.get()
        begin_s, verdict.ending = time.monotonic(), "survived"
        try:
            for stage in self._tests.stages(verdict.mutation, self._scope, self.clean.seconds):
                verdict.stage = stage.name
                verdict.ending, verdict.by = self._try_stage(copy, verdict.mutation, stage)
                if verdict.ending != "survived":
                    break
            verdict.seconds = time.monotonic() - begin_s
            sys.stdout.write(verdict.line() + "\n")
            sys.stdout.flush()
        except KeyboardInterrupt:
            verdict.ending = "not run"
            raise
        finally:
            self._idle.put(copy)

    def _try_stage(self, copy: Copy, mutation: Mutation, stage: Stage) -> tuple[str, str]:
        """How it ended, and the test that caught it."""
        limit_s, files = self.clean.limit_s(stage.files), stage.files
        while True:
            without = tuple(self.clean.unsteady)
            with copy.mutated(mutation):
                outcome = copy.run(files, stage.marker, limit_s, without, "-x")
            if outcome.passed:
                return "survived", ""
            if outcome.code is None:
                # On a busy machine they may take as long without it.
                if copy.run(files, stage.marker, limit_s, without).code is not None:
                    return "timeout", ""
                limit_s *= 2
                continue
            [test, *_] = outcome.failed
            if test in without or self._is_cause(copy, mutation, test, limit_s):
                return "caught", test
            _report(f"not counted, as it fails at times: {test}")
            self.clean.unsteady.add(test)
            files = files[files.index(test.partition("::")[0]) :]

    def _is_cause(self, copy: Copy, mutation: Mutation, test: str, limit_s: float) -> bool:
        """Whether the test fails again, and passes without the mutation: some fail at times, as on a busy machine."""
        if "::" not in test:
            return True
        with copy.mutated(mutation):
            again = copy.run([test], "", limit_s, ())
        return not again.passed and copy.run([test], "", limit_s, ()).passed


def _batches(needed: Mapping[str, set[str]]) -> Iterator[tuple[str, list[str]]]:
    """The files of each marker, some at a time."""
    for marker, names in needed.items():
        count = -(-len(names) // CLEAN_FILES)
        for number in range(count):
            yield marker, sorted(names)[number::count]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code. A mutation that survives is told and is no error."""
    parser = argparse.ArgumentParser(prog="python -m mmg_tools.mutate", description=__doc__)
    parser.add_argument("--count", type=int, default=60, help=f"how many, equally from {', '.join(AREAS)}")
    parser.add_argument("--seed", type=int, default=1, help="which ones")
    parser.add_argument("--from", dest="saved", type=Path, metavar="FILE", help="take those that --save has written")
    parser.add_argument("--only", metavar="NUMBERS", help="of those chosen: 3,17")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write which ones were chosen")
    parser.add_argument("--list", action="store_true", help="print which ones were chosen, and do nothing")
    parser.add_argument(
        "--scope",
        choices=("near", "quick", "all"),
        default="quick",
        help="near: tests that name what was changed; quick: then those that are not against the clock, "
        "of the exporter or of the training; all: then every other (default: quick)",
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="how many at once (default: cores)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as one JSON object")
    chosen = parser.parse_args(arguments)
    if chosen.count < 1 or chosen.workers < 1:
        parser.error("--count and --workers: give 1 or more")
    handle_signals(raise_interrupt)
    return run_command(lambda: _run(chosen), _report, stopped=130)


def _run(chosen: argparse.Namespace) -> int:
    root = Path(subprocess.check_output(["git", "rev-parse", "--show-toplevel"], text=True).strip())
    verdicts = _choose(root, chosen)
    if chosen.save:
        saved = [asdict(verdict.mutation) for verdict in verdicts]
        chosen.save.write_text(json.dumps(saved, indent=1) + "\n")
    if chosen.only:
        wanted = set(chosen.only.split(","))
        verdicts = [verdict for verdict in verdicts if str(verdict.number) in wanted]
    if chosen.list:
        for verdict in verdicts:
            gone = "NOT FOUND " if verdict.ending == "not found" else ""
            sys.stdout.write(f"{verdict.change()}  {gone}in {verdict.mutation.line}\n")
        return 0
    begin_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mmg-mutate-", ignore_cleanup_errors=True) as folder:
        copies = [Copy(root, Path(folder) / str(number)) for number in range(chosen.workers)]
        campaign = Campaign(copies, TestFiles(root), chosen.scope)
        campaign.run([verdict for verdict in verdicts if verdict.ending == "not run"])
    _write(chosen, verdicts, campaign.clean, time.monotonic() - begin_s)
    return 0


def _choose(root: Path, chosen: argparse.Namespace) -> list[Verdict]:
    mutations = find_mutations(root)
    if chosen.saved is None:
        picked = choose(root, mutations, chosen.count, chosen.seed)
        return [Verdict(number, one) for number, one in enumerate(picked, 1)]
    saved = [Mutation(**one) for one in json.loads(chosen.saved.read_text())]
    again = find_again(saved, mutations)
    return [
        Verdict(number, new or old, "not run" if new else "not found")
        for number, (old, new) in enumerate(zip(saved, again, strict=True), 1)
    ]


def _write(chosen: argparse.Namespace, verdicts: Sequence[Verdict], clean: Clean, seconds: float) -> None:
    for verdict in verdicts:
        if verdict.ending.startswith("not "):
            sys.stdout.write(verdict.line() + "\n")
    counts = {area: Counter(one.ending for one in verdicts if one.mutation.area == area) for area in AREAS}
    counts["all"] = Counter(one.ending for one in verdicts)
    sys.stdout.write("\n" + "\n".join(describe(counts)) + f"\n{seconds / 60:.1f} minutes, scope {chosen.scope}\n")
    if chosen.json:
        results: dict[str, Any] = {
            "scope": chosen.scope,
            "seconds": round(seconds, 1),
            "summary": counts,
            "unsteady": sorted(clean.unsteady),
            "verdicts": [asdict(verdict) for verdict in verdicts],
        }
        chosen.json.write_text(json.dumps(results, indent=1) + "\n")


def describe(counts: dict[str, Counter[str]]) -> list[str]:
    """How many ended how, by area."""
    lines = ["area     " + "".join(f"{ending:>11}" for ending in ENDINGS)]
    return lines + [f"{area:<9}" + "".join(f"{count[end]:11}" for end in ENDINGS) for area, count in counts.items()]


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."


if __name__ == "__main__":
    raise SystemExit(main())
