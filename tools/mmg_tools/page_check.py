"""What does the live page cost a run, and what do viewers that never read?

``python -m mmg_tools.page_check`` plays a scenario on virtual ports and lets ``mmg-run`` decide on them, in turns
without a page, with a page at which two look, and with one at which fifty never read and one sends rubbish.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from mmg.cli.exit_codes import run_command
from mmg.errors import MmgError

from mmg_tools.attached import AttachedRun
from mmg_tools.virtual.scenario import SEED, SUBJECT, Scenario, render
from mmg_tools.virtual.wearable import VirtualWearable

WAYS = ("without", "two viewers", "fifty that never read")
SILENT, HELD_BYTES = 50, 4096
START_S = 6.0
"""Until the models are loaded and all are connected: not counted."""
RUBBISH_S = 0.1
LONGEST_MORE_MS, MOST_MIB, MOST_PERCENT = 5.0, 10.0, 0.5
MOST_GROWN_MIB = 5.0
"""Beside a run without a page: what the connections of fifty and the frames that wait for them may hold."""
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One run. latency: from the hop's end to the decision. cpu_percent: of one core. dropped: viewers."""

    way: str
    decisions: int
    latency_p50_ms: float
    latency_p95_ms: float
    cpu_percent: float
    begin_mib: float
    end_mib: float
    dropped: int


class Audience:
    """Those who look at a page, on threads of this process; ``with`` it."""

    def __init__(self, way: str, url: str) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname or "", parts.port or 0
        self._way, self._sockets = way, list[socket.socket]()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Audience:
        if self._way == WAYS[1]:
            for _ in range(2):
                self._start(self._read)
        elif self._way == WAYS[2]:
            for _ in range(SILENT):
                self._sockets.append(self._ask("/events", HELD_BYTES))
            self._start(self._babble)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for one in self._threads:
            one.join(PATIENCE_S)
        for each in self._sockets:
            each.close()

    def _start(self, target: object) -> None:
        assert callable(target)
        self._threads.append(threading.Thread(target=target, daemon=True))
        self._threads[-1].start()

    def _ask(self, path: str, held_bytes: int = 0) -> socket.socket:
        asking = socket.socket()
        asking.settimeout(1.0)
        if held_bytes:
            asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, held_bytes)
        asking.connect(self._address)
        asking.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return asking

    def _read(self) -> None:
        with self._ask("/events") as viewer:
            while not self._stopping.is_set():
                with suppress(TimeoutError):
                    if not viewer.recv(65536):
                        break

    def _babble(self) -> None:
        rubbish = bytes(range(256)) * 16
        while not self._stopping.wait(RUBBISH_S):
            with suppress(OSError), socket.create_connection(self._address, timeout=1.0) as one:
                one.sendall(rubbish)

    def dropped(self) -> int:
        """Viewers that the page has dropped, as it says itself."""
        with self._ask("/metrics") as asking:
            text = b"".join(iter(lambda: asking.recv(65536), b"")).decode()
        [line] = [one for one in text.splitlines() if one.startswith("mmg_page_dropped_viewers_total ")]
        return round(float(line.split()[1]))


