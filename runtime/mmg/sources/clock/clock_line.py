"""The line from a device's ticks to the host's time, fitted read by read; ``clock_map`` has the formulas."""

from __future__ import annotations

import math
from statistics import median

GATE = 5.0
"""Standard deviations within which a residual belongs to the line."""
LOST_NS = 1e10
"""Nothing fits for so long: begin anew. Corrected twice to one side within it: a wrong rate."""
LOST_RATE = 0.5
"""Relative standard deviation of a period that proved wrong."""

_WANDER = 5e-8  # random walk of the relative rate, per root second: 1.6 ppm in 1000 s, a crystal warming up
_JITTER_NS = 5e6  # before any is seen: USB polling and the host's scheduler
_JITTER_FLOOR_NS = 1e5  # residuals below it are correlated, and their number promises too much
_LEAN_READS = 64
_LEAN = GATE * math.sqrt(0.5 / _LEAN_READS)  # an exponential mean over n has the variance 1 / (2 n)
_UNKNOWN_PERIOD_NS = 1e9  # standard deviation of a period of which nothing is known


class ClockLine:
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
        if last * by > 0 and ticks * self.period < LOST_NS:
            self.p11 += (by / max(ticks, 1)) ** 2
        self._corrected, self._lean = (self.tick, by), 0.0

    def _predict(self, dt: int) -> tuple[float, float, float]:
        """The covariance ``dt`` ticks on: p00, p01, p11."""
        # After a leap of the ticks rounding may leave a variance below zero.
        p11 = self.p11 + (_WANDER * self.period) ** 2 * abs(dt * self.period) * 1e-9
        return max(self.p00 + dt * (2 * self.p01 + dt * p11), 0.0), self.p01 + dt * p11, p11
