"""Which kind of container a file is, by its first bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Container = Literal["mp4", "matroska", "vrs"]

# What an MP4 or MOV begins with: its type, or, in old ones, any of these boxes.
FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
MATROSKA, VRS = b"\x1a\x45\xdf\xa3", b"VisionRe"


def container_of(path: Path) -> Container | None:
    """Which of these a file is by its first bytes: MP4 (MOV, M4A, 3GP), Matroska (WebM), VRS. Raises OSError."""
    with path.open("rb") as file:
        start = file.read(12)
    size = int.from_bytes(start[:4], "big")
    # A table's header may hold such a word at this place, and then a size of a gigabyte before it.
    if start[4:8] in FIRST_BOXES and (size < 2 or 8 <= size <= path.stat().st_size):
        return "mp4"
    if start.startswith(MATROSKA):
        return "matroska"
    return "vrs" if start.startswith(VRS) else None
