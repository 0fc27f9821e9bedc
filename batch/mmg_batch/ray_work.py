"""What a worker of Ray does: it keeps a process that holds the models, and gives it one recording after another.

A recording that crashes that process costs itself; where Ray's own worker is lost, the node was, and Ray tries again.
"""

from __future__ import annotations

import atexit
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from mmg_batch.task import Failure, Part, Setup, Task
from mmg_batch.worker import Worker
from mmg_batch.workspace import workspace

Shared = tuple[Setup, dict[str, str], dict[str, dict[str, bytes]]]
"""The setup, bundle digest -> name, and bundle digest -> its files."""


class _Held:
    """What this worker of Ray keeps from task to task."""

    def __init__(self) -> None:
        self._at_end = ExitStack()
        self._folder: Path | None = None
        self._setup: Setup | None = None
        self._worker: Worker | None = None
        atexit.register(self._at_end.close)

    def worker(self, shared: Shared) -> Worker:
        """The process, started where there is none."""
        if self._worker is None:
            if self._folder is None:
                self._folder = self._at_end.enter_context(workspace())
                self._setup = _unpacked(shared, self._folder)
            assert self._setup is not None
            self._worker = Worker(self._setup, self._folder)
            self._at_end.callback(self._worker.close)
        return self._worker

    def drop(self) -> None:
        """It has ended."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None


HELD = _Held()


def work(shared: Shared, task: Task) -> list[Part] | Failure:
    """The parts of one recording."""
    worker = HELD.worker(shared)
    parts: list[Part] = []
    try:
        if worker.task is None:
            message = worker.await_message()  # it is ready, or why it cannot be
            if message is not None:
                HELD.drop()
                return message if isinstance(message, Failure) else parts
        worker.give(task)
        while (message := worker.await_message()) is not None:
            if isinstance(message, Failure):
                HELD.drop()
                return message
            parts.append(message)
    except EOFError:
        parts += worker.missing(shared[1])
        HELD.drop()
    return parts


def _unpacked(shared: Shared, folder: Path) -> Setup:
    """The setup with bundles that lie on this node."""
    setup, _, bundles = shared
    places = {}
    for digest, files in bundles.items():
        place = Path(tempfile.mkdtemp(prefix="bundle-", dir=folder))
        for name, data in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(data)
        is_folder = "manifest.json" in files
        places[digest] = str(place if is_folder else place / next(iter(files)))
    return replace(setup, bundles=places)
