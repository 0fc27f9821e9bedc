"""Sinks: where decisions go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mmg.types import Decision


class Sink(Protocol):
    """Takes decisions, one after the other."""

    def write(self, decision: Decision, truth: str | None) -> None:
        """Write one decision, with the true label where it is known."""
