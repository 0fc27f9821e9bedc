"""A bundle that is written or signed is the old one or the new one, wherever its writer is killed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import signal_modality, tiny_files, tiny_manifest, write_tiny_bundle
from killing import killed_at
from mmg import atomic_write
from mmg.bundle import Bundle, write_bundle
from mmg.bundle.keys import PrivateKey
from mmg.bundle.writer import sign_bundle

KEY = PrivateKey(bytes(range(32)))
# Forking with the test runner's threads is what is wanted: the child only writes, and is killed.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


def contents(path: Path) -> dict[str, bytes]:
    with Bundle.open(path) as bundle:
        return {file.path: bundle.read(file) for file in bundle.manifest.stored()}


SMALLER = tiny_manifest(signal_modality())


def write_smaller(path: Path) -> None:
    write_bundle(path, SMALLER, tiny_files(SMALLER))


ACTIONS: dict[str, Callable[[Path], object]] = {"write": write_smaller, "sign": lambda path: sign_bundle(path, KEY)}


@pytest.mark.parametrize("name", ["bundle", "bundle.mmg"])
@pytest.mark.parametrize("what", ACTIONS)
def test_who_is_killed_at_any_moment_leaves_the_old_bundle_or_the_new_one(tmp_path: Path, name: str, what: str) -> None:
    action, steps = ACTIONS[what], 0
    new = write_tiny_bundle(tmp_path / "new" / name)
    action(new)
    for step in range(1, 1000):
        path = write_tiny_bundle(tmp_path / str(step) / name)
        old = contents(path)
        if not killed_at(step, lambda path=path: action(path)):  # type: ignore[misc]
            break
        steps += 1
        assert contents(path) in (old, contents(new))
        action(path)
        assert contents(path) == contents(new)
        assert [place.name for place in path.parent.iterdir()] == [name]  # what was left is gone
    assert steps >= 5


def test_without_an_exchange_in_one_step_the_next_writer_puts_back_what_was_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic_write, "_exchange", lambda *_: False)
    away = 0
    for step in range(1, 1000):
        path = write_tiny_bundle(tmp_path / str(step) / "bundle")
        if not killed_at(step, lambda path=path: write_smaller(path)):  # type: ignore[misc]
            break
        away += not path.exists()
        write_smaller(path)
        assert contents(path) == tiny_files(SMALLER)
        assert [place.name for place in path.parent.iterdir()] == ["bundle"]
    assert away == 1  # the moment that the page tells of


def test_an_old_bundle_that_a_killed_writer_moved_away_is_back_where_the_next_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tiny_bundle(tmp_path / "bundle")
    old = contents(path)
    path.rename(tmp_path / f".bundle.mmg-old-{os.getpid()}")

    def fill_up(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fill_up)
    with pytest.raises(OSError, match="No space left"):
        write_smaller(path)
    assert contents(path) == old


def test_what_a_running_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    theirs = {f".file.mmg-{os.getppid()}", ".file.backup", ".file.20261129", ".file.old.20261129"}
    for name in theirs:
        (tmp_path / name).write_text("a running process's, or a person's")
    (tmp_path / f".file.mmg-{os.getpid()}").write_text("of a killed process with this one's number")
    with atomic_write.atomic_write(path) as stream:
        stream.write(b"new")
    assert {place.name for place in tmp_path.iterdir()} == {"file", *theirs}


def test_the_kernel_exchanges_folders_here(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not atomic_write._exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this file system cannot exchange two folders")
    assert (tmp_path / "a" / "b").exists()
    assert (tmp_path / "b" / "a").exists()
