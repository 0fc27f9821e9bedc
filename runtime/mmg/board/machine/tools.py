"""Short commands of the board's maker, such as vcgencmd, for what no file tells."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

Tool = Callable[[Sequence[str]], str | None]
"""Runs a command and returns what it printed; None where it is not there, fails or does not end."""
PATIENCE_S = 2.0


def run_tool(command: Sequence[str]) -> str | None:
    """Run it here, for two seconds at most."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=PATIENCE_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def tool_under(root: Path) -> Tool:
    """What may run for this root: commands tell of this machine, so for a tree of files there is none."""
    return run_tool if root == Path("/") else lambda _command: None
