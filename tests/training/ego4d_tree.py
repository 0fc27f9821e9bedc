"""A small tree as Ego4D's downloader leaves it, with the defects that its documentation tells of, and a few more.

Formats: https://ego4d-data.org/docs/data/annotations-schemas and https://ego4d-data.org/docs/data/imu.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

DURATION_S, FPS, SOUND_HZ = 24, 10, 32_000
COLUMNS = "component_idx,component_timestamp_ms,canonical_timestamp_ms,gyro_x,gyro_y,gyro_z,accl_x,accl_y,accl_z"
# (label, from, to) in seconds: the clip of the first begins at 5 s, that of the second at 14 s.
BOTH = (("cut_bread", 4.0, 10.0), ("wash_hands", 15.5, 16.5))


@dataclass(frozen=True)
class Made:
    """One video. split: the official files that it is in. extra: what ego4d.json says of it beside the usual."""

    uid: str
    split: tuple[str, ...]
    person: int | None
    labels: Sequence[tuple[str, float, float]] = BOTH
    has_imu: bool = True
    extra: dict[str, Any] = field(default_factory=dict)


VIDEOS = (
    Made("train-ramp", ("train",), 1, (*BOTH, ("rare", 10.0, 12.0))),
    Made("train-no-imu", ("train",), 2, has_imu=False),
    Made("train-hole", ("train",), 3),
    Made(
        "train-redacted",
        ("train",),
        4,
        extra={"has_redacted_regions": True, "redacted_intervals": [{"start_sec": 8.0, "end_sec": 8.5}]},
    ),
    Made("train-outside", ("train",), 4, (*BOTH, ("cut_bread", 30.0, 36.0), ("cut_bread", 22.0, 40.0))),
    Made("train-nobody", ("train",), None),
    Made("both", ("train", "val"), 5),
    Made("val-person-1", ("val",), 1),
    Made("val-new-person", ("val",), 6),
    Made("val-exported-clip", ("val",), 6, BOTH[:1]),
    Made("val-truncated", ("val",), 7),
    Made("val-empty-csv", ("val",), 7),
    Made("val-no-file", ("val",), 7, has_imu=False),
    Made("val-stereo", ("val",), 8, extra={"is_stereo": True}),
    Made("val-silent", ("val",), 8, extra={"video_metadata": {"fps": 10.0, "audio_start_sec": None}}),
)


def make_tree(root: Path) -> Path:
    """Write ``root/ego4d`` and return ``root``."""
    ego4d, version = root / "ego4d", root / "ego4d" / "v2"
    for folder in ("annotations", "imu", "full_scale", "clips"):
        (version / folder).mkdir(parents=True)
    (ego4d / "ego4d.json").write_text(json.dumps({"version": "v2", "videos": [_metadata(one) for one in VIDEOS]}))
    for split in ("train", "val"):
        videos = [_annotated(one, split) for one in VIDEOS if split in one.split]
        videos += [{"video_uid": "unheard-of", "split": split, "clips": []}] if split == "train" else []
        (version / "annotations" / f"moments_{split}.json").write_text(json.dumps({"version": "v2", "videos": videos}))
    write_video(version / "full_scale" / "train-ramp.mp4", 0, DURATION_S)
    for one in VIDEOS[1:]:
        if one.uid not in ("val-no-file", "val-exported-clip"):
            shutil.copy(version / "full_scale" / "train-ramp.mp4", version / "full_scale" / f"{one.uid}.mp4")
    whole = (version / "full_scale" / "val-truncated.mp4").read_bytes()
    (version / "full_scale" / "val-truncated.mp4").write_bytes(whole[: len(whole) // 2])
    # The exported clip of which the annotations say that it begins at 2 s of the video.
    write_video(version / "clips" / "val-exported-clip-clip.mp4", 2, 20)
    for one in VIDEOS:
        if one.has_imu:
            write_imu(version / "imu" / f"{one.uid}.csv", hole=one.uid == "train-hole")
    (version / "imu" / "val-empty-csv.csv").write_text("")
    return root


def _metadata(one: Made) -> dict[str, Any]:
    return {
        "video_uid": one.uid,
        "duration_sec": float(DURATION_S),
        "scenarios": ["Cooking"],
        "video_metadata": {"fps": 10.0, "video_start_sec": 0.0, "audio_start_sec": 0.0},
        "fb_participant_id": one.person,
        "is_stereo": False,
        "has_imu": one.has_imu,
        "video_components": [{"component_idx": 0, "redacted": False, "canonical_video_start_sec": 0.0}],
        "has_redacted_regions": False,
        "redacted_intervals": [],
        "gaps": None,
        **one.extra,
    }


def _annotated(one: Made, split: str) -> dict[str, Any]:
    """Two annotators, who agree on the first label, and one label that is not primary."""
    labels = [_label(*label) for label in one.labels]
    other = [_label("cut_bread", 4.5, 9.5), {**_label("not_primary", 1.0, 3.0), "primary": False}]
    clip = {
        "clip_uid": f"{one.uid}-clip",
        "video_start_sec": 2.0,
        "video_end_sec": 24.0,
        "clip_start_sec": 0,
        "annotations": [{"annotator_uid": "a", "labels": labels}, {"annotator_uid": "b", "labels": other}],
    }
    return {"video_uid": one.uid, "split": split, "clips": [clip]}


def _label(name: str, start_s: float, end_s: float) -> dict[str, Any]:
    return {
        "label": name,
        "start_time": start_s - 2.0,
        "end_time": end_s - 2.0,
        "video_start_time": start_s,
        "video_end_time": end_s,
        "primary": True,
    }


def write_imu(path: Path, hole: bool = False) -> None:
    """200 Hz: acceleration (t, 0, 9.8) and turning (0, 0, -t), t the seconds of the video. Rows are out of order, some
    come twice, some are NULL, some stamps are far off. hole: none from 7 to 7.3 s."""
    rows = []
    for index in range(DURATION_S * 200):
        time_s = index / 200
        if not (hole and 7 <= time_s < 7.3):
            rows.append(f"0,{time_s * 1000},{time_s * 1000},0,0,{-time_s},{time_s},0,9.8")
    for first in range(0, len(rows) - 40, 200):
        rows[first : first + 40] = rows[first : first + 40][::-1]
    rows[1000:1000] = rows[995:1000]
    rows[700:700] = ["0,3500.0,NULL,9,9,9,9,9,9", "0,5500.0,5500.0,0,0,9,NULL,NULL,NULL", "0,1.0,9.9e15,9,9,9,9,9,9"]
    path.write_text("\n".join((COLUMNS, *rows)) + "\n0,24000.0")


def write_video(path: Path, start_s: int, duration_s: int) -> None:
    """A real MP4: red is ten times the second, green 60 times the quarter of it; a beep of 0.1 s begins each second, at
    300 Hz and 50 more for each second."""
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=FPS)
        pictures.width, pictures.height, pictures.pix_fmt, pictures.bit_rate = 128, 72, "yuv420p", 2_000_000
        pictures.codec_context.time_base = Fraction(1, FPS)
        sound = container.add_stream("aac", rate=SOUND_HZ, layout="mono")
        for index in range(duration_s * FPS):
            time_s = start_s + index / FPS
            picture = np.zeros((72, 128, 3), np.uint8)
            picture[:] = colour(time_s)
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(pictures.encode(None))
        wave = (beeps(start_s, duration_s) * 32767).astype(np.int16)
        for first in range(0, len(wave), 1024):
            frame = av.AudioFrame.from_ndarray(wave[None, first : first + 1024], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = SOUND_HZ, first, Fraction(1, SOUND_HZ)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))


def colour(time_s: float) -> tuple[int, int, int]:
    """(red, green, blue) of the picture at this second."""
    return 10 * int(time_s + 1e-9), 60 * int((time_s + 1e-9) % 1 * 4), 0


def beeps(start_s: int, duration_s: int) -> NDArray[np.float64]:
    """The sound (T,) at ``SOUND_HZ``."""
    times_s = start_s + np.arange(duration_s * SOUND_HZ) / SOUND_HZ
    tone = np.sin(2 * np.pi * (300 + 50 * np.floor(times_s)) * times_s)
    return 0.5 * tone * (times_s % 1 < 0.1)
