"""A video file, replayed as a camera: what PyAV (FFmpeg) decodes, at the model's size and about its rate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from mmg.bundle.manifest import Modality
from mmg.errors import SourceError
from mmg.sources import CHUNK_NS
from mmg.sources.files.av_container import (
    BOUNDED,
    begin_s,
    choose,
    decoded,
    length_s,
    open_container,
    other_tracks,
    seconds,
)
from mmg.sources.frames import FrameChooser, Turn
from mmg.sources.url import Placing, SourceUrl
from mmg.types import Chunk

# A cut is told from rounding when more than this is missing at the end.
CUT_S = 0.5


class VideoFile:
    """Frames ``(1, H, W, 3)`` uint8 RGB, resized to the manifest's frame (the aspect ratio gives way), at most two a
    frame of the model; the others are decoded, not converted. Times are the frames' own, from the container's start.
    Frames are turned and mirrored as the file says, before they are resized.

    ``losses``: ``unreadable`` packets, frames that are ``backward`` in time, and those ``missing`` of what the header
    promises. Raises SourceError and ConfigError.
    """

    def __init__(self, url: SourceUrl, path: Path, modality: Modality) -> None:
        url.allow(())
        if modality.frame is None:
            raise SourceError(str(url), f"{modality.name} has no frame size: it is not a video modality")
        self.modality, self.url = modality.name, str(url)
        self.losses: Counter[str] = Counter()
        self._path, self._frame, self._rate_hz = path, modality.frame, modality.rate_hz
        self._closed = self._told_cut = self._told_oblique = False
        with self._opened() as container:
            stream = self._stream(container)
            self._promised_frames: int = stream.frames
            self._promised_s = length_s(container, stream)
            self.notes = other_tracks(path, container, "video")
        placing = Placing.of(url, None)
        self.start_ns, self.offset_ns = placing.start_ns, placing.offset_ns
        self.duration_s = self._promised_s

    def chunks(self, start_ns: int, _every_ns: int = CHUNK_NS) -> Iterator[Chunk]:
        """See Recording."""
        from av.video.reformatter import Interpolation

        self.losses.clear()
        chooser = FrameChooser(self._rate_hz)
        last_ns, count = -1, 0
        turn = Turn()
        for time_ns, frame in self._frames():
            count += 1
            turn = self._turn(frame) or turn
            if time_ns <= last_ns:
                self.losses["backward"] += 1
                continue
            last_ns = time_ns
            if not chooser.wants(time_ns):
                continue
            height, width = turn.stored(self._frame)
            small = frame.reformat(width=width, height=height, format="rgb24", interpolation=Interpolation.AREA)
            times_ns = np.array([start_ns + time_ns], np.int64)
            yield Chunk(self.modality, turn.apply(small.to_ndarray())[None], times_ns)
        if not self._closed:
            self._count_missing(count, max(last_ns, 0) / 1e9)

    def close(self) -> None:
        """Let go of the file: iterators end."""
        self._closed = True

    def _count_missing(self, count: int, last_s: float) -> None:
        missing = self._promised_frames - count - self.losses["unreadable"]
        if missing > 0:
            self.losses["missing"] = missing
        if last_s < self._promised_s - CUT_S and not self._told_cut:
            self.notes.append(
                f"{self._path.name} is truncated or damaged: its header promises {self._promised_s:.1f} s, "
                f"{last_s:.1f} s are there"
            )
            self._told_cut = True

    def _frames(self) -> Iterator[tuple[int, Any]]:
        """Every frame that can be decoded and its time in nanoseconds from the container's start."""
        with self._opened() as container:
            stream = self._stream(container)
            begin = begin_s(container)
            rate = stream.average_rate
            period = Fraction(rate.denominator, rate.numerator) if rate else 1 / Fraction(self._rate_hz)
            for index, frame in enumerate(decoded(container, stream, self._lose)):
                if self._closed:
                    return
                at_s = seconds(frame.pts, frame.time_base)
                yield int((index * period if at_s is None else at_s - begin) * 10**9), frame

    def _turn(self, frame: Any) -> Turn | None:
        """How this frame is marked to be turned; None where it is not, or in a way that is no quarter turn."""
        data = frame.side_data.get("DISPLAYMATRIX")
        if data is None:
            return None
        turn = Turn.of(np.frombuffer(bytes(data), np.int32))
        if turn is None and not self._told_oblique:
            self.notes.append(f"{self._path.name} is marked as turned by no quarter turn: it is left as stored")
            self._told_oblique = True
        return turn

    def _lose(self) -> None:
        self.losses["unreadable"] += 1

    def _stream(self, container: Any) -> Any:
        try:
            stream = choose(container, "video")
        except LookupError as error:
            raise SourceError(self.url, "contains video that no decoder here supports") from error
        if stream is None:
            raise SourceError(self.url, "contains no video")
        # FFmpeg forgets the size of a picture that is larger than it may be.
        if not stream.codec_context.width * stream.codec_context.height:
            raise SourceError(self.url, "has pictures of a size that is not known, or beyond 8K: make them smaller")
        stream.codec_context.options = dict(BOUNDED)
        return stream

    def _opened(self) -> Any:
        return open_container(self.url, self._path, "video", "use a complete MP4 file")
