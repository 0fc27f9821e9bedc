"""Two reports, case by case: what became slower or larger, beyond what noise can do.

A change of a stage's percentile counts when it is larger than each of these:

- what chance leaves open of the two percentiles: their 99 % confidence intervals do not meet. That of the percentile p
  of n samples lies between the order statistics n p - 2.576 sqrt(n p (1 - p)) and n p + 2.576 sqrt(n p (1 - p))
  (J.-Y. Le Boudec, Performance Evaluation of Computer and Communication Systems, section 2.2.2). It assumes no shape of
  the distribution, but independent samples, which hops that follow each other are not quite. Where there are too few
  samples for such a statistic, the longest stands for it if the percentile is beyond it in 0.5 % of runs at most, which
  is p^n (the shortest: (1 - p)^n); with fewer still nothing is called a change. 99 %, as there are hundreds of figures;
- what drifted within a run: ``halves_differ`` of either case;
- ``LEAST`` of it, which runs of one and the same program can differ by, and ``LEAST_MS``.

Processor share, memory and first decision are one number a run, from which no noise can be told: they are held to
``LEAST``, and the first decision, which the page cache moves, to ``LEAST_FIRST``. All of these limits are chosen, not
measured: what a machine does between two runs, as one does that others share, only several runs of the same program
tell. With several old reports a change counts only if it is one, in the same direction, from each of them.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from mmg.board.profiling.figures import measured
from mmg.board.profiling.result import Case, Distribution, Report

Verdict = Literal["worse", "better", "same", "unreliable"]

LEAST, LEAST_FIRST = 0.05, 0.20
# In the figure's own unit: less matters to nobody, such as a ten-thousandth of the starter's hop.
LEAST_MS, LEAST_PERCENT, LEAST_MIB, LEAST_S = 0.05, 0.1, 1.0, 0.05
Z_99, TAIL_99 = 2.576, 0.005
# Not told as a difference: it is the code that is compared.
OWN = "mmg"


@dataclass(frozen=True)
class Change:
    """One figure of one case in both reports. Less is better in each of them.

    noise: how far apart they may be by chance, in the figure's unit; infinite where there are too few samples.
    verdict: ``unreliable`` where either case is invalid; ``same`` is a change within the noise.
    """

    case: str
    figure: str
    unit: str
    old: float
    new: float
    noise: float
    verdict: Verdict

    @property
    def ratio(self) -> float:
        """New over old; infinite where there was nothing."""
        if self.old:
            return self.new / self.old
        return math.inf if self.new else 1.0


@dataclass(frozen=True)
class Comparison:
    """olds: the older reports, of which each change is told from the nearest.

    differences: of what is not the code, such as the machine; where there are any, the figures tell of that too.
    only_old, only_new: names of the cases that were measured in the old reports or in the new one alone. invalid: that
    are not valid in the new one, or in none of the old ones.
    """

    olds: tuple[Report, ...]
    new: Report
    differences: tuple[str, ...]
    changes: tuple[Change, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    invalid: tuple[str, ...]

    @property
    def slower(self) -> tuple[Change, ...]:
        """What became worse beyond noise, memory included."""
        return tuple(change for change in self.changes if change.verdict == "worse")

    @property
    def faster(self) -> tuple[Change, ...]:
        """What became better beyond noise, memory included."""
        return tuple(change for change in self.changes if change.verdict == "better")


def compare(olds: Sequence[Report], new: Report) -> Comparison:
    """The cases that the new report and at least one of the old ones measured, by ``Case.name``, each held against
    every old report that has it valid. Raises ValueError without an old one."""
    if not olds:
        raise ValueError("there is nothing to compare with")
    after = {case.name: case for case in measured(new)}
    before: dict[str, list[Case]] = {}
    for report in olds:
        for case in measured(report):
            before.setdefault(case.name, []).append(case)
    changes: list[Change] = []
    invalid = []
    for name in (name for name in before if name in after):
        valid = [case for case in before[name] if case.valid]
        if not (valid and after[name].valid):
            invalid.append(name)
        changes += _from_all([list(_changes(case, after[name])) for case in valid or before[name][:1]])
    return Comparison(
        olds=tuple(olds),
        new=new,
        differences=tuple(dict.fromkeys([*_among(olds), *(line for old in olds for line in _differences(old, new))])),
        changes=tuple(changes),
        only_old=tuple(name for name in before if name not in after),
        only_new=tuple(name for name in after if name not in before),
        invalid=tuple(invalid),
    )


def _from_all(of_each: Sequence[Sequence[Change]]) -> Iterator[Change]:
    """Each figure's change from the nearest of the old cases that have it, and the verdict that all of these share."""
    found: dict[str, list[Change]] = {}
    for changes in of_each:
        for change in changes:
            found.setdefault(change.figure, []).append(change)
    for same in found.values():
        nearest = min(same, key=lambda change: abs(change.new - change.old))
        agreed = len({change.verdict for change in same}) == 1
        yield nearest if agreed else replace(nearest, verdict="same")


def _among(olds: Sequence[Report]) -> Iterator[str]:
    """Several old reports are to be runs of one program."""
    codes = dict.fromkeys(
        report.machine.commit or report.machine.versions.get(OWN, "an unknown version") for report in olds
    )
    if len(codes) > 1:
        yield f"the old reports are not of the same program: {', '.join(codes)}"


