"""Zip archives of strangers: the list of entries is bounded before it is read.

The list stands at an archive's end, and zipfile reads it whole and makes an object of each entry: one of 100 MB takes
650 MiB and 10 s before the first entry can be looked at.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

from mmg_device_profiles.regular_file import open_regular

ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    IndexError,
    OverflowError,
)
"""What zipfile raises for damage: RuntimeError for encryption, ValueError for names that are not UTF-8, IndexError for
extra fields that are cut."""


class BoundedZip(zipfile.ZipFile):
    """An archive whose list of entries takes ``most_bytes`` at most. Opening raises as ``ZIP_ERRORS`` says."""

    def __init__(self, place: Path | bytes, most_bytes: int) -> None:
        raw = io.BytesIO(place) if isinstance(place, bytes) else open_regular(place).detach()
        # The archive as a file; reading entries moves its place and does not mind it.
        self.stream = _Stream(raw)
        self.stream.most_bytes = most_bytes
        try:
            super().__init__(self.stream)
        except BaseException:
            self.stream.close()
            raise
        self.stream.most_bytes = None

    def close(self) -> None:
        """Let go of the file too. Python asks it also of one that could not be opened."""
        super().close()
        if hasattr(self, "stream"):
            self.stream.close()


class _Stream(io.BufferedReader):
    """A file of which no more than ``most_bytes`` can be read at once, as long as it is not None.

    While it looks for the list of entries, zipfile reads 64 KiB at most; the list it reads at once.
    """

    most_bytes: int | None = None

    def read(self, size: int | None = -1) -> bytes:
        if self.most_bytes is None:
            return super().read(size)
        if size is None or size < 0:
            size = self.most_bytes + 1
        if size > self.most_bytes + 1:
            raise ValueError(f"its list of entries has {size} bytes, and {self.most_bytes} can be")
        return super().read(size)
