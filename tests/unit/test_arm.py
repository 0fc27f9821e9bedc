"""What ``make arm`` judges by, tried without an emulator: the order and budget of its tests, and decisions compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CI = Path(__file__).parents[2] / ".ci"

pytestmark = pytest.mark.skipif(not CI.is_dir(), reason="this is no checkout: .ci is not here")


def run_within(budget_s: float, folder: Path, *places: str) -> str:
    command = (sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-p", "time_budget", *places)
    environment = os.environ | {"MMG_TEST_BUDGET_S": str(budget_s), "PYTHONPATH": str(CI), "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_files_and_folders_are_run_in_the_order_given_until_the_time_is_spent(tmp_path: Path) -> None:
    for name in ("test_b.py", "test_a.py", "folder/test_c.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("def test_it(): pass\n")
    places = ("test_b.py", "folder", "test_a.py")
    told = run_within(60, tmp_path, *places)
    assert [line.split("::")[0] for line in told.splitlines() if "PASSED" in line] == [
        "test_b.py",
        "folder/test_c.py",
        "test_a.py",
    ]
    assert "not run: 3 tests, from test_b.py::test_it on: 0 s were spent" in run_within(0, tmp_path, *places)


def decided(**changes: Any) -> str:
    line = {"t": 0.5, "label": "walking", "modalities": ["imu"], "scores": {"walking": 0.9, "sitting": 0.1}}
    return json.dumps(line | changes) + "\n"


@pytest.mark.parametrize(
    ("other", "told", "code"),
    [
        (decided(), "1 of 1 labels the same, scores within 0.000000", 0),
        (decided(scores={"walking": 0.899995, "sitting": 0.100005}), "within 0.000005", 0),
        (decided(scores={"walking": 0.899994, "sitting": 0.100006}), "within 0.000006: DIFFERENT", 1),
        (decided(label="sitting"), "0 of 1 labels the same", 1),
        (decided(modalities=["audio"]), "decisions differ in modalities: DIFFERENT", 1),
        (decided() + decided(t=1.0), "1 decisions against 2: DIFFERENT", 1),
        ("", "1 decisions against 0: DIFFERENT", 1),
    ],
)
def test_decisions_of_two_processors_are_the_same_to_five_in_the_last_decimal(
    tmp_path: Path, other: str, told: str, code: int
) -> None:
    (tmp_path / "here").write_text(decided())
    (tmp_path / "there").write_text(other)
    command = (sys.executable, str(CI / "compare_decisions.py"), str(tmp_path / "here"), str(tmp_path / "there"))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told in done.stdout
    assert done.returncode == code
