"""What lies where a file is to be written: links lead on, and devices and pipes are written to and stay."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest
from mmg.atomic_write import atomic_write


def write(path: Path, data: bytes = b"new") -> None:
    with atomic_write(path) as stream:
        stream.write(data)


def test_a_pipe_stays_and_gets_what_is_written(tmp_path: Path) -> None:
    pipe, link, heard = tmp_path / "pipe", tmp_path / "link", list[bytes]()
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        reader = threading.Thread(target=lambda: heard.append(pipe.read_bytes()))
        reader.start()
        write(path)
        reader.join(10)
    assert heard == [b"new", b"new"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert link.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe"]  # noqa: PTH208


def test_a_device_stays_and_gets_what_is_written() -> None:
    ours, theirs = os.openpty()
    try:
        terminal = Path(os.ttyname(theirs))
        write(terminal)
        assert terminal.is_char_device()
        assert os.read(ours, 100) == b"new"
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("folder", ["/dev/fd", "/proc/self/fd"])
def test_a_file_that_a_shell_has_opened_for_the_output_gets_it(tmp_path: Path, folder: str) -> None:
    with (tmp_path / "page.html").open("wb") as stream:
        before = os.fstat(stream.fileno()).st_ino
        write(Path(folder) / str(stream.fileno()))
        assert (tmp_path / "page.html").read_bytes() == b"new"
        assert (tmp_path / "page.html").stat().st_ino == before
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    file, link = tmp_path / "there" / "file", tmp_path / "link"
    file.write_bytes(b"old")
    link.symlink_to(file)
    with file.open("rb") as opened:
        write(link)
        assert opened.read() == b"old"
    assert link.is_symlink()
    assert file.read_bytes() == b"new"
    assert [path.name for path in file.parent.iterdir()] == ["file"]


def test_links_that_lead_to_each_other_are_an_error_and_stay(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.symlink_to(other)
    other.symlink_to(one)
    for path in (one, one / "file"):
        with pytest.raises(OSError, match="Too many levels of symbolic links") as raised:
            write(path)
        assert (raised.value.errno, raised.value.filename) == (errno.ELOOP, str(path))
    assert one.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["one", "other"]  # noqa: PTH208


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        write(tmp_path / "..")
    assert tmp_path.is_dir()


def test_an_error_that_names_no_file_names_the_one_that_was_to_be_written(tmp_path: Path) -> None:
    def fill() -> None:
        with atomic_write(tmp_path / "file"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left") as raised:
        fill()
    assert raised.value.filename == str(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []
