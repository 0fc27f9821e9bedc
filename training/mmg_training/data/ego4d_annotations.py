"""What Ego4D's JSON files say: its videos, the labelled stretches in them, and the 4 s clip that each becomes.

Formats: https://ego4d-data.org/docs/data/annotations-schemas (``ego4d.json`` and ``moments_<set>.json``). Times are in
seconds of the canonical video; the page says so of the clips, and not of ``video_start_time`` and ``video_end_time``,
which public readers take for the same (OpenTAD, ``tools/prepare_data/ego4d/convert_ego4d_anno.py``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
from mmg.errors import ConfigError

from mmg_training.task import CONTEXT_HOPS, HOP_S

CLIP_S = CONTEXT_HOPS * HOP_S
# Of the pairs NAME_train.json and NAME_val.json the first that is there is used. The format of MMG-Ego4D's own files is
# not public: whoever has them writes them in the schema of the moments.
NAMES = ("mmg_ego4d", "moments")
VERSIONS = ("v2_1", "v2", "v1")
NOVEL_SHARE = 1 / 3

T = TypeVar("T")


class Interval(msgspec.Struct, frozen=True):
    """Seconds of the canonical video."""

    start_sec: float
    end_sec: float


class Streams(msgspec.Struct, frozen=True):
    """audio_start_sec: null where the video has no sound."""

    audio_start_sec: float | None = 0.0


class Component(msgspec.Struct, frozen=True):
    """One recording of those that a canonical video was put together from."""

    canonical_video_start_sec: float = 0.0
    canonical_video_end_sec: float = 0.0
    redacted: bool = False


class Video(msgspec.Struct, frozen=True):
    """A canonical video in ``ego4d.json``. fb_participant_id: who wears the camera, where known."""

    video_uid: str
    duration_sec: float
    video_metadata: Streams = Streams()
    fb_participant_id: int | None = None
    is_stereo: bool = False
    has_imu: bool = False
    has_redacted_regions: bool = False
    redacted_intervals: tuple[Interval, ...] | None = ()
    video_components: tuple[Component, ...] | None = ()

    def redacted(self, start_s: float, end_s: float) -> bool:
        """Whether something is redacted in ``[start_s, end_s)``: anywhere at all where the file does not say where."""
        spans = [(span.start_sec, span.end_sec) for span in self.redacted_intervals or ()]
        spans += [
            (part.canonical_video_start_sec, part.canonical_video_end_sec)
            for part in self.video_components or ()
            if part.redacted
        ]
        if self.has_redacted_regions and not spans:
            return True
        return any(first < end_s and last > start_s for first, last in spans)


class _Metadata(msgspec.Struct, frozen=True):
    videos: tuple[Video, ...]


class _Label(msgspec.Struct, frozen=True):
    label: str
    video_start_time: float
    video_end_time: float
    primary: bool = True


class _Annotator(msgspec.Struct, frozen=True):
    labels: tuple[_Label, ...] = ()


class _Clip(msgspec.Struct, frozen=True):
    clip_uid: str
    video_start_sec: float
    clip_start_sec: float = 0.0
    annotations: tuple[_Annotator, ...] = ()


class _AnnotatedVideo(msgspec.Struct, frozen=True):
    video_uid: str
    clips: tuple[_Clip, ...] = ()


class _Annotations(msgspec.Struct, frozen=True):
    videos: tuple[_AnnotatedVideo, ...]


@dataclass(frozen=True)
class Stretch:
    """The clip of ``CLIP_S`` from ``start_s`` of the canonical video on. clip_uid: the exported clip that the label was
    given in, whose file begins at ``clip_file_s`` of the canonical video."""

    video_uid: str
    label: str
    start_s: float
    clip_uid: str
    clip_file_s: float


@dataclass
class Losses:
    """What is left out: for each reason how often, and where first."""

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, where: str, count: int = 1) -> None:
        """Count it."""
        self.counts[reason] = self.counts.get(reason, 0) + count
        self.first.setdefault(reason, where)

    def report(self, report: Callable[[str], None]) -> None:
        """A line a reason."""
        for reason in sorted(self.counts):
            report(f"ego4d: {self.counts[reason]} {reason}; the first is {self.first[reason]}")


def version_folder(root: Path) -> Path:
    """The newest version that is there. Raises ConfigError."""
    for version in VERSIONS:
        if (root / version / "annotations").is_dir():
            return root / version
    raise ConfigError(f"data: no annotations in {root}: it should hold v2/annotations, as Ego4D's downloader leaves it")


def read_videos(root: Path) -> dict[str, Video]:
    """The canonical videos by their uid; ``ego4d.json`` is beside or in the version's folder. Raises ConfigError."""
    beside = root / "ego4d.json"
    path = beside if beside.is_file() else version_folder(root) / "ego4d.json"
    return {video.video_uid: video for video in _decode(path, _Metadata).videos}


