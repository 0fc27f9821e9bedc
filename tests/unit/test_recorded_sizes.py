"""What the headers of a recording promise is not believed before it is bounded: by memory, and by time."""

from __future__ import annotations

import io
import json
import struct
import time
import zlib
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import lz4.frame  # type: ignore[import-untyped]
import numpy as np
import pytest
import zstandard
from films import box
from hostile import peak_bytes
from mcap.writer import CompressionType, Writer
from mmg.errors import SourceError
from mmg.recording import cdr, schemas
from mmg.recording.reader import open_recording
from mmg.recording.records import Damage, file_records, read_records
from mmg.sources.files.mp4 import MOST_SAMPLES, read_tracks
from mmg.sources.files.sound.flac import HEAD_BYTES, mended_flac
from mmg.sources.files.sound.mp3 import walk_mp3

MIB = 1 << 20
UNTIL_S = 8.0
"""Of processor time, for what took tens of seconds."""


HEADER = b"\x89MCAP0\r\n\x01" + struct.pack("<QII", 8, 0, 0)
"""Of an MCAP file."""


def full(name: str, data: bytes) -> bytes:
    return box(name, bytes(4) + data)


def film(path: Path, *tables: bytes, edits: bytes = b"") -> Path:
    """An MP4 with one track of these tables."""
    media = box(
        "mdia",
        full("mdhd", bytes(8) + struct.pack(">II", 1000, 0)),
        full("hdlr", bytes(4) + b"meta" + bytes(12)),
        box("minf", box("stbl", *tables)),
    )
    path.write_bytes(box("moov", full("mvhd", bytes(8) + struct.pack(">II", 1000, 0)), box("trak", edits, media)))
    return path


def test_a_film_of_sixteen_million_chunks_is_looked_at_in_seconds(tmp_path: Path) -> None:
    count = 16_000_000
    path = film(
        tmp_path / "film.mp4",
        full("stsz", struct.pack(">II", 1, 0xFFFFFFFF)),
        full("stts", struct.pack(">III", 1, 0xFFFFFFFF, 1)),
        full("stsc", struct.pack(">IIII", 1, 1, 1, 1)),
        full("stco", struct.pack(">I", count) + bytes(4 * count)),
    )
    [track] = read_tracks(path)
    began_s = time.process_time()
    with path.open("rb") as file:
        assert len(track.samples(file)) == MOST_SAMPLES
    assert time.process_time() - began_s < UNTIL_S

    def look() -> None:
        with path.open("rb") as file:
            track.samples(file)

    assert peak_bytes(look) < 200 * MIB


def test_a_film_of_millions_of_edits_that_show_nothing_is_looked_at_in_seconds(tmp_path: Path) -> None:
    count = 5_000_000
    edit = struct.pack(">III", 7, 0xFFFFFFFF, 1)
    edits = box("edts", full("elst", struct.pack(">I", count) + edit * count))
    path = film(tmp_path / "film.mp4", edits=edits)
    began_s = time.process_time()
    assert len(read_tracks(path)) == 1
    assert time.process_time() - began_s < UNTIL_S


def test_a_flac_that_is_all_headers_of_frames_is_looked_at_in_seconds(tmp_path: Path) -> None:
    head = b"fLaC" + bytes([0x80, 0, 0, 34]) + struct.pack(">HH", 4096, 4096) + bytes(HEAD_BYTES - 12)
    header = b"\xff\xf8\xc9\x18"
    frames = bytearray()
    for number in range(0x10000, 0x10000 + 400_000):
        coded = bytes([0xF0 | number >> 18, *(0x80 | number >> shift & 0x3F for shift in (12, 6, 0))])
        frames += header + coded + bytes(1)
    path = tmp_path / "sound.flac"
    path.write_bytes(head + bytes(frames))
    began_s = time.process_time()
    mended_flac(path)
    assert time.process_time() - began_s < UNTIL_S


def test_an_mp3_that_is_all_tags_is_looked_at_in_seconds(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp3"
    path.write_bytes((b"ID3\3\0\0" + bytes(4)) * 3_000_000)
    began_s = time.process_time()
    assert walk_mp3(path) is None
    assert time.process_time() - began_s < UNTIL_S


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFFFFF, 1 << 20, 0])
def test_a_frames_name_that_is_longer_than_its_message_is_refused_before_it_is_made(length: int) -> None:
    layout = cdr.imu_layout("imu")
    message = cdr.imu_messages(layout, "imu", cdr.IMU_CHANNELS, np.zeros((1, 6), np.float32), np.zeros(1, np.int64))
    assert cdr.imu_samples(message, cdr.IMU_CHANNELS).shape == (1, 6)
    changed = message[:12] + length.to_bytes(4, "little") + message[16:]

    def read() -> None:
        with suppress(ValueError):
            cdr.imu_samples(changed, cdr.IMU_CHANNELS)

    assert peak_bytes(read) < MIB


