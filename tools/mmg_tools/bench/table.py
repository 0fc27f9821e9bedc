"""Figures: what is promised, what was measured, and the lines that say so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Reporter = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Row:
    """value: compared with the figure's goal where ``held``. measured: what it was made of, by names that end in an
    underscore and the unit."""

    what: str
    value: float
    measured: Mapping[str, float]
    held: bool = True


@dataclass(frozen=True, slots=True)
class Figure:
    """title: what the value is, with its unit where it is no ratio. most: the goal is the most that it may be, else the
    least. digits: of the value, behind the point."""

    name: str
    title: str
    goal: float
    most: bool
    rows: tuple[Row, ...]
    digits: int = 2

    def reaches(self, row: Row) -> bool | None:
        """Whether the row reaches the goal, as measured and not as printed; None where it is held to none."""
        if not row.held:
            return None
        return row.value <= self.goal if self.most else row.value >= self.goal

    @property
    def missed(self) -> tuple[str, ...]:
        """The rows that do not reach the goal."""
        return tuple(row.what for row in self.rows if self.reaches(row) is False)


def describe(figures: Sequence[Figure], machine: Mapping[str, str]) -> list[str]:
    """The lines that the docs quote."""
    lines = [f"{name}: {text}" for name, text in machine.items()]
    width = max((len(row.what) for figure in figures for row in figure.rows), default=0)
    for figure in figures:
        bound = "at most" if figure.most else "at least"
        lines += ["", f"{figure.name}: {figure.title}; goal {bound} {figure.goal:g}"]
        lines += [_line(figure, row, width) for row in figure.rows]
    missed = [f"{figure.name} ({', '.join(figure.missed)})" for figure in figures if figure.missed]
    return [*lines, "", f"missed: {'; '.join(missed)}" if missed else "every goal is reached"]


def as_json(figures: Sequence[Figure], machine: Mapping[str, str]) -> dict[str, Any]:
    """The same as one object."""
    return {
        "machine": dict(machine),
        "figures": {
            figure.name: {
                "title": figure.title,
                "goal": figure.goal,
                "bound": "at most" if figure.most else "at least",
                "rows": [
                    {"what": row.what, "value": row.value, "reached": figure.reaches(row), **row.measured}
                    for row in figure.rows
                ],
            }
            for figure in figures
        },
        "reached": not any(figure.missed for figure in figures),
    }


def _line(figure: Figure, row: Row, width: int) -> str:
    verdict = {True: "reached", False: "MISSED", None: ""}[figure.reaches(row)]
    parts = [(*name.rpartition("_"), value) for name, value in row.measured.items()]
    details = ", ".join(f"{name.replace('_', ' ')} {value:.4g} {unit}" for name, _, unit, value in parts)
    return f"  {row.what:<{width}} {row.value:8.{figure.digits}f}  {verdict:<8} {details}".rstrip()
