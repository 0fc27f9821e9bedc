"""Which subset, backend, precision and thread count to run under a budget, and why not the others."""

from __future__ import annotations

import math
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from mmg.board.profiling.budget import check_budget, explain
from mmg.board.profiling.figures import latency, measured, named, not_measured, short
from mmg.board.profiling.result import BudgetCheck, Case, Report
from mmg.board.profiling.text import BOLD, DIM, YELLOW, Lines

TIE = 0.005
"""Accuracies that are no more than this apart are taken as equal: half a point."""
RUNNERS_UP = 3
NEVER = "the device profile's privacy.video is never"


@dataclass(frozen=True)
class Rejected:
    """A measured case that fell out. why: a sentence for each reason.

    over: by how much it misses its worst limit, 0.2 for a fifth; infinite where a limit was not measured.
    """

    case: Case
    why: tuple[str, ...]
    over: float


@dataclass(frozen=True)
class Advice:
    """ranked: the cases that keep the budget, the best first. rejected: those that do not, the nearest first.

    video: the bundle's modalities that a camera gives. notes: what to know about the choice; missing: what was not
    measured at all, and why.
    """

    bundle: str
    flags: tuple[str, ...]
    video: tuple[str, ...]
    budget: Mapping[str, float]
    ranked: tuple[Case, ...]
    rejected: tuple[Rejected, ...]
    notes: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def choice(self) -> Case | None:
        """The best case, None where none keeps the budget."""
        return self.ranked[0] if self.ranked else None

    @property
    def runners_up(self) -> tuple[Case, ...]:
        """The next best."""
        return self.ranked[1:]

    @property
    def nearest(self) -> Rejected | None:
        """Of the valid cases that do not keep the budget, the one that misses it by the least."""
        return next((one for one in self.rejected if one.case.valid and one.over < math.inf), None)

    @property
    def command(self) -> str | None:
        """The mmg-run command that runs the choice."""
        return command(self.choice, self.bundle, self.flags, self.video) if self.choice else None


def advise(report: Report, budget: Mapping[str, float], *, may_film: bool = True, flags: Sequence[str] = ()) -> Advice:
    """Of the measured and valid cases that keep every limit and keep up with the sensors: the most accurate.

    Accuracies within ``TIE`` of the best of those that are left are a tie: less processor time is better, that of all
    threads where it was measured and else that of the engine's in a hop, then less memory. Where no accuracy is known,
    the most modalities, then the same. A case whose accuracy is not known goes behind those that are.

    may_film: whether the device's owner leaves it open that its camera is used. flags: of mmg-run, for the profile.
    """
    fitting: list[Case] = []
    rejected: list[Rejected] = []
    for case in measured(report):
        failed = tuple(check for check in check_budget(case, budget) if not check.passed)
        if not may_film and _films(case, report.bundle.video):
            rejected.append(Rejected(case, (NEVER,), math.inf))
        elif why := _why(case, failed):
            rejected.append(Rejected(case, why, _overshoot(case, failed)))
        else:
            fitting.append(case)
    return Advice(
        bundle=report.bundle.path,
        flags=tuple(flags),
        video=report.bundle.video,
        budget=dict(budget),
        ranked=tuple(_rank(fitting)),
        rejected=tuple(sorted(rejected, key=lambda one: (not one.case.valid, one.over))),
        notes=tuple(_notes(report, fitting, rejected, budget)),
        missing=tuple(not_measured(report)),
    )


def command(case: Case, bundle: str, flags: Sequence[str] = (), video: Collection[str] = ()) -> str:
    """Such as ``mmg-run --bundle starter --sensors imu,audio --backend onnx --precision int8 --set threads=1``."""
    words = ["mmg-run", "--bundle", bundle, *flags, "--sensors", ",".join(case.modalities)]
    words += ["--backend", case.backend, "--precision", case.precision, "--set", f"threads={case.threads}"]
    return shlex.join(words + (["--allow-video"] if _films(case, video) else []))


def _films(case: Case, video: Collection[str]) -> bool:
    return not set(video).isdisjoint(case.modalities)


def format_advice(advice: Advice, *, width: int = 100, colours: bool = False, ascii: bool = False) -> str:
    """The choice and its command, the next best, and why each other case fell out."""
    lines = Lines(width, colours=colours, ascii=ascii)
    limits = ", ".join(f"{key} {limit:g}" for key, limit in advice.budget.items()) or "none, so the best of all"
    lines.wrap(f"budget: {limits}", start="", then="  ")
    lines.add()
    if advice.choice and advice.command:
        lines.wrap(f"run {described(advice.choice)}", BOLD, start="", then="  ")
        lines.add()
        lines.add(f"    {advice.command}")  # never wrapped: it is there to be copied
        if advice.notes:
            lines.add()
    else:
        lines.wrap(_nothing_fits(advice), YELLOW, start="", then="  ")
    for note in advice.notes:
        lines.wrap(note, start="", then="  ")
    lines.section("next best", [described(case) for case in advice.runners_up[:RUNNERS_UP]])
    lines.section("fell out", _fallen(advice.rejected), DIM)
    lines.section("not measured", advice.missing, DIM)
    return lines.text()