def test_a_chunk_of_a_recording_that_unpacks_to_a_bomb_is_left_out(tmp_path: Path) -> None:
    made = io.BytesIO()
    writer = Writer(made, chunk_size=1 << 30, compression=CompressionType.ZSTD)
    writer.start()
    schema = writer.register_schema("s", "", b"")
    channel = writer.register_channel("/imu", "", schema)
    writer.add_message(channel, 0, bytes(300 * MIB), 0)
    writer.finish()  # type: ignore[no-untyped-call]
    path = tmp_path / "day.mcap"
    path.write_bytes(made.getvalue())
    assert path.stat().st_size < MIB
    del made, writer
    damage = Damage()
    assert peak_bytes(lambda: list(read_records(path, damage))) < 8 * MIB
    assert damage.chunks == 1


def in_a_chunk(data: bytes, compression: str, size: int, unpacked: bytes = b"") -> bytes:
    """An MCAP file, cut after its one chunk. size: what the chunk says that it unpacks to."""
    head = struct.pack("<QQQI", 0, 0, size, zlib.crc32(unpacked)) + struct.pack("<I", len(compression))
    body = head + compression.encode() + struct.pack("<Q", len(data)) + data
    return HEADER + b"\x06" + struct.pack("<Q", len(body)) + body


@pytest.mark.parametrize("told", [0, 64 * MIB])
def test_lz4_that_unpacks_to_more_than_its_chunk_says_is_left_out_before_it_does(tmp_path: Path, told: int) -> None:
    frame = lz4.frame.LZ4FrameCompressor()
    data = frame.begin(source_size=told) + frame.compress(bytes(64 * MIB)) + frame.flush()
    path = tmp_path / "day.mcap"
    path.write_bytes(in_a_chunk(data, "lz4", 1000))
    damage = Damage()
    assert peak_bytes(lambda: list(read_records(path, damage))) < 8 * MIB
    assert damage.chunks == 1


@pytest.mark.parametrize("tells_its_size", [True, False])
def test_a_chunk_of_lz4_is_read_whether_or_not_it_tells_its_size(tmp_path: Path, tells_its_size: bool) -> None:
    name = struct.pack("<HHI4sII", 1, 0, 4, b"/imu", 0, 0)
    messages = b"\x05" + struct.pack("<QHIQQ", 25, 1, 0, 7, 7) + b"one"
    inner = b"\x04" + struct.pack("<Q", len(name)) + name + messages
    path = tmp_path / "day.mcap"
    packed = lz4.frame.compress(inner, store_size=tells_its_size, content_checksum=True)
    path.write_bytes(in_a_chunk(packed, "lz4", len(inner), inner))
    damage = Damage()
    assert list(read_records(path, damage)) == [("/imu", 7, b"one")]
    assert damage.chunks == 0


@pytest.mark.parametrize("of_a_channel", [True, False], ids=["of a channel", "of none"])
def test_messages_of_nothing_take_no_more_memory_than_what_they_unpack_to(tmp_path: Path, of_a_channel: bool) -> None:
    count = 40_000
    name = struct.pack("<HHI4sII", 1, 0, 4, b"/imu", 0, 0)
    inner = b"\x04" + struct.pack("<Q", len(name)) + name if of_a_channel else b""
    inner += (b"\x05" + struct.pack("<QHIQQ", 22, 1, 0, 0, 0)) * count
    path = tmp_path / "day.mcap"
    path.write_bytes(in_a_chunk(inner, "", len(inner)))
    damage = Damage()
    found = []
    assert peak_bytes(lambda: found.append(sum(1 for _ in read_records(path, damage)))) < 2 * len(inner)
    assert (found, damage.chunks) == ([count * of_a_channel], 0)


def test_a_chunk_of_more_messages_than_bytes_is_left_out_before_they_are_read(tmp_path: Path) -> None:
    inner = (b"\x05" + struct.pack("<QHIQQ", 22, 1, 0, 0, 0)) * 3_000_000
    packed = zstandard.compress(inner)
    path = tmp_path / "day.mcap"
    path.write_bytes(HEADER + 30 * in_a_chunk(packed, "zstd", len(inner)).removeprefix(HEADER))
    assert path.stat().st_size < MIB
    began_s = time.process_time()
    damage = Damage()
    assert (list(read_records(path, damage)), damage.chunks) == ([], 30)
    assert time.process_time() - began_s < UNTIL_S


