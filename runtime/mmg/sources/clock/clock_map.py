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
Two jumps or leans to one side within 10 s mean a wrong rate: P11 grows by the square of jump over ticks. A
constant latency looks like an offset (Olson, A Passive Solution to the Sensor Synchronization Problem, 2010).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from mmg.errors import ConfigError

_WANDER = 5e-8  # random walk of the relative rate, per root second: 1.6 ppm in 1000 s, a crystal warming up
_JITTER_NS = 5e6  # before any is seen: USB polling and the host's scheduler
_JITTER_FLOOR_NS = 1e5  # residuals below it are correlated, and their number promises too much
_GATE = 5.0  # standard deviations
_JUMP_READS, _JUMP_MEMORY, _JUMP_AGREE = 5, 32, 0.8  # reads in a row; kept; share of one size
_CONGESTION_NS = 1e9  # the most that latency alone is believed to be
_LATE_NS, _TOO_LATE_NS = 3e9, 5e8  # late residuals must last so long: up to that, and beyond it
_IMPOSSIBLE_NS = 5e8  # arrived before its capture by this, or counted back by this: the device's time broke
_LOST_NS = 1e10  # nothing fits for so long: begin anew. Corrected twice to one side within it: a wrong rate
_LOST_RATE = 0.5  # relative standard deviation of a period that proved wrong
_LEAN_READS = 64
_LEAN = _GATE * math.sqrt(0.5 / _LEAN_READS)  # an exponential mean over n has the variance 1 / (2 n)
_UNKNOWN_PERIOD_NS = 1e9  # standard deviation of a period of which nothing is known
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
        self._line = _Line(tick_ns, rate_error)
        self._first_ns: int | None = None  # first arrival: the line's host times are floats from there
        self._read: tuple[int, float] | None = None  # the last tick and its arrival, not yet in the fit
        self._rejected: list[float] = []  # residuals in a row, all late or all early: 10 s of them at most
        self._rejected_since, self._outliers, self._jumps = 0.0, 0, 0
        self._last_ns = int(np.iinfo(np.int64).min)

    def stamp(self, device: NDArray[np.int64], arrival_ns: int | NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the ``(T,)`` int64 capture times of ``(T,)`` int64 ticks, which are in the device's order.

        arrival_ns: one for all, or ``(T,)``. Samples in a row with one arrival are one read, in one call or not.

        A read is stamped with the line through the reads before it. So splitting the samples otherwise over
        calls changes nothing, save in the first two reads and the first of a jump. No capture is more than
        half a second after its arrival, unless to stay after the one before. Raises ValueError where the shapes
        differ.
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

    def _stamp_read(self, tick: int, arrival: float) -> tuple[float, float]:
        """The capture time of the read's last tick, and the period by which to count back from there."""
        if self._read is not None and arrival != self._read[1]:
            self._observe(*self._read)
        self._read = tick, arrival
        line = self._line
        if not line.reads:
            return arrival, line.period
        if not line.period:  # second read, rate unknown
            return arrival, max(arrival - line.host, 0.0) / max(tick - line.tick, 1)
        if self._is_impossible(tick, arrival - line.host_at(tick)):
            return arrival, line.period
        return line.host_at(tick), line.period

    def _is_impossible(self, tick: int, residual: float) -> bool:
        """No latency explains it, so its samples are stamped by their arrival at once."""
        return residual < -_IMPOSSIBLE_NS or (self._line.tick - tick) * self._line.period > _IMPOSSIBLE_NS

    def _observe(self, tick: int, arrival: float) -> None:
        """Takes a read into the fit, or keeps it out and moves the line where too many were."""
        line, run = self._line, self._rejected
        residual = arrival - line.host_at(tick)
        unit = residual / line.spread_at(tick)
        fits = not line.reads or abs(unit) <= _GATE
        if fits or (run and (residual > 0) != (run[-1] > 0)):
            self._outliers += len(run)
            run.clear()
        if fits:
            line.learn(tick, arrival)
            return
        if not run:  # only the first: a stall or a jump says nothing of the jitter
            line.learn_jitter(unit)
            self._rejected_since = arrival
        run.append(residual)
        lasted = arrival - self._rejected_since
        must_last = _TOO_LATE_NS if residual > _CONGESTION_NS else _LATE_NS
        in_haste = residual < 0 or self._is_impossible(tick, residual)
        if (in_haste or lasted >= must_last) and _agree(run, _GATE * line.sigma):
            line.move(tick, run[-_JUMP_MEMORY:])
        elif lasted >= _LOST_NS and len(run) >= _JUMP_READS:
            self._line = _Line(self._tick_ns, _LOST_RATE)
            self._line.learn(tick, arrival)
        else:
            return
        run.clear()
        self._jumps += 1


class _Line:
    """The fit: capture is ``host + (t - tick) * period`` with the covariance p00, p01, p11, in ns."""

    def __init__(self, tick_ns: float | None, rate_error: float) -> None:
        period, period_sd = (tick_ns, tick_ns * rate_error) if tick_ns else (0.0, _UNKNOWN_PERIOD_NS)
        self.tick, self.host, self.period, self.sigma = 0, 0.0, period, _JITTER_NS
        self.p00, self.p01, self.p11 = self.sigma**2, 0.0, period_sd**2
        self.reads, self._lean, self._corrected = 0, 0.0, (0, 0.0)  # the last: at which tick, by how much

    def host_at(self, tick: int) -> float:
        return self.host + (tick - self.tick) * self.period

    def spread_at(self, tick: int) -> float:
        """Standard deviation of a residual at this tick."""
        return math.sqrt(self._predict(tick - self.tick)[0] + self.sigma**2)

    def learn(self, tick: int, arrival: float) -> None:
        """One step of the recursion in the module's text; the first read only places the line."""
        if not self.reads:
            self.tick, self.host, self.reads = tick, arrival, 1
            return
        residual = arrival - self.host_at(tick)
        p00, p01, p11 = self._predict(tick - self.tick)
        s = p00 + self.sigma**2
        k0, k1 = p00 / s, p01 / s
        self.host = self.host_at(tick) + k0 * residual
        self.tick, self.period = tick, self.period + k1 * residual
        self.p00, self.p01, self.p11 = p00 - k0 * p00, p01 - k0 * p01, p11 - k1 * p01
        self.learn_jitter(residual / math.sqrt(s))
        self._lean += (residual / math.sqrt(s) - self._lean) / _LEAN_READS
        if abs(self._lean) > _LEAN:
            self.p00 += (self._lean * self.sigma) ** 2
            self._note_correction(self._lean * self.sigma)

    def learn_jitter(self, unit: float) -> None:
        """From a residual in its standard deviations: over all reads at first, then over the last hundred."""
        self.reads += 1
        excess = math.sqrt(math.pi / 2) * min(abs(unit), 3.0) - 1
        self.sigma = max(self.sigma * (1 + max(1 / (10 + self.reads), 0.01) * excess), _JITTER_FLOOR_NS)

    def move(self, tick: int, residuals: list[float]) -> None:
        """Shifts by their median, whose variance is pi / 2 times that of their mean."""
        by = median(residuals)
        self.host, self.tick = self.host_at(tick) + by, tick
        self.p00, self.p01 = math.pi / 2 * self.sigma**2 / len(residuals), 0.0
        self._note_correction(by)

    def _note_correction(self, by: float) -> None:
        """A second one to the same side within seconds means that the rate is wrong."""
        tick, last = self._corrected
        ticks = abs(self.tick - tick)
        if last * by > 0 and ticks * self.period < _LOST_NS:
            self.p11 += (by / max(ticks, 1)) ** 2
        self._corrected, self._lean = (self.tick, by), 0.0

    def _predict(self, dt: int) -> tuple[float, float, float]:
        """The covariance ``dt`` ticks on: p00, p01, p11."""
        # After a leap of the ticks rounding may leave a variance below zero.
        p11 = self.p11 + (_WANDER * self.period) ** 2 * abs(dt * self.period) * 1e-9
        return max(self.p00 + dt * (2 * self.p01 + dt * p11), 0.0), self.p01 + dt * p11, p11


def _agree(run: list[float], gate: float) -> bool:
    """Whether the residuals are enough, and nearly all of one size."""
    recent, middle = run[-_JUMP_MEMORY:], median(run[-_JUMP_MEMORY:])
    near = sum(abs(residual - middle) <= gate for residual in recent)
    return len(run) >= _JUMP_READS and near >= _JUMP_AGREE * len(recent)
