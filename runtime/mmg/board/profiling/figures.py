"""The figures of a case that every form of a report shows, under the same names, in the same order and digits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mmg.board.profiling.result import Case, Distribution, Mode, Report
from mmg.counts import count_of

# How each mode's latency is called: what ``latency`` gives.
LATENCY = {"paced": "event to decision", "backtoback": "hop, in processor time"}
# Those that overlap with the stages proper; the others add up to the work of a hop.
SPANS = ("capture_age", "event_to_decision", "hop")
NAMED_ONE_BY_ONE = 2
AFTER_ENCODERS = ("fusion", "post", "sink")


@dataclass(frozen=True)
class Figure:
    """One number of a case. key: for a program, in a page's address; group and title: a heading of two lines."""

    key: str
    group: str
    title: str
    meaning: str
    of: Callable[[Case], float | None]
    show: Callable[[Case], str]

    @property
    def heading(self) -> str:
        """On one line."""
        return f"{self.group} {self.title}".strip().replace("- ", "")


def latency(case: Case) -> Distribution | None:
    """Event to decision in mode paced; the engine's processor time of a hop in mode backtoback."""
    return case.stages.get("event_to_decision") or case.stages.get("hop")


def work_stages(cases: Iterable[Case]) -> tuple[str, ...]:
    """The stages that add up to a hop's work, in the order that a hop goes through them."""
    names = dict.fromkeys(name for case in cases for name in case.stages if name not in SPANS)
    encoders = [name for name in names if name != "resample" and name not in AFTER_ENCODERS]
    return tuple(name for name in ("resample", *encoders, *AFTER_ENCODERS) if name in names)


def variant(case: Case) -> str:
    """What a case has in common with the other subsets: ``onnx int8, 2 threads``."""
    return f"{case.backend} {case.precision}, {count_of(case.threads, 'thread')}"


def subset(case: Case) -> str:
    """Such as ``imu+audio``."""
    return "+".join(case.modalities)


def by_variant(cases: Iterable[Case]) -> dict[str, list[Case]]:
    """Variant -> its cases, in the report's order."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(variant(case), []).append(case)
    return groups


def measured(report: Report) -> list[Case]:
    """The cases that have figures, valid or not."""
    return [case for case in report.cases if case.outcome == "measured"]


def not_measured(report: Report) -> list[str]:
    """One line for all cases that are missing for the same reason."""
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in report.cases:
        if case.outcome != "measured":
            groups.setdefault((case.outcome, case.reason), []).append(case)
    return [
        f"{outcome}: {named(cases, report.cases)}: {reason or 'no reason was given'}"
        for (outcome, reason), cases in groups.items()
    ]


def named(cases: Sequence[Case], among: Sequence[Case]) -> str:
    """A few cases by their names; more by their variant, with the subsets where not every one of the variant is in."""
    if len(cases) <= NAMED_ONE_BY_ONE:
        return ", ".join(case.name for case in cases)
    if len(cases) == len(among):
        return f"all {len(cases)} cases"
    everything = by_variant(among)
    parts = [
        name if len(group) == len(everything[name]) else f"{', '.join(map(subset, group))} on {name}"
        for name, group in by_variant(cases).items()
    ]
    return f"{len(cases)} cases ({'; '.join(parts)})"


def short(value: float) -> str:
    """Two or three digits that count: 0.012, 1.23, 12.3, 123."""
    size = abs(value)
    for limit, decimals in ((0.0995, 3), (9.995, 2), (99.95, 1)):
        if size < limit:
            return f"{value:.{decimals}f}"
    return f"{value:.0f}"


def figures(mode: Mode) -> tuple[Figure, ...]:
    """Those of a report in this mode."""
    name = LATENCY[mode]
    return (
        _of_latency("p50", name, "median"),
        _of_latency("p95", name, "95th percentile"),
        _of_latency("max", name, "longest"),
        _figure("hop", "CPU", "ms/hop", "processor time of a hop, median, ms", _hop_ms),
        _figure("rtf", "", "RTF", "real-time factor: time a hop takes over the time it lasts", _real_time),
        _figure("cpu", "CPU", "%", "processor time of the process, in percent of one core", _cpu_percent, ".1f"),
        _figure("steady", "steady", "MiB", "resident memory while running, median, MiB", _steady_mib, ".0f"),
        _figure("peak", "peak", "MiB", "peak resident memory of the process, MiB", _peak_mib, ".0f"),
        _figure("first", "first", "s", "start of the process to the first decision, s", _first_s),
        Figure("misses", "", "missed", "hops past their deadline, of all", _misses, _show_misses),
        Figure("accuracy", "accu-", "racy %", "accuracy that the bundle states, percent", _accuracy, _show_accuracy),
        Figure("energy", "mJ a", "decision", "energy of a decision, mJ; ~ is an estimate", _energy_mj, _show_energy),
    )


def _figure(
    key: str, group: str, title: str, meaning: str, of: Callable[[Case], float | None], spec: str = ""
) -> Figure:
    def show(case: Case) -> str:
        value = of(case)
        if value is None:
            return ""
        return format(value, spec) if spec else short(value)

    return Figure(key, group, title, meaning, of, show)


def _of_latency(key: str, name: str, what: str) -> Figure:
    def of(case: Case) -> float | None:
        times = latency(case)
        return {"p50": times.p50_ms, "p95": times.p95_ms, "max": times.max_ms}[key] if times else None

    return _figure(key, key, "ms", f"{name}, {what}, ms", of)


def _hop_ms(case: Case) -> float | None:
    return case.stages["hop"].p50_ms if "hop" in case.stages else None


def _real_time(case: Case) -> float | None:
    return case.real_time_factor


def _cpu_percent(case: Case) -> float | None:
    return case.cpu_percent


def _steady_mib(case: Case) -> float | None:
    return case.memory.steady_mib if case.memory else None


def _peak_mib(case: Case) -> float | None:
    return case.memory.peak_mib if case.memory else None


def _first_s(case: Case) -> float | None:
    return case.cold.first_decision_s if case.cold else None


def _misses(case: Case) -> float | None:
    return case.misses if case.hops else None


def _show_misses(case: Case) -> str:
    return f"{case.misses}/{case.hops}" if case.hops else ""


def _accuracy(case: Case) -> float | None:
    return case.accuracy


def _show_accuracy(case: Case) -> str:
    return "" if case.accuracy is None else f"{100 * case.accuracy:.1f}"


def _energy_mj(case: Case) -> float | None:
    return case.energy.mj_per_decision if case.energy else None


def _show_energy(case: Case) -> str:
    if case.energy is None:
        return ""
    return f"{'' if case.energy.measured else '~'}{short(case.energy.mj_per_decision)}"
