"""What a run comes to: the line at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmg.counts import count_of

if TYPE_CHECKING:
    from mmg.truth import Truth
    from mmg.types import Decision


class Tally:
    """How many decisions there were, from which sensors, and how many are right where the truth is known.

    order: of the sensors, as they are told.
    """

    def __init__(self, truth: Truth | None, hop_s: float, order: Sequence[str]) -> None:
        self._truth, self._half_hop_s, self._order = truth, hop_s / 2, tuple(order)
        self._decided = self._judged = self._right = 0
        self._used: set[str] = set()

    def add(self, decision: Decision) -> str | None:
        """Count it, and return its true label, None where that is not known."""
        label = self._truth.label_at(decision.t_s - self._half_hop_s) if self._truth else None
        self._decided += 1
        self._used.update(decision.modalities)
        self._judged += label is not None
        self._right += label == decision.label
        return label

    def summary(self) -> str:
        """In a line."""
        used = ", ".join(name for name in self._order if name in self._used) or "no sensor"
        text = f"{count_of(self._decided, 'decision')} from {used}"
        if self._judged:
            text += f", {self._right} of {self._judged} equal to the truth ({self._right / self._judged:.0%})"
        return text
