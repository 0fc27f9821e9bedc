"""Teaching from recordings: what is labelled or marked in them, or each as one example."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmg.cli.progress import Progress
from mmg.errors import ConfigError, NoSensorError

if TYPE_CHECKING:
    from mmg.bundle import Bundle
    from mmg.labels import Label
    from mmg.recording.reader import RecordingFile
    from mmg.runs.settings import Settings
    from mmg.runs.teaching import Heard
    from mmg.teaching.taught import Taught
    from mmg.types import Reached

Report = Callable[[str], None]


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


def teach_recorded(
    output: Path,
    bundle: Bundle,
    whences: list[Whence],
    settings: Settings,
    lesson: tuple[str, Taught, int],
    report: Report,
) -> Taught:
    """What is taught in the end; the file is written once.

    lesson: the activity, what is taught so far, and the hops of an example. A bad example is told of and left out.
    Raises ConfigError where none is left, NoSensorError where sensors are to blame for it.
    """
    from mmg.runs.teaching import background_in, example_in, judged
    from mmg.teaching.store import write_taught
    from mmg.teaching.taught import MOST_EXAMPLES

    name, taught, _ = lesson
    refused: dict[str, str] = {}
    is_fault, taken = False, 0
    labelled = [(whence, _labels_of(whence, name)) for whence in whences]
    room = MOST_EXAMPLES - sum(len(one.examples) for one in taught.activities if one.name == name)
    for whence, labels in labelled:
        heard = _hear(bundle, whence, settings, report)
        spans, busy = _spans(heard, labels, lesson, taught.names)
        for span in spans:
            where = f"{whence.name} at {span.start * heard.hop_s:g} s" if labels else whence.name
            if taken == room:
                report(f"{where}: left out, as {MOST_EXAMPLES} examples are all that {name} can have")
                break
            one = judged(example_in(heard, span, tuple(whence.urls)), taught, name)
            if one.problem:
                refused[where], is_fault = one.problem, is_fault or one.is_fault
                report(f"{where}: no example: {one.problem}")
                continue
            taught, taken = taught.add(name, one.example), taken + 1
        if labels:
            for modality, traces in background_in(heard, busy, bundle.manifest.context_hops).items():
                taught = taught.with_background(modality, traces)
    if not taken:
        if is_fault:
            raise NoSensorError(refused)
        told = "; ".join(f"{where}: {why}" for where, why in refused.items())
        raise ConfigError(f"{name}: nothing to teach it with: {told}")
    write_taught(output, taught)
    return taught


def _labels_of(whence: Whence, name: str) -> tuple[Label, ...]:
    """Of a recording that has some; without any it is one example as a whole. Raises ConfigError."""
    from mmg.labels import labels_of

    labels = labels_of(whence.path)
    if labels and all(label.label != name for label in labels):
        has = ", ".join(sorted({label.label for label in labels}))
        raise ConfigError(f"{whence.name}: nothing in it is labelled {name!r}; it has {has}")
    return labels


def _spans(
    heard: Heard, labels: tuple[Label, ...], lesson: tuple[str, Taught, int], names: tuple[str, ...]
) -> tuple[list[range], list[range]]:
    """The examples, and what is none of the background: they themselves, and whatever else is taught."""
    from mmg.runs.teaching import pieces, spans_of

    name, _, length = lesson
    if not labels:
        first = heard.begin
        return pieces(range(first, heard.end), length), [range(first, heard.end)]
    busy = [heard.around(label.start_s, label.end_s) for label in labels if label.label in (name, *names)]
    return spans_of(heard, labels, name, length), busy


def _hear(bundle: Bundle, whence: Whence, settings: Settings, report: Report) -> Heard:
    with Progress(report, f"{whence.name} read", unit="s") as progress:
        return _heard(bundle, whence, settings, report, progress.at)


def _heard(bundle: Bundle, whence: Whence, settings: Settings, report: Report, progress: Reached) -> Heard:
    from mmg.runs.teaching import hear

    recording = _recording_at(whence)
    if recording is None:
        from mmg.runs.recorded import Pipeline

        pipeline = Pipeline(bundle, whence.urls, settings, report=report)
        try:
            return hear(pipeline, progress=progress)
        finally:
            pipeline.close()
    from mmg.runs.replay import Replay, as_recorded

    names = tuple(whence.urls)
    settings = as_recorded(recording, bundle, settings, report, names, grace=None, precision=None, unknown=0.0)
    replay = Replay(bundle, recording, names, settings, report=report)
    try:
        has_tokens = any(sensor.form == "tokens" for sensor in recording.sensors)
        return hear(replay, recording.steps() if has_tokens else (), progress=progress)
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
