"""A table of figures, and its two forms: Markdown to read and JSON to compute with."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmg.printable import as_cell


@dataclass(frozen=True)
class Figure:
    """mean over ``count`` values (seeds, episodes), and their spread: a standard deviation or half an interval."""

    mean: float
    spread: float | None
    count: int


Cell = str | int | float | Figure | None


@dataclass(frozen=True)
class Table:
    """kind: what the data are, simulated, class-paired or real. rows: as long as ``head``; None is what was not
    measured. notes: what a reader must know to read the figures right."""

    name: str
    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    kind: str
    notes: tuple[str, ...] = ()


def over_seeds(values: Sequence[float]) -> Figure:
    """Their mean and sample standard deviation; a single one has no spread."""
    return Figure(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None, len(values))


def plus(names: Iterable[str]) -> str:
    """A subset of modalities as text."""
    return " + ".join(names)


def markdown(tables: Sequence[Table], command: str) -> str:
    """Each table under its title, the command that printed it and what its data are."""
    parts = []
    for table in tables:
        rows = [table.head, *(tuple(as_cell(text(cell)) for cell in row) for row in table.rows)]
        widths = [max(len(row[place]) for row in rows) for place in range(len(table.head))]
        lines = [
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
        ]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        notes = "".join(f"\n{note}" for note in table.notes)
        parts.append(f"## {table.title}\n\n`{command}`\n\nData: {table.kind}.{notes}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def as_json(tables: Sequence[Table], command: str) -> str:
    """The same tables with every digit; a figure is an object with mean, spread and count."""
    described: dict[str, Any] = {"command": command, "tables": {}}
    for table in tables:
        described["tables"][table.name] = {
            "title": table.title,
            "data": table.kind,
            "notes": list(table.notes),
            "rows": [dict(zip(table.head, map(_plain, row), strict=True)) for row in table.rows],
        }
    return json.dumps(described, indent=2, allow_nan=False) + "\n"


def text(cell: Cell) -> str:
    """A cell as it is read: shares with three digits, a dash for what was not measured."""
    if cell is None:
        return "-"
    if isinstance(cell, Figure):
        return f"{cell.mean:.3f}" if cell.spread is None else f"{cell.mean:.3f} ± {cell.spread:.3f}"
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)


def _plain(cell: Cell) -> Any:
    if isinstance(cell, Figure):
        return {"mean": cell.mean, "spread": cell.spread, "count": cell.count}
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
