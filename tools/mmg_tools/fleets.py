"""``python -m mmg_tools.fleets``: many simulated wearables at a real mosquitto, and mmg-fleet that watches them.

Prints what was sent, what the broker delivered, what mmg-fleet kept and what it cost; then stops it, starts it again
and compares what it knows. Exits with 1 where a message was lost, it took more than a core, or it forgot something.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmg_tools.broker import Broker, Listener
from mmg_tools.fleet_run import FleetRun, Viewer
from mmg_tools.simulated_fleet import Counts, play

SETTINGS = ("allow_anonymous true", "sys_interval 1")
DROPPED = "$SYS/broker/publish/messages/dropped"
LISTENING = re.compile("connected: listening")
SYSTEM_S = 2.0
"""So long after the end, the broker, which tells once a second, has told what it dropped."""


@dataclass(frozen=True)
class Watched:
    """What came of it. told: what the page says at the end. cpu: of one core, in percent."""

    counts: Counts
    dropped: int
    told: dict[str, Any]
    seconds: float
    cpu: float
    most_mib: float

    @property
    def sent(self) -> int:
        """To the broker, or by it as last wills."""
        return self.counts.published + self.counts.wills

    @property
    def kept(self) -> int:
        """That mmg-fleet counted, the refused among them."""
        totals = self.told["totals"]
        return int(totals["taken"] + totals["refused"] + totals["ignored"])

    @property
    def lost(self) -> int:
        """Delivered, and not kept."""
        return self.sent - self.dropped - self.kept

    @property
    def is_well(self) -> bool:
        """Whether nothing was lost, in less than a core, and just what was garbage was refused."""
        return self.lost == 0 and self.cpu < 100 and self.told["totals"]["refused"] == self.counts.garbage


def measure(folder: Path, wearables: int, seconds: float) -> bool:
    """Play, print, and return whether all is well."""
    with Broker(folder, SETTINGS) as broker:
        where, store = f"mqtt://127.0.0.1:{broker.port}", folder / "fleet.sqlite"
        with FleetRun(where, store) as fleet:
            fleet.wait_for(LISTENING)
            with Viewer(fleet) as viewer:
                watched = watch(fleet, broker, wearables, seconds)
            print(f"{wearables} wearables for {watched.seconds:.0f} s, {watched.counts.connections} connections")
            delivered = watched.sent - watched.dropped
            print(f"messages: {watched.sent} sent, {delivered} delivered, {watched.kept} kept, {watched.lost} lost")
            refused = watched.told["totals"]["refused"]
            print(f"of those kept: {refused} refused, as {watched.counts.garbage} were garbage")
            print(f"simulated wearables were late by {watched.counts.late_s * 1e3:.0f} ms at most")
            print(f"mmg-fleet: {watched.cpu:.1f} % of one core, {watched.most_mib:.0f} MiB at most")
            print(f"its page: asked {viewer.answers} times, the slowest answer after {viewer.slowest_ms:.0f} ms")
            lines, code = len(fleet.lines), fleet.stop()
        with FleetRun(where, store) as fleet:
            again = fleet.asked()
            fleet.stop()
    before, after = lasting(watched.told), lasting(again)
    differ = [topic for topic in before.keys() | after.keys() if before.get(topic) != after.get(topic)]
    is_same = not differ and again["totals"]["taken"] >= watched.told["totals"]["taken"]
    known = f"all {len(after)} as before" if is_same else f"{len(differ)} of {len(before)} differ, as {differ[:3]}"
    print(f"stopped with exit code {code} after {lines} lines; started again it knows {known}")
    return watched.is_well and is_same and code == 0


def watch(fleet: FleetRun, broker: Broker, wearables: int, seconds: float) -> Watched:
    """Let so many wearables live for so long."""
    most_mib = 0.0

    def look(_counts: Counts) -> None:
        nonlocal most_mib
        most_mib = max(most_mib, fleet.cost()[1])

    with Listener(broker.port, topics=DROPPED) as system:
        begin_s, (before_s, _) = time.monotonic(), fleet.cost()
        counts = asyncio.run(play(broker.port, wearables, seconds, look))
        passed_s, spent_s = time.monotonic() - begin_s, fleet.cost()[0] - before_s
        told = fleet.wait_until(counts.published + counts.wills)
        time.sleep(SYSTEM_S)
        dropped = max((int(message.text) for message in system.messages), default=0)
    return Watched(counts, dropped, told, passed_s, spent_s / passed_s * 100, most_mib)


def lasting(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The rows of all wearables, without what is of the last minute of decisions alone."""
    return {row["topic"]: {key: row[key] for key in row if key != "latency"} for row in told["rows"]}


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
