"""The processes that decide: how many there are, and what they wait for."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from mmg.bundle.reader import STARTER, Bundle
from mmg.runs.settings import Settings
from mmg_batch import pool, ray_work, worker
from mmg_batch.on_ray import _files
from mmg_batch.pool import decide
from mmg_batch.recording import Entry
from mmg_batch.task import Part, Setup, Task
from mmg_batch.worker import Worker, main


@pytest.fixture
def setup() -> Setup:
    """The starter, as a batch gives it to its workers."""
    with Bundle.open(STARTER) as bundle:
        return Setup({bundle.digest: str(STARTER)}, Settings(backend="onnx"))


def task(setup: Setup, recording: Path) -> Task:
    """Nothing of it is decided yet."""
    return Task(Entry(str(recording)), dict.fromkeys(setup.bundles, "key"), "", 1, {})


class Link:
    """A parent that gives one task, and notes for how long the process would wait while it sends."""

    def __init__(self, *messages: object) -> None:
        self._messages = list(messages)
        self.sent: list[tuple[object, float]] = []

    def recv(self) -> Any:
        """The next message. Raises EOFError after the last."""
        if not self._messages:
            raise EOFError
        return self._messages.pop(0)

    def send(self, message: object) -> None:
        """Keep it."""
        self.sent.append((message, signal.getitimer(signal.ITIMER_REAL)[0]))


def test_a_worker_has_all_the_time_for_a_parent_that_is_slow_to_read(
    setup: Setup, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = Link(setup, task(setup, short))
    monkeypatch.setattr(worker, "open_link", lambda _: link)
    main(-1)
    assert [type(message) for message, _ in link.sent] == [type(None), Part, type(None)]
    assert [left_s for _, left_s in link.sent] == [0, 0, 0]


class Stopped(Worker):
    """One whose process a recording of this name stops."""

    def give(self, task: Task) -> None:
        """Stop it first."""
        if task.entry.name == "stopped":
            os.kill(self.process, signal.SIGSTOP)
        super().give(task)


def test_a_stopped_process_is_given_up_and_the_rest_goes_on(
    setup: Setup, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "Worker", Stopped)
    monkeypatch.setattr(pool, "LOOK_S", 0.05)
    monkeypatch.setattr(worker, "SPARE_S", 0.0)
    setup = replace(setup, patience_s=6.0)
    names = dict.fromkeys(setup.bundles, "starter")
    tasks = [task(setup, Path("stopped")), task(setup, short), task(setup, short)]
    parts = [part for _, part in decide(tasks, setup, names, workers=2)]
    assert [part.outcome.decisions for part in parts] == [8, 8, 0]
    assert parts[-1].outcome.problem.startswith("given up: its process stood still for 6 s")


def test_a_stopped_process_is_given_up_on_a_node_of_ray_too(
    setup: Setup, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = ray_work._Held()
    monkeypatch.setattr(ray_work, "HELD", held)
    monkeypatch.setattr(ray_work, "Worker", Stopped)
    monkeypatch.setattr(worker, "LOOK_S", 0.05)
    monkeypatch.setattr(worker, "SPARE_S", 0.0)
    bundles = {digest: _files(Path(path)) for digest, path in setup.bundles.items()}
    shared = replace(setup, patience_s=6.0), dict.fromkeys(setup.bundles, "starter"), bundles
    for recording, decisions, problem in ((Path("stopped"), 0, "given up: its process stood still"), (short, 8, "")):
        [part] = cast("list[Part]", ray_work.work(shared, task(setup, recording)))
        assert part.outcome.decisions == decisions
        assert part.outcome.problem.startswith(problem)
    held._at_end.close()


def test_one_recording_has_one_process(setup: Setup, short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []

    def begin(*words: Any) -> Worker:
        begun.append(Worker(*words))
        return begun[-1]

    monkeypatch.setattr(pool, "Worker", begin)
    names = dict.fromkeys(setup.bundles, "starter")
    [(_, part)] = decide([task(setup, short)], setup, names, workers=24)
    assert part.outcome.decisions == 8
    assert len(begun) == 1
