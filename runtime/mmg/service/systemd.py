"""What is asked of systemd on this machine, and the file of a unit. It is spoken to by its own commands."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmg.atomic_write import atomic_write
from mmg.errors import ConfigError
from mmg.service.unit import MADE

UNITS, RUNNING = Path("/etc/systemd/system"), Path("/run/systemd/system")
LAST_LINES = 10
PROPERTIES = ("LoadState", "ActiveState", "SubState", "ActiveEnterTimestamp", "NRestarts", "StatusText", "Result")

Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


def run_program(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run it to its end. Raises ConfigError where it is not installed."""
    try:
        return subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise ConfigError(f"{words[0]} cannot be run: {error.strerror}") from error


@dataclass(frozen=True)
class Status:
    """loaded: loaded, not-found or masked. active: active, activating, failed or inactive. since: as systemd writes it.

    restarts: since it was started by hand or at boot. told: what the run told last. lines: the newest of its log.
    """

    loaded: str
    active: str
    state: str
    since: str
    restarts: int
    told: str
    result: str
    lines: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return asdict(self)


class Systemd:
    """units: where units lie. running: a folder that is there where systemd runs. run: runs a program."""

    def __init__(self, units: Path = UNITS, running: Path = RUNNING, run: Run = run_program) -> None:
        self._units, self._running, self._run = units, running, run

    def path(self, name: str) -> Path:
        """Where the service's unit lies."""
        return self._units / f"{name}.service"

    def check(self, command: str) -> None:
        """Raises ConfigError where nothing can be changed. command: what to type as root."""
        if not self._running.is_dir():
            raise ConfigError("systemd does not run here: mmg-service install --dry-run ... prints the unit")
        if not os.access(self._units, os.W_OK):
            raise ConfigError(f"only root may change {self._units}: sudo {command}")

    def check_free(self, name: str) -> None:
        """Raises ConfigError where a unit of this name is none that mmg-service made."""
        path = self.path(name)
        try:
            is_ours = path.is_file() and not path.is_symlink() and path.read_text().startswith(MADE)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read: choose another name, --name NAME") from error
        if os.path.lexists(path) and not is_ours:
            raise ConfigError(f"{path}: was not made by mmg-service: choose another name, --name NAME")

    def install(self, name: str, text: str) -> None:
        """Write the unit, start it, and have it started at each boot. Raises ConfigError."""
        self.check_free(name)
        with atomic_write(self.path(name), 0o644) as file:
            file.write(text.encode())
        self._ask("daemon-reload")
        self._ask("enable", f"{name}.service")
        # Also where an older unit runs; and a sensor that is not there yet keeps nobody waiting.
        self._ask("restart", "--no-block", f"{name}.service")

    def remove(self, name: str) -> None:
        """Stop it and take its unit away. Raises ConfigError."""
        self.check_free(name)
        path = self.path(name)
        if not path.exists():
            raise ConfigError(f"there is no {path}: nothing to remove")
        self._ask("disable", "--now", f"{name}.service")
        path.unlink()
        self._ask("daemon-reload")

    def status(self, name: str) -> Status:
        """How it is. Raises ConfigError."""
        if not self._running.is_dir():
            raise ConfigError("systemd does not run here, so nothing is a service")
        shown = self._ask("show", f"{name}.service", f"--property={','.join(PROPERTIES)}")
        values = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        log = ("journalctl", "--unit", f"{name}.service", "--lines", str(LAST_LINES), "--no-pager", "--output", "cat")
        lines = self._run(log).stdout.splitlines()
        restarts = values.get("NRestarts", "")
        return Status(
            loaded=values.get("LoadState", "not-found"),
            active=values.get("ActiveState", "inactive"),
            state=values.get("SubState", ""),
            since=values.get("ActiveEnterTimestamp", ""),
            restarts=int(restarts) if restarts.isdecimal() else 0,
            told=values.get("StatusText", ""),
            result=values.get("Result", ""),
            lines=tuple(lines),
        )

    def _ask(self, *words: str) -> str:
        done = self._run(("systemctl", *words))
        if done.returncode:
            told = (done.stderr.strip().splitlines() or ["it does not say why"])[0]
            raise ConfigError(f"systemctl {' '.join(words)}: {told}")
        return done.stdout
