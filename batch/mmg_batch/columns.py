"""The two tables of a batch: their columns, and Parquet files of them."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

DECISIONS = pa.schema(
    [
        ("recording", pa.string()),
        ("bundle", pa.string()),
        ("subset", pa.string()),
        ("hop", pa.int64()),
        ("t_s", pa.float64()),
        ("label", pa.string()),
        ("confidence", pa.float32()),
        ("truth", pa.string()),
        ("scores", pa.map_(pa.string(), pa.float32())),
        ("states", pa.map_(pa.string(), pa.string())),
        ("losses", pa.map_(pa.string(), pa.int64())),
    ]
)
"""One row a decision. losses: the samples of each sensor that were lost or refused since the start."""

FAULT = pa.struct(
    [
        ("sensor", pa.string()),
        ("state", pa.string()),
        ("reason", pa.string()),
        ("hops", pa.int64()),
        ("first_s", pa.float64()),
    ]
)
RECORDINGS = pa.schema(
    [
        ("recording", pa.string()),
        ("person", pa.string()),
        ("board", pa.string()),
        ("bundle", pa.string()),
        ("bundle_digest", pa.string()),
        ("subset", pa.string()),
        ("digest", pa.string()),
        ("bytes", pa.int64()),
        ("span_s", pa.float64()),
        ("sensors", pa.list_(pa.string())),
        ("decisions", pa.int64()),
        ("judged", pa.int64()),
        ("correct", pa.int64()),
        ("accuracy", pa.float64()),
        ("losses", pa.map_(pa.string(), pa.int64())),
        ("faults", pa.list_(FAULT)),
        ("notes", pa.list_(pa.string())),
        ("problem", pa.string()),
    ]
)
"""One row for a recording, a bundle and a subset. judged, correct: hops whose truth is known, and that are equal to it.
problem: why nothing, or not all, was decided; null where all was."""

STATE, FINGERPRINT = b"mmg.state", b"mmg.fingerprint"
"""Metadata of a file of ``RECORDINGS``, from which a later run knows that nothing has changed."""
ROWS = 10_000
"""In a row group: what a worker holds of a long recording."""


class DecisionsFile:
    """Rows of ``DECISIONS`` in, the bytes of a Parquet file out."""

    def __init__(self) -> None:
        self._sink = io.BytesIO()
        self._writer = pq.ParquetWriter(self._sink, DECISIONS, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any]) -> None:
        """The next row."""
        self._rows.append(row)
        if len(self._rows) >= ROWS:
            self._write()

    def close(self) -> bytes:
        """The file, whole."""
        self._write()
        self._writer.close()
        return self._sink.getvalue()

    def _write(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, DECISIONS))
            self._rows = []


def recordings_file(rows: Sequence[Mapping[str, Any]], state: str, fingerprint: str) -> bytes:
    """A Parquet file of rows of ``RECORDINGS``."""
    return with_metadata(pa.Table.from_pylist(list(rows), RECORDINGS), state, fingerprint)


def with_metadata(table: pa.Table, state: str, fingerprint: str) -> bytes:
    """A Parquet file of the table that holds both."""
    sink = io.BytesIO()
    noted = table.replace_schema_metadata({STATE: state, FINGERPRINT: fingerprint})
    pq.write_table(noted, sink, compression="zstd")
    return sink.getvalue()


def storable(text: str) -> str:
    """As UTF-8 can hold it: a byte of a file's name that is none as ``\\xff``."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def pairs(values: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """A map's cell."""
    return list(values.items()) if isinstance(values, Mapping) else list(values)
