"""Every command on standard output that takes nothing: one line, and exit code 2."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from chores import label, save
from mmg.teaching.store import write_taught
from mmg.teaching.taught import Example, Taught
from mmg.teaching.trace import Trace

PROJECT = (Path(__file__).parents[2] / "pyproject.toml").read_text()
SCRIPTS = dict(re.findall(r'^(mmg-\w+) = "([\w.:]+)"$', PROJECT, re.MULTILINE))
OF_TORCH = ("mmg-train", "mmg-eval", "mmg-study")
PRINTS = [
    *([script, word] for script in SCRIPTS if script not in OF_TORCH for word in ("--help", "--version")),
    ["mmg-teach", "--list"],
    ["mmg-teach", "--list", "--json"],
    ["mmg-teach", "stirring", "--from", "day", "--json"],
    ["mmg-teach", "stirring", "--from", "day", "-o", "new.taught"],
    ["mmg-teach", "--delete", "wave"],
    ["mmg-devices", "--json"],
    ["mmg-doctor"],
    ["mmg-label", "day"],
    ["mmg-bundle", "inspect", "starter"],
    ["mmg-bundle", "verify", "starter"],
    ["mmg-data", "."],
]


def on_full_output(folder: Path, command: list[str]) -> tuple[int, list[str]]:
    module, function = SCRIPTS[command[0]].split(":")
    program = f"import sys; from {module} import {function} as main; sys.argv[0] = {command[0]!r}; sys.exit(main())"
    # With a buffer, as usual, all is written at the end, where Python itself would tell of it in several lines.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program, *command[1:]],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=environment,
            check=False,
        )
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize("command", PRINTS, ids=" ".join)
def test_output_that_takes_nothing_is_one_line_and_exit_code_2(tmp_path: Path, command: list[str]) -> None:
    trace = Trace(np.random.default_rng(0).normal(size=(8, 1, 64)).astype(np.float32), np.zeros((8, 0, 0), np.float32))
    write_taught(tmp_path / "mine.taught", Taught({"imu": "0" * 64}).add("wave", Example({"imu": trace})))
    if command[-1] != "--help":
        label(save(tmp_path / "day", [("stirring", 5.0)]), [("stirring", 5.0)])
    if "--from" in command:
        (tmp_path / "mine.taught").unlink()
    code, lines = on_full_output(tmp_path, command)
    assert code == 2, lines
    assert lines[-1] == f"{command[0]}: cannot write: No space left on device"
    assert not any("Traceback" in line or "Exception ignored" in line for line in lines)


@pytest.mark.parametrize("script", OF_TORCH)
def test_the_commands_that_need_torch_do_so_too(tmp_path: Path, script: str) -> None:
    pytest.importorskip("torch", reason="the commands that train need torch")
    assert on_full_output(tmp_path, [script, "--help"]) == (2, [f"{script}: cannot write: No space left on device"])
