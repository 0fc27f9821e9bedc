"""A CSV file of time-stamped samples, replayed as an IMU or any other signal."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal, DecimalException
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmg.bundle.manifest import Modality
from mmg.errors import SourceError
from mmg.sources import CHUNK_NS
from mmg.sources.files.csv.layout import Layout, lay_out, options_of
from mmg.sources.files.csv.text import CsvText, open_text
from mmg.sources.files.slicing import spans
from mmg.sources.units import ACCELERATION, ANGULAR_RATE, STANDARD_GRAVITY, quantity
from mmg.sources.url import Placing, SourceUrl
from mmg.types import Chunk

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mmg.types import Times

DELIMITERS = {",": ",", ";": ";", "|": "|", ":": ":", "\t": "\t", "tab": "\t", " ": " ", "space": " "}
NULLS = frozenset(("", "null", "na", "n/a", "none", "-"))
# Stamps and shifts of at most this stay exact in int64 whatever is added to or taken from them.
FARTHEST_NS = 1 << 61
DAY_NS = 86_400 * 10**9
# 2000 deg/s, the usual full scale, is 34.9 rad/s.
FASTEST_RAD_S = 35.0


class CsvFile:
    """Samples ``(T, C)`` float32 in the manifest's units, on the file's own clock, in order, each time once.

    Rows with cells that cannot be used are lost and counted: ``null``, ``unreadable``, ``not_finite``. Rows that
    repeat a time are averaged (``repeated``), late rows are sorted in (``backward``), rows more than a day away from
    all others are left out (``stray``). Raises SourceError and ConfigError.
    """

    def __init__(self, url: SourceUrl, path: Path, modality: Modality) -> None:
        url.allow(options_of(modality))
        url.one_of("delimiter", DELIMITERS)
        delimiter = DELIMITERS.get(url.options.get("delimiter", ""))
        self.modality, self.url = modality.name, str(url)
        try:
            text = open_text(self.url, path, delimiter)
            layout = lay_out(url, text, modality)
            table = _Table(layout, len(modality.channels))
            table.read(text)
        except OSError as error:
            raise SourceError(self.url, f"cannot be read: {error.strerror}") from error
        self.losses = table.losses
        self._times_ns, self._samples = table.placed()
        if len(self._times_ns) < 2:
            lost = ", ".join(f"{count} {why}" for why, count in self.losses.items()) or "none lost"
            example = f": the first lost row is {table.first_lost!r}" if table.first_lost is not None else ""
            raise SourceError(
                self.url, f"gives {len(self._times_ns)} samples, but two are needed (rows: {lost}){example}"
            )
        self.rate_hz = layout.rate_hz
        self.notes = [*layout.notes, *_doubts(self._samples, modality)]
        placing = Placing.of(url, int(self._times_ns[0]) if layout.time else None)
        self.start_ns, self.offset_ns = placing.start_ns, placing.offset_ns
        self.duration_s = int(self._times_ns[-1] - self._times_ns[0]) / 1e9

    def chunks(self, start_ns: int, every_ns: int = CHUNK_NS) -> Iterator[Chunk]:
        """See Recording."""
        shift_ns = start_ns - int(self._times_ns[0])
        for part in spans(self._times_ns, every_ns):
            yield Chunk(self.modality, self._samples[part], self._times_ns[part] + shift_ns, self.rate_hz)

    def close(self) -> None:
        """Nothing is held open."""


class _Table:
    """The numbers of a file, gathered row by row."""

    def __init__(self, layout: Layout, channels: int) -> None:
        self._layout, self._channels = layout, channels
        self._times, self._values = array("q"), array("f")
        self._used = [index for index in layout.columns if index is not None]
        self.losses: Counter[str] = Counter()
        self.first_lost: str | None = None

    def read(self, text: CsvText) -> None:
        """Take every row that gives all its numbers; count the others."""
        used, time, times, values = self._used, self._layout.time, self._times, self._values
        for number, row in enumerate(text.rows()):
            try:
                stamp = _nanoseconds(row[time[0]], time[1]) if time else number
                sample = [float(row[index]) for index in used]
            except (ValueError, IndexError, DecimalException):
                self._lose(row)
            else:
                times.append(stamp)
                values.extend(sample)

    def _lose(self, row: Sequence[str]) -> None:
        wanted = [*self._used, *([self._layout.time[0]] if self._layout.time else [])]
        cells = [row[index].strip().lower() for index in wanted if index < len(row)]
        self.losses["null" if len(cells) == len(wanted) and NULLS.intersection(cells) else "unreadable"] += 1
        if self.first_lost is None:
            self.first_lost = ",".join(row)[:80]

    def placed(self) -> tuple[Times, NDArray[np.float32]]:
        """Times ``(T,)`` int64, strictly increasing, and samples ``(T, C)`` float32 in the manifest's units."""
        times_ns = np.frombuffer(self._times, np.int64)
        cells = np.frombuffer(self._values, np.float32).reshape(-1, len(self._used))
        finite = np.isfinite(cells).all(axis=1)
        if not finite.all():
            self.losses["not_finite"] += int((~finite).sum())
            times_ns, cells = times_ns[finite], cells[finite]
        if not self._layout.time:
            times_ns = np.rint(times_ns * (1e9 / self._layout.rate_hz)).astype(np.int64)
        times_ns, cells = self._in_order(times_ns, cells)
        samples = np.zeros((len(cells), self._channels), np.float32)
        places = [place for place, index in enumerate(self._layout.columns) if index is not None]
        samples[:, places] = cells * np.array([self._layout.factors[place] for place in places])
        return times_ns, samples

    def _in_order(self, times_ns: Times, cells: NDArray[np.float32]) -> tuple[Times, NDArray[np.float32]]:
        if len(times_ns) == 0:
            return times_ns, cells
        backward = times_ns < np.maximum.accumulate(times_ns)
        if backward.any():
            self.losses["backward"] += int(backward.sum())
            order = np.argsort(times_ns, kind="stable")
            times_ns, cells = times_ns[order], cells[order]
        together = _largest_part(times_ns)
        if stray := len(times_ns) - (together.stop - together.start):
            self.losses["stray"] += stray
            times_ns, cells = times_ns[together], cells[together]
        first = np.flatnonzero(np.diff(times_ns, prepend=times_ns[0] - 1))
        if repeated := len(times_ns) - len(first):
            self.losses["repeated"] += repeated
            counts = np.diff(first, append=len(times_ns))
            means = np.add.reduceat(cells.astype(np.float64), first) / counts[:, None]
            times_ns, cells = times_ns[first], means.astype(np.float32)
        return times_ns, cells


