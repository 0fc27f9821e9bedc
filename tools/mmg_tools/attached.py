"""``mmg-run`` as a process of its own, attached to virtual ports, with every line stamped as it comes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

COMMAND = (sys.executable, "-m", "mmg.cli.run")
LAST_WORDS_S = 10.0


@dataclass(frozen=True, slots=True)
class StampedDecision:
    """A decision as ``mmg-run`` wrote it, and when its line was read, on the host's monotonic clock."""

    line: dict[str, Any]
    read_ns: int

    @property
    def t_s(self) -> float:
        """The hop's end in seconds of the session."""
        return float(self.line["t"])

    @property
    def latency_ms(self) -> float:
        """From the hop's end to the decision's writing, as mmg-run says."""
        return float(self.line["latency_ms"]["event_to_decision"])


class AttachedRun:
    """``mmg-run --format jsonl`` on these URLs, from ``with`` to its end; ``decisions`` and ``notes`` grow meanwhile.

    Without URLs it takes what it finds.
    """

    def __init__(self, urls: Mapping[str, str], environment: Mapping[str, str], arguments: Sequence[str] = ()) -> None:
        self.decisions: list[StampedDecision] = []
        self.notes: list[str] = []
        self._grown = threading.Condition()
        command = [*COMMAND, "--format", "jsonl", *arguments]
        for sensor, url in urls.items():
            command += [f"--{sensor}", url]
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | dict(environment),
        )
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read_lines, self._read_notes)]

    def __enter__(self) -> AttachedRun:
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self.wait(LAST_WORDS_S)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def _read_lines(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            decision = StampedDecision(json.loads(line), time.monotonic_ns())
            with self._grown:
                self.decisions.append(decision)
                self._grown.notify_all()

    def _read_notes(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._grown:
                self.notes.append(line.rstrip())
                self._grown.notify_all()

    def wait_for(self, happened: Callable[[], bool], timeout_s: float) -> bool:
        """Whether it happened within the time; looked at whenever a line comes."""
        with self._grown:
            return self._grown.wait_for(happened, timeout_s)

    @property
    def origin_ns(self) -> int:
        """Host monotonic time of the session's zero: a line is read no earlier than it was written."""
        return min(d.read_ns - round(d.latency_ms * 1e6 + d.t_s * 1e9) for d in list(self.decisions))

    @property
    def is_running(self) -> bool:
        """Whether the process is alive."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def usage(self) -> tuple[float, float, int]:
        """CPU seconds, resident MiB and threads of the process as of now."""
        folder = Path(f"/proc/{self._process.pid}")
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        pages = int((folder / "statm").read_text().split()[1])
        cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return cpu_s, pages * os.sysconf("SC_PAGE_SIZE") / 2**20, int(fields[17])

    def stop(self) -> tuple[int, float]:
        """Ask it to end; its exit code, and how many seconds it took. Raises TimeoutExpired.

        By SIGTERM: where this runs in a shell's background, SIGINT is ignored, and so it is by what it starts.
        """
        begin_ns = time.monotonic_ns()
        self._process.send_signal(signal.SIGTERM)
        return self.wait(LAST_WORDS_S), (time.monotonic_ns() - begin_ns) / 1e9

    def wait(self, timeout_s: float) -> int:
        """Its exit code once it has ended by itself. Raises TimeoutExpired."""
        code = self._process.wait(timeout_s)
        for reader in self._readers:
            reader.join()
        return code
