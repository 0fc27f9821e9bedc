"""What sinks are told of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeAlias

from mmg.types import Decision, SensorState

if TYPE_CHECKING:
    from mmg.runs.controls import Controls
    from mmg.runs.lessons import Teaching
    from mmg.runs.step import Step


class Counted(Protocol):
    """A sink's name, and how many of its events were written and lost."""

    name: str
    written: int
    lost: int


@dataclass(frozen=True, slots=True)
class About:
    """What holds for a whole run.

    bundle, digest: its name and its ``Bundle.digest``. labels: all that a decision may name, in the scores' order.
    sensors: modality -> URL. hop_s: from one decision to the next. camera: whether one can be opened, and what keeps it
    closed (docs/command-line.md). board: the device profile's name. kinds: modality -> ``signal``, ``audio`` or
    ``video``. sinks: of this run; filled once all are open. controls: what may be asked of the
    run while it goes on; None where nothing may be.
    """

    bundle: str
    labels: tuple[str, ...]
    sensors: Mapping[str, str]
    hop_s: float
    board: str = ""
    camera: Mapping[str, object] = field(default_factory=lambda: {"state": "off", "by": []})
    is_live: bool = True
    kinds: Mapping[str, str] = field(default_factory=dict)
    sinks: list[Counted] = field(default_factory=list)
    controls: Controls | None = None
    digest: str = ""


@dataclass(frozen=True)
class Decided:
    """A decision, with the true label where it is known. camera: as ``About`` has it."""

    decision: Decision
    truth: str | None = None
    camera: Mapping[str, object] | None = None

    @cached_property
    def line(self) -> str:
        """As JSON: the contract of docs/command-line.md. Made once for all sinks."""
        from mmg.sinks.jsonl import line_of

        return line_of(self.decision, self.truth, self.camera)


@dataclass(frozen=True, slots=True)
class Notice:
    """A line that the run told on standard error, such as ``imu: unplugged``."""

    text: str


@dataclass(frozen=True, slots=True)
class Sensed:
    """How each sensor of a live run is, told once a hop in which nothing is decided."""

    sensors: Mapping[str, SensorState]


@dataclass(frozen=True, slots=True)
class Taught:
    """How it goes with an example that was asked for."""

    teaching: Teaching


Event: TypeAlias = "Decided | Notice | Sensed | Taught | Step"