def read_stretches(root: Path, videos: dict[str, Video], losses: Losses) -> tuple[list[Stretch], list[Stretch]]:
    """The clips of the official training and of the official validation file, no video in both. Raises ConfigError."""
    folder = version_folder(root) / "annotations"
    for name in NAMES:
        if (folder / f"{name}_train.json").is_file():
            break
    else:
        raise ConfigError(f"data: neither of {', '.join(f'{name}_train.json' for name in NAMES)} is in {folder}")
    training, validation = (_decode(folder / f"{name}_{part}.json", _Annotations).videos for part in ("train", "val"))
    trained = {video.video_uid for video in training}
    for video in validation:
        if video.video_uid in trained:
            losses.add("videos of both official files, kept for training alone", video.video_uid)
    apart = [video for video in validation if video.video_uid not in trained]
    return _cut_all(training, videos, losses), _cut_all(apart, videos, losses)


def choose_labels(
    root: Path, split: int, training: Sequence[Stretch], validation: Sequence[Stretch], least: int
) -> tuple[tuple[str, ...], frozenset[str]]:
    """The labels in sorted order, those with ``least`` clips to train on, and which of them a split keeps for few-shot
    episodes: those in ``mmg_ego4d_novel.txt`` where it is there (how many clips these have does not matter), else a
    third, by the split's seed. Raises ConfigError."""
    counts, held = Counter(one.label for one in training), Counter(one.label for one in validation)
    labels = {label for label in counts if counts[label] >= least}
    novel: frozenset[str] = frozenset()
    if split >= 0:
        novel = _read_novel(root) & set(held)
        if not novel:
            choice = sorted(label for label in labels if held[label] >= least)
            order = np.random.default_rng((split, 0xE604)).permutation(len(choice))
            novel = frozenset(choice[index] for index in order[: round(len(choice) * NOVEL_SHARE)])
        if not novel:
            raise ConfigError(f"data.split: no label has {least} stretches in both annotations of {root}, to be novel")
    if not labels - novel:
        raise ConfigError(f"data: no label has {least} stretches in the training annotations of {root}")
    return tuple(sorted(labels | novel)), novel


def _read_novel(root: Path) -> frozenset[str]:
    """The novel labels in ``mmg_ego4d_novel.txt``, one a line (a format of ours: theirs is not public), if there."""
    path = version_folder(root) / "annotations" / "mmg_ego4d_novel.txt"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return frozenset(line.strip() for line in text.splitlines()) - {""}


def _cut_all(annotated: Sequence[_AnnotatedVideo], videos: dict[str, Video], losses: Losses) -> list[Stretch]:
    """In the order of video, label and time. Only primary labels: the others are not those of the official task."""
    found: list[Stretch] = []
    for part in annotated:
        if part.video_uid not in videos:
            losses.add("annotated videos that ego4d.json lacks", part.video_uid)
            continue
        for clip in part.clips:
            for label in (label for one in clip.annotations for label in one.labels if label.primary):
                start_s = clip_start_s(
                    label.video_start_time, label.video_end_time, videos[part.video_uid].duration_sec
                )
                if start_s is None:
                    losses.add("stretches outside of their video, or of one shorter than a clip", part.video_uid)
                    continue
                begin_s = clip.video_start_sec - clip.clip_start_sec
                found.append(Stretch(part.video_uid, label.label, start_s, clip.clip_uid, begin_s))
    found.sort(key=lambda one: (one.video_uid, one.label, one.start_s))
    kept: list[Stretch] = []
    for one in found:
        if kept and _same(kept[-1], one):
            losses.add("stretches that overlap one of the same label, as two annotators give them", one.video_uid)
        else:
            kept.append(one)
    return kept


def clip_start_s(start_s: float, end_s: float, duration_s: float) -> float | None:
    """Where the clip of a stretch begins: in its middle, and moved where it would stick out of the video. A stretch
    shorter than the clip has what is around it in its clip too. None where it is not in the video or does not last."""
    start_s, end_s = max(start_s, 0.0), min(end_s, duration_s)
    if end_s <= start_s or duration_s < CLIP_S:
        return None
    return min(max((start_s + end_s - CLIP_S) / 2, 0.0), duration_s - CLIP_S)


def _same(before: Stretch, after: Stretch) -> bool:
    """Whether the clips of one label share time."""
    alike = (before.video_uid, before.label) == (after.video_uid, after.label)
    return alike and after.start_s < before.start_s + CLIP_S


def _decode(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; download it with Ego4D's own downloader") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