def described(case: Case) -> str:
    """The case with the figures that it was chosen by."""
    times = latency(case)
    facts = [f"accuracy {100 * case.accuracy:.1f} %" if case.accuracy is not None else "accuracy not known"]
    if times:
        facts.append(f"p95 {short(times.p95_ms)} ms")
    if "hop" in case.stages:
        facts.append(f"hop {short(case.stages['hop'].p50_ms)} ms of processor time")
    if case.cpu_percent is not None:
        facts.append(f"{case.cpu_percent:.1f} % of a core")
    if case.memory:
        facts.append(f"peak {case.memory.peak_mib:.0f} MiB")
    return f"{case.name}: {', '.join(facts)}"


def _rank(cases: Sequence[Case]) -> list[Case]:
    left = list(cases)
    ranked: list[Case] = []
    while left:
        best = max((case.accuracy for case in left if case.accuracy is not None), default=None)
        if best is None:
            return ranked + sorted(left, key=lambda case: (-len(case.modalities), *_cost(case)))
        tied = [case for case in left if case.accuracy is not None and case.accuracy >= best - TIE]
        chosen = min(tied, key=_cost)
        ranked.append(chosen)
        left.remove(chosen)
    return ranked


def _cost(case: Case) -> tuple[float, float]:
    hop_ms = case.stages["hop"].p50_ms if "hop" in case.stages else math.inf
    processor = hop_ms if case.cpu_percent is None else case.cpu_percent
    return processor, case.memory.peak_mib if case.memory else math.inf


def _why(case: Case, failed: Sequence[BudgetCheck]) -> tuple[str, ...]:
    why = [] if case.valid else [f"not reliable: {'; '.join(case.reasons) or 'no reason was given'}"]
    if case.real_time_factor is not None and case.real_time_factor >= 1:
        why.append(f"does not keep up: a hop takes {case.real_time_factor:.2f} times as long as it lasts")
    return (*why, *map(explain, failed))


def _overshoot(case: Case, failed: Sequence[BudgetCheck]) -> float:
    shares = [math.inf if one.value is None else one.value / one.limit for one in failed]
    return max([*shares, case.real_time_factor or 0.0]) - 1


def _notes(
    report: Report, fitting: Sequence[Case], rejected: Sequence[Rejected], budget: Mapping[str, float]
) -> list[str]:
    notes = []
    unknown = sum(case.accuracy is None for case in fitting)
    if fitting and unknown == len(fitting):
        notes.append("The bundle states no accuracy: the most modalities were taken, then the least processor time.")
    elif unknown:
        notes.append(f"The accuracy of {unknown} cases is not known: they rank behind the others.")
    if fitting and _films(_rank(fitting)[0], report.bundle.video):
        notes.append("This opens the camera: --allow-video is for the wearer, or the people it films, to decide.")
    if report.mode == "backtoback" and "decision_ms" in budget:
        notes.append("Run back to back: decision_ms was held against the processor time of a hop, without the waiting.")
    if report.mode == "backtoback" and any(case.threads > 1 for case in fitting):
        notes.append("Run back to back: of more threads than one the processor time is that of the engine's alone.")
    cases = [*fitting, *(one.case for one in rejected)]
    values = [check for case in cases for check in check_budget(case, budget)]
    for key in budget:
        if cases and all(check.value is None for check in values if check.key == key):
            notes.append(f"{key} was measured in no case: without a measurement no case can keep it.")
    return notes


def _nothing_fits(advice: Advice) -> str:
    nearest = advice.nearest
    if nearest is None:
        valid = [one for one in advice.rejected if one.case.valid]
        if valid and all(NEVER in one.why for one in valid):
            return f"No case without video was measured and valid, and {NEVER}."
        if valid:
            return "No case can be shown to keep the budget, because not every limit was measured."
        return "Nothing to choose from: no case is measured and valid."
    return f"No case keeps the budget. The nearest is {nearest.case.name}: {'; '.join(nearest.why)}."


def _fallen(rejected: Sequence[Rejected]) -> list[str]:
    """One line for all that fell out for the same reasons."""
    groups: dict[tuple[str, ...], list[Case]] = {}
    for one in rejected:
        groups.setdefault(one.why, []).append(one.case)
    everyone = [one.case for one in rejected]
    return [f"{named(cases, everyone)}: {'; '.join(why)}" for why, cases in groups.items()]
