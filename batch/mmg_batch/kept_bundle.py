"""A bundle that a worker opens once, with models that are loaded once."""

from __future__ import annotations

from collections import defaultdict
from typing import cast

from mmg.backends import CPU_ONLY, Session
from mmg.bundle import Bundle, ModelFile


class KeptBundle(Bundle):
    """Gives each run the sessions of the run before it: they hold no state of a recording. One run at a time."""

    _kept: defaultdict[object, list[Session]]
    _taken: defaultdict[object, int]

    @classmethod
    def open_kept(cls, path: str) -> KeptBundle:
        """Open it as ``Bundle.open`` does. Raises BundleError."""
        bundle = cast("KeptBundle", cls.open(path))
        bundle._kept, bundle._taken = defaultdict(list), defaultdict(int)
        return bundle

    def open_session(self, file: ModelFile, *, threads: int = 1, providers: tuple[str, ...] = CPU_ONLY) -> Session:
        """A session of this file that no encoder of the present run has; see ``Bundle.open_session``."""
        sessions = self._kept[file, threads, providers]
        place = self._taken[file, threads, providers]
        self._taken[file, threads, providers] += 1
        if place == len(sessions):
            sessions.append(super().open_session(file, threads=threads, providers=providers))
        return sessions[place]

    def begin_run(self) -> None:
        """The run before has ended: what it took is free."""
        self._taken.clear()
