"""A track: one modality at work, from its chunks to the tokens and the state of every hop."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mmg.bundle import Modality
from mmg.engine.encoded import Encoded, EncodedHop
from mmg.engine.encoder import Encoder
from mmg.engine.health import Finding, Health, ReadAs
from mmg.errors import BundleError, ConfigError
from mmg.streams import Hop, HopGrid, Stream, open_stream
from mmg.streams.grid import all_finite
from mmg.teaching.trace import Trace, shape_of
from mmg.types import Chunk, SensorState, State

if TYPE_CHECKING:
    from numpy.typing import NDArray


WAKING_NS = 5_000_000_000
"""So long a sensor that was woken may take to come; then it is stale, as one that was lost."""


class HopRecord(NamedTuple):
    """What one modality gave for one hop, and the time that it took to make the hop, and to encode it."""

    tokens: NDArray[Any] | None
    state: State
    reason: str
    last_ns: int
    dropped: int
    stream_ns: int
    encode_ns: int
    shape: NDArray[Any] | None = None
    motion: float | None = None


@dataclass
class _Told:
    """The stream of a modality whose hops were encoded elsewhere."""

    next_hop: int
    first_ns: int | None
    last_ns: int | None
    dropped: int
    lag_ns: int = 0

    def push(self, chunk: Chunk) -> list[Hop]:
        raise ConfigError(f"{chunk.modality}: takes tokens in this run, and no samples")


class Track:
    """Runs one modality's stream, health and encoder, and remembers the hops of the context.

    A hop is encoded as soon as it is whole, whether or not the other modalities are there yet: what a decision sees
    is chosen by hop number, so the order of arrival between modalities does not matter.
    """

    def __init__(
        self, modality: Modality, index: int, load: Callable[[], Encoder], grid: HopGrid, clock: Callable[[], int]
    ) -> None:
        """load: opens the encoder; called once, when the first chunk comes."""
        self.modality, self.index = modality, index
        self._stream: Stream = open_stream(modality, grid)
        self._health, self._load = Health(modality), load
        self._encoder: Encoder | None = None
        self.lost: BundleError | None = None
        """Why its encoder cannot be loaded any more, where the bundle was changed after it was opened."""
        self._grid, self._clock = grid, clock
        self._records: dict[int, HopRecord] = {}
        self._was_live = False
        self._stream_ns = 0
        self._pushed: list[int] = []
        self.waited_for = True
        """False once a decision had to be made without this modality, until it delivers again."""
        self.keeps_shape = False
        """Whether the shape of a signal's hops is wanted."""
        self.keeps_motion = False
        """Whether it is wanted how much the acceleration of each hop varied."""
        self.is_asleep = False
        self._woken_hop: int | None = None  # the first since it was woken, until it gave one
        accelerations = [index for index, channel in enumerate(modality.channels) if channel.unit == "m/s^2"]
        self._accelerations = accelerations if modality.kind == "signal" else []

    def sleep(self, asleep: bool, hop: int) -> None:
        """Say whether the sensor is closed from this hop on, as nobody asks for it. Nobody waits for one that is."""
        if asleep:
            self.waited_for = self._was_live = False
        self._woken_hop = hop if self.is_asleep and not asleep else None
        self.is_asleep = asleep

    def push(self, chunk: Chunk) -> None:
        """Take a chunk. Raises ConfigError, ModelError."""
        self.waited_for = True
        if self._encoder is None and self.lost is None:
            try:
                self._encoder = self._load()
            except BundleError as error:  # it was whole when the engine was made: the others go on without this one
                self.lost = error
        begin_ns = self._clock()
        hops = self._stream.push(chunk)
        self._stream_ns += self._clock() - begin_ns
        self._pushed = [hop.index for hop in hops]
        for hop in hops:
            self._records[hop.index] = self._work(hop, self._encoder)

    def encoded(self) -> Encoded:
        """What the newest chunk became."""
        stream, hops = self._stream, []
        for index in self._pushed:
            record = self._records[index]
            known = record.state, record.reason, record.last_ns, record.dropped, record.shape, record.motion
            hops.append(EncodedHop(index, record.tokens, *known))
        return Encoded(
            self.modality.name, tuple(hops), stream.next_hop, stream.first_ns, stream.last_ns, stream.dropped
        )

    def take(self, encoded: Encoded) -> None:
        """What a chunk became in another run, in place of the chunk."""
        self.waited_for = True
        for hop in encoded.hops:
            known = hop.state, hop.reason, hop.last_ns, hop.dropped
            self._records[hop.hop] = HopRecord(hop.tokens, *known, 0, 0, hop.shape, hop.motion)
            if hop.tokens is not None:
                self._woken_hop = None
        self._stream = _Told(encoded.next_hop, encoded.first_ns, encoded.last_ns, encoded.dropped)

    @property
    def is_loaded(self) -> bool:
        """Whether the encoder is loaded."""
        return self._encoder is not None

    def read_as(self, read_as: ReadAs) -> None:
        """Say how the source took its units, for what is advised."""
        self._health.read_as = read_as

    def doubt(self, findings: Iterable[Finding]) -> None:
        """Say what is known to be wrong with the sensor before its first hop."""
        self._health.presume(findings)

    def covers(self, hop: int) -> bool:
        """Whether all is known about this hop: it was given out, or it will never be whole."""
        return self._stream.next_hop > hop

    def wanted_ns(self, hop: int) -> int:
        """The stamp of the sample that will end this hop, or the one after those that are covered."""
        return self._grid.end_ns(max(hop, self._stream.next_hop)) + self._stream.lag_ns

    def _work(self, hop: Hop, encoder: Encoder | None) -> HopRecord:
        if encoder is None:
            stream_ns, self._stream_ns = self._stream_ns, 0
            why = f"it has no model any more: {self.lost}"
            return HopRecord(None, "faulty", why, hop.last_ns, hop.dropped, stream_ns, 0)
        tokens = None
        state: State = "stale" if self._was_live else "warming"
        begin_ns = self._clock()
        verdict = self._health.judge(hop)
        encode_ns = self._clock()
        reason = ""
        if verdict.state == "faulty":
            state, reason = verdict
            encoder.reset()
        elif hop.samples is None:
            encoder.reset()
        else:
            tokens = encoder.encode(hop.samples)
            if tokens is None:
                state = "warming"
            elif not all_finite(tokens):
                state, reason, tokens = "faulty", "its encoder's tokens are not finite", None
                encoder.reset()
            else:
                (state, reason), self._was_live, self._woken_hop = verdict, True, None
        # What it took to take the chunks that led to this hop, and to judge it.
        stream_ns, self._stream_ns = self._stream_ns + encode_ns - begin_ns, 0
        known = state, reason, hop.last_ns, hop.dropped, stream_ns, self._clock() - encode_ns
        if self.modality.kind != "signal" or tokens is None or hop.samples is None:
            return HopRecord(tokens, *known)
        shape = shape_of(hop.samples) if self.keeps_shape else None
        return HopRecord(tokens, *known, shape, self._motion(hop.samples) if self.keeps_motion else None)

    def _motion(self, samples: NDArray[Any]) -> float | None:
        """The standard deviation of the acceleration, all axes together, in m/s^2."""
        if not self._accelerations:
            return None
        return float(np.sqrt(samples[:, self._accelerations].var(axis=0).sum()))

    def motion_at(self, hop: int) -> float | None:
        """How much the acceleration varied in this hop, in m/s^2, where that was wanted and is known."""
        record = self._records.get(hop)
        return record.motion if record else None

    def state_at(self, hop: int) -> SensorState:
        """The state at the end of this hop, from nothing that came after it."""
        end_ns = self._grid.end_ns(hop)
        record, first_ns, last_ns = self._records.get(hop), self._stream.first_ns, self._stream.last_ns
        if record is not None:
            return SensorState(record.state, (end_ns - record.last_ns) / 1e6, record.dropped, record.reason)
        if self.is_asleep:
            seen_ns = end_ns if last_ns is None else min(last_ns, end_ns)
            return SensorState("asleep", (end_ns - seen_ns) / 1e6, self._stream.dropped)
        if first_ns is None or last_ns is None or first_ns >= end_ns:
            return SensorState("absent", 0.0, 0 if last_ns is not None else self._stream.dropped)
        before = max((index for index in self._records if index < hop), default=None)
        newest = self._records[before] if before is not None else None
        dropped = self._stream.dropped if last_ns < end_ns or newest is None else newest.dropped
        seen_ns = last_ns if last_ns < end_ns or newest is None else newest.last_ns
        if newest is None:
            return SensorState("warming", max(end_ns - seen_ns, 0) / 1e6, dropped)
        wakes = self._woken_hop is not None and (hop - self._woken_hop) * self._grid.hop_ns < WAKING_NS
        if wakes:
            return SensorState("warming", max(end_ns - seen_ns, 0) / 1e6, dropped)
        # Late by less than a gap that would be bridged is not gone: it keeps the state that it had.
        late = end_ns - seen_ns <= self._grid.hop_ns // 2
        state: State = newest.state if late or newest.state == "warming" else "stale"
        reason = newest.reason if state == newest.state else ""
        return SensorState(state, max(end_ns - seen_ns, 0) / 1e6, dropped, reason)

    def tokens_at(self, hop: int, context_hops: int) -> tuple[list[int], list[NDArray[Any]]]:
        """Ages in hops, and tokens, of the hops in this hop's context, oldest first; none from before a fault."""
        ages, tokens = [], []
        for age in range(context_hops):
            record = self._records.get(hop - age)
            if record is None:
                continue
            if record.tokens is not None:
                ages.append(age)
                tokens.append(record.tokens)
            elif record.state == "faulty":
                break
        ages.reverse()
        tokens.reverse()
        return ages, tokens

    def trace_at(self, hop: int, hops: int) -> Trace | None:
        """What it gave for this hop and the unbroken ones before it, so many at most; None where it is not live."""
        tokens: list[NDArray[Any]] = []
        shapes: list[NDArray[Any] | None] = []
        for index in range(hop, hop - hops, -1):
            record = self._records.get(index)
            if record is None or record.tokens is None:
                break
            if shapes and shapes[0] is not None and record.shape is None:  # from before anything was taught
                break
            tokens.append(record.tokens)
            shapes.append(record.shape)
        return Trace.joined(tokens[::-1], shapes[::-1]) if tokens else None

    def is_live(self, hop: int) -> bool:
        """Whether this modality gave tokens for this very hop."""
        record = self._records.get(hop)
        return record is not None and record.tokens is not None

    def spent_ns(self, hop: int) -> tuple[int, int]:
        """The time that it took to make this hop, and to encode it."""
        record = self._records.get(hop)
        return (record.stream_ns, record.encode_ns) if record else (0, 0)

    @property
    def newest_ns(self) -> int | None:
        """Capture time of the newest sample."""
        return self._stream.last_ns

    def next_known(self, hop: int) -> int | None:
        """The first hop after this one that there is a record of."""
        return min((index for index in self._records if index > hop), default=None)

    def next_hop(self) -> int:
        """The hop that the stream is in."""
        return self._stream.next_hop

    def forget(self, before: int) -> None:
        """Drop the records of hops before this one, but for the newest, which tells the state."""
        # Records are in the order of their hops.
        while len(self._records) > 1:
            first, second = itertools.islice(self._records, 2)
            if second >= before:
                return
            del self._records[first]