def _nanoseconds(cell: str, unit_ns: int) -> int:
    """A stamp in nanoseconds, exact: float64 would lose digits. Raises ValueError or DecimalException."""
    try:
        stamp = int(cell) * unit_ns
    except ValueError:
        value = Decimal(cell.strip()) * unit_ns
        if not value.is_finite() or abs(value) > FARTHEST_NS:
            raise
        stamp = int(value.to_integral_value())
    if not -FARTHEST_NS <= stamp <= FARTHEST_NS:
        raise ValueError(cell)
    return stamp


def _largest_part(times_ns: Times) -> slice:
    """The longest run of rows without a pause of a day: a clock that was not set yet stamps rows elsewhere."""
    edges = [0, *(np.flatnonzero(np.diff(times_ns) > DAY_NS) + 1).tolist(), len(times_ns)]
    parts = [slice(begin, end) for begin, end in pairwise(edges)]
    return max(parts, key=lambda part: part.stop - part.start)


def _doubts(samples: NDArray[np.float32], modality: Modality) -> list[str]:
    """Hints where the values look like another unit than the one they were taken for."""
    notes = []
    kinds = [quantity(channel.unit) for channel in modality.channels]
    acceleration = samples[:, [kind is ACCELERATION for kind in kinds]]
    if acceleration.shape[1] == 3:
        mean = float(np.linalg.norm(acceleration.astype(np.float64), axis=1).mean())
        for unit, expected in (("g", 1.0), ("mg", 1000.0), ("m/s2", STANDARD_GRAVITY**2)):
            if 0.7 < mean / expected < 1.4:
                notes.append(f"the acceleration, {mean:.3g} m/s^2 on average, looks like {unit}: add ?acc_unit={unit}")
    turning = np.abs(samples[:, [kind is ANGULAR_RATE for kind in kinds]])
    if turning.size and float(np.quantile(turning.max(axis=1), 0.95)) > FASTEST_RAD_S:
        notes.append(f"the gyro, up to {turning.max():.3g} rad/s, looks like deg/s: add ?gyro_unit=deg/s")
    return notes
