"""Text: one sample a line, as values under a header line, as ``label:value`` pairs or as a JSON object.

The names are those that CSV files may have (``mmg.sources.columns``). Nothing in a line tells a wrong figure from a
right one: where there is a choice, prefer a checked protocol.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmg.errors import ConfigError
from mmg.sources.protocols.framing import SampleCollector, Vector
from mmg.sources.protocols.parser import UNTIMED, VALID_FRAMES, Finding, Samples
from mmg.sources.protocols.text_layout import Headers, RowLayout, TimeColumn, Units, is_other_header, lay_out
from mmg.sources.protocols.text_line import Named, has_values, is_number, read_json, read_pairs, shown, split_row

MAX_LINE = 4096  # bytes
MOST_REPEATS = 3
"""What sends a line twice to be sure does not send it more often."""

_NAMES = ("ax", "ay", "az", "gx", "gy", "gz")
_COMMENT = "#%/ \t"
_SHORTEST = 3
"""Fewer characters are no line that tells anything."""
_MOST_LAYOUTS = 64
_RECENT_LINES = 64
_Sample = tuple[Vector, Vector | None, int]


class TextLines(SampleCollector):
    """Lines of text.

    columns: the names of the columns, comma separated, where the stream has no header; "" waits for a header.
        With them given, a header in the stream is passed over.
    acc_unit: ``m/s2``, ``g`` or ``mg``. gyro_unit: ``rad/s`` or ``deg/s``. They go before what a header says.
    headers: those that the device printed already, and where new ones go.

    Raises ConfigError for a unit it does not know and for columns without ax, ay and az.
    """

    def __init__(
        self, columns: str = "", acc_unit: str = "", gyro_unit: str = "", headers: Headers | None = None
    ) -> None:
        super().__init__("text")
        self._units = Units(acc_unit, gyro_unit)
        self._headers = Headers() if headers is None else headers
        self._fixed: RowLayout | None = None
        if columns:
            self._fixed = lay_out([name.strip() for name in columns.split(",")], self._units)
            if self._fixed is None:
                raise ConfigError(f"columns={columns}: name ax, ay, az, and all of gx, gy, gz or none, each once")
            if self._fixed.problem:
                raise ConfigError(f"columns={columns}: {self._fixed.problem}")
            self._has_gyro = bool(self._fixed.gyro)
        self._problem = ""  # of a header, or of named values
        self._named: dict[tuple[str, ...], RowLayout | None] = {}
        self._pending = b""
        self._overlong = False
        self._last_line = b""
        self._last_time_ns, self._repeated, self._stands_still = UNTIMED, 0, False
        self._time = TimeColumn()
        self._lines = self._readable = 0  # since the newest sample, the older ones weighing less
        self._unread = ""

    @property
    def finding(self) -> Finding | None:
        """See ``Parser.finding``."""
        if self._readable < VALID_FRAMES or 2 * self._readable < self._lines:
            return None
        if self._problem:
            return Finding(self.name, self._problem)
        rows = [cells for _, cells in split_row(self._unread) if len(cells) >= 3 and all(map(is_number, cells))]
        if not rows:
            problem = f"lines, but none with acceleration that mmg can read, such as {shown(self._unread)}"
        elif self._fixed is not None:
            problem = (
                f"rows of {len(rows[0])} numbers, such as {shown(self._unread)}: columns= names {self._fixed.width}"
            )
        else:
            names = ",".join(_likely_names(len(rows[0])))
            problem = f"numbers without a header, such as {shown(self._unread)}: name them, such as columns={names}"
        return Finding(self.name, problem)

    def feed(self, data: bytes) -> Samples:
        """See ``Parser.feed``."""
        counters = self._counters
        end = counters.bytes_fed - len(self._pending)
        counters.bytes_fed += len(data)
        # Either of \r and \n ends a line, so that one wrong byte in \r\n costs nothing.
        *lines, self._pending = (self._pending + data).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            end += len(line) + 1
            if self._overlong or len(line) > MAX_LINE:
                self._skip(len(line) + 1)
                self._overlong = False
            elif line.strip():
                self._line(line, end - 1)
        if self._overlong or len(self._pending) > MAX_LINE:
            self._skip(len(self._pending))
            self._overlong = True
            self._pending = b""
        return self._take()

    def _skip(self, size: int) -> None:
        """Passes over a piece of an over-long line, and counts the line once."""
        self._counters.malformed += not self._overlong
        self._counters.skipped_bytes += size

    def _line(self, line: bytes, last_byte: int) -> None:
        if self._lines == _RECENT_LINES:
            self._lines, self._readable = self._lines // 2, self._readable // 2
        self._lines += 1
        try:
            text = line.decode("utf-8-sig")
        except UnicodeDecodeError:  # an older board's degree sign in its header, or damage
            if not self._read_header(line.decode("latin-1")):
                self._counters.malformed += 1
            return
        try:
            sample = self._read(text)
        except (ValueError, OverflowError):
            self._counters.malformed += 1
            return
        if sample is None:
            if not self._read_header(text):
                self._pass_over(text)
            return
        self._counters.frames += 1
        acceleration, gyro, time_ns = sample
        if time_ns != UNTIMED and self._repeats(line, time_ns):
            self._counters.duplicates += 1
            return
        self._lines, self._readable, self._unread = 0, 0, ""
        self._add(acceleration, gyro, time_ns, last_byte)

    def _repeats(self, line: bytes, time_ns: int) -> bool:
        """Whether the line came before. Where the clock stands still for other lines too, two alike are two samples."""
        same = line == self._last_line
        self._repeated = self._repeated + 1 if same else 0
        stands = time_ns == self._last_time_ns and not same
        self._stands_still = self._stands_still or stands or self._repeated > MOST_REPEATS
        self._last_line, self._last_time_ns = line, time_ns
        return same and not self._stands_still

    def _pass_over(self, text: str) -> None:
        """A line of another kind: it stands between samples, and is none."""
        self._counters.other += 1
        printable = sum(map(str.isprintable, text))
        if printable >= _SHORTEST and 5 * printable >= 4 * len(text):  # colours are no letters
            self._readable += 1
            self._unread = self._unread or text

    def _read(self, text: str) -> _Sample | None:
        """None where the line is of another kind. Raises ValueError, OverflowError where it is a damaged sample."""
        if text.lstrip().startswith("{"):
            return self._from_named(read_json(text))
        if ":" in text or "=" in text:
            named = read_pairs(text)
            if named is not None:
                return self._from_named(named)
        return self._from_row(text)

    def _from_named(self, named: Named) -> _Sample | None:
        names = tuple(named)
        if names not in self._named:
            if len(self._named) == _MOST_LAYOUTS:
                self._named.clear()
            self._named[names] = lay_out(names, self._units)
        layout = self._named[names]
        if layout is not None and layout.problem:
            self._problem = layout.problem
            return None
        return None if layout is None else self._sample(layout, list(named.values()))

    def _from_row(self, text: str) -> _Sample | None:
        damage: ValueError | None = None
        for _, cells in split_row(text):
            layout = self._fixed or self._headers.of(len(cells))
            if layout is None or layout.width != len(cells):
                continue
            try:
                return self._sample(layout, cells)
            except ValueError as error:
                if any(is_number(cells[place]) for place, _ in layout.acceleration):
                    damage = error
        if damage is not None:
            raise damage
        return None

    def _sample(self, layout: RowLayout, values: Sequence[float | str]) -> _Sample:
        acceleration = tuple([float(values[place]) * factor for place, factor in layout.acceleration])
        gyro = tuple([float(values[place]) * factor for place, factor in layout.gyro]) or None
        time_ns = None
        if layout.time is not None:
            place, unit_ns = layout.time
            time = _number(values[place])
            time_ns = None if time is None else self._time.read(time, unit_ns)
        return acceleration, gyro, UNTIMED if time_ns is None else time_ns

    def _read_header(self, text: str) -> bool:
        """Whether these are column names, which are then in force for rows of as many columns."""
        if has_values(text):  # a sample whose names came with it, and damaged
            return False
        for mark, cells in split_row(text.lstrip(_COMMENT)):
            layout = lay_out(cells, self._units)
            if layout is not None:
                if self._fixed is None and layout.problem:
                    self._problem = layout.problem
                    self._headers.forget(layout.width)
                elif self._fixed is None:
                    self._problem = ""
                    self._headers.remember(layout)
                    self._has_gyro = bool(layout.gyro)
                return True
            known = self._headers.of(len(cells))
            if known and is_other_header(cells, in_words=mark is None):
                if known.is_damaged(cells):
                    self._counters.malformed += 1
                    return True
                self._headers.forget(len(cells))
                return True
        return False


def _likely_names(count: int) -> list[str]:
    """The names of so many columns, as a guess to be corrected."""
    names = [*_NAMES[: 6 if count >= 6 else 3]]
    names = names if count == len(names) else ["t_ms", *names]
    return (names + [f"other{n}" for n in range(1, count - len(names) + 1)])[:count]


def _number(value: float | str) -> float | None:
    """An int where it is one: a count of microseconds since 1970 does not fit a float. None for a time of day."""
    if not isinstance(value, str):
        return value
    digits = value[1:] if value.startswith("-") else value
    if digits.isascii() and digits.isdigit():
        return int(value)
    return float(value) if is_number(value) else None


def encode_header() -> bytes:
    """The header line above the lines of ``encode_csv``."""
    return b"t_us,ax,ay,az,gx,gy,gz\n"


def encode_csv(sample: Sequence[float], time_ns: int) -> bytes:
    """One line from ``(6,)`` m/s^2 and rad/s."""
    values = ",".join(f"{value:.6g}" for value in sample)
    return f"{time_ns // 1000},{values}\n".encode("ascii")


def encode_json(sample: Sequence[float], time_ns: int) -> bytes:
    """One line from ``(3,)`` m/s^2 or ``(6,)`` with rad/s behind. It needs no header."""
    values = "".join(f',"{name}":{value:.6g}' for name, value in zip(_NAMES[: len(sample)], sample, strict=True))
    return f'{{"t_us":{time_ns // 1000}{values}}}\n'.encode("ascii")
