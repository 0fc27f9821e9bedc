"""Tables as JSON: objects line by line, an array of objects or of columns, Edge Impulse's and Movesense's forms."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from mmg_device_profiles.regular_file import open_regular, read_within

from mmg.errors import SourceError
from mmg.sources.columns import Column
from mmg.sources.files.table.json_lists import are_sensors, joined
from mmg.sources.files.table.table import Row
from mmg.sources.files.table.text import LONGEST_LINE, bounded_lines

LARGEST_BYTES = 32 << 20
"""Of a document that is not written line by line: it is held whole, in some ten times as much memory."""
LOOK_AHEAD_LINES = 100
DEEPEST = 6
AXES = ("x", "y", "z")


@dataclass(frozen=True, slots=True)
class JsonTable:
    """A table from JSON. packed: whether several rows may share the time stamp of their packet.

    document: the rows where the file is one document; None where it is read line by line.
    """

    path: Path
    columns: tuple[Column, ...]
    document: tuple[Row, ...] | None
    rate_hz: float | None = None
    packed: bool = False
    named: bool = True
    preamble: tuple[str, ...] = ()

    @property
    def first(self) -> tuple[str, ...]:
        """The first row, for messages."""
        return tuple(str(cell) for cell in next(self.rows(), ()))

    def rows(self) -> Iterator[Row]:
        """Every row, with None where an object lacks a key. A line that is no object is an empty row."""
        if self.document is not None:
            yield from self.document
            return
        names = [column.name for column in self.columns]
        for line in _lines(self.path):
            if line.strip():
                found = _object(line)
                yield [] if found is None else list(map(found.get, names))

    def is_header(self, _row: Row) -> bool:
        """There is none within."""
        return False


def is_json(path: Path) -> bool:
    """Whether a file begins as JSON does."""
    with open_regular(path) as file:
        head = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    lines = head.splitlines()[:-1]
    if sum(line.startswith(b'{"') for line in lines) * 2 > len(lines) > 3:
        return True  # a log with a boot message above
    return bool(re.match(rb'\{\s*["}]|\[\s*([{\["\]-]|\d)', head))


def open_json(url: str, path: Path) -> JsonTable:
    """Raises SourceError where it is no JSON, too large to be held, or holds no samples."""
    lines: list[str] = []
    for line in itertools.islice(_lines(path), LOOK_AHEAD_LINES):
        lines.extend([line] if line.strip() else [])
        if len(line) > LONGEST_LINE:
            break
    objects = [_object(line) for line in lines]
    if len(lines) > 1 and sum(one is not None for one in objects) * 2 > len(lines):
        names = dict.fromkeys(name for one in objects for name in one or ())
        return JsonTable(path, tuple(Column.of(i, name) for i, name in enumerate(names)), None)
    size = path.stat().st_size
    if size > LARGEST_BYTES:
        raise SourceError(
            url,
            f"is one JSON document of {size / 1e6:.0f} MB, and at most {LARGEST_BYTES / 1e6:.0f} MB are read at once: "
            "write an object a line, or CSV",
        )
    try:
        document = msgspec.json.decode(read_within(path, LARGEST_BYTES))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SourceError(url, f"begins as JSON and is none: {error}") from error
    return _from_document(url, path, document)


def _from_document(url: str, path: Path, document: Any) -> JsonTable:
    payload = document.get("payload", document) if isinstance(document, Mapping) else document
    if isinstance(payload, Mapping) and isinstance(payload.get("sensors"), list) and "values" in payload:
        return _edge_impulse(url, path, payload)
    columns = _columns_of(url, document)
    if columns:
        rows = tuple(zip(*columns.values(), strict=True))
        return JsonTable(path, tuple(Column.of(i, name) for i, name in enumerate(columns)), rows)
    sensors = _sensor_lists(url, document, 0)
    found = [] if sensors else max(_object_lists(document, 0), key=len, default=[])
    packets = [_packet(url, one) for one in found]
    flat = joined(sensors) if sensors else [row for packet in packets for row in packet]
    if not flat:
        raise SourceError(url, "is JSON without samples: an array of objects, or an object a line, is read")
    names = dict.fromkeys(name for row in flat[:LOOK_AHEAD_LINES] for name in row)
    rows = tuple(tuple(map(row.get, names)) for row in flat)
    packed = not sensors and len(flat) > len(packets)
    return JsonTable(path, tuple(Column.of(i, name) for i, name in enumerate(names)), rows, packed=packed)


def _edge_impulse(url: str, path: Path, payload: Mapping[str, Any]) -> JsonTable:
    """Edge Impulse's data acquisition format: https://docs.edgeimpulse.com (Acquisition format)."""
    if "interval_ms" not in payload:
        raise SourceError(url, "is Edge Impulse's format without interval_ms, so that nothing tells its rate: add it")
    try:
        interval_ms = float(payload["interval_ms"])
        sensors = [(str(one["name"]), str(one.get("units", ""))) for one in payload["sensors"]]
        rows = [tuple(row) if isinstance(row, list) else (row,) for row in payload["values"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(url, f"is Edge Impulse's format with a fault in it: {error!r}") from error
    if not 1e-3 <= interval_ms <= 1e5:
        raise SourceError(url, f"has an interval_ms of {interval_ms:g}")
    columns = tuple(Column.of(i, name, units) for i, (name, units) in enumerate(sensors))
    return JsonTable(path, columns, tuple(rows), rate_hz=1000 / interval_ms)


def _columns_of(url: str, document: Any) -> dict[str, list[Any]]:
    """The columns where the document is an object of lists of figures that are equally long.

    Raises SourceError where a sensor's list is shorter than the others: nothing tells which of its figures belong to
    which of theirs.
    """
    if not isinstance(document, Mapping):
        return {}
    lists = {str(name): one for name, one in document.items() if isinstance(one, list) and one}
    flat = {name: one for name, one in lists.items() if not isinstance(one[0], list | Mapping)}
    longest = max(map(len, flat.values()), default=0)
    if longest < 2 or len(flat) < 3:
        return {}
    for name, one in flat.items():
        if 1 < len(one) < longest and Column.of(0, name).role():
            raise SourceError(
                url,
                f"has {len(one)} figures of {name}, and {longest} of others: write each sensor as an object of its own "
                'with its times, {"acc": {"t": [...], "x": [...], ...}, "gyro": {"t": [...], ...}}',
            )
    return {name: one for name, one in flat.items() if len(one) == longest}


def _sensor_lists(url: str, value: Any, depth: int) -> dict[str, list[dict[str, Any]]]:
    """Lists of one object, or of each packet of a list, that are a sensor each, with its own times; none else."""
    packets = value if isinstance(value, list) else [value]
    if depth > DEEPEST or not all(isinstance(one, Mapping) for one in packets):
        return {}
    lists: dict[str, list[dict[str, Any]]] = {}
    for packet in packets:
        for name, one in packet.items():
            columns = _columns_of(url, one) if isinstance(one, Mapping) else {}
            if columns:
                one = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
            if isinstance(one, list) and one and all(isinstance(each, Mapping) for each in one):
                lists.setdefault(str(name), []).extend(_flat(each, str(name), 0) for each in one)
    if are_sensors(lists):
        return lists
    inner = (_sensor_lists(url, one, depth + 1) for packet in packets[:1] for one in packet.values())
    return next(filter(None, inner), {})


def _object_lists(value: Any, depth: int) -> Iterator[list[Any]]:
    """Each list of objects in a document, from the outside in; not those within its objects."""
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        yield value
    elif isinstance(value, Mapping) and depth < DEEPEST:
        for one in value.values():
            yield from _object_lists(one, depth + 1)


def _packet(url: str, value: Any) -> list[dict[str, Any]]:
    """One object as rows: as many as its longest list of objects has, each with what stands beside the lists.

    Raises SourceError where the lists of two sensors are not equally long, and have no times.
    """
    if not isinstance(value, Mapping):
        return [{}]
    lists: dict[str, list[Any]] = {}
    beside: dict[str, Any] = {}
    for name, one in value.items():
        if isinstance(one, list) and one and isinstance(one[0], Mapping):
            lists[str(name)] = one
        else:
            beside.update(_flat(one, str(name), 0))
    if len(lists) == 0 and len(value) == 1 and isinstance(only := next(iter(value.values())), Mapping):
        return _packet(url, only)  # {"acc": {"Timestamp": ..., "ArrayAcc": [...]}}, Movesense's older form
    count = max(map(len, lists.values()), default=1)
    if len(set(map(len, lists.values()))) > 1:
        _refuse_unequal(url, lists)
    rows = []
    for i in range(count):
        row = dict(beside)
        for name, one in lists.items():
            if i < len(one):
                row.update(_flat(one[i], name, 0))
        rows.append(row)
    return rows


def _refuse_unequal(url: str, lists: Mapping[str, list[Any]]) -> None:
    """Raises SourceError where those of two sensors are not equally long."""
    lengths = {
        name: len(one) for name, one in lists.items() if any(Column.of(0, f"{name}.{key}").role() for key in one[0])
    }
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{length} of {name}" for name, length in lengths.items())
        raise SourceError(url, f"holds packets with {told}, and nothing tells their times: write a time beside each")


def _object(line: str) -> dict[str, Any] | None:
    try:
        value = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, UnicodeEncodeError, RecursionError):
        return None
    return _flat(value, "", 0) if isinstance(value, Mapping) else None


def _flat(value: Any, name: str, depth: int) -> dict[str, Any]:
    """``{"acc": {"x": 1}}`` and ``{"acc": [1, 2, 3]}`` as ``{"acc.x": 1, ...}``."""
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == len(AXES):
        value = dict(zip(AXES, value, strict=True))
    if not isinstance(value, Mapping) or depth > DEEPEST:
        return {name: value}
    flat: dict[str, Any] = {}
    for key, one in value.items():
        flat.update(_flat(one, f"{name}.{key}" if name else str(key), depth + 1))
    return flat


def _lines(path: Path) -> Iterator[str]:
    with io.TextIOWrapper(open_regular(path), encoding="utf-8-sig", errors="replace") as file:
        yield from bounded_lines(file)
