"""Rows in the order of their time, each time once, as they are read: late rows, counters that wrap, new sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from mmg.errors import SourceError
from mmg.sources.files.table.stamps import DAY_NS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mmg.types import Times

Block: TypeAlias = "tuple[Times, NDArray[np.float32]]"
"""Times ``(T,)`` int64 in order, and cells ``(T, K)``."""

HELD_NS, HELD_ROWS = 5 * 10**9, 1024
"""A row that is late by less, in time and in rows, finds its place; one that is later may be lost."""
BUFFERED_ROWS = 8 * HELD_ROWS
SESSION_ROWS = 50
"""So many rows in a row that are behind, or days ahead, are a clock that began anew, and not strays."""
WRAPPED_ROWS, WRAPPED_STEPS, KNOWN_ROWS = 3, 5, 20
"""Fewer do where they go on smoothly, as a counter of known length does, once its pace is known."""
LEAP_NS, LEAPING_ROWS = 2 * 10**9, 3
SMOOTH_NS = 2 * 10**9
"""A counter that wrapped goes on within this time."""
SHARED_ROWS = 3
"""Where a stamp stands on so many rows, in the median, the clock is coarse: its rows are spread, not averaged."""
MOST_NOTES = 20
"""Of a recording: a clock may begin anew a thousand times."""


class InOrder:
    """Takes rows as they come and gives them in order.

    losses: counts rows that are ``backward`` (late, and sorted in where that is still possible), ``stray`` (a day or
    more from all others) and ``repeated`` (averaged with others of the same time). notes: gets a line for each clock
    that wraps or begins anew. wraps_ns: after how long the clock may begin anew by its nature. restarts: gets the shift
    of all that follows, in ns, each time that it began anew otherwise. packed: whether rows of one stamp are known to
    be taken one after the other. Raises SourceError where the clock stands still.
    """

    def __init__(
        self,
        url: str,
        losses: Counter[str],
        notes: list[str],
        wraps_ns: Sequence[int] = (),
        restarts: list[int] | None = None,
        *,
        packed: bool = False,
    ) -> None:
        self._url, self._restarts = url, [] if restarts is None else restarts
        self._losses, self._notes, self._wraps_ns, self._packed = losses, notes, wraps_ns, packed
        self._buffer: list[Block] = []
        self._buffered, self._taken = 0, 0
        self._newest: int | None = None
        self._emitted_ns: int | None = None
        self._offset_ns = 0
        self._pending: list[tuple[int, NDArray[np.float32]]] = []
        self._leap: tuple[int, int] | None = None
        self._coarse: bool | None = None
        self._usual_rows = 1

    def feed(self, stamps: Times, cells: NDArray[np.float32]) -> Iterator[Block]:
        """Take rows ``(N,)`` int64 and ``(N, K)``; gives blocks of those that no late row can come before."""
        times = stamps + self._offset_ns
        if not self._pending and self._is_plain(times):
            self._note_leap(times)
            self._keep(times, cells)
        else:
            for stamp, row in zip(stamps.tolist(), cells, strict=True):
                self._take(stamp, row)
        if self._buffered >= BUFFERED_ROWS:
            yield from self._emit(last=False)

    def end(self) -> Iterator[Block]:
        """What is left."""
        if self._pending:
            behind = self._pending[0][0] + self._offset_ns < (self._newest or 0)
            if behind:
                self._sort_in()
            elif self._emitted_ns is None and len(self._pending) > self._taken:
                self._forget_taken()
                self._accept_pending()
            else:
                self._losses["stray"] += len(self._pending)
                self._pending.clear()
        yield from self._emit(last=True)

    def _is_plain(self, times: Times) -> bool:
        if not len(times):
            return True
        steps = np.diff(times, prepend=times[0] if self._newest is None else self._newest)
        return bool(steps.min() >= 0 and steps.max() <= DAY_NS)

    def _note_leap(self, times: Times) -> None:
        if len(times) and self._newest is not None:
            steps = np.diff(times, prepend=self._newest)
            places = np.flatnonzero(steps > LEAP_NS)
            if len(places):
                place = int(places[-1])
                before = int(times[place - 1]) if place else self._newest
                self._leap = before, len(times) - place
            elif self._leap:
                self._leap = self._leap[0], self._leap[1] + len(times)

    def _keep(self, times: Times, cells: NDArray[np.float32]) -> None:
        if len(times):
            self._buffer.append((times, cells))
            self._buffered += len(times)
            self._taken += len(times)
            self._newest = max(int(times[-1]), self._newest if self._newest is not None else int(times[-1]))

    def _take(self, stamp: int, row: NDArray[np.float32]) -> None:
        time = stamp + self._offset_ns
        if self._newest is not None and not 0 <= time - self._newest <= DAY_NS:
            self._pending.append((stamp, row))
            if len(self._pending) >= SESSION_ROWS or self._has_wrapped():
                self._settle()
            return
        if self._pending:
            self._sort_in()
        times = np.array([time], np.int64)
        self._note_leap(times)
        self._keep(times, row[None])

    def _sort_in(self) -> None:
        """The clock went on where it was: what is pending was late, or stray."""
        for stamp, row in self._pending:
            time = stamp + self._offset_ns
            newest = self._newest if self._newest is not None else time
            if abs(newest - time) > DAY_NS:
                self._losses["stray"] += 1
                continue
            self._losses["backward"] += 1
            if self._emitted_ns is None or time > self._emitted_ns:
                self._buffer.append((np.array([time], np.int64), row[None]))
                self._buffered += 1
                self._taken += 1
        self._pending.clear()

    def _has_wrapped(self) -> bool:
        """A few rising rows that go on where the newest was, if the clock began anew as clocks of its kind do."""
        if len(self._pending) != WRAPPED_ROWS or self._taken < KNOWN_ROWS or not self._buffer:
            return False
        stamps = [stamp + self._offset_ns for stamp, _ in self._pending]
        return stamps == sorted(set(stamps)) and self._wrap_to(stamps[0], WRAPPED_STEPS * self._step_ns()) is not None

    def _wrap_to(self, first: int, longest_ns: int) -> int | None:
        newest = self._newest or 0
        return next((wrap for wrap in self._wraps_ns if 0 < first + wrap - newest <= min(longest_ns, wrap // 2)), None)

    def _settle(self) -> None:
        """Many rows are elsewhere than the clock was: decide what it did."""
        stamps = [stamp for stamp, _ in self._pending]
        steps = [late - early for early, late in pairwise(stamps)]
        rising = sum(step >= 0 for step in steps) >= 0.9 * len(steps)
        if not rising or max(steps) > DAY_NS or self._newest is None:
            self._sort_in()
            return
        first = stamps[0] + self._offset_ns
        if self._leap and self._leap[1] <= LEAPING_ROWS and 0 <= first - self._leap[0] <= SMOOTH_NS:
            self._undo_leap()
        elif first > self._newest and self._emitted_ns is None and self._taken < SESSION_ROWS:
            self._forget_taken()
        else:
            self._begin_anew(first)
        self._accept_pending()

    def _undo_leap(self) -> None:
        """The last few rows were stamped wrongly, and the clock went on below them."""
        assert self._leap is not None
        left = self._leap[1]
        self._losses["stray"] += left
        while left and self._buffer:
            times, cells = self._buffer.pop()
            cut = min(left, len(times))
            left -= cut
            self._buffered -= cut
            if cut < len(times):
                self._buffer.append((times[:-cut], cells[:-cut]))
        self._newest = self._leap[0]

    def _forget_taken(self) -> None:
        """The first few rows are from a clock that was not set yet."""
        self._losses["stray"] += self._taken
        self._buffer.clear()
        self._buffered = self._taken = 0
        self._newest = None

    def _begin_anew(self, first: int) -> None:
        assert self._newest is not None
        wrap = self._wrap_to(first, SMOOTH_NS)
        if wrap is not None:
            self._offset_ns += wrap
            told = f"wraps every {wrap / 1e9:.10g} s: it is read on"
        else:
            self._offset_ns += self._newest + self._step_ns() - first
            self._restarts.append(self._offset_ns)
            told = f"begins anew after {self._taken} rows: what follows is read as going on at once"
        self._note(f"its clock {told}")

    def _note(self, line: str) -> None:
        """A recording that is read again has been told of."""
        if line not in self._notes and len(self._notes) < MOST_NOTES:
            self._notes.append(line)

    def _step_ns(self) -> int:
        times = np.concatenate([times for times, _ in self._buffer[-SESSION_ROWS:]])
        steps = np.diff(np.unique(times))
        return int(np.median(steps)) if len(steps) else 10**7

    def _accept_pending(self) -> None:
        stamps = np.array([stamp for stamp, _ in self._pending], np.int64) + self._offset_ns
        cells = np.stack([row for _, row in self._pending])
        self._pending.clear()
        self._leap = None
        order = np.argsort(stamps, kind="stable")
        self._keep(stamps[order], cells[order])

    def _emit(self, *, last: bool) -> Iterator[Block]:
        if not self._buffer:
            return
        times = np.concatenate([times for times, _ in self._buffer])
        cells = np.concatenate([cells for _, cells in self._buffer])
        if (np.diff(times) < 0).any():
            order = np.argsort(times, kind="stable")
            times, cells = times[order], cells[order]
        cut = len(times)
        if not last:
            cut = min(int(times.searchsorted(int(times[-1]) - HELD_NS)), len(times) - HELD_ROWS)
            cut = int(times.searchsorted(times[cut]))  # rows of one time stay together
        self._buffer, self._buffered = [(times[cut:], cells[cut:])], len(times) - cut
        if cut <= 0 and len(times) >= 8 * BUFFERED_ROWS:
            raise SourceError(self._url, f"its clock stands still for {len(times)} rows: add ?rate=HZ")
        if cut > 0:
            following = int(times[cut]) if cut < len(times) else None
            self._emitted_ns = int(times[cut - 1])
            yield self._once(times[:cut], cells[:cut], following)

    def _once(self, times: Times, cells: NDArray[np.float32], following: int | None) -> Block:
        """Each time once: rows that share one are averaged, or spread where the clock is coarse."""
        first = np.flatnonzero(np.diff(times, prepend=times[0] - 1))
        counts = np.diff(first, append=len(times))
        begins = self._coarse is None
        if self._coarse is None:
            self._usual_rows = int(np.median(counts))
            self._coarse = len(counts) > 1 and (
                self._usual_rows >= SHARED_ROWS or (self._packed and self._usual_rows > 1)
            )
            if self._coarse:
                self._note(f"{self._usual_rows} rows share a time stamp: they are spread evenly behind it")
        if self._coarse:
            return self._spread(times[first], counts, following, begins=begins), cells
        if len(first) < len(times):
            self._losses["repeated"] += len(times) - len(first)
            means = np.add.reduceat(cells.astype(np.float64), first) / counts[:, None]
            return times[first], means.astype(np.float32)
        return times, cells

    def _spread(self, ticks: Times, counts: NDArray[np.int64], following: int | None, *, begins: bool) -> Times:
        steps = np.diff(ticks, append=ticks[-1] if following is None else following)
        usual = int(np.median(steps[:-1])) if len(steps) > 1 else int(steps[-1])
        steps = np.where((steps > usual * 3 // 2) | (steps <= 0), usual, steps)
        rows = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        times: Times = np.repeat(ticks, counts) + np.repeat(steps, counts) * rows // np.repeat(counts, counts)
        if begins and len(ticks) > 1 and counts[0] < self._usual_rows:
            # A recording that begins within a tick has only the tick's last rows.
            missing = self._usual_rows - int(counts[0])
            times[: counts[0]] = ticks[0] + steps[0] * (missing + np.arange(counts[0])) // self._usual_rows
        # Where ticks are nearer than their rows are many, none has the time of another all the same.
        order = np.arange(len(times))
        return np.asarray(np.minimum.accumulate((times - order)[::-1])[::-1] + order, np.int64)
