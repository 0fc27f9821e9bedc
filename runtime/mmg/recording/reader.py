"""Reads a recording again: its steps as they were, its decisions, marks and signals, also where the file is cut."""

from __future__ import annotations

import glob
import json
import re
import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from mmg.engine.encoded import Encoded
from mmg.errors import BackendUnavailable, SourceError
from mmg.recording import schemas, tokens
from mmg.recording.messages import MarkMessage, StepMessage, Story
from mmg.recording.records import Damage, Record, file_records, read_records
from mmg.recording.sensors import Sensor, unpack
from mmg.runs.step import Step
from mmg.types import Chunk

PART = re.compile(r"(.+)-(\d{4,})")
DAMAGED = (ValueError, KeyError, struct.error, OverflowError, RecursionError)
"""What a message raises that does not hold what it should."""
FARTHEST_NS = 1 << 62
MOST_WAITING = 256 << 20
"""In bytes: pictures of a minute, as long as a slow disk may make them wait for the step that puts them together."""
LONGEST_TOLD = 8 << 20
"""In bytes, of a step, a decision or a mark: what their JSON becomes takes much more."""
MESSAGE_BYTES = 150
"""What a message takes beside its data."""
LEFT_OUT = "decisions or marks in it cannot be read, and are left out"


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
        story, names = Story(), {sensor.modality for sensor in self.sensors}
        by_topic = {sensor.topic: sensor for sensor in self.sensors}
        for path in self.parts:
            damage, waiting = Damage(), _Waiting(by_topic, self.epoch_ns)
            known = lost = 0
            is_read = False
            try:
                for record in read_records(path, damage):
                    if damage.chunks > known:
                        waiting.clear()  # the steps of these samples may have been in what is damaged
                        known = damage.chunks
                    if record.topic in by_topic:
                        damage.steps += not waiting.put(record)
                    elif record.topic == schemas.STEPS:
                        try:
                            message = msgspec.json.decode(_bounded(record.data), type=StepMessage)
                            statuses = story.statuses(message.ports)
                            if not names <= statuses.keys():
                                raise ValueError("does not tell of every sensor")
                            chunks, encoded = waiting.take(message)
                        except DAMAGED:
                            waiting.clear()  # its samples were in what is damaged
                            damage.steps += 1
                            continue
                        lost += message.lost
                        read_as = {name: how for name, how in message.read_as.items() if name in names}
                        yield Step(message.now_ns, chunks, statuses, read_as, encoded, message.held_down)
                is_read = True
            finally:
                damage.cut = damage.cut and is_read  # who stops earlier has not seen the end
                what = "steps, decisions or marks could not be recorded: what is decided after them may differ"
                self._tell([*damage.notes(path), *[f"{path.name}: {lost} {what}"] * bool(lost)])

    def decisions(self) -> Iterator[dict[str, Any]]:
        """What was decided live: the objects of ``mmg-run --format jsonl``."""
        for data in self._messages(schemas.DECISIONS):
            try:
                decision = json.loads(_bounded(data))
            except DAMAGED:
                decision = None
            if isinstance(decision, dict):
                yield decision
            else:
                self._tell([f"{self.parts[0].name}: {LEFT_OUT}"])

    def marks(self) -> list[MarkMessage]:
        """The marks, in the order in which they were set."""
        marks = []
        for data in self._messages(schemas.MARKS):
            try:
                marks.append(msgspec.json.decode(_bounded(data), type=MarkMessage))
            except DAMAGED:
                self._tell([f"{self.parts[0].name}: {LEFT_OUT}"])
        return marks

    def _messages(self, topic: str) -> Iterator[bytes]:
        """Those of a topic, as far as they can be read."""
        records = (record for path in self.parts for record in read_records(path, Damage()))
        return (record.data for record in records if record.topic == topic)

    def last_stamp_ns(self) -> int:
        """When the newest message of any kind was, in ns since 1970; the beginning where there is none."""
        from mcap.records import Chunk

        ends = (
            record.message_end_time
            for path in self.parts
            for record in file_records(path, Damage())
            if isinstance(record, Chunk)
        )
        return max(ends, default=self.origin_ns + self.epoch_ns)

    def duration_s(self) -> float:
        """From when seconds count to its newest message."""
        return max(self.last_stamp_ns() - self.epoch_ns - self.origin_ns, 0) / 1e9

    def _tell(self, lines: list[str]) -> None:
        self.notes += [line for line in lines if line not in self.notes]


def _bounded(data: bytes) -> bytes:
    """The same. Raises ValueError where it is longer than any that mmg writes."""
    if len(data) > LONGEST_TOLD:
        raise ValueError(f"{len(data)} bytes of JSON")
    return data


