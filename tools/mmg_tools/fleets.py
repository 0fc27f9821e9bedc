"""``python -m mmg_tools.fleets``: many simulated wearables at a real mosquitto, and mmg-fleet that watches them.

Prints what was sent, what the broker delivered, what mmg-fleet kept and what it cost; then stops it, starts it again
and compares what it knows. Exits with 1 where a message was lost, it took more than a core, or it forgot something.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.request import urlopen

from mmg.errors import MmgError

from mmg_tools.broker import Broker, Listener
from mmg_tools.simulated_fleet import Counts, play

PATIENCE_S = 30.0
SETTINGS = ("allow_anonymous true", "sys_interval 1")
DROPPED = "$SYS/broker/publish/messages/dropped"
PAGE = re.compile(r"mmg-fleet: page: (http://\S+)")
MIB = 1 << 20


class FleetRun:
    """mmg-fleet as a process of its own, from ``with`` to its end. lines: that it told. Raises MmgError where it does
    not begin."""

    def __init__(self, broker: str, store: Path, *words: str) -> None:
        command = [
            sys.executable,
            "-m",
            "mmg_fleet.cli",
            broker,
            "--store",
            str(store),
            "--page",
            "127.0.0.1:0",
            *words,
        ]
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

    def asked(self) -> dict[str, Any]:
        """What the page is told."""
        with urlopen(f"{self.url}/fleet.json", timeout=PATIENCE_S) as answer:
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


def measure(folder: Path, wearables: int, seconds: float) -> bool:
    """Play, print, and return whether all is well."""
    with Broker(folder, SETTINGS) as broker, Listener(broker.port, topics=DROPPED) as system:
        where, store = f"mqtt://127.0.0.1:{broker.port}", folder / "fleet.sqlite"
        with FleetRun(where, store) as fleet:
            fleet.wait_for(re.compile("connected: listening"))
            begin_s, (before_s, _) = time.monotonic(), fleet.cost()
            most_mib, looked_s = 0.0, 0.0

            def look(_counts: Counts) -> None:
                nonlocal most_mib
                most_mib = max(most_mib, fleet.cost()[1])

            counts = asyncio.run(play(broker.port, wearables, seconds, look))
            looked_s = time.monotonic() - begin_s
            spent_s = fleet.cost()[0] - before_s
            sent = counts.published + counts.wills
            told = fleet.wait_until(sent)
            time.sleep(2)  # the broker tells once a second what it dropped
            dropped = max((int(message.text) for message in system.messages), default=0)
            totals = told["totals"]
            kept = totals["taken"] + totals["refused"] + totals["ignored"]
            lost = sent - dropped - kept
            share = spent_s / looked_s * 100
            print(f"{wearables} wearables for {looked_s:.0f} s, {counts.connections} connections", flush=True)
            print(f"messages: {sent} sent, {sent - dropped} delivered, {kept} kept, {lost} lost")
            print(f"of those kept: {totals['refused']} refused, as {counts.garbage} were garbage")
            print(f"simulated wearables were late by {counts.late_s * 1e3:.0f} ms at most")
            print(f"mmg-fleet: {share:.1f} % of one core, {most_mib:.0f} MiB at most")
            before = {row["topic"]: row for row in told["rows"]}
            lines = len(fleet.lines)
            code = fleet.stop()
        with FleetRun(where, store) as fleet:
            after = {row["topic"]: row for row in fleet.asked()["rows"]}
            totals_after = fleet.asked()["totals"]
            fleet.stop()
    # What comes from the last minute of decisions is the newest alone after a restart.
    differ = [topic for topic, row in before.items() if _lasting(after.get(topic, {})) != _lasting(row)]
    is_same = not differ and len(after) == len(before) and totals_after["taken"] >= totals["taken"]
    told_after = f"all {len(after)} as before" if is_same else f"{len(differ)} of {len(before)} differ, as {differ[:3]}"
    print(f"stopped with exit code {code} after {lines} lines; started again it knows {told_after}")
    return lost == 0 and share < 100 and is_same and code == 0 and totals["refused"] == counts.garbage


def _lasting(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "latency"}


def main() -> int:
    """Measure in a folder that is removed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wearables", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=600)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return 0 if measure(Path(folder), options.wearables, options.seconds) else 1


if __name__ == "__main__":
    sys.exit(main())
