"""Between a run and its sinks: a bounded queue and a thread for each, so that no decision waits for any of them."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from mmg.errors import SinkError
from mmg.sinks import Sink
from mmg.sinks.event import Decided, Event, Notice, Sensed, Taught

if TYPE_CHECKING:
    from mmg.runs.lessons import Teaching
    from mmg.runs.step import Step
    from mmg.types import Decision, SensorState

MOST_WAITING = 600
"""Events that a slow sink may leave waiting, some minutes of decisions. Then the oldest goes, and is counted."""
WAKING = Decided, Notice, Sensed, Taught
"""A step is given with the next of these: it is worth no wake-up of the processor, and there are many."""
CLOSING_S = 2.0
"""So long the end of a run waits for a sink to take what is left."""


class Outbox:
    """One sink, on a thread of its own. ``close`` it at the end.

    name: what it is called in what is told. patient: whether ``put`` waits for room, as a run of recordings may: then
    nothing is lost but what the sink refuses. report: called, from any thread, with each line that is worth reading.

    A sink that fails costs its own events, counted and told, and is given the next one all the same.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        name: str,
        patient: bool = False,
        most: int = MOST_WAITING,
        closing_s: float = CLOSING_S,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.sink, self.name, self._patient, self._most = sink, name, patient, most
        self._closing_s, self._report = closing_s, report
        self.written = self.lost = 0
        """Events."""
        self._waiting: deque[Event] = deque()
        self._changed = threading.Condition()
        self._closing = self._is_closed = self._is_giving = False
        self._problem = ""
        self._thread = threading.Thread(target=self._give_all, name=f"mmg {name}", daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        """Leave an event. Returns at once, unless this outbox is patient. One that is closed takes no more."""
        if not isinstance(event, self.sink.takes):
            return
        with self._changed:
            if self._patient:
                self._changed.wait_for(lambda: len(self._waiting) < self._most)
            if self._closing:
                return
            self._waiting.append(event)
            is_first = len(self._waiting) > self._most and not self.lost
            while len(self._waiting) > self._most:
                self._waiting.popleft()
                self.lost += 1
            if isinstance(event, WAKING):
                self._changed.notify_all()
        if is_first:
            self._report(f"{self.name}: is too slow: the oldest of its lines are lost")

    def finish(self) -> None:
        """Give what waits, and then let go of the sink; returns at once."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def close(self) -> None:
        """Give what waits, for a moment, and let go of the sink. Tells what was lost. Twice is fine.

        A patient outbox gives for as long as anything is taken.
        """
        self.finish()
        with self._changed:
            was_closed, self._is_closed = self._is_closed, True
        if was_closed:
            return
        self._thread.join(self._closing_s)
        taken = -1
        while self._patient and self._thread.is_alive() and taken < self.written + self.lost:
            taken = self.written + self.lost
            self._thread.join(self._closing_s)
        with self._changed:
            left = len(self._waiting) + self._is_giving
            self._waiting.clear()
            self.lost += left
        if self.lost:
            told = f" ({self._problem})" if self._problem else ""
            self._report(f"{self.name}: {self.lost} of {self.lost + self.written} lines lost{told}")

    def _give_all(self) -> None:
        while True:
            with self._changed:
                self._is_giving = False
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    break
                event = self._waiting.popleft()
                self._is_giving = True
                self._changed.notify_all()
            self._give(event)
        try:
            self.sink.close()
        except Exception as error:
            self._report(f"{self.name}: {type(error).__name__}: {error}")

    def _give(self, event: Event) -> None:
        try:
            self.sink.write(event)
        except SinkError as error:
            self._lose(error.problem)
        except Exception as error:  # what a library raises must not end this thread unseen
            self._lose(f"{type(error).__name__}: {error}")
        else:
            self.written += 1
            if self._problem:
                self._problem = ""
                self._report(f"{self.name}: takes lines again; {self.lost} were lost")

    def _lose(self, problem: str) -> None:
        with self._changed:
            self.lost += 1
        # Numbers change all the time; only the rest is news.
        is_news = re.sub(r"\d+", "", problem) != re.sub(r"\d+", "", self._problem)
        self._problem = problem
        if is_news:
            self._report(f"{self.name}: {problem}: its lines are lost until that is over; decisions go on")


class Outboxes:
    """All sinks of a run. camera: as ``About`` has it."""

    def __init__(self, boxes: Sequence[Outbox], camera: Mapping[str, object] | None = None) -> None:
        self.boxes, self._camera = tuple(boxes), camera

    def decided(self, decision: Decision, truth: str | None) -> None:
        """Tell a decision."""
        self._put(Decided(decision, truth, self._camera))

    def step(self, step: Step) -> None:
        """Tell what the sensors gave."""
        self._put(step)

    def sensed(self, sensors: Mapping[str, SensorState]) -> None:
        """Tell how the sensors are."""
        self._put(Sensed(sensors))

    def notice(self, line: str) -> None:
        """Tell what the run told on standard error."""
        self._put(Notice(line))

    def taught(self, teaching: Teaching) -> None:
        """Tell how it goes with an example that was asked for."""
        self._put(Taught(teaching))

    def _put(self, event: Event) -> None:
        for box in self.boxes:
            box.put(event)

    def close(self) -> None:
        """Close all of them, each with the time that it takes anyway. Twice is fine."""
        for box in self.boxes:
            box.finish()
        with ExitStack() as each:  # Ctrl-C while one is slow costs no other its lines
            for box in reversed(self.boxes):
                each.callback(box.close)
