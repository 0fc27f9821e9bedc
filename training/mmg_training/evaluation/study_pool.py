"""The runs of a study, some at a time, each in a process of its own; those that are done already are not done again."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from mmg.cli.progress import Progress, as_span
from mmg.cli.reporting import Reporter
from mmg.errors import ConfigError
from mmg.own_process import command_of
from mmg.trial.limits import die_with_parent

from mmg_training.evaluation.study import LOG, RESULTS, EvaluateConfig, Run, results_of
from mmg_training.evaluation.study_run import is_of_other_code, is_other, prepare
from mmg_training.evaluation.tables import plus

LOOK_S = 0.2
RETRIES = 2
"""Of a run whose process crashed, as for want of memory; what it had trained by then is kept."""


class Process(Protocol):
    """A run under way."""

    def poll(self) -> int | None:
        """The exit code, None while it runs."""

    def terminate(self) -> None:
        """Ask it to end."""

    def wait(self) -> int:
        """Until it has ended."""


def start_process(run: Run) -> Process:
    """``study_run`` with one thread, what it says in the run's log. It ends with this process, however that ends: who
    begins the study again would else train in the same folder."""
    command = [*command_of("mmg_training.evaluation.study_run"), str(run.folder)]
    with (run.folder / LOG).open("wb") as log:
        # A group of its own: Ctrl-C reaches this process, which then ends them.
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
            preexec_fn=partial(die_with_parent, os.getpid()),
        )


def run_all(
    runs: Sequence[Run],
    evaluate: EvaluateConfig,
    jobs: int,
    progress: Reporter,
    start: Callable[[Run], Process] = start_process,
    *,
    is_any_code: bool = False,
) -> None:
    """Do those that are not done, ``jobs`` at a time. A run that fails does not stop the others, and one whose process
    crashed is tried again. is_any_code: runs that other code made count. Raises ConfigError where trained runs with
    other settings, or of other code, are in the way, and at the end where some failed."""
    if not is_any_code and (strange := [run.folder for run in runs if is_of_other_code(run.folder)]):
        raise ConfigError(
            f"{len(strange)} runs were made by other code of mmg, the first is {strange[0]}; choose another --out, "
            "delete them, or take them as they are with --any-code"
        )
    waiting = [run for run in runs if results_of(run, evaluate) is None]
    if others := [run.folder for run in waiting if is_other(run.folder, run.config)]:
        raise ConfigError(
            f"{len(others)} runs were trained with other settings, the first is {others[0]}; choose another --out, or "
            "delete them"
        )
    total = len(waiting)
    progress(f"{len(runs)} runs, {len(runs) - total} of them done already")
    with Progress(progress, "done", total, "runs", lines=False) as shown:
        failed = _do(waiting, evaluate, jobs, progress, start, shown)
    if failed:
        raise ConfigError(
            f"{len(failed)} of {len(runs)} runs failed, the first is {failed[0].name}: {_last_line(failed[0])}; "
            "--report prints the tables of the others"
        )


def _do(
    waiting: list[Run],
    evaluate: EvaluateConfig,
    jobs: int,
    progress: Reporter,
    start: Callable[[Run], Process],
    shown: Progress,
) -> list[Run]:
    """The runs that failed."""
    total, began_s = len(waiting), time.monotonic()
    active: dict[Process, Run] = {}
    crashes: dict[str, int] = {}
    failed: list[Run] = []
    done = 0
    try:
        while waiting or active:
            while waiting and len(active) < jobs:
                run = waiting.pop(0)
                prepare(run.folder, run.config, evaluate)
                active[start(run)] = run
            ended = [process for process in active if process.poll() is not None]
            for process in ended:
                run, code = active.pop(process), process.poll() or 0
                if code < 0 and crashes.setdefault(run.name, 0) < RETRIES:
                    crashes[run.name] += 1
                    waiting.append(run)
                    progress(f"{run.name}: its process crashed (signal {-code}): it is tried again")
                    continue
                done += 1
                shown.at(done, total)
                results = results_of(run, evaluate)
                if code or results is None:
                    failed.append(run)
                    progress(f"{run.name}: failed, {run.folder / LOG} says why")
                    continue
                left_s = (time.monotonic() - began_s) / done * (total - done)
                last = results.subsets[-1] if results.subsets else None
                got = f"{last.accuracy:.3f} from {plus(last.modalities)}" if last else "measured"
                progress(f"{run.name}: {got}; {done}/{total} runs, {as_span(left_s)} to go")
            if not ended:
                time.sleep(LOOK_S)
    finally:
        for process in active:
            process.terminate()
        for process in active:
            process.wait()
    return failed


def _last_line(run: Run) -> str:
    if (run.folder / RESULTS).is_file():
        return "its results are from other settings; was the code changed meanwhile?"
    log = run.folder / LOG
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.is_file() else []
    return next((line.removeprefix("mmg-study: ") for line in reversed(lines) if line.strip()), "it printed nothing")