@pytest.mark.parametrize("size", [128 * MIB + 1, 1 << 40])
def test_a_chunk_of_more_than_mmg_ever_writes_is_left_out(tmp_path: Path, size: int) -> None:
    path = tmp_path / "day.mcap"
    path.write_bytes(in_a_chunk(b"", "", size))
    damage = Damage()
    assert (list(read_records(path, damage)), damage.chunks) == ([], 1)


def test_a_recording_that_is_all_beginnings_of_chunks_is_looked_at_in_seconds(tmp_path: Path) -> None:
    path = tmp_path / "day.mcap"
    path.write_bytes(b"\x89MCAP0\r\n\x06" + b"\xff" * 8 + b"\x04\0\0\0zstd" * 400_000)
    began_s = time.process_time()
    damage = Damage()
    assert list(read_records(path, damage)) == []
    assert damage.cut
    assert time.process_time() - began_s < UNTIL_S


@pytest.mark.parametrize("before", [0, 36, 37, 44, 45, 52, 53, 60])
def test_a_chunk_is_found_wherever_in_a_block_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    monkeypatch.setattr("mmg.recording.records.BLOCK", 64)
    chunk = in_a_chunk(zstandard.compress(b""), "zstd", 0).partition(HEADER)[2]
    path = tmp_path / "day.mcap"
    path.write_bytes(b"\x89MCAP0\r\n" + b"\xff" * (64 + before) + chunk)
    damage = Damage()
    assert [type(record).__name__ for record in file_records(path, damage)] == ["Chunk"]


def test_samples_without_a_step_are_left_out_before_they_take_all_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmg.recording.reader.MOST_WAITING", 4 * MIB)
    path = tmp_path / "day.mcap"
    light = [{"modality": "ppg", "kind": "signal", "channels": ["green"], "url": "serial:///dev/ttyUSB0"}]
    told = {"schema": schemas.SCHEMA, "sensors": json.dumps(light), "origin_ns": "0", "epoch_ns": "0"}
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=MIB, compression=CompressionType.ZSTD)
        writer.start()
        channel = writer.register_channel("/ppg", "json", writer.register_schema("any", "jsonschema", b"{}"))
        writer.add_metadata(schemas.METADATA, told)
        for _ in range(32):
            writer.add_message(channel, 0, bytes(MIB), 0)
        writer.finish()  # type: ignore[no-untyped-call]
    recording = open_recording(path)
    assert peak_bytes(lambda: list(recording.steps())) < 12 * MIB
    assert recording.notes == ["day.mcap is damaged: some of its steps cannot be read and are left out"]


def test_a_film_of_pictures_beyond_8k_is_refused(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    from fakes import video_modality
    from mmg.sources import open_source

    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = 16_000, 3_000, "yuvj420p"
        frame = av.VideoFrame(16_000, 3_000, "yuvj420p")
        for packet in (*stream.encode(frame), *stream.encode()):
            container.mux(packet)
    with pytest.raises(SourceError, match="has pictures of a size that is not known, or beyond 8K"):
        open_source(str(path), video_modality(), allow_video=True)


@pytest.mark.parametrize("place", [0, 20])
def test_a_picture_beyond_8k_in_a_film_whose_header_says_less_is_left_out(tmp_path: Path, place: int) -> None:
    av = pytest.importorskip("av")
    from fakes import video_modality
    from mmg.sources import open_source

    one = av.CodecContext.create("mjpeg", "w")
    one.width, one.height, one.pix_fmt, one.time_base = 10_000, 10_000, "yuvj420p", Fraction(1, 10)
    large = b"".join(map(bytes, [*one.encode(av.VideoFrame(10_000, 10_000, "yuvj420p")), *one.encode()]))
    path = tmp_path / "film.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        frames = [av.VideoFrame(64, 48, "yuvj420p") for _ in range(40)]
        for number, frame in enumerate(frames):
            frame.pts = number
        packets = [packet for frame in [*frames, None] for packet in stream.encode(frame)]
        for number, packet in enumerate(packets):
            if number == place:
                other = av.Packet(large)
                other.stream, other.pts, other.dts = stream, packet.pts, packet.dts
                other.time_base, other.is_keyframe = packet.time_base, True
                packet = other
            container.mux(packet)
    recording = open_source(str(path), video_modality(), allow_video=True)
    assert len(list(recording.chunks(0))) >= 31  # at most two for each of the model's, of which there are 16
    assert recording.losses == {"unreadable": 1}
