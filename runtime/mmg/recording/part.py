"""One MCAP file in the making: it holds what comes until it is brought to the disk."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from mcap.writer import CompressionType, Writer
from mmg_device_profiles.regular_file import is_removed

from mmg.recording import schemas, tokens
from mmg.recording.messages import Changes, MarkMessage, StepMessage
from mmg.recording.sensors import Packer, Sensor
from mmg.runs.step import Step
from mmg.version import installed_version

CHUNK_BYTES = 64 << 20
"""Chunks end where they are flushed, and not by their size."""


class Part:
    """A file that must not be there yet. Every call raises OSError where the disk refuses.

    metadata: of the recording, told in this file as in its others. epoch_ns: what turns the steps' clock into ns since
    1970. changes: those of the files before it, which this one tells whole.
    """

    def __init__(
        self,
        path: Path,
        sensors: Sequence[Sensor],
        metadata: Mapping[str, str],
        epoch_ns: int,
        changes: Changes | None = None,
    ) -> None:
        self.path, self._epoch_ns = path, epoch_ns
        # What a microphone heard is for the eyes of its owner alone.
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        try:
            self._begin(sensors, metadata, changes or Changes())
        except OSError:
            self.abandon()
            path.unlink()  # the next start must not find the name taken
            raise

    def _begin(self, sensors: Sequence[Sensor], metadata: Mapping[str, str], changes: Changes) -> None:
        _sync_folder(self.path.parent)
        self._writer: Any = Writer(self._file, chunk_size=CHUNK_BYTES, compression=CompressionType.ZSTD)
        self._writer.start(library=f"mmg {installed_version()}")
        self._packers = {sensor.modality: Packer(sensor, self._epoch_ns) for sensor in sensors}
        self._changes = changes
        self._changes.forget()
        self.lost = 0
        """So much was not recorded, and no step has told it yet."""
        self._schemas: dict[str, int] = {}
        self._topics: dict[int, str] = {}
        self._sensors = {sensor.modality: self._channel(sensor.topic, sensor.schema) for sensor in sensors}
        self._held: dict[int, list[tuple[int, bytes]]] = {channel: [] for channel in self._sensors.values()}
        self._told: list[tuple[int, int, bytes]] = []
        self.held = 0
        """Bytes that are not written yet."""
        self._steps = self._channel(schemas.STEPS, schemas.STEP)
        self._decisions = self._channel(schemas.DECISIONS, schemas.DECISION)
        self._marks = self._channel(schemas.MARKS, schemas.MARK)
        described = [msgspec.to_builtins(sensor) for sensor in sensors]
        self._writer.add_metadata(
            schemas.METADATA,
            {
                "schema": schemas.SCHEMA,
                "epoch_ns": str(self._epoch_ns),
                "sensors": json.dumps(described),
                "topics": json.dumps(self._topics),
                **metadata,
            },
        )
        # From its first moment the file says what it is.
        self._file.flush()
        os.fsync(self._file.fileno())

    def _channel(self, topic: str, schema: schemas.Schema) -> int:
        if schema.name not in self._schemas:
            self._schemas[schema.name] = self._writer.register_schema(
                schema.name, schema.encoding, schema.text.encode()
            )
        channel = int(self._writer.register_channel(topic, schema.message_encoding, self._schemas[schema.name]))
        self._topics[channel] = topic
        return channel

    @property
    def size(self) -> int:
        """Of the file so far, in bytes."""
        return int(self._file.tell())

    @property
    def is_removed(self) -> bool:
        """Whether somebody removed the file: what is written to it goes with it."""
        return is_removed(self._file.fileno(), self.path)

    def step(self, step: Step) -> None:
        """What came: the samples first, and then what puts them together. Raises ValueError where it cannot be kept."""
        # All or nothing: samples without their step would be taken for those of the next one.
        packed = [self._packers[chunk.modality].pack(chunk, step.now_ns) for chunk in step.chunks]
        encoded = [tokens.pack(one) for one in step.encoded]
        changed, read_as = self._changes.note(step)
        notes, token_notes = [note for _, note in packed], [note for _, note in encoded]
        message = StepMessage(step.now_ns, notes, changed, read_as, token_notes, self.lost, step.held_down)
        self.lost = 0
        for chunk, (messages, _) in zip(step.chunks, packed, strict=True):
            self._held[self._sensors[chunk.modality]] += messages
            self.held += sum(len(data) for _, data in messages)
        for one, (hops, _) in zip(step.encoded, encoded, strict=True):
            self._held[self._sensors[one.modality]] += [(step.now_ns + self._epoch_ns, hop) for hop in hops]
        self._add(self._steps, step.now_ns + self._epoch_ns, msgspec.json.encode(message))

    def decision(self, line: str, now_ns: int) -> None:
        """A line of JSON that was decided by the steps before it."""
        self._add(self._decisions, now_ns + self._epoch_ns, line.encode())

    def lose(self, count: int) -> None:
        """So much was not recorded, which the next step tells."""
        self.lost += count

    def mark(self, mark: MarkMessage, now_ns: int) -> None:
        """A label begins or ends."""
        self._add(self._marks, now_ns + self._epoch_ns, msgspec.json.encode(mark))

    def _add(self, channel: int, stamp_ns: int, data: bytes) -> None:
        self._told.append((channel, stamp_ns, data))

    def _write(self) -> None:
        """What was held, each sensor in an MCAP chunk of its own: apart, sound and numbers take a tenth less room."""
        for channel, messages in self._held.items():
            for stamp_ns, data in messages:
                self._writer.add_message(channel, stamp_ns, data, stamp_ns)
            messages.clear()
            self._writer.flush()
        # What puts samples together comes after them: a file that is cut between has samples too many, and no step.
        for channel, stamp_ns, data in self._told:
            self._writer.add_message(channel, stamp_ns, data, stamp_ns)
        self._told.clear()
        self._writer.flush()
        self.held = 0

    def sync(self) -> None:
        """All of it is on the disk when this returns, and can be read from there without what comes later."""
        self._write()
        os.fsync(self._file.fileno())
        self._changes.forget()

    def finish(self) -> None:
        """The index at the file's end, and the file is closed."""
        try:
            self._write()
            self._writer.finish()
            self._file.flush()
            os.fsync(self._file.fileno())
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close the file as it is: it can be read up to what was synced last. Twice is fine."""
        with suppress(OSError):  # what its buffer still holds has no room on the disk
            self._file.close()


def _sync_folder(folder: Path) -> None:
    """A new file's name is on the disk only when its folder is."""
    with suppress(OSError):  # network and FAT file systems may not know how, and their files are no worse
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
