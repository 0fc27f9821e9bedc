"""When a GoPro's samples were taken: payloads of a second, whose samples come at an even pace, on the film's clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from mmg.errors import SourceError
from mmg.sources.files.gpmf import CLOCKS, SENSORS, Clock, Payload, Scale, Sensor, Stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mmg.types import Times

# The camera's stamps are believed as far as they agree with the film.
MOST_OFF_NS = 500_000_000
# How far a pace may be from the usual one before it is a hole, and what is a film that plays faster than life.
EVEN = 0.8, 1.25
# A hole is told from the unevenness of payloads when it is wider than this many samples.
HOLE = 1.5


@dataclass(frozen=True, slots=True)
class Placed:
    """A payload, and when the film has it: from ``film_ns`` on, for ``lasts_ns``."""

    film_ns: int
    lasts_ns: int
    payload: Payload


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What a sensor's streams have in common in one file.

    period_ns: from sample to sample. clock, base_us: the stamps to go by, and what they read when the film begins; None
    where there are none, and payloads begin when the film has them.
    """

    scale: Scale
    period_ns: float
    clock: Clock | None
    base_us: float

    def begin_ns(self, film_ns: int, stream: Stream) -> float:
        """When the first sample was taken, after the film began."""
        if self.clock is None or self.clock not in stream.stamps_us:
            return film_ns
        stamped_ns = (stream.stamps_us[self.clock] - self.base_us) * 1000
        return stamped_ns if abs(stamped_ns - film_ns) <= MOST_OFF_NS else film_ns


def learn(url: str, probed: Sequence[Placed]) -> dict[Sensor, Telemetry]:
    """What most of these payloads, the first of a file, agree on. Raises SourceError for a time lapse."""
    found: dict[Sensor, list[tuple[Placed, Stream]]] = {}
    for sensor in SENSORS:
        streams = [(one, one.payload.streams[sensor]) for one in probed if sensor in one.payload.streams]
        if streams:
            usual = Counter(stream.scale for _, stream in streams).most_common(1)[0][0]
            found[sensor] = [(one, stream) for one, stream in streams if stream.scale == usual and len(stream.raw)]
    found = {sensor: streams for sensor, streams in found.items() if streams}
    stamps = [stream.stamps_us for streams in found.values() for _, stream in streams]
    clock = next((clock for clock in CLOCKS if stamps and all(clock in each for each in stamps)), None)
    base_us = _base_us(probed, found, clock) if clock else 0.0
    telemetry = {}
    for sensor, streams in found.items():
        scale = streams[0][1].scale
        unpaced = Telemetry(scale, 1.0, clock, base_us)
        telemetry[sensor] = Telemetry(scale, _period_ns(url, unpaced, streams), clock, base_us)
    return telemetry


def _base_us(probed: Sequence[Placed], found: dict[Sensor, list[tuple[Placed, Stream]]], clock: Clock) -> float:
    """What the stamps read when the film begins: the first frame's, as GoPro's own tools have it, else the first
    sample's."""
    for one in probed:
        if clock in one.payload.frame_us:
            return one.payload.frame_us[clock] - one.film_ns / 1000
    return min(stream.stamps_us[clock] - one.film_ns / 1000 for one, stream in (each[0] for each in found.values()))


def _period_ns(url: str, telemetry: Telemetry, streams: Sequence[tuple[Placed, Stream]]) -> float:
    paces, speeds = [], []
    for (one, stream), (two, following) in pairwise(streams):
        film_ns = two.film_ns - one.film_ns
        if not 0 < film_ns < 1.5 * one.lasts_ns:  # there is one between them that was left out
            continue
        if telemetry.clock:
            taken_us = following.stamps_us[telemetry.clock] - stream.stamps_us[telemetry.clock]
            speeds.append(film_ns / (taken_us * 1000) if taken_us > 0 else 1.0)
        lasts_ns = telemetry.begin_ns(two.film_ns, following) - telemetry.begin_ns(one.film_ns, stream)
        if lasts_ns > 0:
            paces.append(lasts_ns / len(stream.raw))
    if speeds and not EVEN[0] <= median(speeds) <= EVEN[1]:
        speed = f"its film lasts {median(speeds):.3g} times as long as what it shows"
        raise SourceError(url, f"{speed}: the IMU of a time lapse cannot be placed")
    one, stream = streams[0]
    return float(median(paces)) if paces else max(1.0, one.lasts_ns / len(stream.raw))


class Line:
    """A sensor's samples, payload by payload, each placed when it is known when the next one begins.

    missing: samples that never came, by the holes that they left. backward: samples left out, not later than others.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._held: tuple[float, NDArray[np.float64]] | None = None
        self._follows = True
        self._due_ns: float | None = None
        self._lost_until_ns = 0
        self._last_ns = -1
        self.missing = self.backward = 0

    def push(self, placed: Placed, sensor: Sensor) -> tuple[Times, NDArray[np.float64]]:
        """Take a payload; give the one before it, ``(T,)`` after the film's beginning and ``(T, 3)``."""
        stream = placed.payload.streams.get(sensor)
        if stream is None or stream.scale != self._telemetry.scale:
            # What is held is given now, at its usual pace: the other sensor's samples would wait for it.
            given = self._place(None)
            self._held, self._follows = None, False
            self._lost_until_ns = placed.film_ns + placed.lasts_ns
            return given
        if not len(stream.raw):
            self._follows = False
            return self._nothing()
        begin_ns = self._telemetry.begin_ns(placed.film_ns, stream)
        given = self._place(begin_ns if self._follows else None)
        self._held, self._follows, self._lost_until_ns = (begin_ns, stream.values()), True, 0
        return given

    def finish(self) -> tuple[Times, NDArray[np.float64]]:
        """The last payload."""
        given = self._place(None)
        self._held = None
        lost_ns = self._lost_until_ns - (self._due_ns or 0)
        self.missing += max(0, round(lost_ns / self._telemetry.period_ns))
        return given

    def _place(self, next_ns: float | None) -> tuple[Times, NDArray[np.float64]]:
        if self._held is None:
            return self._nothing()
        begin_ns, values = self._held
        period_ns = usual_ns = self._telemetry.period_ns
        if next_ns is not None and EVEN[0] < (next_ns - begin_ns) / len(values) / usual_ns < EVEN[1]:
            period_ns = (next_ns - begin_ns) / len(values)
        times_ns = np.rint(begin_ns + np.arange(len(values)) * period_ns).astype(np.int64)
        hole = (begin_ns - (self._due_ns or 0)) / usual_ns
        if hole > HOLE:
            self.missing += round(hole)
        self._due_ns = begin_ns + len(values) * period_ns
        late = times_ns <= self._last_ns
        # The film has not begun yet.
        before = times_ns < 0
        self.backward += int((late & ~before).sum())
        kept = ~(late | before)
        self._last_ns = max(self._last_ns, int(times_ns[-1]))
        return times_ns[kept], values[kept]

    def _nothing(self) -> tuple[Times, NDArray[np.float64]]:
        return np.empty(0, np.int64), np.empty((0, 3))