def measure(scenario: Scenario, folder: Path, way: str) -> Measured:
    """Run once, for as long as the scenario is. Raises MmgError."""
    arguments = [] if way == WAYS[0] else ["--page", ":0"]
    wearable = VirtualWearable(scenario, folder)
    with ExitStack() as at_end:
        at_end.enter_context(wearable)
        run = at_end.enter_context(AttachedRun(wearable.urls, wearable.environment, arguments))
        run.wait_for(lambda: bool(run.decisions), PATIENCE_S)
        audience = None
        if arguments:
            [url] = [note.partition("page: ")[2] for note in run.notes if "page: " in note]
            audience = at_end.enter_context(Audience(way, url))
        threading.Event().wait(START_S)
        first, (begin_s, begin_mib, _) = len(run.decisions), run.usage()
        threading.Event().wait(scenario.seconds - 2 * START_S)
        counted, (end_s, end_mib, _) = run.decisions[first:], run.usage()
        if len(counted) < 2:
            raise MmgError("the live run decided nothing: " + "; ".join(run.notes))
        passed_s = counted[-1].t_s - counted[0].t_s
        dropped = audience.dropped() if audience else 0
        run.stop()
    latency_ms = np.array([one.latency_ms for one in counted])
    return Measured(
        way=way,
        decisions=len(counted),
        latency_p50_ms=round(float(np.percentile(latency_ms, 50)), 1),
        latency_p95_ms=round(float(np.percentile(latency_ms, 95)), 1),
        cpu_percent=round((end_s - begin_s) / passed_s * 100, 2),
        begin_mib=round(begin_mib, 1),
        end_mib=round(end_mib, 1),
        dropped=dropped,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 1 where the page costs too much, or drops others than it should."""
    parser = argparse.ArgumentParser(prog="python -m mmg_tools.page_check", description=__doc__)
    parser.add_argument(
        "--seconds",
        type=float,
        default=90.0,
        help="how long each run is (default: 90); in it, all that never read must be dropped",
    )
    parser.add_argument("--rounds", type=int, default=2, help="how often each of the three is run (default: 2)")
    parser.add_argument("--json", action="store_true", help="print one JSON object a run")
    chosen = parser.parse_args(arguments)
    if chosen.seconds < 4 * START_S or chosen.rounds < 1:
        parser.error(f"--seconds is at least {4 * START_S:g}, and --rounds 1")
    return run_command(lambda: _run(chosen), lambda line: print(f"page_check: {line}", file=sys.stderr))


def _run(chosen: argparse.Namespace) -> int:
    scenario = render(SUBJECT, SEED, chosen.seconds)
    runs: list[Measured] = []
    for number in range(chosen.rounds):
        for way in WAYS:
            sys.stderr.write(f"page_check: round {number + 1} of {chosen.rounds}, {way}: {chosen.seconds:g} s ...\n")
            with tempfile.TemporaryDirectory(prefix="mmg-page-") as folder:
                runs.append(measure(scenario, Path(folder), way))
            if chosen.json:
                print(json.dumps(asdict(runs[-1])))
    lines, passes = describe(runs)
    print("\n".join(lines), file=sys.stderr if chosen.json else sys.stdout)
    return 0 if passes else 1


def describe(runs: Sequence[Measured]) -> tuple[list[str], bool]:
    """The lines that the docs quote, and whether what is promised holds. Each figure is the median of its runs."""
    lines = []
    of: dict[str, dict[str, float]] = {}
    for way in WAYS:
        mine = [asdict(run) for run in runs if run.way == way]
        names = [name for name in mine[0] if name != "way"]
        of[way] = {name: statistics.median(run[name] for run in mine) for name in names}
        figures = of[way]
        lines.append(
            f"{way}: hop's end to decision p50 {figures['latency_p50_ms']:.1f} ms, "
            f"p95 {figures['latency_p95_ms']:.1f} ms; {figures['cpu_percent']:.2f} % of one core; "
            f"{figures['begin_mib']:.1f} MiB, at the end {figures['end_mib']:.1f}"
            + (f"; {figures['dropped']:.0f} viewers dropped" if way == WAYS[2] else "")
        )
    bare, two, silent = (of[way] for way in WAYS)
    more_mib, more_percent = two["end_mib"] - bare["end_mib"], two["cpu_percent"] - bare["cpu_percent"]
    more_ms = max(each["latency_p95_ms"] - bare["latency_p95_ms"] for each in (two, silent))
    grown_mib = (silent["end_mib"] - silent["begin_mib"]) - (bare["end_mib"] - bare["begin_mib"])
    lines += [
        f"the page with two viewers: {more_mib:.1f} MiB (under {MOST_MIB:g}), {more_percent:.2f} % of one core "
        f"(under {MOST_PERCENT:g})",
        f"p95 with viewers: {more_ms:+.1f} ms (within {LONGEST_MORE_MS:g})",
        f"memory while fifty never read: {grown_mib:+.1f} MiB beside a run without a page (under {MOST_GROWN_MIB:g})",
    ]
    odd = [run for run in runs if run.dropped != (SILENT if run.way == WAYS[2] else 0)]
    lines += [f"{run.way}: {run.dropped} viewers dropped: only, and all, that never read should be" for run in odd]
    is_cheap = more_mib < MOST_MIB and more_percent < MOST_PERCENT and more_ms < LONGEST_MORE_MS
    return lines, is_cheap and grown_mib < MOST_GROWN_MIB and not odd


if __name__ == "__main__":
    raise SystemExit(main())
