"""Recordings: tables, sound, films, and what mmg itself recorded."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from mcap.writer import CompressionType, Writer
from mmg.bounded_zip import ZIP_ERRORS
from mmg.bundle.manifest import Channel, Encoder, Modality, Tensor
from mmg.errors import MmgError
from mmg.recording import schemas
from mmg.recording.reader import open_recording
from mmg.sources import open_source
from mmg.sources.files import folder as archives
from mmg.sources.files.contents import container_of, kinds_of
from mmg.sources.files.gpmf import read_payload
from mmg.sources.files.matroska import track_kinds
from mmg.sources.files.mp4 import read_tracks
from mmg.sources.files.sound.flac import mended_flac
from mmg.sources.files.sound.lengths import find_length
from mmg.sources.files.sound.mp3 import walk_mp3
from mmg.sources.files.sound.ogg import walk_ogg
from mmg.sources.files.vrs_header import stream_kinds

from mmg_tools.fuzz.target import Broken
from mmg_tools.fuzz.targets.scratch import written

_UNUSED = Encoder(
    kind="streaming",
    tokens_per_hop=1,
    input=Tensor(name="x", shape=(1,)),
    output=Tensor(name="y", shape=(1,)),
    files=(),
)
_AXES = (*((f"a{axis}", "m/s^2", False) for axis in "xyz"), *((f"g{axis}", "rad/s", True) for axis in "xyz"))
IMU = Modality(
    name="imu",
    kind="signal",
    rate_hz=50,
    channels=tuple(Channel(name=name, unit=unit, optional=optional) for name, unit, optional in _AXES),
    encoder=_UNUSED,
)
AUDIO = Modality(name="audio", kind="audio", rate_hz=16000, channels=(Channel(name="mic", unit=""),), encoder=_UNUSED)
VIDEO = Modality(name="video", kind="video", rate_hz=10, channels=(), encoder=_UNUSED, frame=(6, 8))
TABLE_OPTIONS = (
    "",
    "?rate=50",
    "?time=0&columns=1,2,3&time_unit=ms",
    "?acc_unit=g",
    "?rate=5&delimiter=;&skip=1",
    "?axes=-y,x,z",
)
MOST_SAMPLES, MOST_CHUNKS = 1_000_000, 2000
MOST_NOTE = 2000
TOPICS = ("/imu", "/audio", "/video", "/ppg", schemas.STEPS, schemas.DECISIONS, schemas.MARKS, "/imu/tokens")
MOST_MESSAGES = 50
IN_ARCHIVE = ("Accelerometer.csv", "Gyroscope.csv", "meta.json", "sub/Gravity.csv")
PART = b"\0\xff\0\xff"
"""What parts the files of an archive, and the messages of a recording."""


def csv(data: bytes) -> None:
    """Text tables; the first byte chooses the URL's options."""
    _table("walk.csv", data)


def json(data: bytes) -> None:
    """Tables in JSON."""
    _table("walk.json", data)


def sound(data: bytes) -> None:
    """Whatever sound libsndfile or FFmpeg take it for; and what the files' own lengths say."""
    path = written("walk.sound", data)
    for look in (find_length, walk_ogg, walk_mp3, mended_flac):
        look(path)
    _replayed(path, AUDIO)


def gopro(data: bytes) -> None:
    """An MP4's boxes, and the telemetry in them."""
    path = written("walk.mp4", data)
    for track in read_tracks(path):
        with path.open("rb") as file:
            track.samples(file)
    _replayed(path, IMU)


def gpmf(data: bytes) -> None:
    """One payload of telemetry."""
    for stream in read_payload(data).streams.values():
        if stream.values().shape != (len(stream.raw), 3):
            raise Broken("values are not three axes")


def film(data: bytes) -> None:
    """Pictures, or the sound of a film, where the first byte is odd."""
    _replayed(written("walk.film", data[1:]), AUDIO if data[:1] and data[0] % 2 else VIDEO)


def index(data: bytes) -> None:
    """What a container holds, by its index alone."""
    path = written("walk.bin", data)
    container_of(path)
    with suppress(MmgError):
        kinds_of(path)
    track_kinds(path)
    stream_kinds(path)


