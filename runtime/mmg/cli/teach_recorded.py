"""Teaching from recordings: what is labelled or marked in them, or each as one example."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mmg.cli.progress import Progress
from mmg.errors import ConfigError, NoSensorError

if TYPE_CHECKING:
    from mmg.bundle import Bundle
    from mmg.labels import Label
    from mmg.recording.reader import RecordingFile
    from mmg.runs.settings import Settings
    from mmg.runs.teaching import Heard, Taken
    from mmg.teaching.kept import Kept
    from mmg.teaching.taught import Example
    from mmg.teaching.trace import Trace
    from mmg.types import Reached

Report = Callable[[str], None]
Beside = tuple[dict[str, list["Trace"]], dict[str, list["Trace"]]]
"""By modality: what is none of what is taught, and what is labelled as that and so no background, or not any more."""
NUMBER = re.compile(r"[\d.]+")
MOST_PLACES = 3
"""Of those that are one line, so many are named."""


@dataclass(frozen=True)
class Whence:
    """A recording, as it was named, and the URL of each of its sensors."""

    name: str
    urls: dict[str, str]

    @property
    def path(self) -> Path:
        """Of the file or folder, beside which labels may lie."""
        from mmg.sources.url import parse_url

        return Path(parse_url(self.name).path)


@dataclass(frozen=True)
class Reading:
    """How recordings are read. grace_s: as the flag has it."""

    bundle: Bundle
    settings: Settings
    grace_s: float | None
    report: Report


@dataclass
class _Found:
    """What one recording has of an activity. refused: why, and the seconds in it where."""

    examples: list[Example] = field(default_factory=list)
    copies: int = 0
    refused: dict[str, list[float]] = field(default_factory=dict)
    left_out: dict[str, list[float]] = field(default_factory=dict)
    is_fault: bool = False


def teach_recorded(reading: Reading, whences: list[Whence], lesson: tuple[str, Kept, int], life: Beside) -> None:
    """The file is written once.

    lesson: the activity, the file, and the hops of an example. life: of ``other_life``. A bad example is told of
    and left out, and so is one that the file has already. Raises ConfigError where none is left, NoSensorError where
    sensors are to blame for it.
    """
    from mmg.teaching.taught import check_case

    name, kept, _ = lesson
    check_case(name, kept.taught.names)
    labelled = [(whence, _labels_of(whence, name)) for whence in whences]
    examples: list[Example] = []
    refused: dict[str, str] = {}
    copies, is_fault = 0, False
    for whence, labels in labelled:
        heard = hear(reading, whence)
        found = _examples_in(heard, whence, labels, lesson, examples, reading.report)
        examples += found.examples
        copies, is_fault = copies + found.copies, is_fault or found.is_fault
        refused |= _tell(whence, bool(labels), found, reading.report)
        if labels:
            _add_life(life, reading, heard, labels, (name, *kept.taught.names))
    if copies:
        counted = f"{copies} example{'s are' if copies > 1 else ' is'}"
        reading.report(f"{name}: {counted} among what is taught already, and left out")
    elif not examples and is_fault:
        raise NoSensorError(refused)
    elif not examples:
        told = "; ".join(f"{where}: {why}" for where, why in refused.items())
        raise ConfigError(f"{name}: nothing to teach it with: {told}")
    if note := kept.keep(name, examples, *life):
        reading.report(note)


def other_life(reading: Reading, whences: list[Whence], names: tuple[str, ...]) -> Beside:
    """What recordings have that is none of these activities, as far as it is labelled. Raises ConfigError where there
    is nothing."""
    from mmg.labels import labels_of

    life: Beside = {}, {}
    for whence in whences:
        heard = hear(reading, whence)
        given = _add_life(life, reading, heard, labels_of(whence.path), names)
        for modality in whence.urls:
            if modality not in given:
                reading.report(f"{whence.name}: {modality} gave nothing that can be background")
    if not life[0]:
        raise ConfigError(f"--background {', '.join(one.name for one in whences)}: no sensor gave any")
    return life


def _add_life(
    life: Beside, reading: Reading, heard: Heard, labels: Sequence[Label], names: tuple[str, ...]
) -> set[str]:
    """What a recording has beside what it has labelled as one of these, and that. Returns what gave background."""
    from mmg.runs.teaching import background_in, taken_in

    busy = [heard.around(label.start_s, label.end_s) for label in labels if label.label in names]
    context = reading.bundle.manifest.context_hops
    given, taken = background_in(heard, busy, context), taken_in(heard, busy, context)
    for whole, more in zip(life, (given, taken), strict=True):
        for modality, traces in more.items():
            whole.setdefault(modality, []).extend(traces)
    return set(given)


def _examples_in(
    heard: Heard,
    whence: Whence,
    labels: tuple[Label, ...],
    lesson: tuple[str, Kept, int],
    before: Sequence[Example],
    report: Report,
) -> _Found:
    """before: examples that are taken already, and not in the file yet."""
    from mmg.runs.teaching import pieces, spans_of, taken_from
    from mmg.teaching.taught import MOST_EXAMPLES

    name, kept, length = lesson
    taught = kept.taught
    for example in before:
        taught = taught.add(name, example)
    found = _Found()
    whole = pieces(range(heard.begin, heard.end), length)
    for span in spans_of(heard, labels, name, length) if labels else whole:
        at_s = span.start * heard.hop_s
        if span and span.start >= heard.end:
            _note(found.refused, f"past its end, at {heard.end * heard.hop_s:g} s", at_s)
            continue
        one = taken_from(heard, span, tuple(whence.urls), taught, name)
        if one.problem:
            _note(found.refused, one.problem, at_s)
            found.is_fault = found.is_fault or one.is_fault
        elif taught.has(name, one.example):
            found.copies += 1
        elif sum(len(known.examples) for known in taught.activities if known.name == name) == MOST_EXAMPLES:
            report(f"{whence.name} at {at_s:g} s: left out, as {MOST_EXAMPLES} examples are all that {name} can have")
            break
        else:
            _note_left_out(found, one, at_s)
            found.examples.append(one.example)
            taught = taught.add(name, one.example)
    return found


def _note_left_out(found: _Found, taken: Taken, at_s: float) -> None:
    if taken.left_out:
        why = "; ".join(problem if one in problem else f"{one}: {problem}" for one, problem in taken.left_out.items())
        told = f"it is taught with {', '.join(taken.example.traces)} alone: {why}"
        _note(found.left_out, told, at_s)


def _note(places: dict[str, list[float]], problem: str, at_s: float) -> None:
    """Numbers change from place to place: only another text is another problem."""
    kind = NUMBER.sub("", problem)
    known = next((one for one in places if NUMBER.sub("", one) == kind), problem)
    places.setdefault(known, []).append(at_s)


def _tell(whence: Whence, is_labelled: bool, found: _Found, report: Report) -> dict[str, str]:
    """Tell each problem in one line, wherever it is. Returns by where what is none."""
    refused: dict[str, str] = {}
    for problem, places in found.left_out.items():
        report(f"{_where(whence, is_labelled, places)}: {problem}")
    for problem, places in found.refused.items():
        where = _where(whence, is_labelled, places)
        report(f"{where}: no example: {problem}")
        refused[where] = f"{refused[where]}; {problem}" if where in refused else problem
    return refused


def _where(whence: Whence, is_labelled: bool, places: Sequence[float]) -> str:
    if not is_labelled and len(places) == 1:
        return whence.name
    named = ", ".join(f"{at_s:g}" for at_s in places[:MOST_PLACES])
    more = f" and {len(places) - MOST_PLACES} more places" if len(places) > MOST_PLACES else ""
    return f"{whence.name} at {named} s{more}"


def _labels_of(whence: Whence, name: str) -> tuple[Label, ...]:
    """Of a recording that has some; without any it is one example as a whole. Raises ConfigError."""
    from mmg.labels import labels_of

    labels = labels_of(whence.path)
    if labels and all(label.label != name for label in labels):
        has = ", ".join(sorted({label.label for label in labels}))
        raise ConfigError(f"{whence.name}: nothing in it is labelled {name!r}; it has {has}")
    return labels


def hear(reading: Reading, whence: Whence) -> Heard:
    """All that a recording's sensors give. Raises as a run does."""
    with Progress(reading.report, f"{whence.name} read", unit="s") as progress:
        return _heard(reading, whence, progress.at)


