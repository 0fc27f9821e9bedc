"""Which sensors a container of several holds, by its index alone: no library is loaded, and nothing is decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from mmg_device_profiles.regular_file import open_regular

Container = Literal["mp4", "matroska", "vrs", "mcap"]
Kind = Literal["signal", "audio", "video"]

# What an MP4 or MOV begins with: its type, or, in old ones, any of these boxes.
FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
MATROSKA, VRS, MCAP = b"\x1a\x45\xdf\xa3", b"VisionRe", b"\x89MCAP0\r\n"
HANDLERS: dict[str, Kind] = {"vide": "video", "soun": "audio"}


def container_of(path: Path) -> Container | None:
    """Which of these a file is by its first bytes: MP4 (MOV, M4A, 3GP), Matroska (WebM), VRS, MCAP. Raises OSError."""
    with open_regular(path) as file:
        start = file.read(12)
    size = int.from_bytes(start[:4], "big")
    # A table's header may hold such a word at this place, and then a size of a gigabyte before it.
    if start[4:8] in FIRST_BOXES and (size < 2 or 8 <= size <= path.stat().st_size):
        return "mp4"
    if start.startswith(MATROSKA):
        return "matroska"
    if start.startswith(MCAP):
        return "mcap"
    return "vrs" if start.startswith(VRS) else None


def kinds_of(path: Path) -> frozenset[Kind]:
    """The kinds of modality that the file can be opened for; none where it is no container that is known here.

    A GoPro's film holds a signal where its telemetry has an IMU. Raises OSError, and SourceError
    for an MCAP file that is no recording of mmg.
    """
    container = container_of(path)
    if container == "mp4":
        return _of_mp4(path)
    if container == "matroska":
        from mmg.sources.files.matroska import track_kinds

        return track_kinds(path)
    if container == "vrs":
        from mmg.sources.files.vrs_header import stream_kinds

        return stream_kinds(path)
    if container == "mcap":
        from mmg.recording.reader import open_recording

        return frozenset(sensor.kind for sensor in open_recording(path).sensors)
    return frozenset()


def _of_mp4(path: Path) -> frozenset[Kind]:
    from mmg.sources.files.gopro import has_imu
    from mmg.sources.files.mp4 import read_tracks

    tracks = read_tracks(path)
    kinds: set[Kind] = {HANDLERS[track.handler] for track in tracks if track.handler in HANDLERS}
    return frozenset(kinds | {"signal"} if has_imu(path, tracks) else kinds)
