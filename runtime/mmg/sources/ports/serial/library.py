"""pyserial, or what stands in its place: PyPI's ``serial`` is other software, and so may be a file ``serial.py``."""

from __future__ import annotations

import importlib
import importlib.util
import shlex
import sys
from importlib import metadata
from typing import Any

from mmg.errors import BackendUnavailable, SourceError, pip_install

TAKEN = "another module called serial is in pyserial's place"


def require_pyserial() -> None:
    """Raises BackendUnavailable where nothing of its name is installed; loads nothing."""
    if importlib.util.find_spec("serial") is None:
        raise BackendUnavailable("pyserial", "pyserial")


def load_pyserial(url: str) -> Any:
    """The library. Raises BackendUnavailable; SourceError where something else has its name. url: how this names it."""
    require_pyserial()
    try:
        library = importlib.import_module("serial")
        if hasattr(library, "serial_for_url"):
            return library
    except Exception as error:  # it is none of ours, and may raise what it likes
        raise SourceError(url, f"{TAKEN}: {'; '.join(ways_back())}") from error
    raise SourceError(url, f"{TAKEN}, {library.__file__}: {'; '.join(ways_back())}")


def ways_back() -> list[str]:
    """The commands that put pyserial in its place again."""
    steps = [pip_install("--force-reinstall", "pyserial")]
    try:
        metadata.version("serial")
    except metadata.PackageNotFoundError:  # a file or folder of somebody's own
        return ["rename it", *steps]
    return [shlex.join([sys.executable or "python3", "-m", "pip", "uninstall", "-y", "serial"]), *steps]
