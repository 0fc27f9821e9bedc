"""The records of a recording's file, as far as they can be read: after what is damaged too, and up to a cut."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from mmg_device_profiles.regular_file import open_regular

from mmg.errors import SourceError, SourceNotFound
from mmg.recording import schemas

LARGEST_RECORD = 128 << 20
"""In bytes: a chunk of mmg ends with the message that makes it more than 64 MiB, and damage may promise more than there
is memory."""
LONGEST_TOPIC = 1000
HEAD, CHANNEL_HEAD, MESSAGE_HEAD = struct.Struct("<BQ"), struct.Struct("<H2xI"), struct.Struct("<H4xQ8x")
"""What a record begins with, its code and its length, and a channel and a message then."""
CHANNEL, MESSAGE = 4, 5
# A chunk of MCAP: its code, its length, two times, the size and checksum of what is in it, then how it is compressed.
CHUNK, COMPRESSED_AT, COMPRESSED = 6, 37, b"\x04\0\0\0zstd"
REST = 44
"""What of a chunk's length is not its compressed data."""
BLOCK = 1 << 20


class Record(NamedTuple):
    """A message. topic: of its channel. stamp_ns: ns since 1970."""

    topic: str
    stamp_ns: int
    data: bytes


@dataclass
class Damage:
    """What a file lacks. cut: it ends before its end. chunks: of MCAP, a second of a sensor each, that cannot be read.

    steps: of the run that lack samples for that, and are left out.
    """

    cut: bool = False
    chunks: int = 0
    steps: int = 0

    def notes(self, path: Path) -> list[str]:
        """In a line each."""
        cut = [f"{path.name} is cut: it was not finished, and ends with what was on the disk"] if self.cut else []
        lost = f"about {self.chunks} s of it" if self.chunks else "some of its steps"
        told = f"{path.name} is damaged: {lost} cannot be read and are left out"
        return cut + [told] * bool(self.chunks or self.steps)


def read_records(path: Path, damage: Damage) -> Iterator[Record]:
    """Every message that can be read, in the order of writing. What is not there goes to ``damage``."""
    from mcap.records import Chunk, Metadata

    topics: dict[int, str] = {}
    for record in file_records(path, damage):
        if isinstance(record, Metadata) and record.name == schemas.METADATA:
            # MCAP tells topics in the first chunk alone, which may be the damaged one.
            with suppress(ValueError, AttributeError):
                topics |= {int(key): topic for key, topic in json.loads(record.metadata.get("topics", "{}")).items()}
        if not isinstance(record, Chunk):
            continue
        try:
            yield from _messages(record, topics)
        except MemoryError:
            raise
        except Exception:
            # Whatever zstandard or a broken length raises: what is damaged of a chunk is left out, and counted.
            damage.chunks += 1


def _messages(chunk: Any, topics: dict[int, str]) -> Iterator[Record]:
    """Its messages one by one, as millions may be in it; ``topics`` learns its channels. Raises as ``_unpacked``, and
    ValueError, struct.error."""
    data, at, left = _unpacked(chunk), 0, len(chunk.data)
    if chunk.uncompressed_crc and zlib.crc32(data) != chunk.uncompressed_crc:
        raise ValueError("a chunk of another checksum")
    while at < len(data):
        code, length = HEAD.unpack_from(data, at)
        begin, at = at + HEAD.size, at + HEAD.size + length
        if at > len(data):
            raise ValueError(f"a record of {length} bytes")
        left -= 1
        if left < 0:  # each has a stamp of its own, which takes a byte, however it is packed
            raise ValueError(f"more records than the {len(chunk.data)} bytes that they are packed in")
        if code == CHANNEL:
            channel, size = CHANNEL_HEAD.unpack_from(data, begin)
            if size > LONGEST_TOPIC:
                raise ValueError(f"a topic of {size} bytes")
            begin += CHANNEL_HEAD.size
            topics[channel] = data[begin : begin + size].decode()
        elif code == MESSAGE:
            channel, stamp_ns = MESSAGE_HEAD.unpack_from(data, begin)
            if channel in topics:
                yield Record(topics[channel], stamp_ns, data[begin + MESSAGE_HEAD.size : at])


