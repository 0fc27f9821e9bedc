"""Where the tests find real recordings, and how they run mmg's commands."""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import mmg
import pytest

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("MMG_DATA", ROOT.parent / "shared" / "data"))
CASES = Path(os.environ.get("MMG_CASES", ROOT.parent / "shared" / "cases"))
DEMO = Path(mmg.__file__).parent / "demo"


def real(name: str) -> Path:
    """A real recording by its path below the data folder; the test skips where it is missing."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"there is no {path}: set MMG_DATA to the folder of real recordings")
    return path


def case(name: str) -> Path:
    """A small input that once failed, by its path below the folder of cases; the test skips where it is missing."""
    path = CASES / name
    if not path.exists():
        pytest.skip(f"there is no {path}: set MMG_CASES to the folder of cases")
    return path


def need_ports() -> None:
    """For the top of a test module: it skips as a whole where serial ports or microphones cannot be opened."""
    for package in ("serial", "sounddevice"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install -e '.[serial,audio]'", allow_module_level=True)
    if ctypes.util.find_library("portaudio") is None:
        pytest.skip("PortAudio is missing: sudo apt-get install libportaudio2", allow_module_level=True)


def mmg_run(*arguments: object, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    """Run mmg-run in a process of its own."""
    command = [sys.executable, "-m", "mmg.cli.run", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False, cwd=ROOT)


def traced(calls: str, *command: str, codes: Collection[int] = (0,), **environment: str) -> list[str]:
    """What strace tells of these system calls of a command, its threads and its children. codes: how it may end."""
    strace = next((folder for folder in os.get_exec_path() if (Path(folder) / "strace").exists()), None)
    if strace is None:
        pytest.skip("strace is not installed")
    done = subprocess.run(
        ["strace", "-f", "--seccomp-bpf", "-e", f"trace={calls}", *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    if "ptrace" in done.stderr and "Operation not permitted" in done.stderr:
        pytest.skip("this machine does not let a process be traced")
    assert done.returncode in codes, done.stderr[-2000:]
    return done.stderr.splitlines()
