"""The tracks of an MP4, MOV, M4A or 3GP file, by its boxes (ISO 14496-12), without a library and without decoding.

Every length is held against what is around it: a box never reaches beyond its parent, nor a table beyond its box.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from mmg_device_profiles.regular_file import open_regular

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_BOXES = 100_000
MOST_TABLE_BYTES = 64 << 20
# Two days of a GoPro's telemetry, a sample a second.
MOST_SAMPLES = 200_000
MOST_EDITS = 1000
NEVER = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
"""The media time of an edit that shows nothing, in its two widths."""

Span = tuple[int, int]
"""Where a box's contents begin and end in the file."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of a track: where it is in the file, and when, in seconds of the film, and for how long."""

    place: int
    size: int
    time_s: float
    duration_s: float


@dataclass(frozen=True, slots=True)
class Track:
    """handler: ``vide``, ``soun``, ``meta`` or another. format: its samples', such as ``avc1`` or ``gpmd``.

    shift_s: when the media's time 0 is shown, in seconds of the film. first_s: when its first sample is.
    """

    handler: str
    format: str
    timescale: int
    shift_s: Fraction
    first_s: Fraction
    table: Span

    def samples(self, file: BinaryIO) -> list[Sample]:
        """Its samples in order, those that the tables tell all of."""
        tables = dict(boxes(file, *self.table))
        sizes = _sizes(file, tables.get("stsz"))
        times, durations = _times(file, tables.get("stts"), len(sizes))
        places = _places(file, tables, sizes)
        count = min(len(sizes), len(times), len(places))
        start, scale = float(self.shift_s), self.timescale
        return [
            Sample(int(places[index]), int(sizes[index]), start + times[index] / scale, durations[index] / scale)
            for index in range(count)
        ]


def boxes(file: BinaryIO, begin: int, end: int) -> Iterator[tuple[str, Span]]:
    """The boxes from ``begin`` to ``end``: their types, and where their contents are."""
    place = begin
    for _ in range(MOST_BOXES):
        if place + 8 > end:
            return
        file.seek(place)
        header = file.read(16)
        if len(header) < 8:
            return
        size, name = struct.unpack_from(">I4s", header)
        inside = place + 8
        if size == 1 and len(header) == 16:
            size, inside = struct.unpack_from(">Q", header, 8)[0], place + 16
        elif size == 0:
            size = end - place
        if size < inside - place:
            return
        yield name.decode("latin-1"), (inside, min(place + size, end))
        place += size


def read_tracks(path: Path) -> list[Track]:
    """The tracks that the file's index describes, none where there is no index. Raises OSError."""
    with open_regular(path) as file:
        for name, span in boxes(file, 0, path.stat().st_size):
            if name == "moov":
                return list(_tracks(file, span))
    return []


def film_begin_s(tracks: Sequence[Track]) -> Fraction:
    """When the first picture or sound is shown: what FFmpeg takes for the start of the container."""
    return min((track.first_s for track in tracks if track.handler in ("vide", "soun")), default=Fraction(0))


def _tracks(file: BinaryIO, moov: Span) -> Iterator[Track]:
    scale = 0
    for name, span in boxes(file, *moov):
        if name == "mvhd":
            scale = _timescale(file, span)
        if name == "trak" and (track := _track(file, span, scale)):
            yield track


def _track(file: BinaryIO, trak: Span, film_scale: int) -> Track | None:
    inside = dict(boxes(file, *trak))
    media = dict(boxes(file, *inside.get("mdia", (0, 0))))
    table = dict(boxes(file, *media.get("minf", (0, 0)))).get("stbl")
    if table is None or "hdlr" not in media or "mdhd" not in media:
        return None
    tables = dict(boxes(file, *table))
    timescale = _timescale(file, media["mdhd"])
    if timescale <= 0:
        return None
    edits = dict(boxes(file, *inside.get("edts", (0, 0)))).get("elst")
    delay_s, skipped = _edits(file, edits, film_scale)
    shift_s = delay_s - Fraction(skipped or 0, timescale)
    first = shift_s + Fraction(_first_offset(file, tables.get("ctts")), timescale)
    return Track(
        handler=_word(file, media["hdlr"], 8),
        format=_word(file, tables.get("stsd", (0, 0)), 12),
        timescale=timescale,
        shift_s=shift_s,
        # What an edit cuts off is not shown: then the film of this track begins with the edit.
        first_s=first if skipped is None else max(first, delay_s),
        table=table,
    )


