"""Zip archives that are made to harm: what their lists of entries promise is not believed before it is bounded."""

from __future__ import annotations

import copy
import errno
import gc
import random
import struct
import sys
import zipfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from fakes import write_tiny_bundle
from fuzzing import times
from hostile import damaged, peak_bytes
from mmg.bounded_zip import ZIP_ERRORS, BoundedZip
from mmg.bundle import Bundle
from mmg.bundle.arrays import read_arrays, write_arrays
from mmg.errors import BundleError, SourceError
from mmg.sources.files.folder import LIST_BYTES, unpacked

MIB = 1 << 20


def listing(count: int, name: bytes = b"a", extra: int = 0, comment: int = 0) -> bytes:
    """An archive that is nothing but a list of so many entries, and its end."""
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, 0, 0, len(name), extra, comment, 0, 0, 0, 0)
    entries = (entry + name + bytes(extra) + b"c" * comment) * count
    return entries + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count & 0xFFFF, count & 0xFFFF, len(entries), 0, 0)


LISTS = {
    "a million entries": partial(listing, 1_000_000),
    "long names": partial(listing, 500, b"n" * 60_000),
    "long comments": partial(listing, 500, comment=60_000),
    "extra fields": partial(listing, 500, extra=60_000),
}


@pytest.mark.parametrize("what", LISTS)
def test_a_list_of_entries_of_many_megabytes_is_refused_before_it_is_read(tmp_path: Path, what: str) -> None:
    path = tmp_path / "bundle.mmg"
    data = LISTS[what]()
    path.write_bytes(data)
    told: list[str] = []

    def open_bundle() -> None:
        with pytest.raises(BundleError) as caught:
            Bundle.open(path)
        told.append(str(caught.value))

    def unpack() -> None:
        with pytest.raises(SourceError) as caught:
            unpacked(str(path), path)
        told.append(str(caught.value))

    assert peak_bytes(open_bundle) < MIB
    assert peak_bytes(unpack) < 8 * MIB
    assert all("its list of entries has" in text and "\n" not in text for text in told)

    def read() -> None:
        with pytest.raises(ValueError, match="its list of entries has"):
            read_arrays(data)

    assert peak_bytes(read) < 2 * MIB


def test_a_list_that_says_it_is_longer_than_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bundle.mmg"
    path.write_bytes(struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, 0x7FFFFFFF, 0, 0))

    def open_bundle() -> None:
        with pytest.raises(BundleError):
            Bundle.open(path)

    assert peak_bytes(open_bundle) < MIB


def test_the_longest_list_that_a_recording_may_have_takes_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Counting what is allocated takes long: a quarter of the list, and of what it may take.
    monkeypatch.setattr("mmg.sources.files.folder.LIST_BYTES", LIST_BYTES // 4)
    path = tmp_path / "walk.zip"
    path.write_bytes(listing((LIST_BYTES // 4 - 100) // 47))

    def unpack() -> None:
        with suppress(SourceError):
            unpacked(str(path), path)

    assert LIST_BYTES == 4 * MIB
    assert peak_bytes(unpack) < 25 * MIB


def test_a_recording_that_unpacks_to_much_more_than_it_is_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "walk.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("walk.csv", "w") as stream:
        for _ in range(300):
            stream.write(bytes(MIB))
    with pytest.raises(SourceError, match=r"would unpack to 0\.3 GB, over 100 times what it takes"):
        unpacked(str(path), path)


def test_files_that_overlap_are_refused(tmp_path: Path) -> None:
    """Thousands of entries that are one and the same place unpack to thousands of times as much."""
    path = tmp_path / "walk.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "t,x\n" * 1000)
        for number in range(50):
            again = copy.copy(archive.infolist()[0])
            again.filename = f"{number}.csv"
            archive.filelist.append(again)
    with pytest.raises(SourceError, match="its files overlap"):
        unpacked(str(path), path)


def test_a_model_that_unpacks_to_much_more_than_it_is_is_refused_when_the_bundle_is_opened(tmp_path: Path) -> None:
    path = write_tiny_bundle(tmp_path / "bundle.mmg")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("more.onnx", "w") as stream:
        for number in range(32):  # to a fortieth
            stream.write(random.Random(number).randbytes(MIB // 40) + bytes(MIB - MIB // 40))
    with pytest.raises(BundleError, match="holds more than can be: 32 MiB, over 20 times what it takes") as caught:
        Bundle.open(path)
    assert caught.value.field == "more.onnx"


def test_an_ordinary_archive_is_read_as_zipfile_does(tmp_path: Path) -> None:
    path = tmp_path / "walk.zip"
    data = random.Random(1).randbytes(3 * MIB)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("large.csv", data)
        archive.writestr("small.csv", "t,x\n")
        archive.comment = b"from an app" * 1000
    with BoundedZip(path, MIB) as archive:
        assert archive.namelist() == ["large.csv", "small.csv"]
        assert archive.read("large.csv") == data


def test_an_archive_that_cannot_be_opened_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tiny_bundle(tmp_path / "bundle.mmg")
    closed = PermissionError(errno.EACCES, "Permission denied", str(path))
    monkeypatch.setattr("mmg.bounded_zip.open_regular", Mock(side_effect=closed))
    with pytest.raises(BundleError, match=r"bundle\.mmg: cannot be read: Permission denied$"):
        Bundle.open(path)
    with pytest.raises(SourceError, match=r"bundle\.mmg: cannot be unpacked: Permission denied$"):
        unpacked(str(path), path)


def test_nothing_is_told_of_an_archive_when_it_goes_that_could_not_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ignored: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: ignored.append(told.exc_value))
    with suppress(FileNotFoundError):
        BoundedZip(tmp_path / "none.mmg", MIB)
    gc.collect()
    assert ignored == []


def test_damaged_archives_raise_nothing_but_what_is_expected(tmp_path: Path) -> None:
    whole = write_tiny_bundle(tmp_path / "bundle.mmg").read_bytes()
    dice = random.Random(7)
    for _ in range(times(300)):
        with suppress(*ZIP_ERRORS), BoundedZip(damaged(whole, dice), MIB) as archive:
            for entry in archive.infolist():
                with suppress(*ZIP_ERRORS):
                    archive.read(entry)


# --- arrays ---------------------------------------------------------------------------------------------------------


def test_an_array_that_is_there_twice_is_refused() -> None:
    data = write_arrays({"a": np.zeros(3, np.float32), "b": np.ones(3, np.float32)})
    with pytest.raises(ValueError, match="holds an array twice"):
        read_arrays(data.replace(b"b.npy", b"a.npy"))


def test_a_header_of_thousands_of_axes_is_no_arrays(tmp_path: Path) -> None:
    data = write_arrays({"a": np.zeros(3, np.float32)})
    assert read_arrays(data)
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"999999999, " * 4000 + b"9), }\n"
    array = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    path = tmp_path / "arrays.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", array)
    with pytest.raises(ValueError, match="is not a float32"):
        read_arrays(path.read_bytes())
