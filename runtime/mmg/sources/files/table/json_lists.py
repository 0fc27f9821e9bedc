"""Lists of a JSON document that are one sensor each, with its own clock and rate, joined on time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mmg.sources.columns import Column, find_time

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONGEST_GAP_STEPS = 5
"""Between two samples of the slower sensor, across which it is interpolated, in its own usual steps."""


def are_sensors(lists: Mapping[str, Sequence[Mapping[str, Any]]]) -> bool:
    """Whether two or more hold acceleration, gravity or turning, each beside its own rising times."""
    return sum(_is_inertial(rows[0]) and _times_of(rows) is not None for rows in lists.values()) > 1


def joined(lists: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """The rows of the longest list of a sensor, with the others' figures interpolated to their times.

    A row that another has nothing near on both sides has None in its place. What has no times is left out.
    """
    timed = {name: (rows, times) for name, rows in lists.items() if (times := _times_of(rows)) is not None}
    lead = max((name for name in timed if _is_inertial(timed[name][0][0])), key=lambda name: len(timed[name][0]))
    rows, at = timed.pop(lead)
    columns: dict[str, list[Any]] = {name: [row.get(name) for row in rows] for name in rows[0]}
    for others, times in timed.values():
        after = np.clip(times.searchsorted(at), 1, len(times) - 1)
        longest = LONGEST_GAP_STEPS * float(np.median(np.diff(times)))
        near = (at >= times[0]) & (at <= times[-1]) & (times[after] - times[after - 1] <= longest)
        for name in others[0]:
            values = _figures(others, name)
            if values is not None and Column.of(0, name).role():
                placed = np.interp(at, times, values).tolist()
                columns[name] = [value if is_near else None for value, is_near in zip(placed, near, strict=True)]
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def _is_inertial(row: Mapping[str, Any]) -> bool:
    return any(Column.of(0, name).role() for name in row)


def _times_of(rows: Sequence[Mapping[str, Any]]) -> NDArray[np.float64] | None:
    found = find_time([Column.of(i, name) for i, name in enumerate(rows[0])])
    times = _figures(rows, found[0].name) if found else None
    return times if times is not None and len(times) > 1 and (np.diff(times) > 0).all() else None


def _figures(rows: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.float64] | None:
    cells = [row.get(name) for row in rows]
    return np.array(cells, np.float64) if all(type(cell) in (int, float) for cell in cells) else None
