"""Whether a device's own time is worth following: judged by its steps and by the arrivals, all the time.

Clocks of whole seconds (a calendar, GPS), clocks that stand still, zeros, and times in another unit than was said would
all put samples where they were not taken. Then the samples are to be counted instead. A clock that is set back, as NTP
and a restart do, is followed over the step. Steps ahead are left to ``ClockMap``: only the arrivals tell them from a
loss. No I/O, reads no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from statistics import median

from mmg.sources.protocols import UNTIMED

STEPS = 32
"""The newest steps that are looked at."""
_ALL = (1 << STEPS) - 1
_STILL_RUN = 0b1111
"""So many samples in a row of one time: a tick is longer than a few samples, or there is none."""
_FEW = 8
_COARSE_PART, _FINE_PART = 0.5, 0.125
"""Of the steps that are none: from the one on the clock is too coarse, and until the other it stays so."""
_MOST_BACK = 4
_PAUSE_NS = 250_000_000
"""Shorter than that between two reads, nothing happened: samples follow each other as usual."""
_STALL_NS = 1_000_000_000
"""A window in which nothing came for so long tells nothing of the pace."""
_FIRST_WINDOW_NS, _WINDOW_NS, _WINDOWS = 500_000_000, 2_000_000_000, 2
"""The pace is measured over so long, at first over less, and believed when two windows in a row agree."""
_WINDOW_STEPS = 8
_SLOW, _FAST = 0.5, 2.0
"""A port that is read late can look so over one window, but not over two."""
_SLOW_AGAIN, _FAST_AGAIN = 0.8, 1.25
"""A clock that was left must run nearer to the host's: a board built for another crystal is off by just two."""
_KNOWN_STEPS, _KEPT_STEPS = 5, 15
_FARTHEST_NS = 1 << 62
_NEAR = 4.0
"""Usual steps: where a clock goes on so soon after the time before the last, the last one was garbled."""


class DeviceTime:
    """A device's time as ticks in ns that go on without a step back.

    doubt: why samples are to be counted in its place, in a few words; empty while it is followed.
    note: what was bridged; empty where nothing was.
    """

    def __init__(self) -> None:
        self.doubt = self.note = ""
        self._last = self._before = self._arrival_ns = 0
        self._seen = 0
        self._shift = 0
        self._undo: tuple[int, int] | None = None  # the time and the shift before a step back that may be garbled
        self._set_back_ns = 0
        self._still = self._back = 0  # a bit a step, the newest the lowest
        self._steps: deque[int] = deque(maxlen=_KEPT_STEPS)
        self._window: tuple[int, int, int] | None = None  # tick, arrival and number of samples at its begin
        self._right = self._wrong = 0  # windows in a row

    @property
    def usual_ns(self) -> float:
        """The usual time from sample to sample by this clock, 0 while that is not known."""
        return float(median(self._steps)) if len(self._steps) >= _KNOWN_STEPS else 0.0

    def missing(self, ticks: Sequence[int]) -> int | None:
        """How many samples are missing before or among these, by their times; None where that cannot be known yet."""
        newest = next((at for at in reversed(range(len(ticks))) if ticks[at] != UNTIMED), None)
        usual_ns = self.usual_ns
        if newest is None or not usual_ns or self.doubt:
            return None
        return max(round((ticks[newest] - self._last) / usual_ns) - newest - 1, 0)

    def take(self, ticks: Sequence[int], arrival_ns: int) -> list[int] | None:
        """The ticks of the samples that were read at ``arrival_ns``, host ns; None while they are to be counted.

        A sample without a time keeps UNTIMED; one whose time is centuries away has none.
        """
        pause_ns = arrival_ns - self._arrival_ns if self._seen else 0
        self._arrival_ns = arrival_ns
        if pause_ns > _STALL_NS:
            self._window = None
        taken: list[int] = []
        for at, tick in enumerate(ticks, 1):
            if abs(tick) >= _FARTHEST_NS:
                tick = UNTIMED
            else:
                if taken and self._shows_garbled(tick):
                    taken[-1] = (self._before + tick) // 2 + self._shift
                tick, pause_ns = self._follow(tick, pause_ns, len(ticks) - at), 0
            taken.append(tick)
        self._measure_pace(arrival_ns)
        self._judge()
        return None if self.doubt else taken

    def _follow(self, tick: int, pause_ns: int, rest: int) -> int:
        """The tick to go on with. pause_ns: since the read before this one; rest: samples after it in this read."""
        last, is_garbled = self._last, self._shows_garbled(tick)
        self._last, self._before = tick, last
        self._seen += 1
        if self._seen == 1:
            return tick
        step = tick - last
        self._still = (self._still << 1 | (step == 0)) & _ALL
        self._back = (self._back << 1 | (step < 0)) & _ALL
        usual_ns = round(self.usual_ns) if step < 0 or self._undo else 0
        if step > 0:
            self._steps.append(step)
        if step < 0 and not is_garbled:
            self._undo = last, self._shift
            passed_ns = pause_ns - rest * usual_ns
            self._set_back_ns = (passed_ns if passed_ns > _PAUSE_NS else usual_ns) - step
            self._shift += self._set_back_ns
        elif self._undo is not None and step > 0:
            was, shift = self._undo
            if 0 < tick - was <= _NEAR * usual_ns:
                self._shift = shift
            else:
                self.note = f"its clock was set back by {self._set_back_ns / 1e9:.3g} s: bridged"
            self._undo = None
        if abs(tick + self._shift) >= _FARTHEST_NS:
            self._shift = 0
        return tick + self._shift

    def _shows_garbled(self, tick: int) -> bool:
        """Whether the time before this one was garbled ahead, as this goes on from the one before that."""
        return self._seen > 1 and tick < self._last and 0 < tick - self._before <= _NEAR * self.usual_ns

    def _measure_pace(self, arrival_ns: int) -> None:
        if self._window is None:
            self._window = self._last + self._shift, arrival_ns, self._seen
            return
        tick, since_ns, seen = self._window
        passed_ns = arrival_ns - since_ns
        if passed_ns < (_WINDOW_NS if self._right else _FIRST_WINDOW_NS) or self._seen - seen < _WINDOW_STEPS:
            return
        pace = (self._last + self._shift - tick) / passed_ns
        slowest, fastest = (_SLOW_AGAIN, _FAST_AGAIN) if self.doubt else (_SLOW, _FAST)
        is_right = slowest <= pace <= fastest
        self._right, self._wrong = (self._right + 1, 0) if is_right else (0, self._wrong + 1)
        if self._wrong >= _WINDOWS and not self.doubt:
            self.doubt = f"its clock runs at {pace:.2g} times the host's pace: samples are counted instead"
        self._window = None

    def _judge(self) -> None:
        steps = min(self._seen - 1, STEPS)
        still, back = self._still.bit_count(), self._back.bit_count()
        if not self.doubt:
            if self._still & _STILL_RUN == _STILL_RUN or (steps >= _FEW and still >= _COARSE_PART * steps):
                self.doubt = "many samples share one time of its clock: they are counted instead"
            elif back >= _MOST_BACK:
                self.doubt = "its clock goes back again and again: samples are counted instead"
            if self.doubt:
                self._right, self._window = 0, None
        elif still <= _FINE_PART * steps and not back and self._right >= _WINDOWS:
            self.doubt = self.note = ""
