"""What a live run cost at some commits: which these are, and the table. What is measured is the benchmark's."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from mmg.errors import ConfigError
from mmg_tools.bench.live import Cost
from mmg_tools.live_commits import FOLDERS, Commit, table, unpack


def git(*words: str) -> None:
    who = ("-c", "user.name=A", "-c", "user.email=a@b.c")
    subprocess.run(("git", *who, *words), check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "checkout"
    place.mkdir()
    monkeypatch.chdir(place)
    git("init", "-q")
    (place / "README.md").write_text("no package yet\n")
    git("add", "-A")
    git("commit", "-qm", "First")
    for name in FOLDERS:
        (place / name).mkdir()
        (place / name / "code.py").write_text("x = 1\n")
    git("add", "-A")
    git("commit", "-qm", "Packages")
    return place


@pytest.mark.parametrize("below", ["", "tools"])
def test_a_commits_own_packages_are_unpacked_wherever_the_command_runs(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    (checkout / "runtime" / "code.py").write_text("x = 2\n")  # the commit's is wanted, not this
    monkeypatch.chdir(checkout / below)
    commit = unpack("HEAD", tmp_path / "there")
    assert commit.subject == "Packages"
    places = commit.environment["PYTHONPATH"].split(":")
    assert [(Path(place) / "code.py").read_text() for place in places] == ["x = 1\n"] * len(FOLDERS)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nosuch", "fatal: Needed a single revision"),
        ("README.md", "fatal: Needed a single revision"),
        ("--all", "fatal: Needed a single revision"),
        ("HEAD~1", "has no folder runtime, "),
    ],
)
@pytest.mark.usefixtures("checkout")
def test_what_is_no_commit_or_has_no_packages_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        unpack(text, tmp_path / "there")


def test_the_table_holds_each_commit_against_the_first() -> None:
    def cost(percent: float, latency_ms: float) -> Cost:
        return Cost(percent, 12.0, 80.0, (json.dumps({"latency_ms": {"event_to_decision": latency_ms}}),))

    before = Commit("1234567", "Before", {}, costs=[cost(2.0, 10.0), cost(2.2, 20.0), cost(9.0, 30.0)])
    after = Commit("89abcde", "After", {}, costs=[cost(1.1, 5.0)])
    assert table([before, after])[1:] == [
        "1234567    2.200 %            1.00            12.0     29.0   80.0  Before",
        "89abcde    1.100 %            0.50            12.0      5.0   80.0  After",
    ]
