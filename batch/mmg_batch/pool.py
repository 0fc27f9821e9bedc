"""Worker processes on this machine, each with one recording at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from multiprocessing.connection import wait
from typing import cast

from mmg.errors import MmgError

from mmg_batch.task import Failure, Part, Setup, Task
from mmg_batch.worker import Worker
from mmg_batch.workspace import workspace


class BatchFailed(MmgError):
    """A worker met what no recording is to blame for."""

    def __init__(self, failure: Failure) -> None:
        self.exit_code = failure.exit_code
        super().__init__(failure.problem)


def decide(tasks: Iterable[Task], setup: Setup, names: dict[str, str], workers: int) -> Iterator[tuple[Task, Part]]:
    """The parts of all tasks, as they are made; the tasks begin in their order.

    names: bundle digest -> name, for the parts of recordings that cost their process. Raises BatchFailed.
    """
    waiting = deque(tasks)
    with workspace() as folder:
        active: dict[int, Worker] = {}
        try:
            while waiting or active:
                while waiting and len(active) < workers:
                    _begin(Worker(setup, folder), active, waiting)
                for descriptor in wait(list(active)):
                    yield from _hear(active[cast(int, descriptor)], active, waiting, names)
        finally:
            for worker in active.values():
                worker.close()


def _begin(worker: Worker, active: dict[int, Worker], waiting: deque[Task]) -> None:
    active[worker.descriptor] = worker
    worker.give(waiting.popleft())


def _hear(
    worker: Worker, active: dict[int, Worker], waiting: deque[Task], names: dict[str, str]
) -> Iterator[tuple[Task, Part]]:
    """What it says next: a part, that it is free for another task, or that it has ended."""
    assert worker.task is not None
    try:
        message = worker.take()
    except EOFError:
        del active[worker.descriptor]
        parts = worker.missing(names)
        worker.close()
        for part in parts:
            yield worker.task, part
        return
    if isinstance(message, Failure):
        raise BatchFailed(message)
    if isinstance(message, Part):
        yield worker.task, message
        return
    if waiting:
        worker.give(waiting.popleft())
    else:
        del active[worker.descriptor]
        worker.close()
