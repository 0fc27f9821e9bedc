"""What a table is to whoever reads it, whatever it is written in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

from mmg.errors import SourceError
from mmg.sources.columns import Column, find_named

Row: TypeAlias = Sequence[object]
"""Cells: text, or the numbers of JSON, and None where there is none."""


class Table(Protocol):
    """A file as columns and rows, whatever it is written in.

    named: whether the columns have names. rate_hz: of rows without a time, where the file tells. packed: whether rows
    that share a time stamp were taken one after the other. preamble: lines above the header. first: the first row.
    """

    @property
    def path(self) -> Path: ...
    @property
    def columns(self) -> tuple[Column, ...]: ...
    @property
    def named(self) -> bool: ...
    @property
    def rate_hz(self) -> float | None: ...
    @property
    def packed(self) -> bool: ...
    @property
    def preamble(self) -> tuple[str, ...]: ...
    @property
    def first(self) -> tuple[str, ...]: ...

    def rows(self) -> Iterator[Row]: ...
    def is_header(self, row: Row, /) -> bool: ...


def listed(columns: Sequence[Column]) -> str:
    """Their names, for a message."""
    names = [column.name for column in columns]
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")


def named_column(url: str, columns: Sequence[Column], name: str) -> Column:
    """The column that the user names. Raises SourceError."""
    column = find_named(columns, name)
    if column is None:
        raise SourceError(url, f"has no column {name!r}: its columns are {listed(columns)}")
    return column