def _timescale(file: BinaryIO, span: Span) -> int:
    """Of a movie's or a media's header, the ticks a second."""
    data = _table(file, span)
    place = 20 if data[:1] == b"\1" else 12
    return int.from_bytes(data[place : place + 4], "big")


def _word(file: BinaryIO, span: Span, place: int) -> str:
    return _table(file, span)[place : place + 4].decode("latin-1")


def _edits(file: BinaryIO, span: Span | None, film_scale: int) -> tuple[Fraction, int | None]:
    """How long nothing is shown at first, in seconds, and the media's time that is shown then; None without edits."""
    delay_s = Fraction(0)
    data = _table(file, span)
    layout = struct.Struct(">QQI" if data[:1] == b"\1" else ">III")
    for place in range(8, min(len(data), MOST_EDITS * layout.size) - layout.size + 1, layout.size):
        length, media_time, _ = layout.unpack_from(data, place)
        if media_time not in NEVER:
            return delay_s, media_time
        delay_s += Fraction(length, film_scale) if film_scale else 0
    return delay_s, None


def _first_offset(file: BinaryIO, span: Span | None) -> int:
    """How much later than it is decoded the first sample is shown."""
    data = _table(file, span)
    return int.from_bytes(data[12:16], "big", signed=True) if len(data) >= 16 else 0


def _sizes(file: BinaryIO, span: Span | None) -> NDArray[np.uint32]:
    data = _table(file, span)
    if len(data) < 12:
        return np.empty(0, np.uint32)
    same, count = struct.unpack_from(">II", data, 4)
    if same:
        return np.full(min(count, MOST_SAMPLES), same, np.uint32)
    return _numbers(data, 12, ">u4")[: min(count, MOST_SAMPLES)].astype(np.uint32)


def _times(file: BinaryIO, span: Span | None, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """When each sample begins and how long it lasts, in ticks of the track."""
    runs = _numbers(_table(file, span), 8, ">u4")
    runs = runs[: len(runs) // 2 * 2].reshape(-1, 2).astype(np.int64)
    # No more samples than there are sizes, however many a damaged run says.
    left = np.maximum(most - (np.cumsum(runs[:, 0]) - runs[:, 0]), 0)
    durations = np.repeat(runs[:, 1], np.minimum(runs[:, 0], left))
    return np.cumsum(durations) - durations, durations


def _places(file: BinaryIO, tables: dict[str, Span], sizes: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Where each sample is in the file, chunk by chunk."""
    wide = "co64" in tables
    table = _table(file, tables.get("co64" if wide else "stco"))
    # Each chunk holds a sample at least.
    chunks = _numbers(table, 8, ">u8" if wide else ">u4")[:MOST_SAMPLES].astype(np.int64)
    runs = _numbers(_table(file, tables.get("stsc")), 8, ">u4").astype(np.int64)
    runs = runs[: len(runs) // 3 * 3].reshape(-1, 3)
    if len(runs) == 0:
        return np.empty(0, np.int64)
    run = np.searchsorted(runs[:, 0] - 1, np.arange(len(chunks)), side="right") - 1
    counts = np.minimum(runs[np.maximum(run, 0), 1], len(sizes))
    ends = np.minimum(np.cumsum(counts), len(sizes))
    places = np.empty(int(ends[-1]) if len(ends) else 0, np.int64)
    begin = 0
    for place, end in zip(chunks.tolist(), ends.tolist(), strict=True):
        inside = sizes[begin:end].astype(np.int64)
        places[begin:end] = place + np.cumsum(inside) - inside
        begin = end
    return places


def _numbers(data: bytes, place: int, kind: str) -> NDArray[np.int64]:
    """What a table of numbers holds from ``place`` on."""
    size = np.dtype(kind).itemsize
    return np.frombuffer(data[place : len(data) - max(0, len(data) - place) % size], kind)


def _table(file: BinaryIO, span: Span | None) -> bytes:
    begin, end = span or (0, 0)
    file.seek(begin)
    return file.read(min(end - begin, MOST_TABLE_BYTES))
