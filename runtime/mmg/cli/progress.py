"""How far long work has come: a bar on a terminal, lines elsewhere, and nothing for work that is soon done."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TypeVar

from mmg.cli.last_line import LAST_LINE, shows_last_line, takes_more
from mmg.cli.reporting import Reporter, StderrReporter
from mmg.printable import printable

AFTER_S = 2.0
"""What takes less is not told of."""
DRAW_EVERY_S = 0.5
LINE_EVERY_S, LINE_EVERY_PART, LINE_AT_LEAST_EVERY_S = 10.0, 0.1, 60.0
"""A line every ten seconds; later one for each further tenth of the time gone by, and one a minute at least."""
WIDTH = 79
END_S = 1.0
"""So long the end waits for a bar that is being drawn."""

Item = TypeVar("Item")


class Progress:
    """A context around work that may take long. Nothing is shown in its first two seconds.

    A command's reporter shows a bar where standard error is a terminal, below the lines that are told meanwhile, and
    clears it at the end; elsewhere it gets lines. A thread looks at the clock: between two calls the work may take as
    long as it likes. Any other ``report`` gets lines, in the thread that calls ``at`` and ``step``.

    Of several at a time, one inside the other, the innermost that has lasted long enough is shown.
    """

    _under_way: list[Progress] = []  # noqa: RUF012

    def __init__(
        self,
        report: Reporter,
        what: str,
        total: float | None = None,
        unit: str = "",
        *,
        first: float = 0,
        at_once: bool = False,
        lines: bool = True,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """what: the work, in a word or two. total: how much of it there is, in ``unit``; None where nobody knows.

        first: what was done before, as by a run that goes on. at_once: a bar is shown from the beginning. lines: False
        where the work's own lines tell elsewhere how far it is. clock: in place of the thread and ``time.monotonic``,
        in seconds; each call then looks at it.
        """
        self._report, self._what, self._unit, self._lines = report, what, unit, lines
        self._first = self._done = first
        self._total, self._note = total, ""
        self._clock = clock or time.monotonic
        self._began_s = self._phase_s = self._clock()
        self._has_bar = isinstance(report, StderrReporter) and shows_last_line()
        self._due_s = self._began_s + (0.0 if at_once and self._has_bar else AFTER_S)
        self._is_told = False
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        if clock is None and isinstance(report, StderrReporter) and (lines or self._has_bar):
            self._thread = threading.Thread(target=self._watch, name="mmg progress", daemon=True)

    def __enter__(self) -> Progress:
        self._under_way.append(self)
        try:
            self._look()
            if self._thread is not None:
                self._thread.start()
        except BaseException:  # Ctrl-C as it is drawn for the first time
            self.close()
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """The work has ended: the terminal is as if nothing had been shown. Twice is fine."""
        if self not in self._under_way:
            return
        try:
            self._ended.set()
            self._under_way.remove(self)
            if self._thread is not None and self._thread.ident is not None:
                self._thread.join(END_S)
        finally:
            if self._has_bar and self._is_told:
                LAST_LINE.clear()

    def at(self, done: float, total: float | None = None, what: str = "", note: str = "") -> None:
        """So much is done of so much. what: the work that has begun meanwhile; its time counts from there.

        note: what is told behind it.
        """
        if what and what != self._what:
            self._what, self._phase_s, self._first = what, self._clock(), 0
        self._done, self._total, self._note = done, total, note
        if self._thread is None:
            self._look()

    def step(self) -> None:
        """One more is done."""
        self.at(self._done + 1, self._total)

    def _watch(self) -> None:
        while not self._ended.wait(max(self._due_s - self._clock(), 0.0)):
            self._look()

    def _look(self) -> None:
        now_s = self._clock()
        if now_s < self._due_s:
            return
        self._is_told = True
        is_shown = not self._ended.is_set() and [one for one in self._under_way if one._is_told][-1:] == [self]
        if self._has_bar:
            self._due_s = now_s + DRAW_EVERY_S
            if is_shown:
                LAST_LINE.show(self._bar(now_s - self._phase_s))
            return
        self._due_s = now_s + min(max(LINE_EVERY_S, (now_s - self._began_s) * LINE_EVERY_PART), LINE_AT_LEAST_EVERY_S)
        if is_shown and self._lines and takes_more():
            self._report(self._line(now_s - self._phase_s))

    def _line(self, elapsed_s: float) -> str:
        done, total = self._amounts()
        parts = [f"{done} of {total} {self._unit}".rstrip()] if total else []
        parts += [f"{done} {self._unit}".rstrip()] if done and not total else []
        parts.append(f"{as_span(elapsed_s)} so far")
        if total and self._done > self._first:
            left_s = elapsed_s / (self._done - self._first) * (total - self._done)
            parts.append(f"{as_span(max(left_s, 0.0))} to go")
        return f"{self._what}: {', '.join((*parts, self._note) if self._note else parts)}"

    def _bar(self, elapsed_s: float) -> str:
        assert isinstance(self._report, StderrReporter)
        prefix = printable(f"{self._report.command}: {self._what}")
        width = _columns() - 1  # a full line would begin another one
        try:
            from tqdm.std import tqdm  # loaded for those who see a bar
            from tqdm.utils import disp_trim
        except ImportError:
            return f"{self._report.command}: {self._line(elapsed_s)}"[:width]
        done, total = self._amounts()
        unit = f" {self._unit}" if self._unit else ""
        form = f"{{desc}}: {{n_fmt}}{unit} [{{elapsed}}]{{postfix}}" if done else "{desc} [{elapsed}]{postfix}"
        if total:
            form = f"{{l_bar}}{{bar}}| {{n_fmt}}/{{total_fmt}}{unit} [{{elapsed}}<{{remaining}}]{{postfix}}"
        text = tqdm.format_meter(
            done,
            total or None,
            elapsed_s,
            ncols=width,
            prefix=prefix,
            ascii=not _shows_blocks(),
            bar_format=form,
            initial=round(self._first),
            postfix=self._note or None,
        )
        return str(disp_trim(text, width))

    def _amounts(self) -> tuple[int, int]:
        """What is done, and of how much: 0 where that is not known. What was expected may turn out to be too little."""
        done = round(self._done)
        return done, max(round(self._total), done) if self._total else 0


def counted(report: Reporter, what: str, items: Iterable[Item], total: int | None, unit: str) -> Iterator[Item]:
    """The items, each of which counts as done when the next is asked for."""
    with Progress(report, what, total, unit) as progress:
        for item in items:
            yield item
            progress.step()


def as_span(seconds: float) -> str:
    """In the unit that suits it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or WIDTH + 1
    except (OSError, ValueError, AttributeError):
        return WIDTH + 1


def _shows_blocks() -> bool:
    try:
        "▏█".encode(sys.stderr.encoding or "ascii")
    except (UnicodeEncodeError, LookupError, AttributeError):
        return False
    return True
