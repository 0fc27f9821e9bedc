"""Where ports leave their chunks for the engine's thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from mmg.types import Chunk

QUEUED_CHUNKS = 256
"""For each modality: 5 s of 20 ms blocks. When the engine is further behind, the oldest chunk goes and is counted."""


class Inbox:
    """Bounded for each modality; when full the oldest chunk goes, and is counted in the next one's ``dropped``."""

    def __init__(self, modalities: Sequence[str], *, size: int = QUEUED_CHUNKS) -> None:
        self._size = size
        self._chunks: dict[str, deque[Chunk]] = {name: deque() for name in modalities}
        self._dropped = dict.fromkeys(modalities, 0)
        self._changed = threading.Condition()

    def put(self, chunk: Chunk) -> None:
        """Leave a chunk; never waits for the engine."""
        with self._changed:
            queue = self._chunks[chunk.modality]
            if len(queue) >= self._size:
                oldest = queue.popleft()
                self._dropped[chunk.modality] += len(oldest.times_ns) + oldest.dropped
            queue.append(chunk)
            self._changed.notify()

    def wait(self, timeout_s: float) -> None:
        """Return when something is there, after ``timeout_s`` at the latest."""
        with self._changed:
            self._changed.wait_for(lambda: any(self._chunks.values()), timeout_s)

    def take(self) -> list[Chunk]:
        """All that is there, in each modality's order."""
        with self._changed:
            taken: list[Chunk] = []
            for name, queue in self._chunks.items():
                if queue and self._dropped[name]:
                    queue[0] = replace(queue[0], dropped=queue[0].dropped + self._dropped[name])
                    self._dropped[name] = 0
                taken += queue
                queue.clear()
        return taken
