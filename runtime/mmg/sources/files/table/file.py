"""A table of time-stamped samples, replayed as an IMU or any other signal. It is read as it is needed."""

from __future__ import annotations

import itertools
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmg.bundle.manifest import Modality
from mmg.errors import SourceError
from mmg.sources import CHUNK_NS
from mmg.sources.axes import parse_axes, triples_of, turn
from mmg.sources.columns import Column, names_sensors
from mmg.sources.files.slicing import sliced
from mmg.sources.files.table.clock import FASTEST_HZ, SLOWEST_HZ
from mmg.sources.files.table.duration import guess_s, tail_s
from mmg.sources.files.table.json import JsonTable, is_json, open_json
from mmg.sources.files.table.layout import LOOK_AHEAD_ROWS, lay_out, options_of
from mmg.sources.files.table.log import LogTable, open_log
from mmg.sources.files.table.order import BUFFERED_ROWS, HELD_ROWS, Block, InOrder
from mmg.sources.files.table.stamps import UNREADABLE
from mmg.sources.files.table.table import Row
from mmg.sources.files.table.text import LONGEST_CELL, TextTable, open_text
from mmg.sources.url import Placing, SourceUrl
from mmg.types import Chunk

if TYPE_CHECKING:
    from numpy.typing import NDArray

DELIMITERS = {",": ",", ";": ";", "|": "|", ":": ":", "\t": "\t", "tab": "\t", " ": " ", "space": " "}
NULLS = frozenset(("", "null", "na", "n/a", "none", "-"))
TABLE_OPTIONS = frozenset(("delimiter", "skip"))
READ_ROWS, ROWS_AT_ONCE = 2048, 256
BACK_NS, MOST_BACK, FEWEST_ROWS = 10**9, 0.05, 400
"""A clock that begins anew goes back by more once, and one whose rows are in no order again and again."""


