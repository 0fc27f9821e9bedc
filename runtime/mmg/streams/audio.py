"""Sound: resampled by counting samples, which is exact, and held against its time stamps, which drift."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmg.bundle.manifest import Modality
from mmg.errors import SOUND, BackendUnavailable, ConfigError
from mmg.streams.grid import Hop, HopGrid, all_finite, check_chunk, check_times
from mmg.types import Chunk

SLIP_S = 0.010
"""How far the sample count may be from the time stamps before samples are repeated or left out."""
SURE_NS = SLIP_S * 1e9 - 1000
"""Closer than that is not off, however the sums are rounded."""
GAP_S = 0.050
"""A longer hole than this is not filled: the stream begins anew after it."""
SLOWEST_HZ, FASTEST_HZ = 100.0, 1e6
"""A slower sound has less than one sample a slip; a faster one is a mistake that would fill the memory."""


class AudioStream:
    """Cuts sound of any rate and channel count into hops of ``(n, 1)`` float32 at the model's rate.

    Channels are averaged. Samples that are not finite become zero and are counted as dropped.
    """

    def __init__(self, modality: Modality, grid: HopGrid) -> None:
        self._modality, self._grid = modality, grid
        self._count = round(modality.rate_hz * grid.hop_ns / 1e9)
        self._rate_hz = 0.0
        # When each sample of a chunk is due, from its first one on.
        self._ramp_ns: NDArray[np.int64] = np.empty(0, np.int64)
        self._resampler: _Resampler | None = None
        self._anchor_ns = 0
        self._taken = 0
        # Whether the count has run ahead of the clock, and samples are left out until the clock has caught up.
        self._catching_up = False
        # Whether a whole hop was given out since the sound began.
        self._flowing = False
        self._skip = 0
        # Whether the sound began within the present hop, which is given out as not whole once its end is heard.
        self._partial = False
        self._buffer: deque[NDArray[np.float32]] = deque()
        self._buffered = 0
        # Losses wait here, at their place in the sample count, for the hop that they belong to.
        self._losses: list[tuple[int, int]] = []
        self._counted = 0
        self.next_hop: int = np.iinfo(np.int64).min
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.lag_ns = 0

    @property
    def dropped(self) -> int:
        """Samples lost before they came here, repeated, or not finite."""
        return self._counted + sum(count for _, count in self._losses)

    def push(self, chunk: Chunk) -> list[Hop]:
        """Take ``(T, C)`` samples at ``chunk.rate_hz``."""
        check_chunk(chunk, self._modality, any_channels=True)
        if not SLOWEST_HZ <= chunk.rate_hz <= FASTEST_HZ:
            wanted = f"a rate of {SLOWEST_HZ:.0f} to {FASTEST_HZ:.0f} Hz"
            raise ConfigError(f"{self._modality.name}: a chunk of sound must say {wanted}, not {chunk.rate_hz}")
        if not len(chunk.times_ns):
            self._lose(chunk.dropped)
            return []
        with np.errstate(over="ignore", invalid="ignore"):
            mono = np.ascontiguousarray(chunk.samples, np.float32)
            mono = mono[:, 0] if mono.shape[1] == 1 else mono.mean(axis=1, dtype=np.float32)
        finite = None
        if not all_finite(mono):
            finite = np.isfinite(mono)
            mono = np.where(finite, mono, np.float32(0))
        hops: list[Hop] = []
        if chunk.rate_hz != self._rate_hz and self._resampler is not None:
            hops += self._end_segment()
        if chunk.rate_hz != self._rate_hz:
            self._rate_hz, self._ramp_ns = chunk.rate_hz, np.empty(0, np.int64)
        self._lose(chunk.dropped)
        begin = 0
        while begin < len(mono):
            begin = self._take(chunk.times_ns, mono, finite, begin, hops)
        return hops

    def _take(
        self,
        times: NDArray[np.int64],
        mono: NDArray[np.float32],
        finite: NDArray[np.bool_] | None,
        begin: int,
        hops: list[Hop],
    ) -> int:
        """Take samples from ``begin`` up to the first whose time stamp is off; return where to go on."""
        if self._resampler is None:
            check_times(times, self._modality)
            self._begin_segment(int(times[begin]))
        if not begin and not self._catching_up and self._is_on_time(times):
            self._feed(mono, finite, int(times[-1]), hops)
            return len(mono)
        check_times(times, self._modality)
        period_ns = 1e9 / self._rate_hz
        since_ns = times[begin:] - self._anchor_ns
        if self._catching_up and (early := self._early(since_ns >= (self._taken - 0.5) * period_ns)):
            self._lose(early)
            return begin + early
        ahead_ns = since_ns - (self._taken + np.arange(len(since_ns))) * period_ns
        off = np.abs(ahead_ns) > SLIP_S * 1e9
        run = int(off.argmax()) if off.any() else len(off)
        if run:
            here = slice(begin, begin + run)
            self._feed(mono[here], None if finite is None else finite[here], int(times[begin + run - 1]), hops)
            return begin + run
        if ahead_ns[0] > GAP_S * 1e9:
            hops += self._end_segment()
            return begin
        if ahead_ns[0] > 0:
            missing = round(float(ahead_ns[0]) / period_ns)
            # What the source has told to be lost here is the same loss, and is counted once.
            told = sum(count for place, count in self._losses if place == self._taken)
            self._lose(max(missing - told, 0))
            filler = np.full(missing, mono[begin], np.float32)
            self._feed(filler, None, int(times[begin]), hops)
            return begin
        self._catching_up = True
        return begin

    def _is_on_time(self, times: NDArray[np.int64]) -> bool:
        """Whether no time stamp is off: the quick way to know it of a whole chunk, and sure only of a yes."""
        if len(times) > len(self._ramp_ns):
            self._ramp_ns = np.round(np.arange(2 * len(times)) * (1e9 / self._rate_hz)).astype(np.int64)
        ahead_ns = times - self._ramp_ns[: len(times)]
        due_ns = self._anchor_ns + self._taken * 1e9 / self._rate_hz
        least, most = int(np.minimum.reduce(ahead_ns)), int(np.maximum.reduce(ahead_ns))
        return due_ns - SURE_NS <= least and most <= due_ns + SURE_NS

    def _early(self, due: NDArray[np.bool_]) -> int:
        """How many samples come before the first that is due."""
        self._catching_up = not due.any()
        return len(due) if self._catching_up else int(due.argmax())

    def _lose(self, count: int) -> None:
        if count and self._losses and self._losses[-1][0] == self._taken:
            count += self._losses.pop()[1]
        if count:
            self._losses.append((self._taken, count))

    def _count_losses(self, before: float) -> None:
        self._counted += sum(count for place, count in self._losses if place < before)
        self._losses = [loss for loss in self._losses if loss[0] >= before]

    def _begin_segment(self, first_ns: int) -> None:
        self._resampler = _Resampler(self._rate_hz, self._modality.rate_hz)
        self._anchor_ns, self._taken = first_ns, 0
        if self.first_ns is None:
            self.first_ns = first_ns
        hop = self._grid.hop_at(first_ns)
        late_ns = first_ns - self._grid.start_ns(hop)
        self._partial = hop >= self.next_hop and late_ns > self._grid.hop_ns // 10
        self.next_hop = max(self.next_hop, hop)
        late_ns += (hop - self.next_hop) * self._grid.hop_ns
        late = round(late_ns * self._modality.rate_hz / 1e9)
        self._buffer, self._buffered, self._skip = deque(), 0, max(-late, 0)
        if late > 0:
            self._append(np.zeros(late, np.float32))

    def _end_segment(self) -> list[Hop]:
        """Give out what still fills a hop; the hop that the sound ends in is not whole."""
        assert self._resampler is not None
        hops: list[Hop] = []
        self._append(self._resampler.flush())
        self._cut_all(hops)
        self._count_losses(math.inf)
        end_ns = self._anchor_ns + round(self._taken * 1e9 / self._rate_hz)
        # A second hole in the same hop must not use up the hop after it.
        if self._flowing or self.next_hop <= self._grid.hop_at(end_ns):
            hops.append(Hop(self.next_hop, None, self.last_ns or 0, self._counted, self._rate_hz))
            self.next_hop += 1
        self._resampler, self._taken, self._catching_up, self._flowing = None, 0, False, False
        return hops

    def _feed(self, mono: NDArray[np.float32], finite: NDArray[np.bool_] | None, last_ns: int, hops: list[Hop]) -> None:
        """finite: where a sample was; None where all were."""
        assert self._resampler is not None
        if finite is not None:
            self._losses += [(self._taken + int(place), 1) for place in np.flatnonzero(~finite)]
        self._taken += len(mono)
        self.last_ns = last_ns
        self._append(self._resampler.resample(mono))
        counted_ns = self._anchor_ns + round((self._taken - 1) * 1e9 / self._rate_hz)
        self.lag_ns = last_ns - counted_ns + self._resampler.delay_ns
        self._cut_all(hops)

    def _append(self, sound: NDArray[np.float32]) -> None:
        skipped = min(self._skip, len(sound))
        self._skip -= skipped
        if skipped < len(sound):
            self._buffer.append(sound[skipped:])
            self._buffered += len(sound) - skipped

    def _cut_all(self, hops: list[Hop]) -> None:
        while self._buffered >= self._count:
            sound = self._take_hop()
            end_ns = self._grid.end_ns(self.next_hop)
            # Rounded down: a loss just at the end may come with a later chunk than the one that ends the hop.
            self._count_losses(math.floor((end_ns - self._anchor_ns) * self._rate_hz / 1e9))
            last_ns = end_ns - round(1e9 / self._rate_hz)
            samples = None if self._partial else sound[:, None]
            hops.append(Hop(self.next_hop, samples, last_ns, self._counted, self._rate_hz))
            self.next_hop, self._flowing, self._partial = self.next_hop + 1, not self._partial, False

    def _take_hop(self) -> NDArray[np.float32]:
        parts: list[NDArray[np.float32]] = []
        missing = self._count
        while missing:
            head = self._buffer.popleft()
            parts.append(head[:missing])
            if len(head) > missing:
                self._buffer.appendleft(head[missing:])
            missing -= len(parts[-1])
        self._buffered -= self._count
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


class _Resampler:
    """soxr's streaming resampler at its low-latency quality: 20 ms behind at 48 kHz, and blind to chunk borders."""

    def __init__(self, from_hz: float, to_hz: float) -> None:
        self._stream: Any = None
        self._from_hz, self._to_hz, self._taken, self._given = from_hz, to_hz, 0, 0
        self.delay_ns = 0
        """The most that it was behind up to now; it gives sound in pieces, and so is behind by more or less."""
        if from_hz != to_hz:
            try:
                import soxr
            except ImportError as error:
                raise BackendUnavailable("soxr", *SOUND) from error
            self._stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="LQ")

    def resample(self, sound: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._stream is None:
            return sound.copy()  # what waits for its hop must not change where the chunk's array is used again
        resampled: NDArray[np.float32] = self._stream.resample_chunk(np.ascontiguousarray(sound))
        self._taken, self._given = self._taken + len(sound), self._given + len(resampled)
        self.delay_ns = max(self.delay_ns, round((self._taken / self._from_hz - self._given / self._to_hz) * 1e9))
        return resampled

    def flush(self) -> NDArray[np.float32]:
        """What is still inside; nothing can be resampled afterwards."""
        if self._stream is None:
            return np.empty(0, np.float32)
        rest: NDArray[np.float32] = self._stream.resample_chunk(np.empty(0, np.float32), last=True)
        return rest
