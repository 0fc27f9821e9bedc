"""What a signature covers: nothing can be added to a signed bundle, and no byte of it can be another one."""

from __future__ import annotations

import os
import random
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from fakes import tiny_files, tiny_manifest, write_tiny_bundle
from fuzzing import times
from hostile import damaged
from mmg.bundle import Bundle, write_bundle
from mmg.bundle.keys import make_keys, read_private_key, read_public_key
from mmg.bundle.signature import parse_signature
from mmg.bundle.writer import sign_bundle
from mmg.errors import BundleError, ConfigError
from mmg_tools.bundle_mutations import mutate_all

SIGNATURE = "manifest.sig"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The public key; the private one lies beside it."""
    make_keys(str(tmp_path / "key"))
    return tmp_path / "key.pub"


def signed(path: Path, key: Path, **more: bytes) -> Path:
    manifest = tiny_manifest()
    write_bundle(path, manifest, tiny_files(manifest) | more)
    sign_bundle(path, read_private_key(key.with_suffix(".key")))
    return path


def refusal(path: Path, key: Path) -> str:
    with pytest.raises(BundleError) as caught:
        read_all(path, key)
    return str(caught.value)


def read_all(path: Path, key: Path) -> None:
    with Bundle.open(path, trust=key) as bundle:
        for file in bundle.manifest.stored():
            bundle.read(file)


ADDED: dict[str, Callable[[Path], object]] = {
    "a card": lambda folder: (folder / "MODEL_CARD.md").write_text("# tiny\n"),
    "an empty card": lambda folder: (folder / "MODEL_CARD.md").touch(),
    "a model": lambda folder: (folder / "more.onnx").write_bytes(b"?"),
    "an empty file": lambda folder: (folder / "more.onnx").touch(),
    "a dot file": lambda folder: (folder / ".hidden").touch(),
    "a weights file": lambda folder: (folder / "imu.onnx.data").write_bytes(bytes(8)),
    "a file whose name is no text": lambda folder: Path(os.fsdecode(bytes(folder) + b"/\xff")).touch(),
    "an empty folder": lambda folder: (folder / "models").mkdir(),
    "an empty dot folder": lambda folder: (folder / ".git").mkdir(),
    "folders in one another": lambda folder: (folder / "a" / "b").mkdir(parents=True),
    "a pipe": lambda folder: os.mkfifo(folder / "pipe"),
    "a link": lambda folder: (folder / "link").symlink_to("imu.onnx"),
}


@pytest.mark.parametrize("what", ADDED)
def test_nothing_can_be_added_to_a_signed_folder(tmp_path: Path, key: Path, what: str) -> None:
    path = signed(tmp_path / "bundle", key)
    Bundle.open(path, trust=key).close()
    ADDED[what](path)
    assert refusal(path, key)


@pytest.mark.parametrize("name", ["imu.onnx", "audio.onnx", "manifest.json", SIGNATURE])
def test_nothing_can_be_taken_out_of_a_signed_bundle(tmp_path: Path, key: Path, name: str) -> None:
    path = signed(tmp_path / "bundle", key)
    (path / name).unlink()
    with pytest.raises(BundleError):
        Bundle.open(path, trust=key)


@pytest.mark.parametrize("name", ["bundle", "bundle.mmg"])
def test_an_empty_card_is_neither_written_nor_taken(tmp_path: Path, name: str) -> None:
    manifest = tiny_manifest()
    with pytest.raises(BundleError, match="is empty"):
        write_bundle(tmp_path / name, manifest, tiny_files(manifest) | {"MODEL_CARD.md": b""})


def test_every_byte_of_the_signature_file_counts(tmp_path: Path, key: Path) -> None:
    path = signed(tmp_path / "bundle", key)
    right = (path / SIGNATURE).read_bytes()
    for place in range(len(right)):
        for changed in (right[:place] + right[place + 1 :], right[:place] + b" " + right[place:]):
            (path / SIGNATURE).write_bytes(changed)
            assert refusal(path, key)
        (path / SIGNATURE).write_bytes(right[:place] + bytes([right[place] ^ 1]) + right[place + 1 :])
        assert refusal(path, key)


def test_every_bit_of_a_signed_zip_outside_its_files_counts(tmp_path: Path, key: Path) -> None:
    path = signed(tmp_path / "bundle.mmg", key)
    right = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        inside = [range(one.header_offset + 30 + len(one.filename), 0) for one in archive.infolist()]
        ends = [begin.start + one.file_size for begin, one in zip(inside, archive.infolist(), strict=True)]
    data = {place for begin, end in zip(inside, ends, strict=True) for place in range(begin.start, end)}
    for place in set(range(len(right))) - data:
        path.write_bytes(right[:place] + bytes([right[place] ^ 1 << place % 8]) + right[place + 1 :])
        assert refusal(path, key)


def packed_anew(path: Path, key: Path, change: Callable[[zipfile.ZipFile, zipfile.ZipInfo, bytes], object]) -> str:
    """What is said of an archive with the same files, packed by another program."""
    with zipfile.ZipFile(path) as archive:
        files = [(entry, archive.read(entry)) for entry in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for entry, data in files:
            change(archive, entry, data)
    return refusal(path, key)


def with_an_extra_field(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, data: bytes) -> None:
    entry.extra = b"UT\5\0\3\0\0\0\0"
    archive.writestr(entry, data)


def with_a_comment(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, data: bytes) -> None:
    archive.writestr(entry, data)
    archive.comment = b"hello"


@pytest.mark.parametrize(
    "change",
    [
        lambda archive, entry, data: archive.writestr(entry, data, zipfile.ZIP_DEFLATED),
        lambda archive, entry, data: archive.writestr(entry.filename, data),
        with_an_extra_field,
        with_a_comment,
    ],
    ids=["deflated", "with dates", "with an extra field", "with a comment"],
)
def test_a_signed_zip_that_was_packed_anew_is_refused_and_opens_without_trust(
    tmp_path: Path, key: Path, change: Callable[[zipfile.ZipFile, zipfile.ZipInfo, bytes], object]
) -> None:
    path = signed(tmp_path / "bundle.mmg", key)
    assert "was packed anew or altered since it was signed" in packed_anew(path, key, change)
    Bundle.open(path).close()


def test_files_in_another_order_and_bytes_around_a_signed_zip_are_refused(tmp_path: Path, key: Path) -> None:
    path = signed(tmp_path / "bundle.mmg", key)
    right = path.read_bytes()
    for changed in (b"\0" + right, b"#!/bin/sh\n" + right, right + b"\0", right + bytes(22)):
        path.write_bytes(changed)
        assert refusal(path, key)
    path.write_bytes(right)
    with zipfile.ZipFile(path) as archive:
        files = [(entry, archive.read(entry)) for entry in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for entry, data in reversed(files):
            archive.writestr(entry, data)
    assert "packed anew" in refusal(path, key)


def test_signing_what_another_program_packed_gives_it_its_one_form(tmp_path: Path, key: Path) -> None:
    path = write_tiny_bundle(tmp_path / "bundle.mmg")
    with zipfile.ZipFile(path) as archive:
        files = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in reversed(files):
            archive.writestr(name, data)
    sign_bundle(path, read_private_key(key.with_suffix(".key")))
    Bundle.open(path, trust=key).close()
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}


def test_damaged_keys_and_signatures_end_in_one_line(tmp_path: Path, key: Path) -> None:
    stored = (signed(tmp_path / "bundle", key) / SIGNATURE).read_bytes()
    dice, right = random.Random(3), key.read_bytes()
    for _ in range(times(300)):
        key.write_bytes(damaged(right, dice))
        with suppress(ConfigError):
            read_public_key(key)
        with suppress(BundleError):
            parse_signature(damaged(stored, dice), "bundle", SIGNATURE)


def test_a_pipe_in_place_of_a_key_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pub")
    with pytest.raises(ConfigError, match="is not a regular file"):
        read_public_key(tmp_path / "pipe.pub")


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_no_mutation_of_a_signed_bundle_is_accepted(tmp_path: Path, form: str) -> None:
    told = mutate_all(200, 5, form, tmp_path)
    assert told.count == 200
    assert told.accepted == []
    assert told.crashed == []
    assert told.longest_s < 1
    assert told.most_mib < 200
    assert told.holds
