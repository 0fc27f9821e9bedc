"""What sinks are told of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from mmg.types import Decision

if TYPE_CHECKING:
    from mmg.runs.step import Step


@dataclass(frozen=True, slots=True)
class About:
    """What holds for a whole run.

    labels: all that a decision may name, in the scores' order. sensors: modality -> URL. hop_s: from one decision to
    the next. allow_video: whether video may be opened at all. board: the device profile's name.
    """

    bundle: str
    labels: tuple[str, ...]
    sensors: Mapping[str, str]
    hop_s: float
    board: str = ""
    allow_video: bool = False
    is_live: bool = True


@dataclass(frozen=True)
class Decided:
    """A decision, with the true label where it is known."""

    decision: Decision
    truth: str | None = None

    @cached_property
    def line(self) -> str:
        """As JSON: the contract of docs/command-line.md. Made once for all sinks."""
        from mmg.sinks.jsonl import line_of

        return line_of(self.decision, self.truth)


@dataclass(frozen=True, slots=True)
class Notice:
    """A line that the run told on standard error, such as ``imu: unplugged``."""

    text: str


Event: TypeAlias = "Decided | Notice | Step"
