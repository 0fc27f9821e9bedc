"""Between the run and those who look: one writes, and each viewer has a bounded queue of its own."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from itertools import chain
from typing import TypeVar

from mmg.sinks.event import Event
from mmg.sinks.page.state import Sent, State

MOST_WAITING, WAITING_S, HOP_FRAMES = 64, 16.0, 2
"""Frames that one viewer may leave, beyond what its connection holds; or those of so many seconds of hops, where that
is more. Then it is dropped. All viewers share the frames themselves."""
MOST_TOGETHER = 8
PIECE_BYTES = 16 * 1024
T = TypeVar("T")


class Viewer:
    """One who looks, in the loop's thread. cut: ends the connection at once. since: the newest event that it knows.

    most: frames that may wait.
    """

    def __init__(self, cut: Callable[[], object], since: int, most: int) -> None:
        self.cut, self.since, self._most = cut, since, most
        self._waiting: deque[bytes] = deque()
        self._changed = asyncio.Event()
        self._is_over = False

    def put(self, frames: list[bytes]) -> bool:
        """Leave frames; False where there is no room for them."""
        if len(self._waiting) + len(frames) > self._most:
            return False
        self._waiting.extend(frames)
        self._changed.set()
        return True

    @property
    def is_behind(self) -> bool:
        """Whether it has half of what it may leave."""
        return len(self._waiting) > self._most // 2

    def end(self) -> None:
        """Nothing more comes."""
        self._is_over = True
        self._changed.set()

    async def frames(self) -> AsyncIterator[bytes]:
        """What waits, again and again, until the end."""
        while self._waiting or not self._is_over:
            if not self._waiting:
                self._changed.clear()
                await self._changed.wait()
                continue
            # Not all of it at once: what a connection is given it holds, whether it is read or not.
            yield b"".join(self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_TOGETHER)))


class Hub:
    """The state of the run, which the run's side writes and the loop's side reads, and the viewers."""

    def __init__(self, state: State, loop: asyncio.AbstractEventLoop) -> None:
        self._state, self._loop = state, loop
        self._lock = threading.Lock()
        self._number = self._published = 0
        self._most = max(MOST_WAITING, math.ceil(WAITING_S / state.about.hop_s * HOP_FRAMES))
        self.viewers: set[Viewer] = set()

    def take(self, event: Event) -> None:
        """From any thread: send what this event is worth."""
        with self._lock:
            self._send(self._state.take(event))

    def send_vitals(self) -> None:
        """Send how the process is."""
        with self._lock:
            self._send(self._state.vitals())

    def say_bye(self, why: str) -> None:
        """Send the last event."""
        with self._lock:
            self._send([("bye", json.dumps({"why": why}))])

    def read(self, of: Callable[[State], T]) -> T:
        """Something of the state, as it is at one moment."""
        with self._lock:
            return of(self._state)

    def join(self, cut: Callable[[], object]) -> tuple[Viewer, Iterator[bytes]]:
        """A new viewer, in the loop's thread, and what it is sent first: ``hello``, ``history``, vitals, in pieces."""
        with self._lock:
            viewer = Viewer(cut, self._number, self._most)
            self.viewers.add(viewer)
            self._state.viewers = len(self.viewers)
            hello, history, vitals = self._state.hello(), self._state.history(), self._state.newest_vitals
        hello_frame = _frame(viewer.since, "hello", hello)
        head, tail = _frame(viewer.since, "history", "\0").split(b"\0")
        last = [tail, _frame(viewer.since, "vitals", vitals)] if vitals else [tail]
        return viewer, chain([hello_frame, head], pieces(history), last)

    def leave(self, viewer: Viewer) -> None:
        """It looks no longer. Twice is fine."""
        with self._lock:
            self.viewers.discard(viewer)
            self._state.viewers = len(self.viewers)

    def refuse(self) -> None:
        """Count a request that was refused."""
        with self._lock:
            self._state.refused += 1

    def end(self) -> None:
        """Nothing more comes for any viewer."""
        for viewer in self.viewers:
            viewer.end()

    @property
    def is_behind(self) -> bool:
        """Whether a viewer is slow. May be asked from any thread."""
        under_way = self._number - self._published if self.viewers else 0
        return under_way > self._most // 4 or any(viewer.is_behind for viewer in tuple(self.viewers))

    def _send(self, sent: Sent) -> None:
        """With the lock, so that numbers go out in their order."""
        if not self.viewers:
            self._number += len(sent)
            self._published = self._number
            return
        frames = []
        for kind, text in sent:
            self._number += 1
            frames.append(_frame(self._number, kind, text))
        if frames:
            self._loop.call_soon_threadsafe(self._publish, self._number, frames)

    def _publish(self, number: int, frames: list[bytes]) -> None:
        self._published = number
        for viewer in tuple(self.viewers):
            if number > viewer.since and not viewer.put(frames):
                self.leave(viewer)
                self._state.dropped += 1
                viewer.end()
                viewer.cut()


def _frame(number: int, kind: str, text: str) -> bytes:
    return f"id: {number}\nevent: {kind}\ndata: {text}\n\n".encode()


def pieces(texts: Iterable[str]) -> Iterator[bytes]:
    """The same text, no piece much larger than what a connection holds."""
    waiting, size = list[str](), 0
    for text in texts:
        waiting.append(text)
        size += len(text)
        if size >= PIECE_BYTES:
            yield "".join(waiting).encode()
            waiting, size = [], 0
    yield "".join(waiting).encode()
