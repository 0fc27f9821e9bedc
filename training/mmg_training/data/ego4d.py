"""Ego4D in clips of 4 s, for those who hold its licence: head-worn IMU, sound and pictures of one moment.

Below the folder ``ego4d`` is what Ego4D's downloader leaves: ``ego4d.json``, ``v2/annotations/moments_train.json`` and
``moments_val.json``, ``v2/imu/UID.csv``, and the videos as ``v2/video_540ss/UID.mp4``, ``v2/full_scale/UID.mp4`` or, of
the annotated parts alone, ``v2/clips/CLIP_UID.mp4``; the first that is there of these three is read.

The IMU (https://ego4d-data.org/docs/data/imu): one CSV a video; ``canonical_timestamp_ms`` is the time of the video and
NULL where the video was trimmed; the page says to sort by it, that acceleration is missing in some files, that some
stamps are far off, and that nothing was calibrated. It does not say the units: rad/s and m/s^2 are those of GoPro's
telemetry (https://github.com/gopro/gpmf-parser), whose axes differ between cameras.
What of a redacted interval is redacted, sound or pictures, is not documented: both are left out. Nor is where the two
eyes are in a stereoscopic video: its pictures are left out.

Everything is decoded when the data set is loaded, and kept: 280 KB a clip. That takes a second or so a clip from
``full_scale`` and much less from ``video_540ss``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from mmg.cli.progress import counted
from mmg.errors import ConfigError
from numpy.typing import NDArray

from mmg_training import data
from mmg_training.config import DataConfig
from mmg_training.data.ego4d_annotations import (
    CLIP_S,
    Losses,
    Stretch,
    Video,
    choose_labels,
    read_stretches,
    read_videos,
    version_folder,
)
from mmg_training.data.ego4d_media import HOLE_S, cut_imu, read_imu, read_media
from mmg_training.data.sessions import TICKS_PER_HOP, Dataset, NamedTest, Pool, Session
from mmg_training.data.split import Named, split
from mmg_training.metrics import DataSource
from mmg_training.task import CONTEXT_HOPS, MODALITIES, Task

LEAST_CLIPS = 10
CALIBRATION_SHARE = 0.1
_OFFICIAL, _NAMED = "the official validation videos of Ego4D", "videos of Ego4D that the settings name"


def load(config: DataConfig, report: Callable[[str], None], least: int = LEAST_CLIPS) -> Dataset:
    """Train on the official training videos and test on the official validation videos; ``report`` gets what was lost.

    The official split is by video, so that a person may be in both: ``extra`` measures those who are in validation
    alone. Temperatures come from a tenth of the training people (videos, where the person is not known), who are then
    not trained on. ``test``, ``calibration`` and ``novel`` are clips with all modalities, so that every subset is
    measured on the same ones; the other clips of validation are in ``extra``. Labels with fewer than ``least`` clips in
    the training annotations are left out. With a split, a third of the labels is novel, or those of
    ``mmg_ego4d_novel.txt``: their clips are those of validation, and those of training are not used. A session's source
    names its video, its subject is the participant, or negative, another number in each video, where nobody knows who
    it is. Where the settings name parts, by video, exported clip or participant, these are in place of the official
    ones. Raises ConfigError.
    """
    root, losses = data.require(data.recordings(config), "ego4d"), Losses()
    videos = read_videos(root)
    training, fitting, validation = _parts(config, root, videos, losses, report)
    labels, novel = choose_labels(root, config.split, training, validation, least)
    task = Task("ego4d", labels, clips=True)
    for one in (*training, *fitting, *validation):
        if one.label not in labels:
            losses.add(f"stretches of labels with fewer than {least} in training", f"{one.label!r} in {one.video_uid}")
    base, fitted = (
        [one for one in part if one.label in labels and one.label not in novel] for part in (training, fitting)
    )
    learnt = _read_all(root, task, videos, base, losses, report)
    held = _read_all(root, task, videos, [one for one in validation if one.label in labels], losses, report)
    trained, calibration = (learnt, []) if fitted else _calibration(learnt, losses)
    if fitted:
        calibration = [one for one in _read_all(root, task, videos, fitted, losses, report) if _whole(one)]
    unknown = [one for one in held if labels[one.labels[0]] in novel and _whole(one)]
    known = [one for one in held if labels[one.labels[0]] not in novel]
    test = [one for one in known if _whole(one)]
    losses.report(report)
    for name, sessions in (("training", trained), ("calibration", calibration), ("test", test)):
        if not sessions and (name != "test" or validation or not config.named):
            raise ConfigError(f"data: no clip of {root} is left for {name}; the lines above say what was lost")
    report(f"ego4d: {len(trained)} clips to train on, {len(calibration)} to calibrate, {len(test)} to test")
    return Dataset(
        task=task,
        kind="real",
        training=(Pool("ego4d", 1.0, tuple(trained), anchored=1.0),),
        calibration=tuple(calibration),
        test=tuple(test),
        novel=tuple(unknown),
        extra=_extra(learnt, known),
        sources=(DataSource(name="Ego4D", what=f"{len(trained)} clips of moments", licence="Ego4D licence agreement"),),
        limits=() if config.named else ("The official split is by video: a person may be in both parts.",),
        held_out=f"{_OFFICIAL if not config.named else _NAMED}, clips with all modalities",
    )


def _parts(
    config: DataConfig, root: Path, videos: dict[str, Video], losses: Losses, report: Callable[[str], None]
) -> tuple[Sequence[Stretch], Sequence[Stretch], Sequence[Stretch]]:
    """What is trained on, what temperatures are fitted on (nothing where the training's own people do) and what is
    measured: as the settings name videos, exported clips or people of both official files, else the official parts."""
    training, validation = read_stretches(root, videos, losses)
    if not config.named:
        return training, (), validation

    def called(one: Stretch) -> Named:
        person = videos[one.video_uid].fb_participant_id
        return Named("" if person is None else str(person), (one.video_uid, one.clip_uid))

    parts = split((*training, *validation), called, config, root, report)
    return parts.training, parts.validation, parts.test


def _whole(session: Session) -> bool:
    return len(session.samples) == len(MODALITIES)


def _calibration(sessions: Sequence[Session], losses: Losses) -> tuple[list[Session], list[Session]]:
    """What is left to train on, and the whole clips of a tenth, by people (videos, where the person is not known)."""
    groups: dict[object, list[Session]] = {}
    for one in sessions:
        groups.setdefault(one.source if one.subject < 0 else one.subject, []).append(one)
    order = sorted(groups, key=str)
    apart: list[Session] = []
    chosen = set()
    for index in np.random.default_rng(0xE604).permutation(len(order))[:-1]:
        whole = [one for one in groups[order[index]] if _whole(one)]
        if whole and len(apart) < len(sessions) * CALIBRATION_SHARE:
            apart += whole
            chosen.add(order[index])
            if others := len(groups[order[index]]) - len(whole):
                losses.add("clips of people to calibrate with that lack a modality", whole[0].source, others)
    return [one for key in order if key not in chosen for one in groups[key]], apart


def _extra(learnt: Sequence[Session], held: Sequence[Session]) -> tuple[NamedTest, ...]:
    """Validation clips of people who are in no training video, and those that lack modalities, by what they have."""
    people = {one.subject for one in learnt}
    unseen = tuple(one for one in held if _whole(one) and one.subject >= 0 and one.subject not in people)
    tests = [NamedTest("Ego4D validation, people of no training video", "real", unseen)] if unseen else []
    by_what: dict[tuple[str, ...], list[Session]] = {}
    for one in held:
        if not _whole(one):
            by_what.setdefault(tuple(name for name in MODALITIES if name in one.samples), []).append(one)
    for names, sessions in sorted(by_what.items()):
        tests.append(NamedTest(f"Ego4D validation, clips of {' + '.join(names)} alone", "real", tuple(sessions)))
    return tuple(tests)


def _read_all(
    root: Path,
    task: Task,
    videos: dict[str, Video],
    stretches: Sequence[Stretch],
    losses: Losses,
    report: Callable[[str], None],
) -> list[Session]:
    """The clips, in the order of video and time; one without any modality is lost."""
    ordered = sorted(stretches, key=lambda one: (one.video_uid, one.start_s, one.label))
    count = len({one.video_uid for one in ordered})
    report(f"ego4d: reading {len(ordered)} clips of {count} videos")
    sessions = []
    groups = groupby(ordered, lambda one: one.video_uid)
    for number, (uid, group) in enumerate(counted(report, "ego4d read", groups, count, "videos")):
        some = list(group)
        samples: list[dict[str, NDArray[Any]]] = [{} for _ in some]
        _add_imu(version_folder(root) / "imu" / f"{uid}.csv", videos[uid], some, samples, losses)
        _add_media(version_folder(root), task, videos[uid], some, samples, losses)
        for one, made in zip(some, samples, strict=True):
            if not made:
                losses.add("clips without any modality", uid)
                continue
            labels = np.full(CONTEXT_HOPS * TICKS_PER_HOP + 1, task.labels.index(one.label), np.int16)
            person = videos[uid].fb_participant_id
            sessions.append(Session(f"ego4d {uid}", -1 - number if person is None else person, labels, made))
    return sessions


def _add_imu(
    path: Path, video: Video, stretches: Sequence[Stretch], samples: Sequence[dict[str, NDArray[Any]]], losses: Losses
) -> None:
    if not video.has_imu:
        losses.add("clips of videos without IMU", video.video_uid, len(stretches))
        return
    try:
        times_s, rows, null = read_imu(path, [one.start_s for one in stretches])
    except (OSError, ValueError) as error:
        losses.add("IMU files that cannot be read", f"{path.name}: {error}")
        return
    if null:
        losses.add("IMU rows with a NULL", path.name, null)
    for one, made in zip(stretches, samples, strict=True):
        imu = cut_imu(times_s - one.start_s, rows)
        if imu is None:
            losses.add(
                f"clips with a hole of more than {HOLE_S:g} s in their IMU", f"{path.name} at {one.start_s:.1f} s"
            )
        else:
            made["imu"] = imu


def _add_media(
    folder: Path,
    task: Task,
    video: Video,
    stretches: Sequence[Stretch],
    samples: Sequence[dict[str, NDArray[Any]]],
    losses: Losses,
) -> None:
    """Sound and pictures, from the whole video where it is there, else from the exported clips."""
    for one, made in zip(stretches, samples, strict=True):
        if video.redacted(one.start_s, one.start_s + CLIP_S):
            losses.add("clips without sound and pictures, for what is redacted", video.video_uid)
            continue
        whole = [folder / kind / f"{video.video_uid}.mp4" for kind in ("video_540ss", "full_scale")]
        path = next((path for path in whole if path.is_file()), folder / "clips" / f"{one.clip_uid}.mp4")
        start_s = one.start_s if path in whole else one.start_s - one.clip_file_s
        if not path.is_file():
            losses.add("clips without a video file", video.video_uid)
            continue
        where = f"{path.name} at {start_s:.1f} s"
        try:
            pictures, sound = read_media(path, start_s, task)
        except ValueError as error:
            losses.add("clips of videos that cannot be read", f"{where}: {error}")
            continue
        if video.is_stereo:
            losses.add("clips without pictures, of stereoscopic videos", video.video_uid)
        elif pictures is None:
            losses.add("clips whose pictures are not whole", where)
        else:
            made["video"] = pictures
        if video.video_metadata.audio_start_sec is None:
            losses.add("clips of videos without sound", video.video_uid)
        elif sound is None:
            losses.add("clips whose sound is not whole", where)
        else:
            made["audio"] = sound
