"""The sound of a film or of a container that libsndfile does not read, through PyAV, replayed as a microphone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmg.bundle.manifest import Modality
from mmg.errors import SourceError
from mmg.sources import CHUNK_NS
from mmg.sources.files.av_container import begin_s, choose, decoded, length_s, open_container, other_tracks, seconds
from mmg.sources.files.sound.rate import HIGHEST_HZ, LOWEST_HZ, sample_times_ns, too_slow
from mmg.sources.url import Placing, SourceUrl
from mmg.types import Chunk

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Time stamps that are rounded to a millisecond, as WebM's are, are no holes.
SLIP_NS = 10_000_000
# A cut is told from an encoder's padding when more than this is missing at the end.
CUT_S = 0.5
ADVICE = "use WAV, FLAC or OGG, or convert it with ffmpeg"


class ContainerSound:
    """Samples ``(T, C)`` float32, full scale 1, of the first track of sound, with ``rate_hz`` set to its rate.

    Times are the packets' own, from the container's start: sound and video of one file lie on one clock. What the
    file marks as an encoder's priming is left out, as FFmpeg does. No other track is read.

    ``losses``: ``unreadable`` packets, samples that are ``missing`` where time stamps jump or the end does not come,
    and samples that come again, ``backward``. A hole is in ``dropped``. Raises SourceError and ConfigError.
    """

    def __init__(self, url: SourceUrl, path: Path, modality: Modality) -> None:
        url.allow(())
        self.modality, self.url = modality.name, str(url)
        self.losses: Counter[str] = Counter()
        self._path, self._closed, self._told_cut = path, False, False
        with self._opened() as container:
            stream = self._stream(container)
            self.duration_s = length_s(container, stream)
            self.notes = other_tracks(path, container, "audio")
        first = next(self._frames(), None)
        self.losses.clear()
        if first is None:
            raise SourceError(self.url, f"is not a readable sound file (nothing in it can be decoded): {ADVICE}")
        if _samples(first[1]) is None:
            raise SourceError(self.url, f"has samples of a kind that is not read ({first[1].format.name}): {ADVICE}")
        rate_hz = int(first[1].sample_rate)
        if not LOWEST_HZ <= rate_hz <= HIGHEST_HZ:
            raise SourceError(self.url, f"has {rate_hz} samples a second: nothing to replay")
        self.notes += too_slow(path.name, rate_hz, modality.rate_hz)
        placing = Placing.of(url, None)
        self.start_ns, self.offset_ns = placing.start_ns, placing.offset_ns

    def chunks(self, start_ns: int, every_ns: int = CHUNK_NS) -> Iterator[Chunk]:
        """See Recording."""
        self.losses.clear()
        run = _Run(0, 0)
        end_ns = 0
        for time_ns, frame in self._frames():
            samples, rate_hz = _samples(frame), int(frame.sample_rate)
            if samples is None:
                self._lose()
                continue
            ahead_ns = 0 if time_ns is None or not run.rate_hz else time_ns - run.next_ns
            if rate_hz != run.rate_hz or run.channels != samples.shape[1] or ahead_ns > SLIP_NS:
                yield from self._cut(run, start_ns, every_ns, all_of_it=True)
                lost = max(0, round(ahead_ns * rate_hz / 1e9))
                if lost:
                    self.losses["missing"] += lost
                run = _Run(run.next_ns if time_ns is None else time_ns, rate_hz, samples.shape[1], lost)
            elif ahead_ns < -SLIP_NS:
                again = min(len(samples), round(-ahead_ns * rate_hz / 1e9))
                self.losses["backward"] += again
                samples = samples[again:]
            run.append(samples)
            end_ns = run.next_ns
            yield from self._cut(run, start_ns, every_ns)
        yield from self._cut(run, start_ns, every_ns, all_of_it=True)
        if not self._closed:
            self._count_missing(run.rate_hz, end_ns / 1e9)

    def close(self) -> None:
        """Let go of the file: iterators end."""
        self._closed = True

    def _cut(self, run: _Run, start_ns: int, every_ns: int, *, all_of_it: bool = False) -> Iterator[Chunk]:
        size = max(1, run.rate_hz * every_ns // 1_000_000_000)
        for position, block in run.blocks(size, all_of_it):
            if self._closed:
                return
            times_ns = start_ns + run.begin_ns + sample_times_ns(position, len(block), run.rate_hz)
            yield Chunk(self.modality, block, times_ns, float(run.rate_hz), 0 if position else run.lost)

    def _frames(self) -> Iterator[tuple[int | None, Any]]:
        """Every frame that can be decoded, and its time in nanoseconds from the container's start where it has one."""
        with self._opened() as container:
            begin = begin_s(container)
            for frame in decoded(container, self._stream(container), self._lose):
                if self._closed:
                    return
                at_s = seconds(frame.pts, frame.time_base)
                if frame.samples:
                    yield None if at_s is None else int((at_s - begin) * 10**9), frame

    def _lose(self) -> None:
        self.losses["unreadable"] += 1

    def _stream(self, container: Any) -> Any:
        try:
            stream = choose(container, "audio")
        except LookupError as error:
            raise SourceError(self.url, f"contains sound that no decoder here supports: {ADVICE}") from error
        if stream is None:
            raise SourceError(self.url, "contains no sound")
        return stream

    def _opened(self) -> Any:
        return open_container(self.url, self._path, "audio", ADVICE)

    def _count_missing(self, rate_hz: int, end_s: float) -> None:
        missing_s = self.duration_s - end_s
        if missing_s <= CUT_S:
            return
        self.losses["missing"] += round(missing_s * rate_hz)
        if not self._told_cut:
            lengths = f"its header promises {self.duration_s:.1f} s, {end_s:.1f} s are there"
            self.notes.append(f"{self._path.name} is truncated or damaged: {lengths}")
            self._told_cut = True


