"""docs/bring-your-own-model.md as a program: its files, its commands, and the lines that it says they print."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import pytest
from recordings import ROOT

PAGE = ROOT / "docs" / "bring-your-own-model.md"
# Run as modules: the scripts may be installed elsewhere than the package under test.
COMMANDS = {"python": (), "mmg-run": ("-m", "mmg.cli.run"), "mmg-bundle": ("-m", "mmg.cli.bundle")}
# Run here, where torch is imported and conversions are shared; the page's first export has a process of its own.
HERE = ("wrist.py",)
SETTINGS = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}


@dataclass
class Page:
    """The page, run in ``folder``. printed: what each command printed, standard output and then standard error.
    shown: the lines of output on the page."""

    folder: Path
    printed: dict[str, str] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)


def read_page() -> Iterator[tuple[str, str]]:
    """In order: ``("file.py", its text)``, ``("run", a command)`` and ``("shown", a line of output)``."""
    lines = iter(PAGE.read_text(encoding="utf-8").splitlines())
    for line in lines:
        if line == "```python":
            block = list(iter(lambda: next(lines), "```"))
            yield block[0].removeprefix("# "), "\n".join(block) + "\n"
        elif line.startswith("    "):
            text = line[4:]
            yield "run" if text.partition(" ")[0] in COMMANDS else "shown", text


def run_page(folder: Path) -> Page:
    """Write its files and run its commands in ``folder``. AssertionError where one does not end with 0."""
    page = Page(folder)
    for kind, text in read_page():
        if kind == "shown":
            page.shown.append(text)
        elif kind == "run":
            page.printed[text] = _run(text, folder)
        else:
            (folder / kind).write_text(text, encoding="utf-8")
    return page


def without_numbers(line: str) -> str:
    """What must be the same on every machine: numbers, bars and the spaces between columns need not."""
    return " ".join(re.sub(r"\d[\d.]*(e[+-]\d+)?", "#", re.sub("[█░]+", "", line)).split())


def _run(command: str, folder: Path) -> str:
    name, *arguments = shlex.split(command)
    if arguments[0] in HERE:
        return _run_here(arguments, folder)
    done = subprocess.run(
        [sys.executable, *COMMANDS[name], *arguments],
        cwd=folder,
        env={**os.environ, **SETTINGS},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{command}: ended with {done.returncode}\n{done.stderr}"
    return done.stdout + done.stderr


def _run_here(arguments: Sequence[str], folder: Path) -> str:
    """What a script of the page prints, run as the main program in this process."""
    printed = StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), redirect_stderr(printed):
        patch.chdir(folder)
        patch.setattr(sys, "argv", list(arguments))
        patch.syspath_prepend(folder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of transformers and what it imports
            runpy.run_path(arguments[0], run_name="__main__")
    return printed.getvalue()
