"""``python -m mmg_tools.live_commits``: what a live run cost at some commits, side by side.

Each runs its own ``mmg-run`` on its own ``mmg-virtual``, in turns with the others, as the benchmark does in ``live``.
So what a change gave, or took, is seen on one machine in the same minutes. Needs a git checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
from mmg.cli.exit_codes import handle_signals, raise_interrupt, run_command
from mmg.cli.reporting import stderr_reporter
from mmg.errors import ConfigError

from mmg_tools.attached import COMMAND
from mmg_tools.bench.live import HOPS, TURNS, Cost, run_side
from mmg_tools.bench.needs import run_backends

_report = stderr_reporter("live_commits")
FOLDERS = ("runtime", "device_profiles", "training", "export", "tools")
"""Where a commit's packages are."""
EXAMPLE = "example: python -m mmg_tools.live_commits main~20 main~5 main"


@dataclass
class Commit:
    """environment: what its own programs need. command: its mmg-run, on its own wearable."""

    short: str
    subject: str
    environment: dict[str, str]
    command: tuple[str, ...] = ()
    costs: list[Cost] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m mmg_tools.live_commits", description=__doc__, epilog=EXAMPLE, allow_abbrev=False
    )
    add = parser.add_argument
    add(
        "commits", metavar="COMMIT", nargs="+", help="anything that git calls one; the first is what others are held to"
    )
    add("--backend", choices=("onnx", "litert"), help="what runs the models (default: the first that is installed)")
    add("--turns", type=int, default=TURNS, metavar="N", help=f"of each commit, {HOPS} hops each (default: {TURNS})")
    chosen = parser.parse_args(arguments)
    handle_signals(raise_interrupt)
    return run_command(lambda: _run(chosen), _report, stopped=130)


def _run(chosen: argparse.Namespace) -> int:
    backends = run_backends()
    if not backends:
        raise ConfigError("nothing here runs models: pip install 'mmg-runtime[onnx]', or [litert]")
    backend = chosen.backend or backends[0]
    if chosen.turns < 1:
        raise ConfigError(f"--turns {chosen.turns}: must be 1 or more")
    with tempfile.TemporaryDirectory(prefix="mmg-commits-") as name, ExitStack() as at_end:
        commits = [unpack(text, Path(name) / str(place)) for place, text in enumerate(chosen.commits)]
        for commit in commits:
            _report(f"{commit.short}: rendering what its wearable plays")
            _wear(commit, backend, at_end)
        for turn in range(chosen.turns):
            _report(f"turn {turn + 1} of {chosen.turns}")
            first = turn % len(commits)
            for commit in (*commits[first:], *commits[:first]):
                commit.costs.append(run_side(commit.command, commit.environment, HOPS))
    print("\n".join(table(commits)))
    return 0


def unpack(text: str, folder: Path) -> Commit:
    """The commit that git means by this, its packages in ``folder``. Raises ConfigError."""
    top = _git("rev-parse", "--show-toplevel").decode().strip()
    whole = _git("rev-parse", "--verify", "--end-of-options", f"{text}^{{commit}}").decode().strip()
    short, _, subject = _git("log", "-1", "--format=%h %s", whole).decode(errors="replace").strip().partition(" ")
    listed = _git("-C", top, "ls-tree", "--name-only", whole).decode().split("\n")
    if missing := [name for name in FOLDERS if name not in listed]:
        raise ConfigError(f"{text}: commit {short} has no folder {', '.join(missing)}")
    folder.mkdir(parents=True)
    packed = _git("-C", top, "archive", "--format=tar", whole, "--", *FOLDERS)
    subprocess.run(("tar", "-x", "-C", str(folder)), input=packed, check=True)
    return Commit(short, subject, {"PYTHONPATH": ":".join(str(folder / name) for name in FOLDERS)})


def _git(*words: str) -> bytes:
    done = subprocess.run(("git", *words), capture_output=True, check=False)
    if done.returncode:
        first, *_ = [*done.stderr.decode(errors="replace").splitlines(), "failed"]
        raise ConfigError(f"git {' '.join(words)}: {first}")
    return done.stdout


def _wear(commit: Commit, backend: str, at_end: ExitStack) -> None:
    """Begin to play on virtual ports, until ``at_end``. Raises ConfigError."""
    words = (sys.executable, "-m", "mmg_tools.virtual.cli", "--seconds", "60", "--loop", "--json")
    player = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, **commit.environment}, text=True
    )
    at_end.callback(player.communicate)
    at_end.callback(player.terminate)
    assert player.stdout is not None
    line = player.stdout.readline()
    if not line:
        raise ConfigError(f"{commit.short}: its mmg-virtual does not play: check it out, and run it, to see why")
    told = json.loads(line)
    commit.environment |= told["environment"]
    urls = (word for sensor, url in told["urls"].items() for word in (f"--{sensor}", url))
    commit.command = (*COMMAND, "--format", "jsonl", "--backend", backend, *urls)


def table(commits: Sequence[Commit]) -> list[str]:
    """A line a commit: medians over its turns, but for the latency, whose percentile is of all turns."""
    lines = ["commit   of a core  over the first  wakes a second  p95, ms    MiB  subject"]
    for commit in commits:
        percent, first = (median(cost.percent for cost in one.costs) for one in (commit, commits[0]))
        wakes_hz = median(cost.wakes_hz for cost in commit.costs)
        late_ms = np.percentile([ms for cost in commit.costs for ms in cost.latencies_ms], 95)
        mib = median(cost.resident_mib for cost in commit.costs)
        figures = f"{percent:7.3f} % {percent / first:15.2f} {wakes_hz:15.1f} {late_ms:8.1f} {mib:6.1f}"
        lines.append(f"{commit.short:8.8} {figures}  {commit.subject}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
