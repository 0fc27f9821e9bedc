"""Labels into a file, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from mmg.atomic_write import atomic_write
from mmg.labels import audacity, table
from mmg.labels.label import Label

FORMATS: Mapping[str, Callable[[Iterable[Label]], str]] = {"csv": table.written, "audacity": audacity.written}


def write_labels(labels: Iterable[Label], path: Path, form: str = "csv") -> None:
    """Write them as one of ``FORMATS``, by their start. Raises OSError."""
    with atomic_write(path) as stream:
        stream.write(FORMATS[form](sorted(labels)).encode())
