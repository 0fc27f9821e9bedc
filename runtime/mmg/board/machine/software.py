"""What is installed, without importing any of it, and which commit of the sources runs."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from mmg.version import DISTRIBUTION

PACKAGES = ("numpy", "onnxruntime", "ai-edge-litert", "tflite-runtime", "msgspec")
PATIENCE_S = 5.0
CHECKOUT = Path(__file__).resolve().parents[4]
"""The sources' root where mmg runs from them; a folder of the Python installation where it runs from a wheel."""


def read_versions() -> dict[str, str]:
    """Of Python, the kernel, glibc, and of those packages that matter to a measurement and are installed."""
    from importlib import metadata

    versions = {"python": platform.python_version(), "kernel": platform.release()}
    name, version = platform.libc_ver()
    if name:
        versions[name] = version
    for name, package in (("mmg", DISTRIBUTION), *((package, package) for package in PACKAGES)):
        try:
            versions[name] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def read_commit(checkout: Path = CHECKOUT) -> str | None:
    """The commit of the sources that mmg runs from, with ``+changes`` where a file under version control was changed.

    None where mmg runs from a wheel, or git is missing, refuses or does not answer. Never raises.
    """
    if not (checkout / ".git").exists():
        return None
    commit = _git(checkout, "rev-parse", "--short=12", "HEAD")
    if commit is None:
        return None
    # Files that are not under version control are results and logs as often as sources.
    changes = _git(checkout, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+changes" if changes else commit


def _git(checkout: Path, *arguments: str) -> str | None:
    # GIT_DIR and its like, which a hook has set, would point to another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-C", str(checkout), *arguments]
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