class _Waiting:
    """Messages of samples, until the step comes that puts them together."""

    def __init__(self, by_topic: dict[str, Sensor], epoch_ns: int) -> None:
        self._sensors, self._epoch_ns = {sensor.modality: sensor for sensor in by_topic.values()}, epoch_ns
        self._messages: dict[str, deque[tuple[int, bytes]]] = {topic: deque() for topic in by_topic}
        self._bytes, self._is_too_much = 0, False

    def put(self, record: Record) -> bool:
        """False, once, where more would wait than may: then none does, and what comes is left out until a step has."""
        if self._is_too_much:
            return True
        self._bytes += len(record.data) + MESSAGE_BYTES
        if self._bytes > MOST_WAITING:
            self.clear()
            self._is_too_much = True
            return False
        self._messages[record.topic].append((record.stamp_ns, record.data))
        return True

    def take(self, message: StepMessage) -> tuple[tuple[Chunk, ...], tuple[Encoded, ...]]:
        """Raises ValueError and more of ``DAMAGED`` where its samples are not there or cannot be read."""
        if self._is_too_much:
            raise ValueError("more waited for it than may")
        chunks, encoded = [], []
        for note in message.chunks:
            sensor = self._sensors[note.modality]
            chunks.append(unpack(sensor, note, self._first(sensor, note.messages), message.now_ns, self._epoch_ns))
        for one in message.encoded:
            first = self._first(self._sensors[one.modality], one.messages)
            encoded.append(tokens.unpack(one, [data for _, data in first]))
        return tuple(chunks), tuple(encoded)

    def _first(self, sensor: Sensor, count: int) -> list[tuple[int, bytes]]:
        """Those that wait longest, ``count`` at most, which wait no more."""
        waiting = self._messages[sensor.topic]
        first = [waiting.popleft() for _ in range(min(count, len(waiting)))]
        self._bytes -= sum(len(data) + MESSAGE_BYTES for _, data in first)
        return first

    def clear(self) -> None:
        for messages in self._messages.values():
            messages.clear()
        self._bytes, self._is_too_much = 0, False


def open_recording(path: Path) -> RecordingFile:
    """A recording of mmg, and its parts from this one on.

    Raises SourceNotFound, SourceError where it is none, or of a later mmg; BackendUnavailable without ``mcap``.
    """
    metadata = read_metadata(path)
    try:
        sensors = tuple(msgspec.json.decode(metadata["sensors"], type=list[Sensor]))
        origin_ns, epoch_ns = int(metadata["origin_ns"]), int(metadata["epoch_ns"])
        if max(abs(origin_ns), abs(epoch_ns)) > FARTHEST_NS:
            raise ValueError("its times are more than 64 bits hold")
    except (KeyError, ValueError) as error:
        raise SourceError(str(path), f"its metadata is damaged: {error}") from error
    notes: list[str] = []
    parts = tuple(_with_later_parts(path, metadata, notes))
    return RecordingFile(parts, sensors, metadata, origin_ns, epoch_ns, notes)


def read_metadata(path: Path) -> dict[str, str]:
    """What a recording of mmg says of itself, without reading on. Raises as ``open_recording``."""
    try:
        from mcap.records import Chunk, Metadata
    except ImportError as error:
        raise BackendUnavailable("mcap, which recordings need,", "mcap") from error
    for record in file_records(path, Damage()):
        if isinstance(record, Metadata) and record.name == schemas.METADATA:
            found = dict(record.metadata)
            if found.get("schema") != schemas.SCHEMA:
                was = found.get("schema", "no schema")[:40]
                raise SourceError(str(path), f"is of another mmg ({was}): this one reads {schemas.SCHEMA}")
            return found
        if isinstance(record, Chunk):
            break
    raise SourceError(
        str(path),
        "is MCAP, and no recording of mmg, or its first bytes are damaged: it does not say which sensor is which",
    )


def is_later_part(path: Path) -> bool:
    """Whether the part before this one lies beside it: a recording is named by its first. Raises BackendUnavailable."""
    matched = PART.fullmatch(path.stem)
    before = (
        path.with_name(f"{matched[1]}-{int(matched[2]) - 1:04d}{schemas.SUFFIX}")
        if matched and int(matched[2])
        else path
    )
    if before == path or not before.is_file():
        return False
    try:
        return read_metadata(before).get("session") == read_metadata(path).get("session")
    except SourceError:
        return False


def _with_later_parts(path: Path, metadata: dict[str, str], notes: list[str]) -> Iterator[Path]:
    """This part and those after it. One that says nothing of itself, as after a power cut, goes to ``notes``."""
    yield path
    matched = PART.fullmatch(path.stem)
    numbered = [(matched[1], int(matched[2]))] if matched else []
    # A recording may itself be called day-2026: then day-2026-0001 follows.
    for stem, first in (*numbered, (path.stem, 0)):
        for number in count(first + 1):
            following = path.with_name(f"{stem}-{number:04d}{schemas.SUFFIX}")
            if not following.is_file():
                notes += _missing(following, number)
                break
            try:
                session = read_metadata(following).get("session")
            except SourceError as error:
                notes.append(f"left out: {error}")
                continue
            if session != metadata.get("session"):
                break
            yield following


def _missing(following: Path, number: int) -> list[str]:
    """A line where parts come after one that is not there."""
    stem = following.stem.removesuffix(f"-{number:04d}")
    later = sorted(
        path.name
        for path in following.parent.glob(f"{glob.escape(stem)}-*{schemas.SUFFIX}")
        if (matched := PART.fullmatch(path.stem)) and matched[1] == stem and int(matched[2]) > number
    )
    return [f"{following.name} is missing: {later[0]} and what comes after it is left out"] if later else []
