"""Reads a recording again: its steps as they were, its decisions, marks and signals, also where the file is cut."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from mmg.errors import BackendUnavailable, SourceError, SourceNotFound
from mmg.recording import schemas
from mmg.recording.messages import MarkMessage, StepMessage, Story
from mmg.recording.schemas import SUFFIX
from mmg.recording.sensors import Sensor, unpack
from mmg.runs.step import Step

LARGEST_RECORD = 256 << 20
"""In bytes: a chunk holds a second, and damage may promise more than there is memory."""
PART = re.compile(r"(.+)-(\d{4,})")


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
        lost = f"{path.name} is damaged: about {self.chunks} s of it cannot be read and are left out"
        return cut + [lost] * bool(self.chunks or self.steps)


@dataclass
class RecordingFile:
    """A recording of mmg. ``parts`` are its files, in order; the first is the one that was named.

    origin_ns: on the clock of the steps, from when seconds count. epoch_ns: what turns that clock into ns since 1970.
    notes: lines worth telling; reading adds some.
    """

    parts: tuple[Path, ...]
    sensors: tuple[Sensor, ...]
    metadata: dict[str, str]
    origin_ns: int
    epoch_ns: int
    notes: list[str] = field(default_factory=list)

    def steps(self) -> Iterator[Step]:
        """The steps of the run, in order, as far as the files are whole."""
        story = Story()
        by_topic = {sensor.topic: sensor for sensor in self.sensors}
        for path in self.parts:
            damage, waiting = Damage(), _Waiting(by_topic, self.epoch_ns)
            known = 0
            for record in read_records(path, damage):
                if damage.chunks > known:
                    waiting.clear()  # the steps of these samples may have been in what is damaged
                    known = damage.chunks
                if record.topic in by_topic:
                    waiting.put(record)
                elif record.topic == schemas.STEPS:
                    try:
                        message = msgspec.json.decode(record.data, type=StepMessage)
                        chunks = waiting.take(message)
                    except (ValueError, KeyError, struct.error):
                        waiting.clear()  # its samples were in what is damaged
                        damage.steps += 1
                        continue
                    yield Step(message.now_ns, chunks, story.statuses(message.ports), message.read_as)
            self._tell(damage.notes(path))

    def decisions(self) -> Iterator[dict[str, Any]]:
        """What was decided live: the objects of ``mmg-run --format jsonl``."""
        for path in self.parts:
            for record in read_records(path, Damage()):
                if record.topic == schemas.DECISIONS:
                    yield json.loads(record.data)

    def marks(self) -> list[MarkMessage]:
        """The marks, in the order in which they were set."""
        records = (record for path in self.parts for record in read_records(path, Damage()))
        marks = (record.data for record in records if record.topic == schemas.MARKS)
        return [msgspec.json.decode(data, type=MarkMessage) for data in marks]

    def last_stamp_ns(self) -> int:
        """When the newest message of any kind was, in ns since 1970; the beginning where there is none."""
        from mcap.records import Chunk

        ends = (
            record.message_end_time
            for path in self.parts
            for record in _records(path, Damage())
            if isinstance(record, Chunk)
        )
        return max(ends, default=self.origin_ns + self.epoch_ns)

    def duration_s(self) -> float:
        """From when seconds count to its newest message."""
        return max(self.last_stamp_ns() - self.epoch_ns - self.origin_ns, 0) / 1e9

    def _tell(self, lines: list[str]) -> None:
        self.notes += [line for line in lines if line not in self.notes]


class _Waiting:
    """Messages of samples, until the step comes that puts them together."""

    def __init__(self, by_topic: dict[str, Sensor], epoch_ns: int) -> None:
        self._sensors, self._epoch_ns = {sensor.modality: sensor for sensor in by_topic.values()}, epoch_ns
        self._messages: dict[str, list[tuple[int, bytes]]] = {topic: [] for topic in by_topic}

    def put(self, record: Record) -> None:
        self._messages[record.topic].append((record.stamp_ns, record.data))

    def take(self, message: StepMessage) -> tuple[Any, ...]:
        chunks = []
        for note in message.chunks:
            sensor = self._sensors[note.modality]
            waiting = self._messages[sensor.topic]
            chunks.append(unpack(sensor, note, waiting[: note.messages], message.now_ns, self._epoch_ns))
            del waiting[: note.messages]
        return tuple(chunks)

    def clear(self) -> None:
        for messages in self._messages.values():
            messages.clear()


def open_recording(path: Path) -> RecordingFile:
    """A recording of mmg, and its parts from this one on.

    Raises SourceNotFound, SourceError where it is none, or of a later mmg; BackendUnavailable without ``mcap``.
    """
    metadata = read_metadata(path)
    try:
        sensors = tuple(msgspec.json.decode(metadata["sensors"], type=list[Sensor]))
        origin_ns, epoch_ns = int(metadata["origin_ns"]), int(metadata["epoch_ns"])
    except (KeyError, ValueError) as error:
        raise SourceError(str(path), f"its metadata is damaged: {error}") from error
    return RecordingFile(tuple(_with_later_parts(path, metadata)), sensors, metadata, origin_ns, epoch_ns)


def read_metadata(path: Path) -> dict[str, str]:
    """What a recording of mmg says of itself, without reading on. Raises as ``open_recording``."""
    try:
        from mcap.records import Chunk, Metadata
    except ImportError as error:
        raise BackendUnavailable("mcap", "mcap") from error
    for record in _records(path, Damage()):
        if isinstance(record, Metadata) and record.name == schemas.METADATA:
            found = dict(record.metadata)
            if found.get("schema") != schemas.SCHEMA:
                was = found.get("schema", "no schema")[:40]
                raise SourceError(str(path), f"is of another mmg ({was}): this one reads {schemas.SCHEMA}")
            return found
        if isinstance(record, Chunk):
            break
    raise SourceError(str(path), "is MCAP, and no recording of mmg: it does not say which sensor is which")


def is_later_part(path: Path) -> bool:
    """Whether the part before this one lies beside it: a recording is named by its first. Raises BackendUnavailable."""
    matched = PART.fullmatch(path.stem)
    before = path.with_name(f"{matched[1]}-{int(matched[2]) - 1:04d}{SUFFIX}") if matched and int(matched[2]) else path
    if before == path or not before.is_file():
        return False
    try:
        return read_metadata(before).get("session") == read_metadata(path).get("session")
    except SourceError:
        return False


def _with_later_parts(path: Path, metadata: dict[str, str]) -> Iterator[Path]:
    yield path
    matched = PART.fullmatch(path.stem)
    number = int(matched[2]) if matched else 0
    while matched:
        number += 1
        following = path.with_name(f"{matched[1]}-{number:04d}{SUFFIX}")
        if not following.is_file() or read_metadata(following).get("session") != metadata.get("session"):
            return
        yield following


def read_records(path: Path, damage: Damage) -> Iterator[Record]:
    """Every message that can be read, in the order of writing. What is not there goes to ``damage``."""
    from mcap.records import Channel, Chunk, Message
    from mcap.stream_reader import breakup_chunk

    topics: dict[int, str] = {}
    for record in _records(path, damage):
        inner = [record]
        if isinstance(record, Chunk):
            try:
                inner = breakup_chunk(record, validate_crc=True)
            except Exception:
                # Whatever zstandard or a broken length raises: a damaged chunk is left out, and counted.
                damage.chunks += 1
                continue
        for one in inner:
            if isinstance(one, Channel):
                topics[one.id] = one.topic
            elif isinstance(one, Message) and one.channel_id in topics:
                yield Record(topics[one.channel_id], one.log_time, one.data)


def _records(path: Path, damage: Damage) -> Iterator[Any]:
    """The records of a file; ``damage.cut`` where they end before its end."""
    try:
        from mcap.exceptions import McapError
        from mcap.records import Footer
        from mcap.stream_reader import StreamReader
    except ImportError as error:
        raise BackendUnavailable("mcap", "mcap") from error
    damage.cut = True
    try:
        with path.open("rb") as file:
            for record in StreamReader(file, emit_chunks=True, record_size_limit=LARGEST_RECORD).records:
                yield record
                damage.cut = damage.cut and not isinstance(record, Footer)
    except FileNotFoundError as error:
        raise SourceNotFound(str(path), f"there is no file {path.absolute()}") from error
    except OSError as error:
        raise SourceError(str(path), f"cannot be read: {error.strerror}") from error
    except (McapError, ValueError, struct.error, UnicodeDecodeError, MemoryError, OverflowError, KeyError):
        return  # what comes after this cannot be found
