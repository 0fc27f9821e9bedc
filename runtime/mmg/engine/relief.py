"""What to do without when decisions come late: a cheaper subset of the sensors, until they are in time. Pure.

How accurate a subset is the bundle says; what one costs is counted in multiply-accumulates, as in ``mmg-profile``.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmg.bundle import Manifest

CALM_HOPS = 4
"""So many hops in a row must be in time before more sensors are tried: first the next best subset, then all."""
PART = 8
"""While tries fail, the next one waits for a part of the time that relief has been needed for: an eighth."""
FORGET_HOPS = 120
"""So long all must have been in time until relief that is needed again is no longer that of before."""


class Relief:
    """limit_ns: a hop that ended longer ago, and is not decided yet, is late. watching: the sensors that a gate never
    lets sleep, of which one is to decide."""

    def __init__(self, manifest: Manifest, limit_ns: int, watching: Collection[str] = ()) -> None:
        self._limit_ns, self._watching = limit_ns, frozenset(watching)
        self._accuracies = {frozenset(one.modalities): one.accuracy for one in manifest.subsets if one.accuracy}
        self._macs = {one.name: one.encoder.macs or 0 for one in manifest.modalities}
        self._order = [one.name for one in manifest.modalities]
        self._calm = self._needed = 0
        self.allowed: frozenset[str] | None = None
        """The sensors that may be awake; None for all."""
        self.why = ""
        """Why the others sleep."""

    def is_late(self, late_ns: int) -> bool:
        """Whether a hop is late that ended so long ago."""
        return late_ns > self._limit_ns

    def look(self, late_ns: int, held_down: str, awake: Collection[str], live: Collection[str]) -> bool:
        """Before a hop is worked on: True where a cheaper subset is to decide it, and those after it.

        late_ns: how long ago the hop ended. held_down: what holds the processor's clock down; empty for nothing.
        awake: the sensors that deliver, and where it is late those that may at any moment. live: those of them whose
        samples are there to the hop's end.
        """
        is_late = self.is_late(late_ns)
        cheaper = [rung for rung in self.rungs(live) if rung and rung < set(awake)]
        if not cheaper or not (is_late or (held_down and self.allowed is None)):
            return False
        behind = f"decisions were {late_ns / 1e9:.1f} s behind"
        self.why = behind if is_late else f"the processor is slowed: {held_down}"
        self._calm, self.allowed = 0, cheaper[0 if is_late else -1]
        return True

    def give_up(self) -> bool:
        """A hop was over and the sensors that are allowed gave nothing for it: True where others are tried."""
        if self.allowed is None:
            return False
        self._calm, self.allowed = 0, None
        return True

    @property
    def is_over(self) -> bool:
        """Whether all sensors have decided in time for a while."""
        return self.allowed is None and self._calm >= CALM_HOPS

    def calm(self, hops: int, held_down: str, present: Collection[str]) -> bool:
        """After so many hops were decided in time: True where more sensors are tried now.

        present: those of the run that could decide if they were awake.
        """
        self._calm += hops
        if self.allowed is None and self._calm >= FORGET_HOPS:
            self._needed = 0
        elif self.allowed is not None:
            self._needed += hops
        if self.allowed is None or self._calm < max(CALM_HOPS, self._needed // PART):
            return False
        rungs = self.rungs(present)
        is_next_to_last = len(rungs) < 3 or self.allowed == rungs[-2]
        if held_down and is_next_to_last:
            return False
        self._calm, self.allowed = 0, None if is_next_to_last else rungs[-2]
        return True

    def rungs(self, names: Collection[str]) -> list[frozenset[str]]:
        """Subsets of these sensors, each dearer and more accurate than the one before; the last is all of them."""
        whole = frozenset(names)
        watching = self._watching & whole
        known = [one for one in self._accuracies if one < whole and (one & watching or not watching)]
        found: list[frozenset[str]] = []
        for subset in sorted(known, key=lambda one: (*self._cost(one), -(self._accuracies[one] or 0.0))):
            if not found or (self._accuracies[subset] or 0.0) > (self._accuracies[found[-1]] or 0.0):
                found.append(subset)
        return [*found, whole]

    def _cost(self, subset: frozenset[str]) -> tuple[int, int]:
        """Multiply-accumulates of a hop; where the bundle tells none, the manifest's order, the first the cheapest."""
        return sum(self._macs[name] for name in subset), sum(self._order.index(name) + 1 for name in subset)
