"""What a recording says of its sensors, and how each kind's samples become messages and samples again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from mmg.recording import cdr, schemas, times
from mmg.streams.audio import FASTEST_HZ, SLOWEST_HZ
from mmg.streams.grid import LATEST_NS
from mmg.types import Chunk

if TYPE_CHECKING:
    from mmg.bundle import Modality
    from mmg.types import Samples, Times


LONGEST_SIGNAL = 1 << 16
"""In bytes, of a message of a signal: more numbers than there are channels take much more memory than their text."""


class Sensor(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """One modality of a recording.

    kind: as in a bundle. channels: of a signal, in the order of its samples' columns. url: of its port. form: whether
    its samples are kept, or what its encoder made of them.
    """

    modality: str
    kind: Literal["signal", "audio", "video"]
    channels: tuple[str, ...]
    url: str
    form: Literal["samples", "tokens"] = "samples"

    @property
    def topic(self) -> str:
        """Of its messages."""
        return f"/{self.modality}" if self.form == "samples" else f"/{self.modality}/tokens"

    @property
    def schema(self) -> schemas.Schema:
        """Of its messages."""
        if self.form == "tokens":
            return schemas.HOP
        if self.kind == "signal":
            return schemas.IMU if set(self.channels) <= set(cdr.IMU_CHANNELS) else schemas.SIGNAL
        return schemas.AUDIO if self.kind == "audio" else schemas.IMAGE


class ChunkNote(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the messages of a chunk do not tell. samples: how many it has.

    messages: how many its samples are in. runs, times: of sound, when each sample was captured, as mmg.recording.times
    writes it.
    """

    modality: str
    samples: int
    messages: int
    rate_hz: float = 0.0
    dropped: int = 0
    runs: list[tuple[int, int]] = []
    times: str = ""


class SignalMessage(msgspec.Struct, frozen=True):
    """One sample. values: in the order of the channels, None for what is no number."""

    values: list[float | None]


def sensor_of(modality: Modality, url: str, *, tokens: bool = False) -> Sensor:
    """How a recording describes this modality."""
    channels = tuple(channel.name for channel in modality.channels)
    return Sensor(modality.name, modality.kind, channels, url, "tokens" if tokens else "samples")


class Packer:
    """Makes one sensor's chunks into messages. epoch_ns: what is added to capture times to count from 1970."""

    def __init__(self, sensor: Sensor, epoch_ns: int) -> None:
        self._sensor, self._epoch_ns = sensor, epoch_ns
        self._layout = cdr.imu_layout(sensor.modality)

    def pack(self, chunk: Chunk, now_ns: int) -> tuple[list[tuple[int, bytes]], ChunkNote]:
        """The chunk's messages, each with its time in ns since 1970, and what they do not tell. now_ns: of its step."""
        stamps_ns = chunk.times_ns + self._epoch_ns
        if not len(stamps_ns) or stamps_ns.min() < 0:
            raise ValueError(f"{chunk.modality}: samples without a time since 1970")
        kind = self._sensor.kind
        if kind == "audio":
            return self._pack_sound(chunk, int(stamps_ns[0]), now_ns)
        if kind == "video":
            name = self._sensor.modality
            made = [
                cdr.image_message(frame, at, name) for frame, at in zip(chunk.samples, stamps_ns.tolist(), strict=True)
            ]
        elif self._sensor.schema is schemas.IMU:
            made = self._pack_imu(chunk.samples, stamps_ns)
        else:
            made = [msgspec.json.encode({"values": row}) for row in chunk.samples.astype(float).tolist()]
        note = ChunkNote(chunk.modality, len(made), len(made), chunk.rate_hz, chunk.dropped)
        return list(zip(stamps_ns.tolist(), made, strict=True)), note

    def _pack_imu(self, samples: Samples, stamps_ns: Times) -> list[bytes]:
        data = cdr.imu_messages(self._layout, self._sensor.modality, self._sensor.channels, samples, stamps_ns)
        size = self._layout.itemsize
        return [data[at : at + size] for at in range(0, len(data), size)]

    def _pack_sound(self, chunk: Chunk, first_ns: int, now_ns: int) -> tuple[list[tuple[int, bytes]], ChunkNote]:
        runs = times.to_runs(chunk.times_ns, chunk.rate_hz, now_ns)
        note = ChunkNote(
            chunk.modality,
            len(chunk.times_ns),
            1,
            chunk.rate_hz,
            chunk.dropped,
            runs or [],
            "" if runs else times.to_text(chunk.times_ns),
        )
        return [(first_ns, cdr.audio_message(chunk.samples, first_ns, chunk.rate_hz))], note


def unpack(sensor: Sensor, note: ChunkNote, messages: Sequence[tuple[int, bytes]], now_ns: int, epoch_ns: int) -> Chunk:
    """The chunk as it was. Raises ValueError, OverflowError, struct.error where it cannot be."""
    samples = samples_of(sensor, [one for _, one in messages])
    stamps_ns = np.array([stamp_ns for stamp_ns, _ in messages], np.int64) - epoch_ns
    if sensor.kind == "audio":
        if not SLOWEST_HZ <= note.rate_hz <= FASTEST_HZ:
            raise ValueError(f"sound at {note.rate_hz} Hz")
        if note.runs and sum(count for count, _ in note.runs) != len(samples):  # or they could take any memory
            raise ValueError(f"runs of other than {len(samples)} samples")
        stamps_ns = times.from_runs(note.runs, note.rate_hz, now_ns) if note.runs else times.from_text(note.times)
    if not len(samples) == len(stamps_ns) == note.samples:
        raise ValueError(f"{len(samples)} samples of {note.samples}")
    if len(stamps_ns) and not -LATEST_NS <= stamps_ns.min() <= stamps_ns.max() <= LATEST_NS:
        raise ValueError(f"samples from {stamps_ns.min()} to {stamps_ns.max()} ns")
    return Chunk(sensor.modality, samples, stamps_ns, note.rate_hz, note.dropped)


def samples_of(sensor: Sensor, messages: Sequence[bytes]) -> Samples:
    """The samples of these messages. Raises ValueError, struct.error, msgspec.DecodeError."""
    if sensor.kind == "audio":
        return np.concatenate([cdr.audio_samples(message) for message in messages])
    if sensor.kind == "video":
        return np.stack([cdr.image_samples(message) for message in messages])
    if sensor.schema is schemas.IMU:
        return cdr.imu_samples(b"".join(messages), sensor.channels)
    return np.stack([_row(message, len(sensor.channels)) for message in messages])


def _row(message: bytes, channels: int) -> Samples:
    if len(message) > LONGEST_SIGNAL:
        raise ValueError(f"a sample of {len(message)} bytes")
    values = msgspec.json.decode(message, type=SignalMessage).values
    if len(values) != channels:
        raise ValueError(f"{len(values)} values of {channels} channels")
    with np.errstate(over="ignore"):
        return np.array(values, np.float32)  # None becomes NaN
