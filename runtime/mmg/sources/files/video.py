"""A video file, replayed as a camera: what PyAV (FFmpeg) decodes, at the model's size and about its rate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from mmg.bundle.manifest import Modality
from mmg.errors import SourceError, pip_install
from mmg.sources import CHUNK_NS
from mmg.sources.frames import FrameChooser
from mmg.sources.url import Placing, SourceUrl
from mmg.types import Chunk

# A cut is told from rounding when more than this is missing at the end.
CUT_S = 0.5


class VideoFile:
    """Frames ``(1, H, W, 3)`` uint8 RGB, resized to the manifest's frame (the aspect ratio gives way), at most two a
    frame of the model; the others are decoded, not converted. Times are the frames' own, from the container's start.
    A rotation mark in the file is not applied.

    ``losses``: ``unreadable`` packets, frames that are ``backward`` in time, and those ``missing`` of what the header
    promises. Raises SourceError and ConfigError.
    """

    def __init__(self, url: SourceUrl, path: Path, modality: Modality) -> None:
        url.allow(())
        if modality.frame is None:
            raise SourceError(str(url), f"{modality.name} has no frame size: it is not a video modality")
        self.modality, self.url = modality.name, str(url)
        self.notes: list[str] = []
        self.losses: Counter[str] = Counter()
        self._path, self._frame, self._rate_hz = path, modality.frame, modality.rate_hz
        self._closed = False
        with self._opened() as container:
            self._promised_frames: int = container.streams.video[0].frames
            self._promised_s = _length_s(container)
        placing = Placing.of(url, None)
        self.start_ns, self.offset_ns = placing.start_ns, placing.offset_ns
        self.duration_s = self._promised_s

    def chunks(self, start_ns: int, _every_ns: int = CHUNK_NS) -> Iterator[Chunk]:
        """See Recording."""
        from av.video.reformatter import Interpolation

        self.losses.clear()
        chooser = FrameChooser(self._rate_hz)
        last_ns, decoded = -1, 0
        height, width = self._frame
        for time_ns, frame in self._frames():
            decoded += 1
            if time_ns <= last_ns:
                self.losses["backward"] += 1
                continue
            last_ns = time_ns
            if not chooser.wants(time_ns):
                continue
            small = frame.reformat(width=width, height=height, format="rgb24", interpolation=Interpolation.AREA)
            times_ns = np.array([start_ns + time_ns], np.int64)
            yield Chunk(self.modality, small.to_ndarray()[None], times_ns)
        if not self._closed:
            self._count_missing(decoded, max(last_ns, 0) / 1e9)

    def close(self) -> None:
        """Let go of the file: iterators end."""
        self._closed = True

    def _count_missing(self, decoded: int, last_s: float) -> None:
        missing = self._promised_frames - decoded - self.losses["unreadable"]
        if missing > 0:
            self.losses["missing"] = missing
        if last_s < self._promised_s - CUT_S and len(self.notes) == 0:
            self.notes.append(
                f"{self._path.name} is truncated or damaged: its header promises {self._promised_s:.1f} s, "
                f"{last_s:.1f} s are there"
            )

    def _frames(self) -> Iterator[tuple[int, Any]]:
        """Every frame that can be decoded and its time in nanoseconds from the container's start."""
        import av

        with self._opened() as container:
            stream = container.streams.video[0]
            packets = container.demux(stream)
            start = Fraction(container.start_time or 0, av.time_base)
            period = 1 / Fraction(stream.average_rate or self._rate_hz)
            count = 0
            while not self._closed:
                try:
                    frames = next(packets).decode()
                except (StopIteration, av.EOFError):
                    return
                except av.FFmpegError:
                    self.losses["unreadable"] += 1
                    continue
                for frame in frames:
                    stamped = frame.pts is not None and frame.time_base is not None
                    seconds = frame.pts * frame.time_base - start if stamped else count * period
                    count += 1
                    yield int(seconds * 10**9), frame

    def _opened(self) -> Any:
        try:
            import av
        except ImportError as error:
            raise SourceError(self.url, f"needs PyAV: {pip_install('av')}") from error
        # A title that is not UTF-8 must not cost the video; PyAV 19 sees to that by itself, and dropped the option.
        lenient: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
        try:
            container = av.open(str(self._path.absolute()), **lenient)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise SourceError(
                self.url, f"is not a readable video ({_reason(error)}): use a complete MP4 file"
            ) from error
        if not container.streams.video:
            container.close()
            raise SourceError(self.url, "contains no video")
        if container.streams.video[0].codec_context is None:
            container.close()
            raise SourceError(self.url, "contains video that no decoder here supports")
        return container


def _length_s(container: Any) -> float:
    """The length that the header promises, else the time of the last packet: some writers leave the header open."""
    import av

    stream = container.streams.video[0]
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None:
        return float(container.duration / av.time_base)
    latest_s = 0.0
    try:
        for packet in container.demux(stream):
            if packet.pts is not None and packet.time_base is not None:
                latest_s = max(latest_s, float(packet.pts * packet.time_base))
    except av.FFmpegError:
        return latest_s
    return latest_s


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