def _heard(reading: Reading, whence: Whence, progress: Reached) -> Heard:
    from mmg.runs.teaching import hear as hear_run

    bundle, settings, report = reading.bundle, reading.settings, reading.report
    recording = _recording_at(whence)
    if recording is None:
        from mmg.runs.recorded import Pipeline

        pipeline = Pipeline(bundle, whence.urls, settings, report=report)
        try:
            return hear_run(pipeline, progress=progress)
        finally:
            pipeline.close()
    from mmg.runs.replay import Replay, as_recorded

    names = tuple(whence.urls)
    settings = as_recorded(
        recording, bundle, settings, report, names, grace=reading.grace_s, precision=None, unknown=0.0
    )
    replay = Replay(bundle, recording, names, settings, report=report)
    try:
        has_tokens = any(sensor.form == "tokens" for sensor in recording.sensors)
        return hear_run(replay, replay.steps() if has_tokens else (), progress=progress)
    finally:
        replay.close()


def _recording_at(whence: Whence) -> RecordingFile | None:
    """The recording of a live run, whose sensors come as they came then; None where it is another file."""
    from mmg.sources.files.contents import container_of

    if any(url != whence.name for url in whence.urls.values()) or not whence.path.is_file():
        return None
    if container_of(whence.path) != "mcap":
        return None
    from mmg.recording.reader import open_recording

    return open_recording(whence.path)
