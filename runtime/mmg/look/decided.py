"""The decisions of a recording, from a run or from the lines that one printed, in columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from mmg_device_profiles.regular_file import lines_within, open_regular
from numpy.typing import NDArray

from mmg.errors import ConfigError

MOST_REASONS, MOST_LABELS = 1000, 1000
LONG_HOPS = 1.5
LATEST_S = 4e9
NO_DECISION = "is no decision of mmg-run --format jsonl"
LONGEST_LINE = 1 << 20
"""Bytes of a decision; one that tells a thousand labels' scores has 50,000."""
LONGEST_TEXT = 200
"""Labels and reasons are cut to so many characters."""


class _Sensor(msgspec.Struct):
    state: str
    reason: str = ""


class _Line(msgspec.Struct):
    """The keys of ``mmg-run --format jsonl`` that the page shows."""

    t: float
    label: str
    confidence: float
    scores: dict[str, float] = {}
    sensors: dict[str, _Sensor] = {}
    truth: str | None = None


@dataclass(frozen=True, slots=True)
class StateRun:
    """A sensor's state from ``start_s`` on, until the next one begins."""

    start_s: float
    state: str
    reason: str


@dataclass
class Decided:
    """Decisions in the order of time.

    labels: all names; ``label``, ``second`` and ``truth`` are places in it, -1 for none.
    times_s: the end of each hop. confidence, second_score: of the label, and of the one that came second.
    hop_s: how long each decision stands for. sensors: for each sensor its states.
    """

    labels: list[str]
    times_s: NDArray[np.float64]
    label: NDArray[np.int16]
    confidence: NDArray[np.float32]
    second: NDArray[np.int16]
    second_score: NDArray[np.float32]
    truth: NDArray[np.int16]
    hop_s: float
    sensors: dict[str, list[StateRun]] = field(default_factory=dict)


def collect(lines: Iterable[dict[str, Any]], labels: Iterable[str], hop_s: float | None = None) -> Decided:
    """Decisions from dicts with the keys of ``mmg-run --format jsonl``. labels: of the bundle, which come first. hop_s:
    of the bundle that decided; without it, the decisions' times tell.

    Raises ConfigError for a dict that is no decision, and where one comes before the one before it.
    """
    places = {label: place for place, label in enumerate(dict.fromkeys(map(cut, labels)))}
    rows: list[tuple[float, int, float, int, float, int]] = []
    sensors: dict[str, list[StateRun]] = {}
    last_s = 0.0
    for line in map(_checked, lines):
        if not last_s < line.t < LATEST_S:
            raise ConfigError(f"a decision at {line.t:g} s after {last_s:g} s: decisions come in the order of time")
        start_s, last_s = last_s, line.t
        ranked = sorted(line.scores.items(), key=lambda item: -item[1])
        second, score = next(((name, score) for name, score in ranked if name != line.label), ("", 0.0))
        place = places.setdefault(cut(line.label), len(places))
        second_place = places.setdefault(cut(second), len(places)) if second else -1
        truth = places.setdefault(cut(line.truth), len(places)) if line.truth is not None else -1
        rows.append((line.t, place, line.confidence, second_place, score, truth))
        for name, state in line.sensors.items():
            _add_state(sensors.setdefault(cut(name), []), start_s, state)
    if len(places) > MOST_LABELS:
        raise ConfigError(f"the decisions name {len(places)} labels: a page shows {MOST_LABELS} at most")
    table = np.array(rows, np.float64).reshape(-1, 6)
    hop_s = hop_s or _hop_of(table[:, 0])
    gaps = _gaps(table[:, 0], hop_s)
    sensors = {name: _with_gaps(runs, gaps) for name, runs in sensors.items()}
    whole = table.astype(np.int16, casting="unsafe")
    parts = table.astype(np.float32)
    columns = table[:, 0], whole[:, 1], parts[:, 2], whole[:, 3], parts[:, 4], whole[:, 5]
    return Decided(list(places), *columns, hop_s, sensors)


