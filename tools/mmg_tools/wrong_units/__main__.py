"""``python -m mmg_tools.wrong_units``: 200 seeded faults over the demo and sp-sw-har, and every healthy recording.

A fault counts as told where the look ahead at the recording, or one of its first three hops, says that something is
wrong. A healthy recording counts as doubted where any of its hops, to its end, is doubted or faulty. No model runs, but
for ``--command N``: N of the faults are written as CSV files and given to ``mmg-run``.

Real recordings are read from ``--data``, or MMG_DATA, or ../shared/data. Exit codes: 0 both goals are met, 1 one is
not, 2 usage.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from mmg.bundle import Bundle, Modality
from mmg.cli.exit_codes import run_command
from mmg.cli.progress import counted
from mmg.cli.reporting import Reporter, stderr_reporter
from mmg.engine.health import Health, ReadAs, advise
from mmg.runs.look_ahead import LOOK_AHEAD_S, look_ahead
from mmg.streams import HopGrid, open_stream

from mmg_tools.wrong_units.faults import Fault, choose
from mmg_tools.wrong_units.recordings import SETS, InMemory, Person, load
from mmg_tools.wrong_units.small_faults import FROM_HALFWAY, SMALL_FAULTS

_report = stderr_reporter("wrong_units")
HOP_NS = 500_000_000
DATA = Path(os.environ.get("MMG_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
FAULTY_SETS = ("demo", "sp-sw-har")
THIRD = 3
LEAST_TOLD, MOST_DOUBTED = 0.95, 0.01
HEADER = "t_ms,ax (m/s^2),ay (m/s^2),az (m/s^2),gx (rad/s),gy (rad/s),gz (rad/s)"
"""With units: without, the reader itself finds many that are wrong, and reads them right."""


@dataclass
class Figures:
    """faults, told: how many, and how many were told in time; by_half: the same for people of odd and even numbers.

    untold: what was not. healthy: recordings of each set; doubted: the names of those that were. command, command_told:
    how many of the faults mmg-run was given, and told before its third decision.
    small: of each smaller fault, of how many recordings it was told at all, and before the third hop from its begin on,
        without a look ahead, and the median number of hops until it was.
    """

    seed: int
    faults: int = 0
    told: int = 0
    by_half: dict[str, list[int]] = field(default_factory=lambda: {"odd": [0, 0], "even": [0, 0]})
    untold: list[str] = field(default_factory=list)
    healthy: dict[str, int] = field(default_factory=dict)
    doubted: list[str] = field(default_factory=list)
    command: int = 0
    command_told: int = 0
    small: dict[str, dict[str, float]] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """For a person."""
        count, doubted = sum(self.healthy.values()), len(self.doubted)
        halves = ", ".join(f"{half} {told} of {all_}" for half, (told, all_) in self.by_half.items())
        sets = ", ".join(f"{name} {number}" for name, number in self.healthy.items())
        lines = [
            f"faults told before the third decision: {self.told} of {self.faults} "
            f"({_part(self.told, self.faults):.1%}); people with numbers {halves}",
            *(f"  not told: {one}" for one in self.untold),
            f"healthy recordings doubted: {doubted} of {count} ({_part(doubted, count):.2%}); {sets}",
            *(f"  doubted: {one}" for one in self.doubted),
        ]
        lines += [
            f"{name}: told of {one['told']:.0f} of {one['tried']:.0f}, {one['soon']:.0f} of them before the third hop"
            + (f", the median in hop {one['median']:.0f}" if one["told"] else "")
            for name, one in self.small.items()
        ]
        if self.command:
            lines.append(f"the same by mmg-run: {self.command_told} of {self.command}")
        return lines

    @property
    def is_good(self) -> bool:
        """Whether both goals are met."""
        doubted = _part(len(self.doubted), sum(self.healthy.values()))
        return _part(self.told, self.faults) >= LEAST_TOLD and doubted <= MOST_DOUBTED


def _part(one: int, of: int) -> float:
    return one / of if of else 0.0


def is_told(person: Person, fault: Fault, modality: Modality) -> str:
    """What is said of this recording with this fault before the third decision; empty where nothing is."""
    recording = InMemory(person.times_ns, fault.apply(person.samples))
    grid = HopGrid(recording.start_ns, HOP_NS)
    findings = look_ahead(recording, modality, recording.start_ns, grid, LOOK_AHEAD_S)
    if findings:
        return "; ".join(advise(finding, ReadAs()) for finding in findings)
    return next((text for text in _doubts(recording, modality)[:THIRD] if text), "")


def is_doubted(person: Person, modality: Modality) -> str:
    """What is said against a recording as it is, to its end."""
    return next((text for text in _doubts(InMemory(person.times_ns, person.samples), modality) if text), "")


def _doubts(recording: InMemory, modality: Modality) -> list[str]:
    """Of each hop, why it is doubted or faulty."""
    stream, health = open_stream(modality, HopGrid(recording.start_ns, HOP_NS)), Health(modality)
    verdicts = []
    for chunk in recording.chunks(recording.start_ns, HOP_NS):
        verdicts += [health.judge(hop).reason for hop in stream.push(chunk)]
    return verdicts


def try_faults(
    people: Sequence[Person], count: int, modality: Modality, figures: Figures, report: Reporter
) -> list[tuple[Person, Fault]]:
    """Each fault of the seed on one of the recordings; what was made, for whoever wants to try it again."""
    random = np.random.default_rng(figures.seed)
    made = []
    for _ in counted(report, "tried", range(count), count, "faults"):
        person, fault = people[int(random.integers(len(people)))], choose(random)
        made.append((person, fault))
        told = bool(is_told(person, fault, modality))
        figures.faults, figures.told = figures.faults + 1, figures.told + told
        half = figures.by_half["odd" if person.person % 2 else "even"]
        half[0], half[1] = half[0] + told, half[1] + 1
        if not told:
            figures.untold.append(f"{person.name}: {fault.name}")
    return made


def try_small(people: Sequence[Person], modality: Modality, figures: Figures, report: Reporter) -> None:
    """Each smaller fault of each of these recordings, as a port would show it."""
    for name, change in (SMALL_FAULTS | FROM_HALFWAY).items():
        after = []
        for person in counted(report, f"{name} tried", people, len(people), "recordings"):
            doubts = _doubts(InMemory(person.times_ns, change(person.samples)), modality)
            begin = len(doubts) // 2 if name in FROM_HALFWAY else 0
            after += [next((number for number, text in enumerate(doubts[begin:], 1) if text), 0)]
        told = [number for number in after if number]
        soon, median = sum(number < THIRD for number in told), float(np.median(told)) if told else 0.0
        figures.small[name] = {"tried": len(after), "told": len(told), "soon": soon, "median": median}
        report(f"{name}: {len(told)} of {len(after)} told")


def try_healthy(name: str, people: Sequence[Person], modality: Modality, figures: Figures, report: Reporter) -> None:
    """Every recording of a set as it is."""
    for person in counted(report, f"{name} judged", people, len(people), "healthy recordings"):
        if text := is_doubted(person, modality):
            figures.doubted.append(f"{name} {person.name}: {text}")
    figures.healthy[name] = len(people)


def try_command(made: Sequence[tuple[Person, Fault]], figures: Figures) -> None:
    """Give each to mmg-run as a file: it must tell, and decide fewer than three times."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "imu.csv"
        for person, fault in made:
            rows = np.column_stack([person.times_ns / 1e6, fault.apply(person.samples)])
            np.savetxt(path, rows, delimiter=",", header=HEADER, comments="", fmt=["%.3f"] + ["%.7g"] * 6)
            command = [sys.executable, "-m", "mmg.cli.run", "--sensors", "imu", "--imu", str(path), "--format", "jsonl"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            lines = [json.loads(line)["sensors"]["imu"]["state"] for line in done.stdout.splitlines()[:THIRD]]
            told = any(word in done.stderr for word in ("wrong unit", "though its unit", "gravity", "stuck"))
            figures.command += 1
            figures.command_told += told and lines.count("live") < THIRD


def main(arguments: list[str] | None = None) -> int:
    """Run, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="mmg_tools.wrong_units", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--faults", metavar="N", type=int, default=200, help="how many faults (default: 200)")
    add("--seed", metavar="N", type=int, default=1, help="chooses them (default: 1)")
    add("--data", metavar="DIR", type=Path, default=DATA, help="the folder of real recordings")
    add("--sets", metavar="LIST", default=",".join(SETS), help=f"which sets (default: {','.join(SETS)})")
    add("--small", metavar="N", type=int, default=0, help="try the smaller faults on the demo and N of sp-sw-har")
    add("--command", metavar="N", type=int, default=0, help="give so many of the faults to mmg-run too")
    add("--json", action="store_true", help="print an object in place of lines")
    options = parser.parse_args(arguments)
    return run_command(lambda: _run(options), _report)


def _run(options: argparse.Namespace) -> int:
    names = [name for name in options.sets.split(",") if name]
    figures = Figures(options.seed)
    with Bundle.open("starter") as bundle:
        modality = bundle.manifest.modality("imu")
    sets = {name: load(name, options.data) for name in names}
    people = [person for name in FAULTY_SETS for person in sets.get(name, [])]
    made = try_faults(people, options.faults if people else 0, modality, figures, _report)
    if options.small:
        every = max(len(people) // options.small, 1)
        try_small(people[::every], modality, figures, _report)
    for name, recordings in sets.items():
        try_healthy(name, recordings, modality, figures, _report)
    try_command(made[: options.command], figures)
    print(json.dumps(asdict(figures)) if options.json else "\n".join(figures.lines()))
    return 0 if figures.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