def _unpacked(chunk: Any) -> bytes:
    """What is in it. Raises ValueError where that is more than a record may hold, by MCAP's word or the compressor's,
    and whatever the compressor does."""
    unpacked: int = chunk.uncompressed_size
    if chunk.compression == "zstd":
        import zstandard

        unpacked = max(unpacked, zstandard.frame_content_size(chunk.data))
    if unpacked > LARGEST_RECORD:
        raise ValueError(f"a chunk of {unpacked} bytes, {chunk.compression}")
    data: bytes = chunk.data
    if chunk.compression == "zstd":
        data = zstandard.decompress(chunk.data, chunk.uncompressed_size)
    elif chunk.compression == "lz4":
        import lz4.frame  # type: ignore[import-untyped]

        # Whatever lz4 itself tells of its size binds it to nothing.
        data = lz4.frame.LZ4FrameDecompressor().decompress(chunk.data, max_length=unpacked + 1)
        if len(data) != unpacked:
            raise ValueError(f"a chunk of other than {unpacked} bytes, lz4")
    elif chunk.compression:
        raise ValueError(f"a chunk compressed by {chunk.compression}")
    return data


def file_records(path: Path, damage: Damage) -> Iterator[Any]:
    """The records of a file, chunks as they are; ``damage.cut`` where they end before its end.

    Raises SourceNotFound, SourceError.
    """
    damage.cut = True
    try:
        with open_regular(path) as file:
            start: int | None = 0
            while start is not None:
                file.seek(start)
                whole = _Whole(start + 1)
                yield from _records_from(file, whole, damage)
                start = _next_chunk(file, whole.end) if damage.cut else None
                damage.chunks += start is not None
    except FileNotFoundError as error:
        raise SourceNotFound(str(path), f"there is no file {path.absolute()}") from error
    except OSError as error:
        raise SourceError(str(path), f"cannot be read: {error.strerror}") from error


@dataclass
class _Whole:
    """end: of what is surely as it was written, in bytes from the file's beginning."""

    end: int


class _Bounded:
    """A file of which none reads more at once than a record may hold: a damaged length in one asks for anything."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        """Raises ValueError where that is more."""
        if size > LARGEST_RECORD:
            raise ValueError(f"a field of {size} bytes")
        return self._file.read(size)


def _records_from(file: IO[bytes], whole: _Whole, damage: Damage) -> Iterator[Any]:
    """The records from this place on, until one is damaged or there is none."""
    from mcap.exceptions import McapError
    from mcap.records import Chunk
    from mcap.stream_reader import StreamReader

    begin = file.tell()
    bounded: Any = _Bounded(file)
    reader = StreamReader(bounded, skip_magic=begin > 0, emit_chunks=True, record_size_limit=LARGEST_RECORD)
    try:
        for record in reader.records:
            if isinstance(record, Chunk):
                # A length that is damaged, its own or that of its data, passes over other chunks.
                length, end = REST - 4 + len(record.compression) + len(record.data), file.tell()
                file.seek(begin + 1)
                if length != int.from_bytes(file.read(8), "little") or end != begin + 9 + length:
                    return
                whole.end = file.seek(end)
            yield record
            begin = file.tell()
        damage.cut = False
    except (McapError, ValueError, struct.error, KeyError):
        return  # where the next one begins is not known


def _next_chunk(file: IO[bytes], start: int) -> int | None:
    """Where the first chunk at or after this place begins, known by what every chunk of mmg holds; None without one."""
    at, size = start, file.seek(0, os.SEEK_END)
    while True:
        file.seek(at)
        block = file.read(BLOCK)
        last = max(len(block) - 8, 0)  # the length of its data comes after it
        found = block.find(COMPRESSED, COMPRESSED_AT, last)
        while found >= 0:
            begin = found - COMPRESSED_AT
            [length] = struct.unpack_from("<Q", block, begin + 1)
            [data] = struct.unpack_from("<Q", block, begin + REST + 1)
            # Else it is where the file was cut, or what nobody reads.
            fits = at + begin + 9 + length <= size and length <= LARGEST_RECORD
            if block[begin] == CHUNK and length == REST + data and fits:
                return at + begin
            found = block.find(COMPRESSED, found + 1, last)
        if len(block) < BLOCK:
            return None
        at += BLOCK - REST - 8  # what begins before has been looked at
