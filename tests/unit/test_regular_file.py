"""Files that others wrote: what is no file is never waited for, and no more is held than was asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hostile import nothing_yet
from mmg_device_profiles.regular_file import lines_within, open_regular, read_text, read_within


def link_to_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


KINDS: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a terminal": lambda path: path.symlink_to("/dev/tty"),
    "a link to a pipe": link_to_pipe,
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "named"
    KINDS[kind](path)
    with pytest.raises(OSError, match=r"is not a regular file|Is a directory"):
        open_regular(path)
    assert read_text(path) == ""


def test_a_pipe_that_took_the_files_place_meanwhile_is_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real_open = tmp_path / "named", os.open
    path.write_text("a file")

    def replaced_first(*arguments: Any) -> int:
        path.unlink()
        os.mkfifo(path)
        return real_open(*arguments)

    monkeypatch.setattr(os, "open", replaced_first)
    with pytest.raises(OSError, match="is not a regular file"):
        open_regular(path)


def test_a_link_that_a_user_names_is_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"here")
    (tmp_path / "link").symlink_to("file")
    assert read_within(tmp_path / "link") == b"here"


def test_a_loop_of_links_and_a_path_that_cannot_be_hold_no_text(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert read_text(tmp_path / "loop") == ""
    assert read_text(tmp_path / "a\0b") == ""


def test_what_has_nothing_yet_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"here")
    with nothing_yet(), open_regular(path) as file:
        for read in (file.read, file.readline, file.read1, partial(file.read, 9)):
            with pytest.raises(BlockingIOError, match="Resource temporarily unavailable"):
                read()
    with nothing_yet():
        assert read_text(path) == ""


def test_a_larger_file_than_was_asked_for_is_refused_with_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(2049))
    assert len(read_within(path, 2049)) == 2049
    with pytest.raises(OSError, match="holds more than 2 KiB"):
        read_within(path, 2048)


def test_a_line_that_does_not_end_is_refused_and_not_held(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"short\n" + b"x" * 5000)
    with open_regular(path) as file, pytest.raises(OSError, match="has a line of more than 1 KiB"):
        assert list(lines_within(file, 1 << 10)) == [b"short\n"]


def test_of_a_file_of_the_kernel_that_has_no_end_the_first_mebibyte_is_read(tmp_path: Path) -> None:
    path = tmp_path / "endless"
    with path.open("wb") as file:
        file.write(b"x")
        file.truncate(1 << 40)
    assert len(read_text(path)) == 1 << 20