def _hop_of(times_s: NDArray[np.float64]) -> float:
    """Most decisions come a hop after the one before; all come a whole number of hops after the first."""
    if len(times_s) < 2:
        return float(times_s[0]) if len(times_s) else 1.0
    span_s = float(times_s[-1] - times_s[0])
    return span_s / round(span_s / float(np.median(np.diff(times_s))))


def _gaps(times_s: NDArray[np.float64], hop_s: float) -> list[tuple[float, float]]:
    """From when until when nothing was decided, for longer than a hop."""
    steps = np.diff(times_s, prepend=0.0)
    long = np.flatnonzero(steps > LONG_HOPS * hop_s)
    return [(float(times_s[at] - steps[at]), float(times_s[at] - hop_s)) for at in long]


def _with_gaps(runs: list[StateRun], gaps: list[tuple[float, float]]) -> list[StateRun]:
    """A decision tells the states of its own hop, and of no time in which there was none."""
    found: list[StateRun] = []
    waiting = list(runs)
    for begin_s, end_s in gaps:
        while waiting and waiting[0].start_s < begin_s:
            found.append(waiting.pop(0))
        # What the first decision after the gap told is of its own hop.
        after = waiting.pop(0) if waiting and waiting[0].start_s == begin_s else found[-1] if found else None
        found.append(StateRun(begin_s, "absent", "nothing was decided"))
        if after is not None:
            found.append(StateRun(end_s, after.state, after.reason))
    return found + waiting


def read_lines(path: str, report: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """What ``mmg-run --format jsonl`` printed into a file. A last line that was cut is left out, and told.

    Raises ConfigError, also for lines that are no decisions.
    """
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    try:
        with open_regular(path) as stream:
            for number, text in enumerate(lines_within(stream, LONGEST_LINE), 1):
                if not text.strip():
                    continue
                try:
                    data = decode(text)
                    _checked(data)
                except (ConfigError, ValueError, RecursionError) as error:
                    if not text.endswith(b"\n"):
                        report(f"{path}: the last line is cut, and left out")
                        return
                    told = error if isinstance(error, ConfigError) else f"{NO_DECISION} ({error})"
                    raise ConfigError(f"{path}: line {number}: {told}") from error
                yield data
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


def read_live(path: Path) -> tuple[Iterable[dict[str, Any]], str]:
    """What was decided while mmg recorded, read as it is taken, and the bundle's name; nothing where this is no
    recording of mmg, or nothing was decided. Raises SourceError, and ConfigError for what is no decision, now or as
    it is taken."""
    from mmg.sources.files.contents import container_of

    if not path.is_file() or container_of(path) != "mcap":
        return (), ""
    from mmg.recording.reader import open_recording

    recording = open_recording(path)
    decisions = recording.decisions()
    if (first := next(decisions, None)) is None:
        return (), ""
    return _checked_of(path, chain([first], decisions)), recording.metadata.get("bundle", "its bundle")


def _checked_of(path: Path, decisions: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for decision in decisions:
        try:
            _checked(decision)
        except ConfigError as error:
            raise ConfigError(f"{path}: what was decided live {error}") from error
        yield decision


def _checked(data: dict[str, Any]) -> _Line:
    try:
        return msgspec.convert(data, _Line)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{NO_DECISION} ({error})") from error


def cut(text: str) -> str:
    """A name that is not too long to be shown."""
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


def _add_state(runs: list[StateRun], start_s: float, sensor: _Sensor) -> None:
    """Numbers in a reason change from hop to hop: only another text begins a new run."""
    state, reason = cut(sensor.state), cut(sensor.reason)
    last = runs[-1] if runs else None
    if last and last.state == state and _kind(last.reason) == _kind(reason):
        return
    if len(runs) >= MOST_REASONS and last and last.state == state:
        return
    runs.append(StateRun(start_s, state, reason))


def _kind(reason: str) -> str:
    return re.sub(r"[\d.]+", "", reason)
