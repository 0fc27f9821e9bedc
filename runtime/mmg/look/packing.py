"""Arrays in the page: one block of bytes, compressed, and a table of where each array lies in it."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Packer:
    """Takes arrays by name. Whole numbers of two bytes are laid down as a plane of low bytes and one of high bytes,
    which compresses better."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0
        self.table: dict[str, dict[str, Any]] = {}

    def add(self, name: str, array: NDArray[Any]) -> str:
        """An array of uint8 or int16, flattened; returns its name."""
        flat = np.ascontiguousarray(array).reshape(-1)
        if flat.dtype == np.int16:
            data = np.ascontiguousarray(flat.astype("<i2").view(np.uint8).reshape(-1, 2).T).tobytes()
        elif flat.dtype == np.uint8:
            data = flat.tobytes()
        else:
            raise TypeError(f"{name}: is {flat.dtype}, and only uint8 and int16 can be packed")
        self.table[name] = {"type": flat.dtype.name, "at": self._length, "count": len(flat)}
        self._parts.append(data)
        self._length += len(data)
        return name

    def encoded(self) -> str:
        """All of it, deflated (RFC 1950), as base64."""
        return base64.b64encode(zlib.compress(b"".join(self._parts), 9)).decode()