def percentile_interval(times: Distribution, level: float) -> tuple[float, float]:
    """Where the percentile lies with 99 % confidence, in ms; infinite where the samples are too few to say.

    The order statistics are read off the histogram and the percentiles that are known.
    """
    half = Z_99 * math.sqrt(level * (1 - level) / times.n)
    known = _known_percentiles(times)
    low = -math.inf if level < half and (1 - level) ** times.n > TAIL_99 else _percentile(known, level - half)
    high = math.inf if level + half > 1 and level**times.n > TAIL_99 else _percentile(known, level + half)
    return low, high


def _known_percentiles(times: Distribution) -> list[tuple[float, float]]:
    """(level, ms), neither ever falling: each percentile of the distribution, and each edge of its histogram."""
    known = [
        (0.0, times.min_ms),
        (0.50, times.p50_ms),
        (0.90, times.p90_ms),
        (0.95, times.p95_ms),
        (0.99, times.p99_ms),
        (1.0, times.max_ms),
    ]
    below = 0
    for edge_ms, count in zip(times.histogram.edges_ms, times.histogram.counts, strict=False):
        known.append((below / times.n, min(max(edge_ms, times.min_ms), times.max_ms)))
        below += count
    known.sort()
    highest = times.min_ms
    for place, (level, value_ms) in enumerate(known):
        highest = max(highest, value_ms)
        known[place] = (level, highest)
    return known


def _percentile(known: list[tuple[float, float]], level: float) -> float:
    level = min(max(level, 0.0), 1.0)
    above = bisect_left(known, (level, -math.inf))
    if known[above][0] == level or above == 0:
        return known[above][1]
    (low, low_ms), (high, high_ms) = known[above - 1], known[above]
    return low_ms + (level - low) / (high - low) * (high_ms - low_ms)


def _changes(old: Case, new: Case) -> Iterator[Change]:
    drift = max(old.halves_differ or 0.0, new.halves_differ or 0.0)
    valid = old.valid and new.valid
    for stage in old.stages:
        if stage in new.stages:
            for key, level in (("p50", 0.50), ("p95", 0.95)):
                yield _change_of_stage(old, new, stage, key, level, drift)
    of_case: tuple[tuple[str, str, Callable[[Case], float | None], float, float], ...] = (
        ("processor", "%", lambda case: case.cpu_percent, max(LEAST, drift), LEAST_PERCENT),
        ("steady memory", "MiB", lambda case: case.memory.steady_mib if case.memory else None, LEAST, LEAST_MIB),
        ("peak memory", "MiB", lambda case: case.memory.peak_mib if case.memory else None, LEAST, LEAST_MIB),
        ("first decision", "s", lambda case: case.cold.first_decision_s if case.cold else None, LEAST_FIRST, LEAST_S),
    )
    for figure, unit, of, least, floor in of_case:
        before, after = of(old), of(new)
        if before is not None and after is not None:
            noise = max(least * before, floor)
            yield Change(old.name, figure, unit, before, after, noise, _judge(after - before, noise, valid))


def _change_of_stage(old: Case, new: Case, stage: str, key: str, level: float, drift: float) -> Change:
    before, after = old.stages[stage], new.stages[stage]
    old_ms, new_ms = {"p50": (before.p50_ms, after.p50_ms), "p95": (before.p95_ms, after.p95_ms)}[key]
    (old_low, old_high), (new_low, new_high) = percentile_interval(before, level), percentile_interval(after, level)
    # The two sides that face each other: the intervals meet where the change is not more than their sum.
    chance = (old_high - old_ms) + (new_ms - new_low) if new_ms > old_ms else (old_ms - old_low) + (new_high - new_ms)
    noise = max(chance, drift * old_ms, LEAST * old_ms, LEAST_MS)
    verdict = _judge(new_ms - old_ms, noise, old.valid and new.valid)
    return Change(old.name, f"{stage} {key}", "ms", old_ms, new_ms, noise, verdict)


def _judge(change: float, noise: float, valid: bool) -> Verdict:
    if not valid:
        return "unreliable"
    if abs(change) <= noise:
        return "same"
    return "worse" if change > 0 else "better"


def _differences(old: Report, new: Report) -> Iterator[str]:
    pairs = (
        ("machine", old.machine.model, new.machine.model),
        ("processor", old.machine.cpu, new.machine.cpu),
        ("number of cores", old.machine.cores, new.machine.cores),
        ("memory in MiB", old.machine.memory_mib, new.machine.memory_mib),
        ("architecture", old.machine.architecture, new.machine.architecture),
        ("governor", _governors(old), _governors(new)),
        ("bundle", f"{old.bundle.name} {old.bundle.version}", f"{new.bundle.name} {new.bundle.version}"),
        ("bundle's content", old.bundle.manifest_sha256[:12], new.bundle.manifest_sha256[:12]),
        ("mode", old.mode, new.mode),
        ("profile", old.profile, new.profile),
        ("settings", _settings(old), _settings(new)),
        ("signal", old.signal, new.signal),
    )
    for what, before, after in pairs:
        if before != after:
            yield f"not the same {what}: {before or 'none'}, now {after or 'none'}"
    names = dict.fromkeys((*old.machine.versions, *new.machine.versions))
    for name in names:
        had, has = old.machine.versions.get(name, "none"), new.machine.versions.get(name, "none")
        if had != has and name != OWN:
            yield f"not the same version of {name}: {had}, now {has}"


def _settings(report: Report) -> str:
    """What ``--set`` changed of the profile, but for its budget, which changes nothing that is measured."""
    words = report.command
    given = [after for word, after in pairwise(words) if word == "--set"]
    given += [word.partition("=")[2] for word in words if word.startswith("--set=")]
    return ", ".join(sorted(one for one in given if not one.startswith("budget.")))


def _governors(report: Report) -> str:
    return ", ".join(sorted({case.before.governor or "unknown" for case in report.cases if case.before}))
