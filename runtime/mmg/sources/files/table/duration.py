"""How long a table lasts that is not read to its end."""

from __future__ import annotations

from mmg_device_profiles.regular_file import open_regular

from mmg.sources.files.table.devices import last_rows
from mmg.sources.files.table.json import JsonTable
from mmg.sources.files.table.layout import Layout
from mmg.sources.files.table.log import LogTable
from mmg.sources.files.table.stamps import UNREADABLE
from mmg.sources.files.table.text import TextTable

SIZED_BYTES = 262_144


def tail_s(table: TextTable | JsonTable | LogTable, layout: Layout, begin_ns: int) -> float:
    """From the first stamp to the last that the end of the file holds; 0 where it tells none."""
    if layout.stamps is None:
        return 0.0
    for row in reversed(last_rows(table)):
        try:
            return (layout.stamps.read(row) - begin_ns) / 1e9
        except UNREADABLE:
            continue
    return 0.0


def guess_s(table: TextTable | JsonTable | LogTable, read_s: float, rows: int) -> float:
    """From the size of the file, and that of its first lines."""
    with open_regular(table.path) as file:
        head = file.read(SIZED_BYTES)
    row_bytes = len(head) / max(head.count(b"\n"), 1)
    return read_s * table.path.stat().st_size / (row_bytes * rows)
