"""What Ego4D's files hold of one clip: rows of an IMU's CSV, pictures and sound of a video."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from mmg.errors import ConfigError
from numpy.typing import NDArray

from mmg_training.data.ego4d_annotations import CLIP_S
from mmg_training.data.signals import resample
from mmg_training.task import AUDIO_HZ, IMU_HZ, Task

HOLE_S = 0.1
TIME = "canonical_timestamp_ms"
CHANNELS = ("accl_x", "accl_y", "accl_z", "gyro_x", "gyro_y", "gyro_z")


def read_imu(path: Path, starts_s: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float32], int]:
    """What a CSV has in and around the clips that begin at ``starts_s``, sorted by canonical time: seconds (T,),
    m/s^2 and rad/s (T, 6), and how many rows were dropped for a NULL. Raises OSError, and ValueError for a file without
    the columns."""
    starts, null = sorted(starts_s), 0
    kept: list[list[float]] = []
    with path.open(encoding="utf-8", errors="replace") as lines:
        names = lines.readline().strip().split(",")
        if missing := [name for name in (TIME, *CHANNELS) if name not in names]:
            raise ValueError(f"has no column {missing[0]}")
        time, columns = names.index(TIME), [names.index(name) for name in CHANNELS]
        for line in lines:
            fields = line.rstrip().split(",")
            time_s = _number(fields, time) / 1000
            before = bisect_right(starts, time_s + HOLE_S) - 1
            if np.isnan(time_s):
                null += 1
            elif before >= 0 and time_s <= starts[before] + CLIP_S + HOLE_S:
                kept.append([time_s, *(_number(fields, column) for column in columns)])
    table = np.array(kept, np.float64).reshape(-1, 1 + len(CHANNELS))
    table = table[np.argsort(table[:, 0], kind="stable")]
    whole = ~np.isnan(table).any(axis=1)
    return table[whole, 0], table[whole, 1:].astype(np.float32), null + int((~whole).sum())


def _number(fields: Sequence[str], column: int) -> float:
    """NaN for NULL, for what is no number, and for what a line that was cut lacks."""
    try:
        number = float(fields[column])
    except (ValueError, IndexError):
        return np.nan
    return number if np.isfinite(number) else np.nan


def cut_imu(times_s: NDArray[np.float64], rows: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Sorted rows (T, 6) at seconds from the clip's begin -> (200, 6) at 50 Hz; None where there is a hole."""
    inside = (times_s >= -HOLE_S) & (times_s <= CLIP_S + HOLE_S)
    times, values = times_s[inside], rows[inside]
    if len(times) < 2 or times[0] > HOLE_S or times[-1] < CLIP_S - HOLE_S or np.diff(times).max() > HOLE_S:
        return None
    if times[-1] < CLIP_S:
        times, values = np.append(times, CLIP_S), np.vstack((values, values[-1:]))
    return resample(times, values, IMU_HZ)[: round(CLIP_S * IMU_HZ)]


def read_media(path: Path, start_s: float, task: Task) -> tuple[NDArray[np.uint8] | None, NDArray[np.int16] | None]:
    """The pictures (T, H, W, 3) and the sound (T,) of the clip from ``start_s`` of a file's video stream on; None for
    what is not whole. Raises ValueError where the file cannot be read, ConfigError without PyAV."""
    try:
        import av
    except ImportError as error:
        raise ConfigError("reading Ego4D's videos needs PyAV: in mmg's folder, pip install -e '.[video]'") from error
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError("contains no video")
            # The canonical video begins with its pictures; sound may begin later.
            stream = container.streams.video[0]
            zero_s = float((stream.start_time or 0) * (stream.time_base or 0))
            pictures = _pictures(container, zero_s + start_s, task)
            return pictures, _sound(container, zero_s + start_s) if container.streams.audio else None
    except (av.FFmpegError, OSError) as error:
        raise ValueError(getattr(error, "strerror", None) or str(error)) from error


def _frames(container: Any, stream: Any, from_s: float) -> Iterator[tuple[float, Any]]:
    """The frames from the one before ``from_s`` on, with their time in the container."""
    container.seek(max(int(from_s / stream.time_base), 0), stream=stream)
    for frame in container.decode(stream):
        if frame.pts is not None:
            yield float(frame.pts * frame.time_base), frame


def _pictures(container: Any, start_s: float, task: Task) -> NDArray[np.uint8] | None:
    """As the runtime's stream takes them: the newest one up to the middle of each interval, held for two at most."""
    stream, period_s = container.streams.video[0], 1 / task.video_fps
    stream.thread_type = "AUTO"
    wanted = start_s + (np.arange(round(CLIP_S * task.video_fps)) + 0.5) * period_s
    made: list[NDArray[np.uint8]] = []
    newest_s, newest = -np.inf, None
    for time_s, frame in chain(_frames(container, stream, start_s), ((np.inf, None),)):
        while len(made) < len(wanted) and wanted[len(made)] < time_s:
            if newest is None or wanted[len(made)] - newest_s > 2 * period_s:
                return None
            height, width = task.frame
            made.append(newest.reformat(width, height, format="rgb24", interpolation="AREA").to_ndarray())
        if len(made) == len(wanted):
            break
        newest_s, newest = time_s, frame
    return np.stack(made)


def _sound(container: Any, start_s: float) -> NDArray[np.int16] | None:
    """One channel at 16 kHz; at its ends up to ``HOLE_S`` may be missing and is silent."""
    import av

    stream = container.streams.audio[0]
    resampler = av.AudioResampler(format="s16", layout="mono", rate=AUDIO_HZ)
    parts: list[NDArray[np.int16]] = []
    first_s = next_s = None
    # A decoder that is entered in the middle needs a frame or two to be right.
    for time_s, frame in _frames(container, stream, start_s - HOLE_S):
        if time_s > start_s + CLIP_S:
            break
        if first_s is None or next_s is None:
            first_s = next_s = time_s
        if abs(time_s - next_s) > HOLE_S:
            return None
        next_s = time_s + frame.samples / frame.sample_rate
        parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
    if first_s is None:
        return None
    wave = np.concatenate((*parts, *(part.to_ndarray()[0] for part in resampler.resample(None))))
    count, offset, most = round(CLIP_S * AUDIO_HZ), round((first_s - start_s) * AUDIO_HZ), round(HOLE_S * AUDIO_HZ)
    wave = np.pad(wave[max(-offset, 0) :], (max(offset, 0), 0))[:count]
    return np.pad(wave, (0, count - len(wave))) if offset <= most and count - len(wave) <= most else None