class _Run:
    """Samples in a row without a hole, from ``begin_ns`` on, and how many were ``lost`` before them."""

    def __init__(self, begin_ns: int, rate_hz: int, channels: int = 0, lost: int = 0) -> None:
        self.begin_ns, self.rate_hz, self.channels, self.lost = begin_ns, rate_hz, channels, lost
        self._blocks: list[NDArray[np.float32]] = []
        self._position = self._held = 0

    @property
    def next_ns(self) -> int:
        """When the next sample is due."""
        count = self._position + self._held
        return self.begin_ns + (count * 1_000_000_000 // self.rate_hz if self.rate_hz else 0)

    def append(self, samples: NDArray[np.float32]) -> None:
        """Add samples ``(T, C)``."""
        self._blocks.append(samples)
        self._held += len(samples)

    def blocks(self, size: int, all_of_it: bool) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Take blocks of ``size`` samples, each with its place in the run; at the end what is left, too."""
        if self._held < size and not (all_of_it and self._held):
            return
        held = np.concatenate(self._blocks)
        kept = 0 if all_of_it else len(held) % size
        taken = len(held) - kept
        for begin in range(0, taken, size):
            yield self._position + begin, held[begin : min(begin + size, taken)]
        self._blocks, self._held, self._position = [held[taken:]], kept, self._position + taken


def _samples(frame: Any) -> NDArray[np.float32] | None:
    """A frame's samples as ``(T, C)``: FFmpeg keeps channels apart or in turn, as whole numbers or as floats. None of
    those that PyAV makes no array of, as whole numbers of 64 bits."""
    try:
        values = frame.to_ndarray()
    except ValueError:
        return None
    values = values.T if values.shape[1] == frame.samples else values.reshape(frame.samples, -1)
    if values.dtype.kind == "f":
        return np.ascontiguousarray(values, np.float32)
    bits = 8 * values.dtype.itemsize
    middle = 1 << bits - 1 if values.dtype.kind == "u" else 0
    return np.asarray((values.astype(np.float64) - middle) / (1 << bits - 1), np.float32)
