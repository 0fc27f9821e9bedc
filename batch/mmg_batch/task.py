"""The work of a batch as it travels to a worker and back: plain values that pickle holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mmg.runs.settings import Settings

from mmg_batch.recording import Entry

WHOLE, ALL = "whole", "all"
"""In place of subsets: all sensors of a recording together; each subset of them."""


@dataclass(frozen=True)
class Setup:
    """What a worker needs once. bundles: digest -> path. subsets: ``whole``, ``all``, or ``imu,imu+audio``.

    patience_s: a recording of which nothing was decided for so long is given up, and its worker with it. sensors: a
    bundle's name -> the names of its sensors.
    """

    bundles: Mapping[str, str]
    settings: Settings
    subsets: str = WHOLE
    patience_s: float = 600.0
    sensors: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """One recording. keys: bundle digest -> the name of its part, of the bundles that are to decide.

    state: of its files, when the task was made. known: bundle digest -> the fingerprint of the part that is there.
    """

    entry: Entry
    keys: Mapping[str, str]
    state: str
    size: int
    known: Mapping[str, str]


@dataclass(frozen=True)
class Part:
    """What one bundle made of one recording: two Parquet files.

    decisions: empty where the part that is there is of the same contents.
    """

    key: str
    decisions: bytes
    recordings: bytes
    outcome: Outcome


@dataclass(frozen=True)
class Outcome:
    """Of a part, for who reads along: how many decisions, how many with a truth, how many right, and what failed."""

    name: str
    decisions: int = 0
    judged: int = 0
    right: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Failure:
    """Why the batch cannot go on, and its exit code."""

    problem: str
    exit_code: int
