"""What was unpacked from an archive goes with its process, or with the next one that unpacks; nothing else does."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from killing import killed_at
from mmg.sources.files.folder import MARK, UNPACKED, forget_unpacked, kinds_in, unpacked
from mmg.sources.url import parse_url

UNPACK = (
    "import os, signal, sys; from pathlib import Path; from mmg.sources.files.folder import unpacked\n"
    "print(unpacked('', Path(sys.argv[1])), flush=True)\n"
)
KILL, EXIT, WAIT = "os.kill(os.getpid(), signal.SIGKILL)", "os._exit(5)", "sys.stdin.read()"
# Forking with the test runner's threads is what is wanted: the child only unpacks, and ends.
forks = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files go, of this process and of those that it starts."""
    forget_unpacked()
    (places := tmp_path / "places").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(places))
    monkeypatch.setenv("TMPDIR", str(places))
    yield places
    forget_unpacked()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "walk.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("imu.csv", "t_ms,ax,ay,az\n" + "".join(f"{10 * row},0,0,9.8\n" for row in range(100)))
        file.writestr("watch/imu.csv", "t_ms,ax,ay,az\n")
        file.writestr(MARK, "none of it")
    return path


def left_by(end: str, archive: Path) -> Path:
    """The folder of a process that ended so."""
    done = subprocess.run([sys.executable, "-c", UNPACK + end, str(archive)], capture_output=True, text=True)
    return Path(done.stdout.strip())


@pytest.mark.parametrize("end", [KILL, EXIT])
def test_what_a_process_left_goes_when_the_next_one_unpacks(places: Path, archive: Path, end: str) -> None:
    left = left_by(end, archive)
    assert list(places.iterdir()) == [left]
    folder = unpacked("", archive)
    assert list(places.iterdir()) == [folder]
    assert folder != left


def test_what_a_process_that_lives_has_unpacked_stays(places: Path, archive: Path) -> None:
    command = [sys.executable, "-c", UNPACK + WAIT, str(archive)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        its = Path(process.stdout.readline().strip())
        ours = unpacked("", archive)
        assert (its / "imu.csv").is_file()
        assert sorted(places.iterdir()) == sorted([its, ours])
        process.communicate()
    assert list(places.iterdir()) == [ours]
    forget_unpacked()
    assert not list(places.iterdir())


def test_all_that_one_process_unpacks_stays(archive: Path, places: Path) -> None:
    (other := archive.with_name("other.zip")).write_bytes(archive.read_bytes())
    folders = {unpacked("", archive), unpacked("", other), unpacked("", archive)}
    assert set(places.iterdir()) == folders
    assert len(folders) == 2


def test_what_is_not_ours_stays(places: Path, archive: Path) -> None:
    (places / f"{UNPACKED}walks").mkdir()
    (places / f"{UNPACKED}walks" / "imu.csv").touch()
    (places / f"{UNPACKED}file").touch()
    (elsewhere := places / "elsewhere").mkdir()
    (elsewhere / MARK).touch()
    (places / f"{UNPACKED}link").symlink_to(elsewhere)
    (places / f"{UNPACKED}marked").mkdir()
    (places / f"{UNPACKED}marked" / MARK).symlink_to(elsewhere / MARK)
    before = sorted(places.rglob("*"))
    unpacked("", archive)
    forget_unpacked()
    assert sorted(places.rglob("*")) == before


def test_where_there_are_no_locks_an_archive_is_read_all_the_same_and_nothing_is_taken_for_left(
    places: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = left_by(KILL, archive)

    def refuse(_descriptor: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    folder = unpacked("", archive)
    assert (folder / "imu.csv").is_file()
    assert sorted(places.iterdir()) == sorted([left, folder])


def test_what_another_user_left_stays(places: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left, user = left_by(KILL, archive), os.geteuid()
    with monkeypatch.context() as patched:
        patched.setattr(os, "geteuid", lambda: user + 1)
        unpacked("", archive)
    assert (left / "imu.csv").is_file()
    assert left.parent == places


def test_a_link_in_what_was_left_is_not_followed(places: Path, archive: Path) -> None:
    (elsewhere := places / "elsewhere").mkdir()
    (elsewhere / "imu.csv").touch()
    left = left_by(KILL, archive)
    (left / "folder").symlink_to(elsewhere)
    (left / "file").symlink_to(elsewhere / "imu.csv")
    unpacked("", archive)
    assert not left.exists()
    assert (elsewhere / "imu.csv").is_file()


@forks
def test_a_fork_that_ends_leaves_what_is_its_parents(places: Path, archive: Path) -> None:
    folder = unpacked("", archive)
    if not (child := os.fork()):
        forget_unpacked()  # as at its exit
        os._exit(0)
    os.waitpid(child, 0)
    assert sorted(path.name for path in folder.iterdir()) == [MARK, "imu.csv", "watch"]
    assert list(places.iterdir()) == [folder]


@pytest.mark.usefixtures("places")
def test_what_a_fork_still_reads_stays_when_its_parent_is_killed(archive: Path) -> None:
    reader, writer = os.pipe()
    fork = f"if not os.fork(): os.closerange(1, 3); os.read({reader}, 1); os._exit(0)\n"
    command = [sys.executable, "-c", UNPACK + fork + KILL, str(archive)]
    done = subprocess.run(command, capture_output=True, text=True, pass_fds=[reader])
    left = Path(done.stdout.strip())
    assert done.returncode == -signal.SIGKILL
    unpacked("", archive)
    assert (left / "imu.csv").is_file()
    os.close(writer)
    os.close(reader)


@forks
def test_who_is_killed_at_any_moment_leaves_nothing_of_the_recording_to_stay(
    places: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A file system may list the mark before all else.
    monkeypatch.setattr(Path, "iterdir", lambda folder: (folder / name for name in sorted(os.listdir(folder))))  # noqa: PTH208

    def unpack() -> None:
        unpacked("", archive)
        forget_unpacked()

    steps = left = 0
    while killed_at(steps + 1, unpack):
        steps += 1
        left += len(list(places.rglob("*.csv")))
        unpack()
        assert not list(places.rglob("*.csv"))
        for folder in places.iterdir():  # of one that was killed before it had its mark: the next would look at it too
            shutil.rmtree(folder)
    assert left
    assert 15 < steps < 100


def test_the_mark_is_none_of_the_recordings_files(places: Path, archive: Path) -> None:
    assert kinds_in(parse_url(str(archive))) == {"signal"}
    [folder] = places.iterdir()
    assert (folder / MARK).read_bytes() == b""
