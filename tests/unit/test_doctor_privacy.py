"""What mmg-doctor says of the kernel's closing: a finding for each rung, and whether a camera was refused."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from mmg.board.doctor.privacy import check_privacy

ALL = {"by": ["namespace", "landlock", "seccomp"], "without": {}, "answers": ["open: EACCES"], "things": ["cameras"]}
NONE = {
    "by": [],
    "without": {rung: f"{rung}: ENOSYS" for rung in ("namespace", "landlock", "seccomp")},
    "answers": ["VIDIOC_QUERYCAP of /dev/null: ENOTTY"],
    "things": [],
}


def told(answer: dict[str, Any] | str, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, str]]:
    text = answer if isinstance(answer, str) else json.dumps(answer)
    done = subprocess.CompletedProcess([], 0, text, "")
    monkeypatch.setattr("mmg.board.doctor.privacy.subprocess.run", lambda *_args, **_options: done)
    return {one.check: (one.verdict, one.found) for one in check_privacy(Path("/"))}


def test_a_machine_that_has_all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    found = told(ALL, monkeypatch)
    assert [verdict for verdict, _ in found.values()] == ["ok"] * 4
    assert found["cameras"][1] == "the kernel keeps them closed: open: EACCES"


def test_one_that_has_none_is_a_warning_that_says_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    found = told(NONE, monkeypatch)
    assert found["seccomp"] == ("ok", "not here: seccomp: ENOSYS")
    verdict, text = found["cameras"]
    assert verdict == "warning"
    assert "--privacy strict refuses to run" in text
    assert "ENOTTY" in text
    [cameras] = [one for one in check_privacy(Path("/")) if one.check == "cameras"]
    assert cameras.do.startswith("mmg-service install")


def test_a_trial_that_breaks_and_another_boards_files_tell_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told("Segmentation fault", monkeypatch)["cameras"][0] == "unknown"
    assert [one.verdict for one in check_privacy(tmp_path)] == ["unknown"]


def test_a_file_of_the_working_directory_is_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('none of Python's')")
    monkeypatch.chdir(tmp_path)
    assert "could not be tried" not in {one.check: one.found for one in check_privacy(Path("/"))}["cameras"]
