"""The figures of a run, and what was not as it must be."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mmg_tools.days.faults import KINDS

if TYPE_CHECKING:
    from mmg_tools.days.run import Outcome

MOST_MIB_A_DAY, JUDGED_FROM_S = 1.0, 6 * 3600.0
"""What is resident in a shorter run is the allocator's affair."""
MOST_OBJECTS, MOST_BLOCKS = 300, 10_000
"""By so much may what Python holds differ from the second quarter to the last: what waits is not always as many."""
STAMPED_MS, DRIFTED_MS = 12.0, 1.0
"""How far a stamp may be off in any hour, and from the first hour to the last in the median."""
PARTS = (0.01, 0.5, 0.99)


@dataclass
class Report:
    """seconds: of the sensors' time. owed: hops in which a sensor was well, and used: by sensor, those that were made
    from it. doubted: those of them in which it was doubted. alone: hops in which the others were well or gone.
    compared: tokens that were held against what was measured. told: states that were held against a fault.
    stamps_ms: by sensor, the 1st, 50th and 99th percentile of stamp less capture time, in the first and the last hour.
    losses: what ports and engine counted. problems: how often each promise was broken; examples of them."""

    seed: int
    seconds: float
    hops: int
    decisions: int
    faults: dict[str, int]
    kinds: dict[str, int]
    owed: int
    used: dict[str, int]
    doubted: dict[str, int]
    alone: int
    compared: dict[str, int]
    told: int
    latest_ms: float
    stamps_ms: dict[str, list[list[float]]]
    samples: dict[str, int]
    losses: dict[str, dict[str, int]]
    dropped: dict[str, int]
    notes: int
    mib_a_day: float
    resident_mib: float
    objects_grown: int
    blocks_grown: int
    files: list[int]
    wall_s: float
    cpu_s: float
    problems: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def times_real(self) -> float:
        """How much faster than the sensors."""
        return self.seconds / self.wall_s


def make_report(outcome: Outcome, seed: int) -> Report:
    """The figures, judged."""
    found, ledger, print_ = outcome.found, outcome.ledger, outcome.footprint
    families: Counter[str] = Counter()
    for (sensor, name), count in outcome.happened.items():
        families[KINDS[sensor][name].family] += count
    hours, stamps = _whole_hours(outcome), outcome.stamps
    report = Report(
        seed=seed,
        seconds=round(outcome.seconds, 3),
        hops=outcome.hops,
        decisions=found.decisions,
        faults=dict(sorted(families.items())),
        kinds={f"{sensor} {name}": count for (sensor, name), count in sorted(outcome.happened.items())},
        owed=found.owed,
        used=dict(found.used),
        doubted=dict(found.doubted),
        alone=found.prompt,
        compared=outcome.compared,
        told=sum(outcome.claims.values()),
        latest_ms=round(found.latest_ns / 1e6, 3),
        stamps_ms={
            name: [[stamps.quantile_ms(name, hour, part) for part in PARTS] for hour in (hours[0], hours[-1])]
            for name in ledger.given
        },
        samples=dict(ledger.given),
        losses=outcome.losses,
        dropped=outcome.dropped,
        notes=outcome.notes,
        mib_a_day=round(print_.mib_a_day(), 2),
        resident_mib=round(print_.resident_mib[-1], 1),
        objects_grown=print_.grown(print_.objects),
        blocks_grown=print_.grown(print_.blocks),
        files=[print_.files[0], print_.files[-1]],
        wall_s=round(outcome.wall_s, 1),
        cpu_s=round(outcome.cpu_s, 1),
        problems=dict(found.problems),
        examples=found.examples,
    )
    _judge_losses(report, outcome)
    _judge_stamps(report, outcome)
    _judge_footprint(report)
    return report


def _whole_hours(outcome: Outcome) -> list[int]:
    """The hours of the run, the first of which may be a part of one: a few stamps at the end show nothing."""
    hours = outcome.stamps.hours
    return [hour for hour in hours if (hour + 1) * 3600 <= outcome.seconds] or hours[:1]


def _judge_losses(report: Report, outcome: Outcome) -> None:
    ledger = outcome.ledger
    for name in ledger.given:
        if missing := ledger.missing(name):
            report.problems[f"{name}: samples that nobody counted"] = missing
        if outcome.dropped[name] < ledger.taken_lost[name]:
            report.problems[f"{name}: losses that the engine forgot"] = ledger.taken_lost[name] - outcome.dropped[name]
    known, told = outcome.sound_lost
    if told < known:
        report.problems["audio: lost blocks that were not told"] = known - told


def _judge_stamps(report: Report, outcome: Outcome) -> None:
    stamps = outcome.stamps
    for name, (first, last) in report.stamps_ms.items():
        if abs(first[1] - last[1]) > DRIFTED_MS:
            report.problems[f"{name}: stamps drift"] = 1
        off = [
            hour
            for hour in _whole_hours(outcome)
            if any(abs(stamps.quantile_ms(name, hour, p)) > STAMPED_MS for p in PARTS)
        ]
        if off:
            report.problems[f"{name}: hours with stamps that are off"] = len(off)


def _judge_footprint(report: Report) -> None:
    if report.seconds >= JUDGED_FROM_S and report.mib_a_day > MOST_MIB_A_DAY:
        report.problems["memory grows"] = 1
    if report.objects_grown > MOST_OBJECTS or report.blocks_grown > MOST_BLOCKS:
        report.problems["something piles up"] = max(report.objects_grown, report.blocks_grown)
    if report.files[1] > report.files[0]:  # what others left open may be collected meanwhile
        report.problems["files stay open"] = report.files[1] - report.files[0]


def describe(report: Report) -> list[str]:
    """The lines that the docs quote."""
    kinds = ", ".join(f"{family} {count}" for family, count in report.faults.items())
    used = ", ".join(f"{name} {count}" for name, count in sorted(report.used.items()))
    doubted = sum(report.doubted.values())
    return [
        f"{report.seconds / 3600:.1f} h of three sensors, seed {report.seed}: {report.hops} hops, "
        f"{report.decisions} decisions",
        f"faults: {sum(report.faults.values())}: {kinds}",
        f"hops in which a sensor was well: {report.owed}, not decided: {report.problems.get('hop lost', 0)}; "
        f"made from it: {used} ({doubted} while doubted)",
        f"hops that nobody was to be waited for in: {report.alone}; the latest decision of all came "
        f"{report.latest_ms:.1f} ms after its hop",
        f"tokens held against what was measured: {sum(report.compared.values())}; states against faults: {report.told}",
        *(
            f"{name}: {report.samples[name]} samples, {report.dropped[name]} dropped; stamps "
            + " then ".join(f"{first:+.1f} to {last:+.1f} ms (median {middle:+.1f})" for first, middle, last in hours)
            for name, hours in sorted(report.stamps_ms.items())
        ),
        f"memory: {report.resident_mib} MiB, {report.mib_a_day:+.2f} MiB a day; objects {report.objects_grown:+d}; "
        f"open files {report.files[0]} then {report.files[1]}",
        f"took {report.wall_s:.0f} s ({report.cpu_s:.0f} s of one processor), {report.times_real:.0f} times real time",
        *(
            f"PROBLEM: {what}: {count}" + "".join(f"\n    {example}" for example in report.examples.get(what, ()))
            for what, count in report.problems.items()
        ),
    ]
