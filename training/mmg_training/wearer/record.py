"""A recording of a virtual wearer as files: ``python -m mmg_training.wearer.record --seed 3 --out runtime/mmg/demo``.

imu.csv (100 Hz), audio.ogg (44.1 kHz), video.mp4 (8 frames a second) and truth.csv, all from time zero.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from mmg.errors import ConfigError, MmgError
from numpy.typing import NDArray

from mmg_training.wearer import Subject, Timeline, plan, render_frames, render_imu, render_sound
from mmg_training.wearer.people import DEMO_SUBJECT

IMU_HZ, AUDIO_HZ, VIDEO_FPS = 100, 44_100, 8
FRAME = (96, 128)
VIDEO_BITS_S = 32_000
SOUND_FORMATS: dict[str, dict[str, Any]] = {
    ".ogg": {"format": "OGG", "subtype": "VORBIS", "compression_level": 1.0},
    ".wav": {"format": "WAV", "subtype": "PCM_16"},
}
COLUMNS = "t_ms,ax (m/s^2),ay (m/s^2),az (m/s^2),gx (rad/s),gy (rad/s),gz (rad/s)"


def record(timeline: Timeline, out: Path) -> None:
    """Write the four files into ``out``. Raises ConfigError where a library to write them is missing."""
    out.mkdir(parents=True, exist_ok=True)
    write_imu(render_imu(timeline, IMU_HZ), out / "imu.csv")
    write_sound(render_sound(timeline, AUDIO_HZ), out / "audio.ogg")
    write_video(render_frames(timeline, VIDEO_FPS, FRAME), out / "video.mp4")
    write_truth(timeline, out / "truth.csv")


def write_imu(imu: NDArray[np.float32], path: Path) -> None:
    """(T, 6) in m/s^2 and rad/s, one line a sample, time in milliseconds."""
    lines = [f"{k * 1000 // IMU_HZ}," + ",".join(f"{value:.3f}" for value in row) for k, row in enumerate(imu)]
    path.write_text("\n".join((COLUMNS, *lines)) + "\n", encoding="ascii")


def write_sound(sound: NDArray[np.float32] | NDArray[np.int16], path: Path, rate_hz: int = AUDIO_HZ) -> None:
    """(T,) as Ogg Vorbis or 16-bit WAV, by the path's ending; in blocks: libsndfile overruns its stack when given
    minutes of Vorbis at once."""
    try:
        import soundfile
    except ImportError as error:
        raise ConfigError("writing sound needs soundfile: in mmg's folder, pip install -e '.[audio]'") from error

    with soundfile.SoundFile(os.fsencode(path), "w", rate_hz, 1, **SOUND_FORMATS[path.suffix]) as stream:
        for block in np.array_split(sound, max(1, len(sound) // rate_hz)):
            stream.write(block)


def write_video(frames: NDArray[np.uint8], path: Path) -> None:
    """(T, H, W, 3) as MPEG-4, the first frame at time zero."""
    try:
        import av
    except ImportError as error:
        raise ConfigError("writing video needs PyAV: in mmg's folder, pip install -e '.[video]'") from error

    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("mpeg4", rate=VIDEO_FPS)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.bit_rate = "yuv420p", VIDEO_BITS_S
        stream.codec_context.time_base = Fraction(1, VIDEO_FPS)
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def write_truth(timeline: Timeline, path: Path) -> None:
    """What was done from when to when, in seconds."""
    lines = [
        f"{segment.start_s:.3f},{min(segment.end_s, timeline.duration_s):.3f},{segment.label}"
        for segment in timeline.segments
    ]
    path.write_text("\n".join(("start_s,end_s,label", *lines)) + "\n", encoding="ascii")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="mmg_training.wearer.record", description=__doc__)
    parser.add_argument("--subject", type=int, default=DEMO_SUBJECT, help="who; never one that a model is trained on")
    parser.add_argument("--seed", type=int, required=True, help="which session")
    parser.add_argument("--seconds", type=float, default=75.0, help="how long")
    parser.add_argument("--out", type=Path, required=True, help="the folder for the four files")
    chosen = parser.parse_args(arguments)
    timeline = plan(Subject.numbered(chosen.subject), chosen.seed, chosen.seconds)
    try:
        record(timeline, chosen.out)
    except MmgError as error:
        sys.stderr.write(f"record: {error}\n")
        return error.exit_code
    for segment in timeline.segments:
        sys.stderr.write(f"record: {segment.start_s:6.1f} s {segment.label} ({segment.place})\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