def mcap(data: bytes) -> None:
    """A run that mmg recorded, or what is left of one; or, where the first byte is odd, a whole one of messages."""
    path = written("walk.mcap", _recorded(data[1:]) if data[:1] and data[0] % 2 else data[1:])
    with suppress(MmgError):
        recording = open_recording(path)
        for step in recording.steps():
            for chunk in step.chunks:
                if len(chunk.samples) != len(chunk.times_ns):
                    raise Broken("samples and times are not as many")
        list(recording.decisions())
        recording.marks()
        if not recording.duration_s() >= 0:
            raise Broken("a duration is below zero")
        _told("recording", recording.notes)
    for modality in (IMU, AUDIO):
        _replayed(path, modality)


def _recorded(data: bytes) -> bytes:
    """An MCAP whose checksums are right. The first part is what it says of its sensors, each other one a message."""
    sensors, *messages = data.split(PART)
    made = io.BytesIO()
    writer: Any = Writer(made, compression=CompressionType.NONE)
    writer.start()
    schema = writer.register_schema("any", "jsonschema", b"{}")
    channels = [writer.register_channel(topic, "json", schema) for topic in TOPICS]
    metadata = {
        "schema": schemas.SCHEMA,
        "epoch_ns": "0",
        "origin_ns": "0",
        "sensors": sensors.decode("utf-8", "replace"),
    }
    writer.add_metadata(schemas.METADATA, metadata)
    for number, message in enumerate(messages[:MOST_MESSAGES]):
        writer.add_message(channels[message[0] % len(channels)] if message else channels[0], number, message[1:], 0)
    writer.finish()
    return made.getvalue()


def archive(data: bytes) -> None:
    """A zip of an app's tables, as it is; or, where the first byte is odd, a right one with these files in it."""
    kind, data = data[:1], data[1:]
    if kind and kind[0] % 2:
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive_file:
            for name, part in zip(IN_ARCHIVE, data.split(PART), strict=False):
                archive_file.writestr(name, part)
        data = made.getvalue()
    path = written("walk.zip", data)
    # It would be unpacked once, and stay until the process ends.
    with suppress(*ZIP_ERRORS, OSError):
        _unpacked_and_replayed(path)


def _unpacked_and_replayed(path: Path) -> None:
    import shutil

    unpack: Callable[[Path], Path] = archives._unpack.__wrapped__
    folder = unpack(path)
    try:
        _replayed(folder, IMU)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _table(name: str, data: bytes) -> None:
    options = TABLE_OPTIONS[data[0] % len(TABLE_OPTIONS)] if data else ""
    _replayed(written(name, data[1:]), IMU, options)


def _replayed(path: Path, modality: Modality, options: str = "") -> None:
    """Refused, or replayed: samples of the modality's shape, each with a time, those of an IMU ever later."""
    last_ns, count = None, 0
    recording = None
    try:
        recording = open_source(f"file://{path}{options}", modality, allow_video=True)
        for number, chunk in enumerate(recording.chunks(0)):
            if not len(chunk.samples) == len(chunk.times_ns) > 0:
                raise Broken("samples and times are not as many")
            if modality.kind == "signal":
                times = chunk.times_ns if last_ns is None else np.insert(chunk.times_ns, 0, last_ns)
                if not (np.diff(times) > 0).all():
                    raise Broken("times do not increase")
                if chunk.samples.shape[1:] != (6,):
                    raise Broken("samples have another number of channels")
            last_ns = int(chunk.times_ns[-1])
            count += len(chunk.samples)
            if count > MOST_SAMPLES or number > MOST_CHUNKS:
                break
        if not recording.duration_s >= 0:
            raise Broken("a duration is below zero")
        _told("recording", recording.notes)
    except MmgError as error:
        _told("refusal", [str(error)])
    finally:
        if recording is not None:
            recording.close()


def _told(what: str, lines: list[str]) -> None:
    for line in lines:
        if len(line) > MOST_NOTE:
            raise Broken(f"a {what} is told in more than {MOST_NOTE} characters")
