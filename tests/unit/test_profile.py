"""Device profiles: what is wrong names the file and the key."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from mmg_device_profiles import detect_board, load_profile
from mmg_device_profiles.profile import BOARDS, ProfileProblem

BOARD_NAMES = sorted(path.stem for path in BOARDS.glob("*.toml"))
HEAD = 'name = "mine"\ndescription = "a board"\n'


def written(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "mine.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def problem_of(name_or_path: str) -> ProfileProblem:
    with pytest.raises(ProfileProblem) as caught:
        load_profile(name_or_path)
    assert caught.value.path == name_or_path
    assert str(caught.value).startswith(name_or_path)
    return caught.value


@pytest.mark.parametrize("name", BOARD_NAMES)
def test_every_board_that_is_shipped_loads(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert profile.description
    assert profile.backend == "auto"


def test_there_is_a_board_for_this_machine() -> None:
    assert detect_board() in BOARD_NAMES


@pytest.mark.parametrize(
    ("machine", "board"),
    [("x86_64", "generic-x86-64"), ("aarch64", "generic-aarch64"), ("arm64", "generic-aarch64")],
)
def test_the_board_is_found_by_the_machine(machine: str, board: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert detect_board() == board
    assert board in BOARD_NAMES


def test_a_profile_of_ones_own_is_read_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = HEAD + 'threads = 2\ngrace_s = 0.5\n[sensors]\nimu = "file:///data/imu.csv"\n'
    path = written(tmp_path, text)
    monkeypatch.chdir(tmp_path)
    for name in (path, "mine.toml", "./mine.toml"):
        profile = load_profile(name)
        assert (profile.name, profile.threads, profile.grace_s) == ("mine", 2, 0.5)
        assert profile.sensors == {"imu": "file:///data/imu.csv"}


def test_what_a_profile_leaves_out_has_a_default(tmp_path: Path) -> None:
    profile = load_profile(written(tmp_path, HEAD))
    assert (profile.backend, profile.threads, profile.grace_s, profile.sensors) == ("auto", 1, 0.2, {})


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (HEAD + "thread = 2\n", "thread"),
        (HEAD + "[sensors]\nimu = 1\n", "sensors"),
        (HEAD + "[sensors.imu]\nurl = 'x'\n", "sensors"),
        (HEAD + "[power]\nwatts = 5\n", "power"),
        ('description = "a board"\n', "name"),
        ('name = "mine"\n', "description"),
        ("", "name"),
        (HEAD + 'threads = "2"\n', "threads"),
        (HEAD + "threads = 2.5\n", "threads"),
        (HEAD + "threads = true\n", "threads"),
        (HEAD + "threads = 0\n", "threads"),
        (HEAD + "threads = 65\n", "threads"),
        (HEAD + "threads = -1\n", "threads"),
        (HEAD + f"threads = {'9' * 30}\n", "threads"),
        (HEAD + "grace_s = -0.1\n", "grace_s"),
        (HEAD + "grace_s = 10.1\n", "grace_s"),
        (HEAD + "grace_s = nan\n", "grace_s"),
        (HEAD + "grace_s = inf\n", "grace_s"),
        (HEAD + 'grace_s = "0.2 s"\n', "grace_s"),
        (HEAD + "grace_s = 1979-05-27\n", "grace_s"),
        ("name = 5\ndescription = ''\n", "name"),
        (HEAD + "backend = ['onnx']\n", "backend"),
        (HEAD + "sensors = []\n", "sensors"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, text: str, key: str) -> None:
    problem = problem_of(written(tmp_path, text))
    assert problem.key.split("[")[0] == key
    assert problem.problem


@pytest.mark.parametrize(
    "data",
    [
        b"name = ",
        b'{"name": "mine"}',
        b"\xff\xfe",
        b"\0",
        HEAD.encode() + b'name = "twice"\n',
        HEAD.encode() + b"x = " + b"[" * 100_000,
    ],
    ids=["cut", "JSON", "not UTF-8", "null", "a key twice", "nested too deep"],
)
def test_what_is_not_toml_is_refused(tmp_path: Path, data: bytes) -> None:
    problem = problem_of(written(tmp_path, data))
    assert problem.problem.startswith("not TOML: ")
    assert problem.key == ""
    assert str(problem) == f"{problem.path}: {problem.problem}"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "No such file" in problem_of(str(tmp_path / "nothing.toml")).problem


def test_a_directory_is_no_profile(tmp_path: Path) -> None:
    assert "directory" in problem_of(str(tmp_path)).problem


@pytest.mark.parametrize("name", ["raspberry-pi-99", "", "..", "generic"])
def test_an_unknown_board_lists_those_that_there_are(name: str) -> None:
    problem = problem_of(name)
    for board in BOARD_NAMES:
        assert board in problem.problem
