"""docs/bring-your-own-model.md as a program: its files, its commands, and the lines that it says they print."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from recordings import ROOT

PAGE = ROOT / "docs" / "bring-your-own-model.md"
# Run as modules: the scripts may be installed elsewhere than the package under test.
COMMANDS = {"python": (), "mmg-run": ("-m", "mmg.cli.run"), "mmg-bundle": ("-m", "mmg.cli.bundle")}
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
