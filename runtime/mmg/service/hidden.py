"""What a service does not see of this machine, and what of it is shown to it all the same: the Python that runs it."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from mmg.errors import ConfigError

HIDDEN = tuple(Path(folder) for folder in ("/home", "/root", "/run/user", "/tmp", "/var/tmp"))
"""Empty for the service: ProtectHome=tmpfs and PrivateTmp=yes of systemd.exec(5)."""


def hidden_above(path: Path) -> Path | None:
    """The hidden folder that this path lies in; None where the service sees it."""
    return next((folder for folder in HIDDEN if path.is_relative_to(folder)), None)


def shown(paths: Iterable[Path]) -> tuple[str, ...]:
    """Of these, the ones that are hidden and so have to be shown, without those that lie in another."""
    hidden = sorted({path for path in paths if hidden_above(path)})
    return tuple(str(path) for path in hidden if not any(path.is_relative_to(one) for one in hidden if one != path))


def python_folders() -> list[Path]:
    """Where this Python, its packages and mmg lie, with each link on the way."""
    folders = [Path(sys.prefix), Path(sys.base_prefix)]
    # mmg may be installed from a checkout. A folder of which the shell happens to be in is none of its own.
    folders += [Path(entry) for entry in sys.path if Path(entry).is_dir() and Path(entry).absolute() != Path.cwd()]
    folders += [way.parent for way in ways_to(Path(sys.executable))[1:]]
    return [way for folder in folders for way in ways_to(folder.absolute())]


def ways_to(path: Path) -> list[Path]:
    """An absolute path of what is there, and each other that links on the way to it lead to."""
    ways = [path]
    while link := next((one for one in (*reversed(path.parents), path) if one.is_symlink()), None):
        path = Path(os.path.normpath(link.parent / link.readlink() / path.relative_to(link)))
        ways.append(path)
    return ways


def run_command() -> str:
    """The path of mmg-run beside this Python. Raises ConfigError."""
    path = Path(sysconfig.get_path("scripts")) / "mmg-run"
    if not path.exists():
        raise ConfigError(f"there is no {path}: install mmg in an environment of its own: python3 -m venv .venv")
    return str(path)
