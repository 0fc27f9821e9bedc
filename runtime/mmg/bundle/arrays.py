"""Arrays in a file of the bundle, as ``np.savez`` writes them: not compressed, nothing pickled, no header evaluated."""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmg.bounded_zip import BoundedZip

# The header that np.savez writes, and no other: numpy's own reader evaluates it as Python.
MAGIC = b"\x93NUMPY\x01\x00"
HEADER = re.compile(
    rb"\{'descr': '(<f4|<i4|\|u1)', 'fortran_order': False, 'shape': \((\d{1,9}(?:, \d{1,9}){0,8}),?\), \} *\n"
)

LIST_LIMIT_BYTES = 1 << 20
"""Of the zip's list of entries: some thousand arrays."""

Arrays = dict[str, NDArray[Any]]


def write_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The file's bytes, the same for the same arrays."""
    stream = io.BytesIO()
    np.savez(stream, **{name: np.ascontiguousarray(array) for name, array in arrays.items()})  # type: ignore[arg-type]
    return stream.getvalue()


def read_arrays(data: bytes) -> Arrays:
    """The arrays by their names: float32, int32 or uint8. Raises ValueError and what zipfile raises."""
    with BoundedZip(data, LIST_LIMIT_BYTES) as archive:
        entries = archive.infolist()
        if len({entry.filename for entry in entries}) < len(entries):
            raise ValueError("holds an array twice")
        if sum(entry.file_size for entry in entries) > len(data):
            raise ValueError("is compressed or damaged: np.savez writes it")
        for entry in entries:
            if entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{entry.filename!r} is compressed: np.savez writes it, not np.savez_compressed")
        return {entry.filename.removesuffix(".npy"): _read_array(archive.read(entry), entry) for entry in entries}


def _read_array(data: bytes, entry: zipfile.ZipInfo) -> NDArray[Any]:
    begin = len(MAGIC) + 2
    end = begin + int.from_bytes(data[len(MAGIC) : begin], "little")
    header = HEADER.fullmatch(data[begin:end])
    if not data.startswith(MAGIC) or header is None:
        raise ValueError(f"{entry.filename!r} is not a float32, int32 or uint8 array as np.savez writes it")
    dtype, shape = np.dtype(header[1].decode()), tuple(map(int, header[2].split(b",")))
    if len(data) - end != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{entry.filename!r} has {len(data) - end} bytes, which is not {list(shape)} {dtype}")
    return np.frombuffer(data, dtype, offset=end).reshape(shape)


def take(arrays: Arrays, name: str, shape: tuple[int | None, ...], dtype: str) -> NDArray[Any]:
    """Remove an array that must have this shape; None is a size that is free, and at least 1. Raises ValueError."""
    array = arrays.pop(name, None)
    if array is None:
        raise ValueError(f"{name!r} is missing")
    fits = len(array.shape) == len(shape) and all(
        have >= 1 if want is None else have == want for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits or array.dtype != dtype:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{name!r} is {list(array.shape)} {array.dtype}, and must be [{wanted}] {dtype}")
    return array
