"""What a page shows: the decisions of a run or a file, the recordings beside them, and what people say of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmg.bundle import Bundle, Manifest
from mmg.errors import NoSensorError
from mmg.labels import Label
from mmg.look.decided import Decided, collect, cut
from mmg.look.notes import Notes
from mmg.look.reading import Heard, Outline, read_signal, read_sound
from mmg.look.sound import KeptSound, choose_hops, room_for
from mmg.look.spans import label_places, within
from mmg.runs.recorded import Pipeline, open_each, pair
from mmg.runs.settings import Settings
from mmg.sources import Recording, open_source
from mmg.streams import HopGrid
from mmg.types import Chunk, Reached

CHUNK_NS = 5_000_000_000
MOST_VALUES = 6 * 65_536
"""Bins times channels that a page has room for, of all signals together."""
SOUND_BYTES = 1_650_000
"""Of sound to be played, of all microphones together."""


@dataclass
class Content:
    """All that is on a page.

    hop_s: of the spectrogram and the sound; decisions that another bundle made have their own. span_s: from the first
    sample to the last, or to the end of the last decision.
    truth, marks: what people say, as far as it lies within the span.
    sources: the URL of each recording. notes: lines worth reading, of what was read, lost or left out.
    """

    title: str
    bundle: str
    hop_s: float
    span_s: float
    decided: Decided
    sources: dict[str, str]
    outlines: list[Outline] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    truth: list[Label] = field(default_factory=list)
    marks: list[Label] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def decide(
    bundle: Bundle, urls: Mapping[str, str], settings: Settings, notes: Notes, progress: Reached
) -> Iterator[dict[str, Any]]:
    """The decisions of a run, as ``mmg-run --format jsonl`` would print them, as far as a page shows them.

    A recording from which nothing can be decided is told and no error: it can still be looked at. Raises ConfigError,
    NoSensorError where no recording can be opened, BundleError, ModelError.
    """
    pipeline = Pipeline(bundle, urls, settings, report=notes)
    with closing(pipeline):
        try:
            for decision in pipeline:
                progress(decision.t_s, pipeline.duration_s, "decided")
                yield {
                    "t": decision.t_s,
                    "label": decision.label,
                    "confidence": decision.confidence,
                    "scores": dict(decision.scores),
                    "sensors": {
                        name: {"state": state.state, "reason": state.reason} for name, state in decision.sensors.items()
                    },
                }
        except NoSensorError as error:
            notes(f"nothing was decided: {error}")


def gather(
    bundle: Bundle,
    urls: Mapping[str, str],
    settings: Settings,
    lines: Iterable[dict[str, Any]],
    *,
    title: str,
    decided_by: str = "",
    truth: Sequence[Label] = (),
    marks: Sequence[Label] = (),
    with_sound: bool = True,
    notes: Notes,
    progress: Reached,
) -> Content:
    """Read all of it. lines: the decisions, as ``decide`` gives them; decided_by: whose they are, if not ``bundle``'s;
    marks: labels from elsewhere.

    Raises ConfigError, NoSensorError, SourceError, BundleError, ModelError.
    """
    manifest = bundle.manifest
    decided = collect(lines, manifest.labels, None if decided_by else manifest.hop_s)
    content = Content(
        title, decided_by or f"{manifest.name} {manifest.version}", manifest.hop_s, 0.0, decided, dict(urls)
    )
    open_one = partial(open_source, allow_video=settings.allow_video)
    recordings = open_each(manifest, urls, settings, notes, open_one)
    try:
        _read(content, recordings, manifest, marks, SOUND_BYTES if with_sound else 0, progress)
    finally:
        for one in recordings:
            one.close()
    for one in recordings:
        for line in one.notes:
            notes(f"{one.modality}: {line}")
        if lost := ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in one.losses.items() if count):
            notes(f"{one.modality}: {lost} samples")
    content.span_s = max([content.span_s, *decided.times_s[-1:]])
    content.truth = within(truth, content.span_s, "truth", notes)
    content.marks = within(marks, content.span_s, "labels", notes)
    _hold_against(decided, content.truth)
    content.truth = content.truth or _spans_of(decided)
    content.notes = notes.lines
    return content


def _read(
    content: Content,
    recordings: Sequence[Recording],
    manifest: Manifest,
    marks: Sequence[Label],
    sound_bytes: int,
    progress: Reached,
) -> None:
    starts_ns = dict(zip((one.modality for one in recordings), pair(recordings), strict=True))
    grid = HopGrid(min(starts_ns.values()), manifest.hop_ns)
    kinds = {one.modality: manifest.modality(one.modality).kind for one in recordings}
    shares = {kind: max(list(kinds.values()).count(kind), 1) for kind in ("signal", "audio")}

    def watched(recording: Recording) -> Iterator[Chunk]:
        start_ns = starts_ns[recording.modality]
        for chunk in recording.chunks(start_ns, CHUNK_NS):
            if len(chunk.times_ns):
                last_ns = int(chunk.times_ns[-1])
                content.span_s = max(content.span_s, (last_ns - grid.origin_ns) / 1e9)
                progress((last_ns - start_ns) / 1e9, recording.duration_s, f"{recording.modality} read")
            yield chunk

    for one in recordings:
        modality = manifest.modality(one.modality)
        if modality.kind == "signal":
            content.outlines += read_signal(watched(one), modality, grid, MOST_VALUES // shares["signal"])
        elif modality.kind == "audio":
            length_s = (starts_ns[one.modality] - grid.origin_ns) / 1e9 + one.duration_s
            kept = _kept(content, marks, modality.rate_hz, length_s, sound_bytes // shares["audio"])
            content.heard.append(read_sound(watched(one), modality, grid, kept))
        else:
            content.span_s = max(content.span_s, (starts_ns[one.modality] - grid.origin_ns) / 1e9 + one.duration_s)


def _kept(content: Content, marks: Sequence[Label], rate_hz: float, length_s: float, limit_bytes: int) -> KeptSound:
    hops = max(int(np.ceil(length_s / content.hop_s)), 1)
    room = room_for(limit_bytes, hops, rate_hz, round(rate_hz * content.hop_s))
    inside = within(marks, length_s, "labels", lambda _: None)
    return KeptSound(choose_hops(content.decided, inside, content.hop_s, hops, room.hops), room.divisor)


def _hold_against(decided: Decided, truth: Sequence[Label]) -> None:
    """The true label at the middle of each hop, as ``mmg-run --truth`` tells it; new labels come last."""
    if not truth:
        return
    places = {label: place for place, label in enumerate(decided.labels)}
    decided.truth = label_places(truth, decided.times_s - decided.hop_s / 2, places)
    for one in truth:
        places.setdefault(cut(one.label), len(places))
    decided.labels = list(places)


def _spans_of(decided: Decided) -> list[Label]:
    """The truth that came with the decisions themselves, one span for each run of hops."""
    known = np.flatnonzero(decided.truth >= 0)
    if not len(known):
        return []
    ends_s, labels = decided.times_s[known], decided.truth[known]
    anew = (np.diff(labels, prepend=-1) != 0) | (np.diff(ends_s, prepend=-np.inf) > 1.5 * decided.hop_s)
    firsts = np.flatnonzero(anew)
    lasts = np.append(firsts[1:], len(known)) - 1
    return [
        Label(float(ends_s[first]) - decided.hop_s, float(ends_s[last]), decided.labels[labels[first]])
        for first, last in zip(firsts, lasts, strict=True)
    ]


def confusion(decided: Decided) -> tuple[list[int], NDArray[np.int64]]:
    """How often each true label was decided as each: the places of the labels that occur, and ``(L, L)`` counts."""
    known = decided.truth >= 0
    pairs = np.stack([decided.truth[known], decided.label[known]]).astype(np.int64)
    occurring = np.unique(pairs)
    counts = np.zeros((len(occurring), len(occurring)), np.int64)
    np.add.at(counts, tuple(np.searchsorted(occurring, pairs)), 1)
    return [int(place) for place in occurring], counts
