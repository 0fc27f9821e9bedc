"""A step as messages, and what they say as a step again."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from mmg.engine.health import ReadAs
from mmg.recording.sensors import ChunkNote
from mmg.recording.tokens import EncodedNote
from mmg.runs.step import Step
from mmg.sources.ports.port import PortStatus

START, END = "start", "end"
"""Of a mark."""


class StepMessage(msgspec.Struct, omit_defaults=True):
    """What the messages of a step's samples do not tell. ports, read_as: of those that changed since the last step.

    lost: how many steps, decisions and marks before it are not recorded.
    """

    now_ns: int
    chunks: list[ChunkNote] = []
    ports: dict[str, PortStatus] = {}
    read_as: dict[str, ReadAs] = {}
    encoded: list[EncodedNote] = []
    lost: int = 0
    held_down: str = ""


class MarkMessage(msgspec.Struct, frozen=True):
    """A label begins (``start``) or ends (``end``), so many seconds after the recording began."""

    t: float
    label: str
    event: str


class Changes:
    """Which ports changed from one step to the next. ``forget`` makes the next step whole, as at a chunk's begin."""

    def __init__(self) -> None:
        self._statuses: dict[str, PortStatus] = {}
        self._read_as: dict[str, ReadAs] = {}
        self._is_whole = True

    def note(self, step: Step) -> tuple[dict[str, PortStatus], dict[str, ReadAs]]:
        """The statuses that are news, and how devices were read: all of it where the next step is to be whole."""
        changed = {
            name: one for name, one in step.statuses.items() if self._is_whole or self._statuses.get(name) != one
        }
        self._statuses.update(step.statuses)
        self._read_as.update(step.read_as)
        read_as = dict(self._read_as) if self._is_whole else dict(step.read_as)
        self._is_whole = False
        return changed, read_as

    def forget(self) -> None:
        """The next step is told whole."""
        self._is_whole = True


class Story:
    """Steps again, from messages that tell what changed."""

    def __init__(self) -> None:
        self._statuses: dict[str, PortStatus] = {}

    def statuses(self, changed: Mapping[str, PortStatus]) -> dict[str, PortStatus]:
        """Of every port, in the order in which they were first told of."""
        self._statuses.update(changed)
        return dict(self._statuses)
