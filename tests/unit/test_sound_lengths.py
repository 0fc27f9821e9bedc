"""A sound whose header says less than there is, or nothing, is read to its end, and what follows it is not."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import UNUSED_ENCODER
from mmg.bundle.manifest import Channel, Modality
from mmg.errors import SourceError
from mmg.sources import Recording, open_source
from numpy.typing import NDArray

AUDIO = Modality(
    name="audio", kind="audio", rate_hz=8000, channels=(Channel(name="mic", unit=""),), encoder=UNUSED_ENCODER
)
RATE_HZ = 8000
NO_LENGTH = "a.wav has no length in its header: all 3.0 s up to its end are read"
SHORT = "a.wav has too short a length in its header: all 3.0 s up to its end are read"
Edit = Callable[[bytes], bytes]


def noise(seconds: float = 3) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * RATE_HZ)).astype(np.float32)


def written(path: Path, kind: str = "WAV", subtype: str = "PCM_16") -> bytes:
    soundfile.write(path, noise(), RATE_HZ, format=kind, subtype=subtype)
    return path.read_bytes()


def put(data: bytes, place: int, value: bytes) -> bytes:
    return data[:place] + value + data[place + len(value) :]


def sized(size: int, riff: int = 0) -> Edit:
    """A WAV with other lengths in its header."""
    return lambda data: put(put(data, 4, struct.pack("<I", riff)), data.index(b"data") + 4, struct.pack("<I", size))


def opened(path: Path) -> tuple[Recording, NDArray[np.float32]]:
    recording = open_source(str(path), AUDIO)
    return recording, np.concatenate([chunk.samples[:, 0] for chunk in recording.chunks(0)])


@pytest.mark.parametrize(
    ("size", "note"), [(0, [NO_LENGTH]), (1000, [SHORT]), (1001, [SHORT]), (0xFFFFFFFF, []), (0x7FFFFFFF, [])]
)
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT", "ULAW", "IMA_ADPCM", "MS_ADPCM", "GSM610"])
def test_a_wav_with_no_or_too_short_a_length_is_read_to_its_end(
    tmp_path: Path, subtype: str, size: int, note: list[str]
) -> None:
    path = tmp_path / "a.wav"
    data = written(path, subtype=subtype)
    complete = soundfile.read(path, dtype="float32")[0]
    path.write_bytes(sized(size)(data))
    recording, samples = opened(path)
    assert np.array_equal(samples, complete)
    assert recording.duration_s == pytest.approx(3, abs=0.07)
    assert (recording.losses, [each.replace("3.1 s", "3.0 s") for each in recording.notes]) == ({}, note)


def double(data: bytes, name: bytes, size: int, more: int = 4) -> bytes:
    return put(data, data.index(name) + more, struct.pack("<Q", size))


OTHERS: dict[str, tuple[str, str, Edit]] = {
    "aiff, killed": ("AIFF", "no", lambda data: put(data, data.index(b"SSND") + 4, bytes(4))),
    "aiff, half": ("AIFF", "too short a", lambda data: put(data, data.index(b"SSND") + 4, struct.pack(">I", 20_000))),
    "au, killed": ("AU", "no", lambda data: put(data, 8, bytes(4))),
    "au, half": ("AU", "too short a", lambda data: put(data, 8, struct.pack(">I", 20_000))),
    "au, streamed": ("AU", "", lambda data: put(data, 8, b"\xff" * 4)),
    "caf, killed": ("CAF", "no", lambda data: put(data, data.index(b"data") + 4, bytes(8))),
    "caf, streamed": ("CAF", "", lambda data: put(data, data.index(b"data") + 4, b"\xff" * 8)),
    "rf64, killed": ("RF64", "no", lambda data: put(data, data.index(b"ds64") + 8, bytes(24))),
    "rf64, half": ("RF64", "too short a", lambda data: double(data, b"ds64", 20_000, 16)),
    "w64, killed": ("W64", "no", lambda data: double(data, b"data", 0, 16)),
    "w64, half": ("W64", "too short a", lambda data: double(data, b"data", 20_024, 16)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_so_is_any_other_file_that_is_a_row_of_chunks(tmp_path: Path, name: str) -> None:
    kind, why, edit = OTHERS[name]
    path = tmp_path / f"a.{kind.lower()}"
    path.write_bytes(edit(written(path, kind)))
    recording, samples = opened(path)
    assert samples == pytest.approx(noise(), abs=1e-4)
    note = f"a.{kind.lower()} has {why} length in its header: all 3.0 s up to its end are read"
    assert (recording.losses, recording.notes) == ({}, [note] if why else [])


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content


@pytest.mark.parametrize(
    "rest",
    [
        chunk(b"LIST", b"INFOISFT" + struct.pack("<I", 6000) + b"x" * 6000),
        chunk(b"LIST", b"INFO" + b"x" * 6001),
        chunk(b"LIST", b"INFO" + b"x" * 6001)[:-500],
        chunk(b"Zz 1", b"q" * 6000) + chunk(b"Zz 2", b"q" * 20),
        b"TAG" + b"title".ljust(5000, b"\1"),
        bytes(20_000),
        b"\x17" * 100,
    ],
    ids=["list", "odd list", "cut list", "unknown", "id3", "room", "a few bytes"],
)
def test_what_follows_a_whole_sound_is_not_taken_for_sound(tmp_path: Path, rest: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(written(path) + rest)
    recording, samples = opened(path)
    assert samples == pytest.approx(noise(), abs=1e-4)
    assert (recording.losses, recording.notes) == ({}, [])


def test_a_sound_of_an_odd_number_of_bytes_is_followed_by_chunks_with_and_without_padding(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise()[:-1], RATE_HZ, subtype="PCM_U8")
    data = path.read_bytes().removesuffix(b"\0")
    for padding in (b"", b"\0"):
        path.write_bytes(data + padding + chunk(b"LIST", b"INFO" + b"x" * 6000))
        recording, samples = opened(path)
        assert len(samples) == 3 * RATE_HZ - 1
        assert (recording.losses, recording.notes) == ({}, [])


def test_a_wav_that_is_empty_but_for_its_tags_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise()[:0], RATE_HZ)
    for rest in (chunk(b"LIST", b"INFO" + b"x" * 6000), bytes(6000)):
        path.write_bytes(path.read_bytes() + rest)
        with pytest.raises(SourceError, match="holds 0 samples"):
            opened(path)


@pytest.mark.parametrize(
    ("kind", "subtype"), [("WAV", "IMA_ADPCM"), ("WAV", "GSM610"), ("AIFF", "PCM_16"), ("W64", "PCM_16")]
)
def test_a_cut_is_told_of_every_kind(tmp_path: Path, kind: str, subtype: str) -> None:
    path = tmp_path / "a.sound"
    data = written(path, kind, subtype)
    path.write_bytes(data[: len(data) // 2])
    recording, samples = opened(path)
    assert len(samples) == pytest.approx(1.5 * RATE_HZ, rel=0.05)
    assert recording.losses["missing"] == pytest.approx(1.5 * RATE_HZ, rel=0.05)
    assert recording.notes[0].startswith("a.sound is truncated or damaged: its header promises 3.")


def test_a_gsm_wav_which_cannot_be_sought_in_is_read_as_often_as_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    written(path, subtype="GSM610")
    recording, samples = opened(path)
    again = np.concatenate([chunk.samples[:, 0] for chunk in recording.chunks(0, 77_000_000)])
    assert np.array_equal(samples, soundfile.read(path, dtype="float32")[0])
    assert np.array_equal(samples, again)
    assert (recording.losses, recording.notes) == ({}, [])


@pytest.mark.parametrize("size", [0, 1000, 0xFFFFFFFF])
def test_a_wav_of_more_than_4_gigabytes_is_read_beyond_what_its_header_can_say(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.wav"
    head = sized(size)(written(path))[:44]
    with path.open("r+b") as file:
        file.write(head)
        file.truncate(5 << 30)
        file.seek((5 << 30) - 2 * RATE_HZ)
        file.write(noise(1).view(np.uint8)[: 2 * RATE_HZ].tobytes())
    recording = open_source(str(path), AUDIO)
    assert recording.duration_s == pytest.approx(((5 << 30) - 44) / 2 / RATE_HZ, rel=1e-9)