class TableFile:
    """Samples ``(T, C)`` float32 in the manifest's units, on the file's own clock, in order, each time once.

    Rows with cells that cannot be used are lost and counted: ``null``, ``unreadable``, ``not_finite``, and those of
    ``another device``. Rows that repeat a time are averaged (``repeated``), late rows are sorted in (``backward``),
    rows more than a day away from all others are left out (``stray``); see ``InOrder``. Raises SourceError and
    ConfigError.
    """

    def __init__(
        self,
        url: SourceUrl,
        path: Path,
        modality: Modality,
        part: str | None = None,
        *,
        table: TextTable | None = None,
        gravity: str | None = None,
    ) -> None:
        """part: the kind of sensor in a table that holds a part of an IMU; see ``choose_sensors``. table: the file, as
        ``open_table`` gave it before, with the same options. gravity: see ``choose_units``."""
        url.allow(options_of(modality))
        self.modality, self.url = modality.name, str(url)
        self.losses: Counter[str] = Counter()
        self.notes: list[str] = []
        self._channels, self._closed = len(modality.channels), False
        self._axes = parse_axes(url.options["axes"], self.url) if "axes" in url.options else None
        self._triples = triples_of(modality.channels) if self._axes is not None else []
        self._first: list[Block] = []
        self._rest: Iterator[Block] | None = None
        self._is_whole = False
        self._first_lost: str | None = None
        self.restarts: list[int] = []
        """By how much, in ns, times were shifted in all, each time that the clock had begun anew."""
        try:
            self._table = table or open_table(url, path)
            rows = list(itertools.islice(self._table.rows(), LOOK_AHEAD_ROWS))
            self._layout = lay_out(url, self._table, rows, modality, part, gravity)
            self.notes.extend(self._layout.notes)
            self._open_blocks()
            self._check_order(rows)
            self.duration_s = self._duration_s()
        except OSError as error:
            raise SourceError(self.url, f"cannot be read: {error.strerror}") from error
        there = sum(len(times) for times, _ in self._first)
        if there < 2:
            lost = ", ".join(f"{count} {why}" for why, count in self.losses.items()) or "none lost"
            example = f": the first lost row is {self._first_lost!r}" if self._first_lost is not None else ""
            raise SourceError(self.url, f"gives {there} samples, but two are needed (rows: {lost}){example}")
        self._check_rows(there)
        self._check_rate()
        self._note_disorder(there)
        self.rate_hz = self._layout.rate_hz
        begins_ns = int(self._first[0][0][0])
        has_clock = self._layout.stamps is not None or self._layout.start_ns is not None
        placing = Placing.of(url, begins_ns if has_clock else None)
        self.start_ns, self.offset_ns = placing.start_ns, placing.offset_ns

    @property
    def understood(self) -> Sequence[str]:
        """A line for each thing that was read from it, for ``--explain``."""
        return self._layout.understood

    @property
    def declared(self) -> Mapping[str, str]:
        """The units that the file or the URL names, by the option that would change them."""
        return self._layout.declared

    @property
    def assumed(self) -> Mapping[str, str]:
        """The units that were assumed, by the option that would change them."""
        return self._layout.assumed

    def chunks(self, start_ns: int, every_ns: int = CHUNK_NS) -> Iterator[Chunk]:
        """See Recording."""
        shift_ns = start_ns - int(self._first[0][0][0])
        for times_ns, samples in sliced(self.blocks(), every_ns):
            if self._closed:
                return
            yield Chunk(self.modality, samples, times_ns + shift_ns, self.rate_hz)

    def blocks(self) -> Iterator[Block]:
        """All samples ``(T, C)`` with their times on the file's own clock, as they are read."""
        if self._is_whole:
            return iter(self._first)
        if self._rest is not None:
            rest, self._rest = self._rest, None
            return itertools.chain(self._first, rest)
        return self._blocks()

    def close(self) -> None:
        """Let go of the file: iterators end."""
        self._closed, self._rest = True, None

    def _check_order(self, rows: Sequence[Row]) -> None:
        """Raises SourceError where the first rows fall, and are too many to be held; and where they are in no order."""
        stamps = []
        index, value = self._layout.only or (0, None)
        for row in rows if self._layout.stamps else ():
            with suppress(*UNREADABLE):
                if value is not None and str(row[index]).strip() != value:
                    continue
                stamps.append(self._layout.stamps.read(row) if self._layout.stamps else 0)
        steps = np.diff(np.array(stamps, np.int64))
        if len(steps) and (steps < 0).mean() > 0.9 and not self._is_whole:
            raise SourceError(self.url, "its rows are in falling order of time: sort them first (sort -n)")
        back = int((steps < -BACK_NS).sum())
        if back > MOST_BACK * max(len(steps), FEWEST_ROWS):
            raise SourceError(
                self.url,
                f"{back} of its first {len(stamps)} rows are over a second earlier than the one before: sort them "
                "first (sort -n), or name the column of time with ?time=, or one device of several with "
                "?where=COLUMN:VALUE",
            )

    def _check_rate(self) -> None:
        """Raises SourceError for rows that follow each other as those of nothing that is worn do."""
        steps = np.diff(np.concatenate([times for times, _ in self._first]))
        rate_hz = 1e9 / float(np.median(steps))
        if not SLOWEST_HZ <= rate_hz <= FASTEST_HZ and len(steps) > 100:
            raise SourceError(self.url, f"its rows follow each other at {rate_hz:.3g} Hz: add ?time_unit= or ?rate=HZ")

    def _check_rows(self, there: int) -> None:
        """Raises SourceError where most of what is read of it so far is no sample."""
        if (unreadable := self.losses["unreadable"]) > there:
            raise SourceError(
                self.url,
                f"{unreadable} of its first {unreadable + there} rows cannot be read, such as {self._first_lost!r}",
            )

    def _note_disorder(self, rows: int) -> None:
        for loss, share, told in (("backward", 0.1, "out of order"), ("repeated", 0.3, "at the time of another")):
            if self.losses[loss] > share * (rows + self.losses[loss]):
                count = f"{self.losses[loss]} of its first {rows + self.losses['repeated']} rows"
                self.notes.append(f"{count} are {told}: is it one device, and the right column? (?time=, ?where=)")

    def _open_blocks(self) -> None:
        """Read what any recording must have; a short one is read to its end, and held."""
        self._rest = blocks = self._blocks()
        self._first = list(itertools.islice(blocks, 1))
        is_short = not self._first or len(self._first[0][0]) < BUFFERED_ROWS - HELD_ROWS
        if is_short:
            self._first.extend(itertools.islice(blocks, 1))
        self._is_whole = is_short and len(self._first) < 2

    def _blocks(self) -> Iterator[Block]:
        """Times ``(T,)``, strictly increasing, and samples ``(T, C)`` in the manifest's units, block by block."""
        self.losses.clear()
        self.restarts.clear()
        self._first_lost = None
        wraps_ns = self._layout.stamps.wraps_ns if self._layout.stamps else ()
        order = InOrder(self.url, self.losses, self.notes, wraps_ns, self.restarts, packed=self._table.packed)
        for times_ns, cells in self._read():
            for block in order.feed(times_ns, cells):
                yield self._scaled(*block)
        last_ns = None
        for block in order.end():
            last_ns = int(block[0][-1])
            yield self._scaled(*block)
        if last_ns is not None and self._first:
            self.duration_s = (last_ns - int(self._first[0][0][0])) / 1e9

    def _read(self) -> Iterator[Block]:
        """Every row that gives all its figures, with its stamp; the others are counted."""
        used = sorted({index for source in self._layout.sources for index in source.columns})
        rows = itertools.islice(self._table.rows(), self._layout.begin, None)
        number = 0
        while True:
            times, parts, taken = array("q"), [np.empty((0, len(used)), np.float32)], 0
            chosen = itertools.islice(self._chosen(rows), READ_ROWS)
            while some := list(itertools.islice(chosen, ROWS_AT_ONCE)):
                read, part = self._all_of(some, used, number + taken) or self._each_of(some, used, number + taken)
                taken += len(some)
                times.extend(read)
                parts.append(part)
            if not taken or self._closed:
                return
            number += taken
            cells = np.concatenate(parts)
            finite = np.isfinite(cells).all(axis=1)
            stamps = np.frombuffer(times, np.int64)
            if not finite.all():
                self.losses["not_finite"] += int((~finite).sum())
                stamps, cells = stamps[finite], cells[finite]
            if not self._layout.stamps:
                stamps = np.rint(stamps * (1e9 / self._layout.rate_hz)).astype(np.int64) + (self._layout.start_ns or 0)
            yield stamps, cells

    def _all_of(
        self, rows: Sequence[Row], used: Sequence[int], number: int
    ) -> tuple[array[int], NDArray[np.float32]] | None:
        """What ``_each_of`` gives, column by column, which takes half as long; None where a row cannot be read."""
        try:
            columns = tuple(zip(*rows, strict=False))  # as many as the shortest row has
            cells = np.empty((len(rows), len(used)), np.float32)
            for place, index in enumerate(used):
                cells[:, place] = array("f", map(float, columns[index]))
            stamps = map(self._layout.stamps.read, rows) if self._layout.stamps else range(number, number + len(rows))
            return array("q", stamps), cells
        except UNREADABLE:
            return None

    def _each_of(self, rows: Sequence[Row], used: Sequence[int], number: int) -> tuple[array[int], NDArray[np.float32]]:
        """Stamps, and cells ``(T, columns)``, of those rows that give all their figures; the others are counted."""
        times, values = array("q"), array("f")
        for at, row in enumerate(rows, number):
            try:
                stamp = self._layout.stamps.read(row) if self._layout.stamps else at
                sample = [float(row[index]) for index in used]  # type: ignore[arg-type]
            except UNREADABLE:
                self._lose(row, used)
            else:
                times.append(stamp)
                values.extend(sample)
        return times, np.frombuffer(values, np.float32).reshape(len(times), len(used))

    def _chosen(self, rows: Iterator[Row]) -> Iterator[Row]:
        """The rows of the device that was chosen, or of the only one."""
        if self._layout.only is None:
            yield from rows
            return
        index, value = self._layout.only
        taken = (value, self._table.columns[index].name)  # the latter in another header, which is to be seen
        for row in rows:
            if index < len(row) and str(row[index]).strip() not in taken and not self._table.is_header(row):
                if not self._layout.strict:
                    self._leave_out(row, index)
            else:
                yield row

    def _leave_out(self, row: Row, index: int) -> None:
        name, value = self._table.columns[index].name, str(row[index]).strip()
        if not self.losses["another_device"]:
            told = f"rows whose column {name} is {value or 'empty'} are left out"
            self.notes.append(told + (f": take them with ?where={name}:{value}" if value else ""))
        self.losses["another_device"] += 1

    def _lose(self, row: Row, used: Sequence[int]) -> None:
        if self._table.is_header(row):
            return
        wanted = [*used, *(self._layout.stamps.columns if self._layout.stamps else ())]
        self._check_header(row, wanted)
        cells = ["" if row[index] is None else str(row[index]).strip().lower() for index in wanted if index < len(row)]
        self.losses["null" if len(cells) == len(wanted) and NULLS.intersection(cells) else "unreadable"] += 1
        if self._first_lost is None:
            self._first_lost = self._shown(row)

    def _check_header(self, row: Row, wanted: Sequence[int]) -> None:
        """Raises SourceError where a row is a header, and of a table that has other columns where these were."""
        cells = ["" if cell is None else str(cell)[:LONGEST_CELL] for cell in row]
        if not (self._table.named and names_sensors(cells)):
            return
        found = [Column.of(index, cell) for index, cell in enumerate(cells)]
        for known in map(self._table.columns.__getitem__, wanted):
            new = found[known.index] if known.index < len(found) else None
            if new is None or new.bare != known.bare or new.unit not in (None, known.unit):
                told = f"has another header amid its rows, {self._shown(row)!r}"
                raise SourceError(self.url, f"{told}: write what follows it to a file of its own")

    def _shown(self, row: Row) -> str:
        return getattr(self._table, "delimiter", ",").join(map(str, row))[:80]

    def _scaled(self, times_ns: NDArray[np.int64], cells: NDArray[np.float32]) -> Block:
        used = sorted({index for source in self._layout.sources for index in source.columns})
        samples = np.zeros((len(cells), self._channels), np.float32)
        for place, source in enumerate(self._layout.sources):
            for index, factor in zip(source.columns, source.factors, strict=True):
                # A float32 times a float64, rounded once.
                samples[:, place] += (cells[:, used.index(index)] * np.float64(factor)).astype(np.float32)
        return times_ns, samples if self._axes is None else turn(samples, self._axes, self._triples)

    def _duration_s(self) -> float:
        """To the last sample: where the file is not read to its end yet, as its end tells, or as its length does."""
        if not self._first:
            return 0.0
        begin_ns, end_ns = int(self._first[0][0][0]), int(self._first[-1][0][-1])
        if self._is_whole:
            return (end_ns - begin_ns) / 1e9
        read_s, rows = (end_ns - begin_ns) / 1e9, sum(len(times) for times, _ in self._first)
        if isinstance(self._table, JsonTable) and self._table.document is not None and self._layout.stamps is None:
            return read_s * len(self._table.document) / rows
        by_size_s, by_end_s = guess_s(self._table, read_s, rows), tail_s(self._table, self._layout, begin_ns)
        if isinstance(self._table, JsonTable) and self._table.document is not None:
            return max(read_s, by_end_s)
        # A last stamp that is far from what the file's size says is that of another session, or wrong.
        is_likely = 0.5 * by_size_s < by_end_s < 2 * by_size_s + 86_400 and by_end_s >= read_s
        return by_end_s if is_likely else max(read_s, by_size_s)


def open_table(url: SourceUrl, path: Path) -> TextTable | JsonTable | LogTable:
    """A file as columns and rows, by the URL's ``TABLE_OPTIONS``.

    Raises SourceError where it is no table, ConfigError, OSError.
    """
    url.one_of("delimiter", DELIMITERS)
    skip = url.number("skip", 0, 100_000)
    if not skip and is_json(path):
        return open_json(str(url), path)
    if not skip and "delimiter" not in url.options and (log := open_log(path)):
        return log
    return open_text(str(url), path, DELIMITERS.get(url.options.get("delimiter", "")), int(skip or 0))
