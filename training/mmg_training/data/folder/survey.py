"""What a folder of sessions holds, what is wrong with it, and how it would be split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmg.cli.progress import counted
from mmg.cli.reporting import Reporter
from mmg.errors import ConfigError
from mmg.labels import as_time
from mmg.printable import printable

from mmg_training.data.folder.found import UNKNOWN, find_sessions
from mmg_training.data.folder.pieces import SHORTEST_HOPS
from mmg_training.data.folder.reading import Read, read_sessions, sensors_of
from mmg_training.data.folder.split import Described, shown, split
from mmg_training.task import HOP_S

LITTLE_S, FEW_SESSIONS = 30.0, 2
"""A label with less can hardly be learnt, and not measured."""


@dataclass
class Row:
    """One session. seconds: of it all; labels and sensors: label and sensor -> seconds; unlabelled_s: without one."""

    name: str
    person: str
    place: str
    seconds: float
    labels: dict[str, float]
    sensors: dict[str, float]
    unlabelled_s: float
    problems: list[str]


@dataclass
class Survey:
    """Everything that ``mmg-data`` tells. problems: of the folder as a whole. split: lines that say how."""

    folder: str
    sessions: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    split: list[str] = field(default_factory=list)
    split_by: str = "nothing"
    usable: int = 0

    def by(self, kind: str) -> dict[str, float]:
        """``labels`` or ``sensors`` -> seconds, the most first."""
        found: dict[str, float] = {}
        for row in self.sessions:
            for name, seconds in getattr(row, kind).items():
                found[name] = found.get(name, 0.0) + seconds
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    def by_person(self) -> dict[str, dict[str, float]]:
        """Person -> label -> seconds."""
        found: dict[str, dict[str, float]] = {}
        for row in self.sessions:
            own = found.setdefault(row.person, {})
            for name, seconds in row.labels.items():
                own[name] = own.get(name, 0.0) + seconds
        return dict(sorted(found.items()))

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        totals = {"labels": self.by("labels"), "sensors": self.by("sensors"), "people": self.by_person()}
        return {**asdict(self), "seconds": totals}


def survey(
    root: Path, modalities: Sequence[str], allow_video: bool, hold_out: Sequence[str], report: Reporter
) -> Survey:
    """Read every session of a folder; ``report`` gets how far it is. Raises ConfigError where it holds none."""
    told = Survey(str(root))
    sensors, described = sensors_of(modalities, allow_video), list[Described]()
    sessions = find_sessions(root)
    for read in counted(report, "read", read_sessions(sessions, sensors), len(sessions), "sessions"):
        told.sessions.append(_row(read))
        if any(read.seconds().values()):
            described.append(read.described())
    told.usable = len(described) if len(shown(described)) > 1 else 0
    told.problems += _problems(told, described)
    try:
        parted = split(described, hold_out)
        told.split_by, told.split = parted.by, [*parted.notes]
    except ConfigError as error:
        told.problems.append(str(error))
    return told


def _row(read: Read) -> Row:
    labels = read.seconds() if read.samples else {}
    sensors = {name: float(there.sum()) * HOP_S for name, there in read.present.items()}
    return Row(
        read.session.name,
        read.session.person,
        read.session.place,
        round(read.duration_s, 3),
        labels,
        sensors,
        float(read.sensed.sum()) * HOP_S - sum(labels.values()),
        read.problems,
    )


def _problems(told: Survey, described: Sequence[Described]) -> list[str]:
    lines = []
    if not described:
        lines.append("no session has both a sensor and labels: there is nothing to train on")
    names = {label for one in described for label in one.seconds}
    for label in sorted(names):
        seconds = [one.seconds.get(label, 0.0) for one in described]
        inside = sum(one > 0 for one in seconds)
        if sum(seconds) < LITTLE_S:
            lines.append(f"{label}: {as_time(sum(seconds))} is too little: record {LITTLE_S:.0f} s at least")
        elif inside < FEW_SESSIONS:
            lines.append(f"{label}: is in one session only, so it cannot be measured on another: record it once more")
    if len(lasting := shown(described)) == 1:
        lines.append(f"{lasting.pop()} is the only label: a model needs two at least")
    unknown = [row.name for row in told.sessions if row.person == UNKNOWN]
    if unknown and len(told.sessions) > 1:
        which = "no session says" if len(unknown) == len(told.sessions) else f"{', '.join(unknown[:3])} does not say"
        lines.append(f'{which} who it is of: write person = "NAME" into session.toml, or a sessions.csv')
    lines += [
        f"{row.name}: is shorter than {SHORTEST_HOPS * HOP_S:g} s"
        for row in told.sessions
        if 0 < row.seconds < SHORTEST_HOPS * HOP_S
    ]
    return lines


def as_text(told: Survey) -> str:
    """For a person."""
    people, labels, sensors = told.by_person(), told.by("labels"), told.by("sensors")
    lines = [f"{told.folder}: {len(told.sessions)} sessions, {as_time(sum(row.seconds for row in told.sessions))}", ""]
    head = ["label", "all", *people]
    rows = [
        [name, as_time(seconds), *(as_time(own.get(name, 0.0)) for own in people.values())]
        for name, seconds in labels.items()
    ]
    rows.append(["no label", as_time(sum(row.unlabelled_s for row in told.sessions)), *([""] * len(people))])
    lines += _aligned([head, *rows])
    lines += [
        "",
        *_aligned(
            [
                ["session", "person", "place", *sensors, "labels"],
                *(_session(row, list(sensors)) for row in told.sessions),
            ]
        ),
    ]
    wrong = [*(f"{row.name}: {line}" for row in told.sessions for line in row.problems), *told.problems]
    lines += ["", *(f"! {line}" for line in wrong)] if wrong else []
    lines += ["", *told.split] if told.split else []
    return "\n".join(map(printable, lines)) + "\n"


def _session(row: Row, sensors: Sequence[str]) -> list[str]:
    there = (as_time(row.sensors[name]) if name in row.sensors else "-" for name in sensors)
    return [row.name, row.person, row.place or "-", *there, ", ".join(row.labels) or "-"]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
