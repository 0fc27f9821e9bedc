"""The one clock: a device's ticks become the host's ``monotonic_ns``. No I/O, no threads, reads no clock.

A sample arrives at ``arrival = capture + latency``, and ``capture`` is a line over the device's ticks:
``host + (t - tick) * period``. ``ClockMap`` estimates it, one read of the port at a time, and stamps the
samples with it. Of the samples in one read the newest waited least: it alone is the observation.

Estimate. liblsl's ``postproc_dejitterer`` (src/time_postprocessor.cpp) fits the line by recursive least
squares that forget exponentially, ``P = (P - k u' P) / lambda``. Here the same recursion forgets by process
noise, because dividing by lambda makes P grow without bound while a sensor is silent, and depends on the size
of the batches. That is the Kalman filter of the two-state clock (Galleani, A tutorial on the two-state model
of the atomic clock noise, Metrologia 45, 2008)::

    predict   P11 += (WANDER period)^2 elapsed;  P00 += dt (2 P01 + dt P11);  P01 += dt P11
    residual  r = arrival - latency - predicted host;  S = P00 + sigma^2
    update    k = (P00, P01) / S;  host += k0 r;  period += k1 r;  P -= k k' S

The jitter sigma is learnt from the same residuals: for Gaussian ones E|r| = sqrt(2 S / pi), hence
``sigma *= 1 + a (sqrt(pi / 2) min(|r| / sqrt(S), 3) - 1)``; the 3 keeps outliers from widening it.

Robustness. A residual beyond ``5 sqrt(S)`` stays out of the fit. Five or more in a row of one sign and size are
a jump: the line moves there and keeps its period. Late ones must also last, for latency looks the same: a
stalled port catches up, congestion passes. Residuals that pass the gate yet lean to one side (a running mean
beyond 5 of its standard deviations) widen P00, so that a small step is followed in a second, not in minutes.
Two jumps or leans to one side within 10 s mean a wrong rate: P11 grows by the square of jump over ticks. Nothing
arrives before its capture: a read that would is stamped by its arrival, and moves a line through the first few. Of a
batch that comes in several reads, as over Bluetooth, only the last is observed, for the others waited for it. A rate
that nobody said is that of the reads in the first second that waited least. A constant latency looks like an offset
(Olson, A Passive Solution to the Sensor Synchronization Problem, 2010).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from mmg.errors import ConfigError
from mmg.sources.clock.clock_line import GATE, LOST_NS, LOST_RATE, ClockLine

_JUMP_READS, _JUMP_MEMORY, _JUMP_AGREE = 5, 32, 0.8  # reads in a row; kept; share of one size
_CONGESTION_NS = 1e9  # the most that latency alone is believed to be
_LATE_NS, _TOO_LATE_NS = 3e9, 5e8  # late residuals must last so long: up to that, and beyond it
_EARLY_NS = 5e7  # arrived before its capture by this, and beyond the gate: the device's clock was set ahead
_IMPOSSIBLE_NS = 5e8  # arrived before its capture by this, or counted back by this: the device's time broke
_YOUNG_READS = 4  # a line through so few is moved rather than defended
_FIRST_NS, _FIRST_RATE = 1e9, 0.05  # an unknown rate is that of the first reads, over so long; its deviation then
_BATCH_NS = 5e7  # samples over so long that come in much less time have waited for each other
_BATCH_PART, _LONGEST_BATCH_NS = 0.25, 2e9  # that much less; no sensor gathers for longer
_FAR_NS = 1e18  # back beyond any session: a garbled tick must not overflow 64 bits


@dataclass(frozen=True, slots=True)
class ClockQuality:
    """How well a clock is known, as of the newest read in the fit.

    offset_ms: host time minus device time (ticks times their nominal period) at that read.
    drift_ppm: how much longer than nominal the device's tick is in host time; 0 where no nominal is known.
    tick_ns: the tick's period as estimated, in host nanoseconds.
    jitter_ms, uncertainty_ms: standard deviations of the arrivals around the line, and of the line itself.
    outliers, jumps: reads kept out of the fit; times the line was moved (suspend, device reset, clock set).
    """

    offset_ms: float
    drift_ppm: float
    tick_ns: float
    jitter_ms: float
    uncertainty_ms: float
    outliers: int
    jumps: int


class ClockMap:
    """The capture time of each sample of one source on the host's clock, strictly increasing.

    Ticks are the device's time or, where it has none, the sample's index. Losses that are known belong in the
    index: where 3 samples were lost it goes on 3 higher.
    """

    def __init__(self, tick_ns: float | None = 1, *, rate_error: float = 1e-3, latency_ms: float = 0) -> None:
        """A clock of which nothing has been seen yet.

        tick_ns: the nominal period of a tick: 1 for a time in ns, 1e9 / rate for an index, None if unknown.
        rate_error: relative standard deviation of the true period around it. A crystal has 1e-4, an IMU's
            internal oscillator 1e-2. Ten times off costs accuracy in the first seconds only.
        latency_ms: the part of the way from capture to arrival that is always there.

        Raises ConfigError where a number is out of its range.
        """
        if tick_ns is not None and not 0 < tick_ns < math.inf:
            raise ConfigError(f"tick_ns={tick_ns}: give a positive number of nanoseconds, or None")
        if not (0 < rate_error < 1 and math.isfinite(latency_ms)):
            raise ConfigError(f"rate_error={rate_error}, latency_ms={latency_ms}: give 0 to 1, and a time")
        self._tick_ns, self._latency_ns = tick_ns, round(latency_ms * 1e6)
        self._line = ClockLine(tick_ns, rate_error)
        self._first_ns: int | None = None  # first arrival: the line's host times are floats from there
        self._read: tuple[int, float] | None = None  # the last tick and its arrival, not yet in the fit
        self._pause, self._batch_from = 0.0, 0.0  # before the batch that the last read began, and its arrival
        self._firsts: list[tuple[int, float]] | None = None if tick_ns else []  # ticks and arrivals of the first reads
        self._rejected: list[float] = []  # residuals in a row, all late or all early: 10 s of them at most
        self._rejected_since, self._outliers, self._jumps = 0.0, 0, 0
        self._last_ns = int(np.iinfo(np.int64).min)

    def stamp(self, device: NDArray[np.int64], arrival_ns: int | NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the ``(T,)`` int64 capture times of ``(T,)`` int64 ticks, which are in the device's order.

        arrival_ns: one for all, or ``(T,)``. Samples in a row with one arrival are one read, in one call or not.

        A read is stamped with the line through the reads before it. So splitting the samples otherwise over
        calls changes nothing, save in the first two reads, in the first second of a clock of unknown rate, and in
        the first read of a jump. No capture is more than half a second after its arrival, unless to stay after the
        one before. Raises ValueError where the shapes differ.
        """
        ticks: NDArray[np.int64] = np.array(device, np.int64)
        if not ticks.size:
            return ticks
        if isinstance(arrival_ns, int):
            ends, reads = [ticks.size - 1], [self._stamp_read(int(ticks[-1]), self._since_first(arrival_ns))]
        else:
            elapsed = np.empty(ticks.size, np.int64)
            elapsed[:] = arrival_ns
            elapsed -= int(elapsed[0]) - round(self._since_first(int(elapsed[0])))
            ends = [*np.flatnonzero(np.diff(elapsed)).tolist(), ticks.size - 1]
            reads = [self._stamp_read(int(ticks[end]), float(elapsed[end])) for end in ends]
        at, (host, period) = ticks[-1], reads[0]
        if len(ends) > 1:
            samples = np.diff(ends, prepend=-1)
            at, (host, period) = np.repeat(ticks[ends], samples), np.repeat(reads, samples, axis=0).T
        # Nothing in a read is newer than its last: a tick garbled ahead must not hold up all that follow.
        since = np.maximum(host - np.maximum((at - ticks) * period, 0.0), -_FAR_NS)
        captures: NDArray[np.int64] = np.rint(since).astype(np.int64) + (self._first_ns or 0)
        captures[0] = max(int(captures[0]), self._last_ns + 1)
        order = np.arange(captures.size)  # each at least 1 ns after the one before
        captures = np.maximum.accumulate(captures - order) + order
        self._last_ns = int(captures[-1])
        return captures

    def stamp_read(self, ticks: Sequence[int], arrival_ns: int) -> list[int]:
        """As ``stamp``, of the few samples of one read: an IMU brings them a hundred times a second."""
        at = ticks[-1]
        host, period = self._stamp_read(at, self._since_first(arrival_ns))
        captures, origin_ns, last_ns = [], self._first_ns or 0, self._last_ns
        for tick in ticks:
            capture_ns = round(max(host - max((at - tick) * period, 0.0), -_FAR_NS)) + origin_ns
            last_ns = max(capture_ns, last_ns + 1)
            captures.append(last_ns)
        self._last_ns = last_ns
        return captures

    def _since_first(self, arrival_ns: int) -> float:
        """The time from the first read's capture to this one's, as far as the arrivals tell."""
        if self._first_ns is None:
            self._first_ns = arrival_ns - self._latency_ns
        return float(arrival_ns - self._first_ns - self._latency_ns)

    @property
    def quality(self) -> ClockQuality:
        """What is known by now; before the second read that is the prior."""
        line, nominal = self._line, self._tick_ns or self._line.period
        return ClockQuality(
            offset_ms=((self._first_ns or 0) + line.host - line.tick * nominal) / 1e6,
            drift_ppm=(line.period / nominal - 1) * 1e6 if self._tick_ns else 0.0,
            tick_ns=line.period,
            jitter_ms=line.sigma / 1e6,
            uncertainty_ms=math.sqrt(line.p00) / 1e6,
            outliers=self._outliers,
            jumps=self._jumps,
        )

    @property
    def is_in_doubt(self) -> bool:
        """Whether reads are kept out of the fit: how soon it is known why depends on how soon the next ones come."""
        return bool(self._rejected)

    def _stamp_read(self, tick: int, arrival: float) -> tuple[float, float]:
        """The capture time of the read's last tick, and the period by which to count back from there."""
        if self._firsts is not None and not self._take_first(self._firsts, tick, arrival):
            return arrival, self._line.period
        if self._read is not None and arrival != self._read[1] and not self._waited(*self._read, tick, arrival):
            self._observe(*self._read)
        self._read = tick, arrival
        line = self._line
        if not line.reads:
            return arrival, line.period
        if self._is_impossible(tick, arrival - line.host_at(tick)):
            return arrival, line.period
        return line.host_at(tick), line.period

    def _take_first(self, firsts: list[tuple[int, float]], tick: int, arrival: float) -> bool:
        """Takes one of the first reads of a clock whose rate nobody said; returns whether it is known by now.

        Enough of them place the line, by those that waited least: all but the last of a batch wait.
        """
        if firsts and (arrival == firsts[-1][1] or self._waited(*firsts[-1], tick, arrival)):
            firsts.pop()
        elif firsts and firsts[-1][1] - firsts[0][1] >= _FIRST_NS:
            line = _through(firsts, self._line.period)
            if line is not None:
                self._line, self._firsts = line, None
                return True
            firsts.clear()
        firsts.append((tick, arrival))
        from_tick, from_arrival = firsts[0]
        self._line.period = max(arrival - from_arrival, 0.0) / (tick - from_tick) if tick > from_tick else 0.0
        return False

    def _waited(self, last_tick: int, last_arrival: float, tick: int, arrival: float) -> bool:
        """Whether the read before this one was only a part of a batch: then its newest sample waited for the rest."""
        gap, span = arrival - last_arrival, (tick - last_tick) * self._line.period
        in_batch = arrival - self._batch_from < self._pause / 2  # a pause is as long as what was gathered in it
        if in_batch and span >= _BATCH_NS and gap < _BATCH_PART * span:
            return True
        self._pause, self._batch_from = min(gap, _LONGEST_BATCH_NS), arrival
        return False

    def _is_impossible(self, tick: int, residual: float) -> bool:
        """No latency explains it, so its samples are stamped by their arrival at once."""
        line = self._line
        if residual < -_IMPOSSIBLE_NS or (line.tick - tick) * line.period > _IMPOSSIBLE_NS:
            return True
        return residual < -_EARLY_NS and residual < -GATE * line.spread_at(tick)

    def _observe(self, tick: int, arrival: float) -> None:
        """Takes a read into the fit, or keeps it out and moves the line where too many were."""
        line, run = self._line, self._rejected
        residual = arrival - line.host_at(tick)
        unit = residual / line.spread_at(tick)
        fits = not line.reads or abs(unit) <= GATE
        if fits or (run and (residual > 0) != (run[-1] > 0)):
            self._outliers += len(run)
            run.clear()
        if fits:
            line.learn(tick, arrival)
            return
        if residual < 0 and line.reads < _YOUNG_READS and not self._jumps:
            line.move(tick, [residual])  # the first reads were late: nothing arrives before its capture
            self._jumps += 1
            return
        if not run:  # only the first: a stall or a jump says nothing of the jitter
            line.learn_jitter(unit)
            self._rejected_since = arrival
        run.append(residual)
        lasted = arrival - self._rejected_since
        must_last = _TOO_LATE_NS if residual > _CONGESTION_NS else _LATE_NS
        in_haste = residual < 0 or self._is_impossible(tick, residual)
        if (in_haste or lasted >= must_last) and _agree(run, GATE * line.sigma):
            line.move(tick, run[-_JUMP_MEMORY:])
        elif lasted >= LOST_NS and len(run) >= _JUMP_READS:
            self._line = ClockLine(self._tick_ns, LOST_RATE)
            if self._tick_ns:
                self._line.learn(tick, arrival)
            else:
                self._firsts = []
        else:
            return
        run.clear()
        self._jumps += 1


def _through(reads: list[tuple[int, float]], period: float) -> ClockLine | None:
    """The line through those that waited least in each half of these reads, of which about the period is known."""
    middle = len(reads) // 2
    early, late = (min(part, key=lambda read: read[1] - read[0] * period) for part in (reads[:middle], reads[middle:]))
    if late[0] <= early[0] or late[1] <= early[1]:
        return None
    line = ClockLine((late[1] - early[1]) / (late[0] - early[0]), _FIRST_RATE)
    line.learn(*late)
    return line


def _agree(run: list[float], gate: float) -> bool:
    """Whether the residuals are enough, and nearly all of one size."""
    recent, middle = run[-_JUMP_MEMORY:], median(run[-_JUMP_MEMORY:])
    near = sum(abs(residual - middle) <= gate for residual in recent)
    return len(run) >= _JUMP_READS and near >= _JUMP_AGREE * len(recent)
