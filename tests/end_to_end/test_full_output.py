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
from forked import mmg
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


# With a buffer, as usual, all is written at the end, where Python itself would tell of it in several lines.
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def start_on_full_output(folder: Path, program: str, *words: str) -> tuple[int, list[str]]:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program, *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=BUFFERED,
            check=False,
        )
    return done.returncode, done.stderr.splitlines()


def on_full_output(folder: Path, command: list[str]) -> tuple[int, list[str]]:
    module, _ = SCRIPTS[command[0]].split(":")
    done = mmg(module, *command[1:], cwd=folder, environment=BUFFERED, stdout=Path("/dev/full"))
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


@pytest.mark.parametrize("command", [["mmg-run", "--help"], ["mmg-bundle", "inspect", "starter"]], ids=" ".join)
def test_one_that_was_started_by_itself_does_so_too(tmp_path: Path, command: list[str]) -> None:
    module, function = SCRIPTS[command[0]].split(":")
    program = f"import sys; from {module} import {function} as main; sys.exit(main())"
    said = f"{command[0]}: cannot write: No space left on device"
    assert start_on_full_output(tmp_path, program, *command[1:]) == (2, [said])


FORKS = """
import os, sys
from mmg_training.cli import entry, evaluate, study, train  # which takes longer than all else
for script in sys.argv[2:]:
    sys.argv[:] = [script, sys.argv[1]]
    if not (child := os.fork()):
        sys.exit({"mmg-train": entry.train, "mmg-eval": entry.evaluate, "mmg-study": entry.study}[script]())
    print("ended with", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=sys.stderr)
"""


def test_the_commands_that_need_torch_do_so_too(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the commands that train need torch")
    code, lines = start_on_full_output(tmp_path, FORKS, "--help", *OF_TORCH)
    assert code == 0
    ends = [(f"{script}: cannot write: No space left on device", "ended with 2") for script in OF_TORCH]
    assert lines == [line for end in ends for line in end]


OF_SHARED = {
    "mmg-train": "0 2 4 130",
    "mmg-eval": "0 2 4 130",
    "mmg-study": "0 1 2 3 4 130",
    "mmg-export": "0 1 2 4 130",
    "mmg-report": "0 2 4 130",
}
"""The codes of each command whose table is also another's."""


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_lists_the_exit_codes_that_the_docs_list(script: str) -> None:
    """Both are read as text: torch is not loaded for it."""
    folder = next(
        part for part in ("runtime", "training", "export", "batch", "tools", "fleet") if in_folder(script, part)
    )
    text = in_folder(script, folder)
    helped = numbers(text[text.index("\nexit codes: ") :].partition('"""')[0])
    page = (Path(__file__).parents[2] / "docs/command-line.md").read_text()
    section = re.split(rf"^## .*{script}\b.*$", page, maxsplit=1, flags=re.MULTILINE)[1].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \|", section, re.MULTILINE)
    told = OF_SHARED[script].split() if script in OF_SHARED else rows or numbers(re.split("Exit\\s+codes:", section)[1])
    assert helped == told


def in_folder(script: str, folder: str) -> str:
    module = SCRIPTS[script].split(":")[0].replace("cli.entry", f"cli.{script[4:].replace('eval', 'evaluate')}")
    path = Path(__file__).parents[2] / folder / f"{module.replace('.', '/')}.py"
    return path.read_text() if path.exists() else ""


def numbers(text: str) -> list[str]:
    """Those that begin a part of a list."""
    return re.findall(r"(?:^|[:,;])\s*(\d+)\s", text)
