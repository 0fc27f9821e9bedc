"""``python -m mmg_tools.bench``: every figure in one run, with its goal and whether this machine reaches it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial

from mmg.board.machine import read_commit, read_versions
from mmg.cli.exit_codes import handle_signals, raise_interrupt, run_command
from mmg.cli.reporting import stderr_reporter
from mmg.errors import ConfigError
from mmg_device_profiles import read_board

from mmg_tools.bench import eager, fast, live, memory, push, sizes, start, throughput, window
from mmg_tools.bench.needs import require_ports, require_training, run_backends
from mmg_tools.bench.table import Figure, as_json, describe
from mmg_tools.rested import REST_S, measure_rest

_report = stderr_reporter("bench")
# PyTorch comes last: it leaves threads and memory behind.
MEASURES: dict[str, Callable[..., list[Figure]]] = {
    "push": push.measure,
    "memory": memory.measure,
    "throughput": throughput.measure,
    "fast": fast.measure,
    "start": start.measure,
    "live": live.measure,
    "window": window.measure,
    "eager": eager.measure,
    "sizes": sizes.measure,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code. A goal that is missed is told and is no error: machines differ."""
    parser = argparse.ArgumentParser(prog="python -m mmg_tools.bench", description=__doc__)
    parser.add_argument("--only", metavar="LIST", help=f"which figures, of {','.join(MEASURES)} (default: all)")
    parser.add_argument("--accuracy", action="store_true", help="window: compare what is decided, too (minutes)")
    parser.add_argument("--quick", action="store_true", help="few repeats: to see that it works, not to quote")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args(arguments)
    handle_signals(raise_interrupt)
    return run_command(lambda: _run(chosen), _report, stopped=130)


def _run(chosen: argparse.Namespace) -> int:
    names = [name.strip() for name in chosen.only.split(",")] if chosen.only else list(MEASURES)
    for name in names:
        if name not in MEASURES:
            raise ConfigError(f"--only {name}: the figures are {', '.join(MEASURES)}")
    measures: dict[str, Callable[..., list[Figure]]] = {
        **MEASURES,
        "window": partial(window.measure, accuracy=chosen.accuracy),
    }
    # Said before the minutes that the others take.
    if {"window", "eager", "sizes"} & set(names):
        require_training()
    if "live" in names:
        require_ports()
    # Before the measuring, which is a load itself.
    machine = describe_machine()
    figures = [figure for name in measures if name in names for figure in measures[name](_report, quick=chosen.quick)]
    text = json.dumps(as_json(figures, machine)) if chosen.json else "\n".join(describe(figures, machine))
    sys.stdout.write(text + "\n")
    return 0


def describe_machine() -> dict[str, str]:
    """What the figures were measured on, and with."""
    board = read_board()
    cpu = board.cpu or board.model or "unknown"
    versions = ", ".join(f"{name} {version}" for name, version in read_versions().items())
    machine = {
        "machine": f"{cpu}, {board.machine}, {board.cores} cores, {board.memory_mib} MiB",
        "versions": versions,
        "load before": f"{os.getloadavg()[0]:.2f} processes",
    }
    if run_backends():
        short_ms, long_ms = measure_rest()
        machine["the models of a hop"] = f"{short_ms:.2f} ms back to back, {long_ms:.2f} ms after a rest of {REST_S} s"
    commit = read_commit()
    return {**machine, "commit": commit} if commit else machine


if __name__ == "__main__":
    raise SystemExit(main())
