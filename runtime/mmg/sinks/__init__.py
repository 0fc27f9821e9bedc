"""Sinks: where decisions go. A URL names one (``places``), and each has a queue and a thread (``outbox``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mmg.sinks.event import Event


class Sink(Protocol):
    """Takes events, one after the other, on one thread.

    takes: the kinds of events that it wants.
    """

    takes: tuple[type[Event], ...]

    def write(self, event: Event) -> None:
        """Write one event; may take its time. Raises SinkError where this event is lost."""

    def close(self) -> None:
        """Let go of the place. Called once, after the last event."""
