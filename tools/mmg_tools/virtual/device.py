"""What every virtual device is: a thread that plays at its pace, and a plug."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod


class VirtualDevice(ABC):
    """Plays from ``begin`` to ``close``, by the time that has passed since the beginning, plugged or not.

    A subclass plays in ``_run``, holding ``_change``, until ``_closing``.
    """

    def __init__(self, name: str) -> None:
        self._name, self._start_ns = name, 0
        self._change = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    @property
    @abstractmethod
    def plugged(self) -> bool:
        """Whether it is there."""

    def begin(self, start_ns: int) -> None:
        """Scenario time 0 is at ``start_ns``, host monotonic. To be called once; else ``plug`` begins."""
        self._start_ns = start_ns
        self._thread = threading.Thread(target=self._run, name=f"virtual {self._name}", daemon=True)
        self._thread.start()

    def plug(self) -> None:
        """It appears."""
        if self._thread is None:
            self.begin(time.monotonic_ns())
        with self._change:
            if not self.plugged:
                self._appear()

    def unplug(self) -> None:
        """It is gone."""
        with self._change:
            if self.plugged:
                self._vanish()

    def close(self) -> None:
        """End it, and its thread. Twice is fine."""
        with self._change:
            self._closing = True
            self._change.notify()
        if self._thread is not None:
            self._thread.join()
        self.unplug()

    @abstractmethod
    def _appear(self) -> None: ...

    @abstractmethod
    def _vanish(self) -> None: ...

    @abstractmethod
    def _run(self) -> None: ...
