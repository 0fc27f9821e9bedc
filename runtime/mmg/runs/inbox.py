"""Where ports leave their chunks for the engine's thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mmg.types import Chunk

QUEUED_S = 5.0
"""Of each modality. When the engine is further behind, the oldest chunk goes and is counted."""
MOST_CHUNKS = 10_000
"""Of each modality, whatever their times say: 5 s of single samples at 2 kHz."""


class Inbox:
    """Bounded for each modality; when full the oldest chunk goes, and is counted in the next one's ``dropped``.

    The engine's thread is woken once a hop, by the last of those whom the decision waits for, and not at every chunk.
    """

    def __init__(self, modalities: Sequence[str], *, seconds: float = QUEUED_S) -> None:
        self._span_ns = round(seconds * 1e9)
        self._chunks: dict[str, deque[Chunk]] = {name: deque() for name in modalities}
        self._dropped = dict.fromkeys(modalities, 0)
        self._changed = threading.Condition()
        self._newest_ns = dict.fromkeys(modalities, 0)
        self._awaited: Mapping[str, int] = dict.fromkeys(modalities, 0)
        self._enough: Callable[[Iterable[bool]], bool] = all
        self._is_news = self._is_called = False

    def put(self, chunk: Chunk) -> None:
        """Leave a chunk; never waits for the engine."""
        with self._changed:
            if not len(chunk.times_ns):
                self._dropped[chunk.modality] += chunk.dropped
                return
            newest_ns, queue = int(chunk.times_ns[-1]), self._chunks[chunk.modality]
            queue.append(chunk)
            while len(queue) > 1 and (
                newest_ns - int(queue[0].times_ns[0]) > self._span_ns or len(queue) > MOST_CHUNKS
            ):
                oldest = queue.popleft()
                self._dropped[chunk.modality] += len(oldest.times_ns) + oldest.dropped
            self._newest_ns[chunk.modality] = max(self._newest_ns[chunk.modality], newest_ns)
            self._is_news = True
            if self._is_due():
                self._changed.notify()

    def wait(
        self, awaited: Mapping[str, int], timeout_s: float, enough: Callable[[Iterable[bool]], bool] = all
    ) -> None:
        """Return when each of these modalities has brought a sample that is stamped so late, in ns, or later, or, with
        ``any``, one of them; after ``timeout_s`` at the latest, and at ``wake``. What came before ``take`` is no
        reason."""
        with self._changed:
            self._awaited, self._enough = awaited, enough
            self._changed.wait_for(self._is_due, timeout_s)

    def _is_due(self) -> bool:
        has_come = self._enough(self._newest_ns[name] >= wanted_ns for name, wanted_ns in self._awaited.items())
        return self._is_called or (self._is_news and has_come)

    def wake(self) -> None:
        """End the present wait, or the next one."""
        with self._changed:
            self._is_called = True
            self._changed.notify()

    def take(self) -> list[Chunk]:
        """All that is there, in each modality's order, as few chunks."""
        with self._changed:
            waiting = [list(queue) for queue in self._chunks.values()]
            for queue in waiting:
                if queue and (dropped := self._dropped[queue[0].modality]):
                    queue[0] = replace(queue[0], dropped=queue[0].dropped + dropped)
                    self._dropped[queue[0].modality] = 0
            for chunks in self._chunks.values():
                chunks.clear()
            self._is_news = self._is_called = False
        return [joined for queue in waiting for joined in _join(queue)]


def _join(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """The same samples as few chunks: one ends where samples were lost or the rate changes."""
    run: list[Chunk] = []
    for chunk in chunks:
        if run and (chunk.dropped or chunk.rate_hz != run[0].rate_hz):
            yield _joined(run)
            run = []
        run.append(chunk)
    if run:
        yield _joined(run)


def _joined(run: list[Chunk]) -> Chunk:
    if len(run) == 1:
        return run[0]
    samples = np.concatenate([chunk.samples for chunk in run])
    return replace(run[0], samples=samples, times_ns=np.concatenate([chunk.times_ns for chunk in run]))
