"""Worker processes on this machine, each with one recording at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from multiprocessing.connection import wait
from typing import cast

from mmg.errors import MmgError

from mmg_batch.task import Failure, Part, Setup, Task
from mmg_batch.worker import LOOK_S, Worker
from mmg_batch.workspace import workspace


class BatchFailed(MmgError):
    """A worker met what no recording is to blame for."""

    def __init__(self, failure: Failure) -> None:
        self.exit_code = failure.exit_code
        super().__init__(failure.problem)


def decide(tasks: Iterable[Task], setup: Setup, names: dict[str, str], workers: int) -> Iterator[tuple[Task, Part]]:
    """The parts of all tasks, as they are made; the tasks begin in their order.

    names: bundle digest -> name, for the parts of recordings that cost their process. Raises BatchFailed, ModelError
    where no worker can be started.
    """
    waiting = deque(tasks)
    with workspace() as folder:
        active: dict[int, Worker] = {}
        try:
            while waiting or active:
                busy = sum(worker.task is not None for worker in active.values())
                while len(active) < min(workers, busy + len(waiting)):
                    worker = Worker(setup, folder)
                    active[worker.descriptor] = worker
                ready = cast(list[int], wait(list(active), LOOK_S))
                for descriptor in ready:
                    yield from _hear(active[descriptor], active, waiting, names)
                for worker in [one for descriptor, one in active.items() if descriptor not in ready]:
                    if worker.is_still():
                        yield from _end(worker, active, names)
        finally:
            for worker in active.values():
                worker.close()


def _end(worker: Worker, active: dict[int, Worker], names: dict[str, str]) -> Iterator[tuple[Task, Part]]:
    """What stands in place of the parts that it did not make."""
    parts = worker.missing(names)
    del active[worker.descriptor]
    worker.close()
    assert worker.task is not None
    for part in parts:
        yield worker.task, part


def _hear(
    worker: Worker, active: dict[int, Worker], waiting: deque[Task], names: dict[str, str]
) -> Iterator[tuple[Task, Part]]:
    """What it says next: a part, that it is free for a task, or that it has ended."""
    try:
        message = worker.take()
    except EOFError:
        yield from _end(worker, active, names)
        return
    if isinstance(message, Failure):
        raise BatchFailed(message)
    if isinstance(message, Part):
        assert worker.task is not None
        yield worker.task, message
    elif waiting:
        worker.give(waiting.popleft())
    else:
        del active[worker.descriptor]
        worker.close()
