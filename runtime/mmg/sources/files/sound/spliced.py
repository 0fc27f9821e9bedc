"""A file seen with some of its bytes replaced, so that a library reads what another wrote wrong."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from mmg_device_profiles.regular_file import open_regular

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Piece: TypeAlias = "bytes | tuple[int, int]"
"""Bytes as they are, or what lies from one place of the file to another."""


class Spliced(io.RawIOBase):
    """The pieces in a row as one file to read. Nothing of the file is held in memory."""

    def __init__(self, path: Path, pieces: Sequence[Piece]) -> None:
        super().__init__()
        self._file = open_regular(path).detach()
        self._pieces = pieces
        sizes = [len(piece) if isinstance(piece, bytes) else piece[1] - piece[0] for piece in pieces]
        self._ends = list(accumulate(sizes))
        self._place = 0

    def readable(self) -> bool:
        """See io.RawIOBase."""
        return True

    def seekable(self) -> bool:
        """See io.RawIOBase."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See io.RawIOBase."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._ends[-1]}[whence]
        self._place = max(0, origin + offset)
        return self._place

    def readinto(self, buffer: WriteableBuffer) -> int:
        """See io.RawIOBase: as many bytes as there are, up to the buffer's size."""
        view = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(view) and (part := self._read(len(view) - filled)):
            view[filled : filled + len(part)] = part
            filled += len(part)
        return filled

    def close(self) -> None:
        """See io.RawIOBase."""
        self._file.close()
        super().close()

    def _read(self, size: int) -> bytes:
        """The next bytes, at most to the end of the piece that they are in."""
        index = bisect_right(self._ends, self._place)
        if index == len(self._pieces):
            return b""
        piece, left = self._pieces[index], self._ends[index] - self._place
        size = min(size, left)
        if isinstance(piece, bytes):
            part = piece[len(piece) - left :][:size]
        else:
            self._file.seek(piece[1] - left)
            part = self._file.read(size)
        self._place += len(part)
        return part
