"""A fleet that is watched: messages come on one thread, are kept by another, and shown by a third."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from mmg.errors import ConfigError

from mmg_fleet.figures import Figures
from mmg_fleet.offered import Offered
from mmg_fleet.store import Batch, Store, row_of
from mmg_fleet.wearables import Fleet, Moment

KEEP_EVERY_S = 1.0
MOST_WAITING_BYTES = 16 << 20
"""Of profiles: then they are kept at once, and the next message waits."""


OVER = {"store": "what was not kept is kept now", "offers": "the index of bundles is whole again"}


class Watching:
    """What is known, behind one lock. report: called, from any thread, with each line that is worth reading."""

    def __init__(self, prefix: str, store: Store, offered: Offered, report: Callable[[str], None]) -> None:
        self._store, self._report = store, report
        self.fleet = Fleet(prefix, offered, store.wearables(), store.totals(), store.differing(), now=_now())
        self.fleet.look_at_offers()
        self._figures = Figures(self.fleet)
        self._lock, self._keeping = threading.Lock(), threading.Lock()
        self._problems: dict[str, str] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep_on, name="mmg-fleet store", daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Of the listener, before what the broker retains."""
        with self._lock:
            self.fleet.begin()

    def take(self, topic: str, payload: bytes, is_retained: bool) -> None:
        """Of the listener."""
        with self._lock:
            line = self.fleet.take(topic, payload, is_retained=is_retained, now=_now())
            is_much = _bytes_of(self.fleet.profiles) >= MOST_WAITING_BYTES
        if is_much:
            self._keep()
        if line:
            self._report(line)

    def figures(self, run: str, number: int) -> dict[str, Any]:
        """What a page shows that has seen this number of this run."""
        with self._lock:
            return self._figures.since(run, number, _now())

    def close(self) -> None:
        """Keep what is not kept yet."""
        self._closed.set()
        self._thread.join()

    def _keep_on(self) -> None:
        while not self._closed.wait(KEEP_EVERY_S):
            self._look_at_offers()
            self._keep()
        self._keep()

    def _look_at_offers(self) -> None:
        try:
            with self._lock:
                if self.fleet.offered.reread():
                    self.fleet.look_at_offers()
        except Exception as error:  # which must not end this thread
            why = str(error) if isinstance(error, ConfigError) else repr(error)
            self._tell("offers", f"{why}: what was offered before holds")
        else:
            self._tell("offers", "")

    def _keep(self) -> None:
        """Everything that changed. What cannot be kept, as on a full disk, is tried again with the next."""
        with self._keeping:
            with self._lock:
                batch, changed = self._batch(_now())
            try:
                self._store.write(batch)
            except Exception as error:  # mostly a full disk's; whatever it is, it must not end this thread
                with self._lock:
                    self.fleet.changed |= changed
                    if _bytes_of(batch.profiles) < MOST_WAITING_BYTES:  # more of them the broker still has
                        self.fleet.profiles = {**batch.profiles, **self.fleet.profiles}
                self._tell("store", f"{self._store.path}: nothing is kept: {error}: trying again")
            else:
                self._tell("store", "")

    def _batch(self, now: Moment) -> tuple[Batch, set[str]]:
        """What is to be kept, and the topics of the wearables in it."""
        fleet = self.fleet
        fleet.tick(now)
        changed, fleet.changed = fleet.changed, set()
        profiles, fleet.profiles = fleet.profiles, {}
        batch = Batch(
            [row_of(fleet.wearables[topic]) for topic in changed],
            profiles,
            dict(fleet.differing),
            dict(fleet.offered.known),
            msgspec.structs.replace(fleet.totals),
            now.wall_s,
        )
        return batch, changed

    def _tell(self, what: str, problem: str) -> None:
        """Once for each problem, and once when it is over."""
        before = self._problems.get(what, "")
        if problem and problem != before:
            self._report(problem)
        elif before and not problem:
            self._report(OVER[what])
        self._problems[what] = problem


def _now() -> Moment:
    return Moment(time.time(), time.monotonic())


def _bytes_of(profiles: Mapping[str, bytes]) -> int:
    return sum(map(len, profiles.values()))
