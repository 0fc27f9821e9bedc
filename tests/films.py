"""Films that the tests make: sound and pictures in one container, and the telemetry of a GoPro."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

SOUND_HZ, FRAMES_HZ = 48_000, 30
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}


def noise(seconds: float, rate_hz: int = SOUND_HZ) -> NDArray[np.float32]:
    """Sound ``(T,)``."""
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * rate_hz)).astype(np.float32)


def write_film(
    path: Path,
    *,
    sound: NDArray[np.float32] | None = None,
    seconds: float = 0,
    codec: str = "aac",
    rate_hz: int = SOUND_HZ,
    container: str | None = None,
    options: dict[str, str] | None = None,
    coding: dict[str, str] | None = None,
    sound_begins_s: float = 0,
) -> None:
    """Sound ``(T,)`` or ``(T, C)`` and, for ``seconds``, pictures: red on the left, ever brighter on the right.

    options, coding: FFmpeg's, for the container and for the coder of the sound.
    """
    with av.open(str(path), "w", format=container, options=options or {}) as film:
        if seconds:
            pictures: Any = film.add_stream("mpeg4", rate=FRAMES_HZ)
            pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        if sound is not None:
            track: Any = film.add_stream(codec, rate=rate_hz, options=coding or {})
            sound = sound if sound.ndim == 2 else sound[:, None]
            layout = LAYOUTS[sound.shape[1]]
            track.layout = layout
        for index in range(round(seconds * FRAMES_HZ)):
            image = np.full((48, 64, 3), 2 * index % 256, np.uint8)
            image[:, :32] = (200, 0, 0)
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            picture.pts = index
            film.mux(pictures.encode(picture))
        if seconds:
            film.mux(pictures.encode(None))
        if sound is None:
            return
        size = track.codec_context.frame_size or 1024
        resampler = av.AudioResampler(track.format.name, layout, rate_hz, frame_size=size)
        whole = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound.T), format="fltp", layout=layout)
        whole.sample_rate, whole.pts = rate_hz, 0
        for frame in [*resampler.resample(whole), *resampler.resample(None)]:
            frame.pts = (frame.pts or 0) + round(sound_begins_s * rate_hz)
            film.mux(track.encode(frame))
        film.mux(track.encode(None))


# --- a GoPro's telemetry ---------------------------------------------------------------------------------------------


def klv(key: str, kind: str, size: int, data: bytes) -> bytes:
    """One entry of GPMF; ``size`` is that of one sample."""
    head = struct.pack(">4scBH", key.encode("latin-1"), kind.encode("latin-1"), size, len(data) // size)
    return head + data + bytes(-len(data) % 4)


def nest(key: str, *inside: bytes) -> bytes:
    """An entry of entries."""
    data = b"".join(inside)
    return struct.pack(">4sBBH", key.encode(), 0, 4, len(data) // 4) + data


def text(key: str, words: str) -> bytes:
    """An entry of text in Latin-1."""
    return klv(key, "c", 1, words.encode("latin-1"))


def stream(key: str, values: NDArray[Any], *properties: bytes, scale: int = 400) -> bytes:
    """A sensor's stream: ``(N, 3)`` SI units along the stored axes, as whole numbers of 1 / ``scale``."""
    raw = np.rint(values * scale).astype(">i2").tobytes()
    return nest("STRM", *properties, klv("SCAL", "s", 2, struct.pack(">h", scale)), klv(key, "s", 6, raw))


def stamp(us: int) -> bytes:
    """When a stream's first sample was taken."""
    return klv("STMP", "J", 8, struct.pack(">Q", us))


def tick(ms: int) -> bytes:
    """The same in milliseconds, of a HERO5."""
    return klv("TICK", "L", 4, struct.pack(">I", ms))


def box(name: str, *inside: bytes) -> bytes:
    """A box of an MP4."""
    data = b"".join(inside)
    return struct.pack(">I4s", 8 + len(data), name.encode()) + data


def telemetry_film(
    payloads: Sequence[bytes],
    *,
    durations_ms: Sequence[int] | None = None,
    format_: str = "gpmd",
    delay_ms: int = 0,
    tables: Mapping[str, bytes] | None = None,
) -> bytes:
    """An MP4 with one track of telemetry, a payload a second. tables: boxes to put in place of the right ones."""
    durations = durations_ms or [1000] * len(payloads)
    head = box("ftyp", b"mp41", bytes(4), b"mp41")
    media = box("mdat", *payloads)
    sizes = [len(payload) for payload in payloads]
    places = [len(head) + 8 + sum(sizes[:index]) for index in range(len(sizes))]

    def words(*numbers: int) -> bytes:
        return struct.pack(f">{len(numbers)}I", *numbers)

    boxes = {
        "stsd": words(0, 1) + box(format_, bytes(8)),
        "stts": words(0, len(durations), *(number for one in durations for number in (1, one))),
        "stsz": words(0, 0, len(sizes), *sizes),
        "stsc": words(0, 1, 1, 1, 1),
        "stco": words(0, len(places), *places),
    } | dict(tables or {})
    table = box("stbl", *(box(name, content) for name, content in boxes.items()))
    handler = words(0, 0) + b"meta" + bytes(12) + b"\tGoPro MET"
    medium = box("mdia", box("mdhd", words(0, 0, 0, 1000, sum(durations), 0)), box("hdlr", handler), box("minf", table))
    edits = [box("edts", box("elst", words(0, 2, delay_ms, 0xFFFFFFFF, 1 << 16, sum(durations), 0, 1 << 16)))]
    track = box("trak", *(edits if delay_ms else []), medium)
    movie = box("moov", box("mvhd", words(0, 0, 0, 1000, sum(durations))), track)
    return head + media + movie
