"""mmg-fleet as a process of its own, and one who looks at its page."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.request import urlopen

from mmg.errors import MmgError

PATIENCE_S, VIEW_EVERY_S = 30.0, 2.0
PAGE = re.compile(r"mmg-fleet: page: (http://\S+)")
MIB = 1 << 20


class FleetRun:
    """mmg-fleet as a process of its own, from ``with`` to its end. lines: that it told. Raises MmgError where it does
    not begin."""

    def __init__(self, broker: str, store: Path, *words: str) -> None:
        command = [sys.executable, "-m", "mmg_fleet.cli", broker, "--store", str(store)]
        command += ["--page", "127.0.0.1:0", *words]  # the last one counts
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self._told = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = self.wait_for(PAGE)[1]

    def __enter__(self) -> FleetRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def wait_for(self, wanted: re.Pattern[str]) -> re.Match[str]:
        """The first line that fits. Raises MmgError where none comes."""
        with self._told:
            self._told.wait_for(lambda: any(map(wanted.search, self.lines)) or not self._reader.is_alive(), PATIENCE_S)
            for line in self.lines:
                if found := wanted.search(line):
                    return found
        raise MmgError(f"mmg-fleet did not say {wanted.pattern}: {self.lines[-5:]}")

    def asked(self, run: str = "", number: int = 0) -> dict[str, Any]:
        """What a page is told that has seen this number of this run."""
        with urlopen(f"{self.url}/fleet.json?after={number}&run={run}", timeout=PATIENCE_S) as answer:
            told: dict[str, Any] = json.load(answer)
            return told

    def wait_until(self, heard: int) -> dict[str, Any]:
        """Until so many messages were heard; what the page is told then, or after a while without it."""
        until_s = time.monotonic() + PATIENCE_S
        while (told := self.asked())["totals"]["heard"] < heard and time.monotonic() < until_s:
            time.sleep(0.1)
        return told

    def cost(self) -> tuple[float, float]:
        """Seconds of a processor so far, and MiB that are resident."""
        folder = Path(f"/proc/{self._process.pid}")
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return cpu_s, int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB

    def stop(self) -> int:
        """Ask it to end; its exit code. Raises TimeoutExpired."""
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(PATIENCE_S)
        self._reader.join()
        return code

    def kill(self) -> None:
        """End it at once. Twice is fine."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            for line in stream:
                with self._told:
                    self.lines.append(line.rstrip("\n"))
                    self._told.notify_all()
        with self._told:
            self._told.notify_all()


class Viewer:
    """Asks for what has changed as the page does, from ``with`` to its end. slowest_ms: of its answers."""

    def __init__(self, fleet: FleetRun) -> None:
        self._fleet, self._ended = fleet, threading.Event()
        self.answers, self.slowest_ms = 0, 0.0
        self._thread = threading.Thread(target=self._view, daemon=True)

    def __enter__(self) -> Viewer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _view(self) -> None:
        run, number = "", 0
        while not self._ended.wait(VIEW_EVERY_S):
            begin_s = time.monotonic()
            told = self._fleet.asked(run, number)
            self.slowest_ms = max(self.slowest_ms, (time.monotonic() - begin_s) * 1e3)
            self.answers += 1
            run, number = told["run"], told["number"]
