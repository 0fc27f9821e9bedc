"""What a case's samples say, and whether they can be relied on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmg.backends import absent_providers
from mmg.board.machine import Condition, throttled_between
from mmg.board.machine.throttling import CLOCK_LIMIT
from mmg.board.profiling import energy as energies
from mmg.board.profiling.result import Case, Cold, Conditions, Energy, Memory
from mmg.board.profiling.stats import Repeat, distribution, halves_differ

if TYPE_CHECKING:
    from mmg.board.profiling.stalls import StallWatch
    from mmg.board.profiling.task import Task
    from mmg.bundle import Manifest

LEAST_SAMPLES = {"paced": 10, "backtoback": 50}
MOST_DIFFERENT = 0.05
"""What repeating a measurement may change in the median."""
MOST_WAITED = 0.25
"""Of the time from a hop's end to its decision, what may be waiting for a processor."""
LEAST_SLOPE_S = 60.0
"""A line through the memory of a shorter run says nothing."""


class Samples:
    """Numbers, or rows of so many, in memory that is taken at once: what grew with the hops would look like a leak.

    room: how many there will be; there may be more.
    """

    __slots__ = ("_count", "_rows")

    def __init__(self, room: int, *columns: int) -> None:
        self._rows = np.full((max(room, 1), *columns), np.nan)
        self._count = 0

    def append(self, row: float | tuple[float, ...]) -> None:
        """One more."""
        if self._count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.full_like(self._rows, np.nan)])
        self._rows[self._count] = row
        self._count += 1

    @property
    def rows(self) -> NDArray[np.float64]:
        """Those that there are."""
        return self._rows[: self._count]


@dataclass(slots=True)
class Seen:
    """What was seen while a case ran.

    room: how many hops will be counted.
    stages_ms: of each counted hop. spans_s: from the hop's end to its decision, in host monotonic seconds; paced only.
    resident: host monotonic seconds and MiB. cpu_s: processor time without what feeds and watches, and took_s the time
    that passed, both from the last hop that is not counted to the last one. lacking: hops since then that were decided
    without one of the modalities. waited_ms: how long the counted decisions waited for a processor, at the least and
    all together; paced only.
    """

    room: int = 1
    stages_ms: dict[str, Samples] = field(default_factory=dict)
    spans_s: Samples = field(init=False)
    resident: Samples = field(init=False)
    cold: Cold | None = None
    base_mib: float = 0.0
    peak_mib: float = 0.0
    lacking: int = 0
    waited_ms: float = 0.0
    cpu_s: float = 0.0
    took_s: float = 0.0
    energy: energies.Energy | None = None
    stalls: StallWatch | None = None

    def __post_init__(self) -> None:
        self.spans_s, self.resident = Samples(self.room, 2), Samples(self.room, 2)

    def add(self, stages_ms: Mapping[str, float], now_s: float, resident_mib: float) -> None:
        """One hop's."""
        for stage, spent in stages_ms.items():
            if stage not in self.stages_ms:
                self.stages_ms[stage] = Samples(self.room)
            self.stages_ms[stage].append(spent)
        self.resident.append((now_s, resident_mib))


def judge(task: Task, manifest: Manifest, seen: Seen, before: Condition, after: Condition) -> Case:
    """The case of what was seen. Of no sample at all it is a failed one."""
    made = {"backend": task.backend, "precision": task.precision, "threads": task.threads}
    hops = len(seen.resident.rows)
    if not hops:
        return Case(modalities=task.modalities, outcome="failed", reason="no hop was decided", **made)  # type: ignore[arg-type]
    deadline_ms = task.deadline_ms if task.mode == "paced" else manifest.hop_s * 1e3
    stages_ms = {stage: samples.rows.tolist() for stage, samples in seen.stages_ms.items()}
    held = stages_ms["event_to_decision" if task.mode == "paced" else "hop"]
    late = [index for index, spent_ms in enumerate(held) if spent_ms > deadline_ms]
    excused = sum(_is_by_stall(seen, index, held[index] - deadline_ms) for index in late)
    steps = [stage for stage in stages_ms if stage not in ("capture_age", "event_to_decision", "hop")]
    busy_ms = sum(float(np.mean(stages_ms[stage])) for stage in steps)
    throttled = throttled_between(before, after)
    # A limit that was there before and is after is how the board is set, as a Jetson's power mode is.
    limits = [
        why for why in throttled if why.startswith(CLOCK_LIMIT) and why in before.throttled and why in after.throttled
    ]
    repeat = halves_differ(stages_ms["hop"])
    reasons = _reasons(task, hops, repeat, excused, [why for why in throttled if why not in limits])
    if seen.waited_ms > MOST_WAITED * sum(held):
        share = f"{seen.waited_ms / sum(held):.0%} of the time to the decisions was waiting for one"
        reasons.append(f"other programs or its own threads had the processors, or a limit kept them from it: {share}")
    return Case(
        modalities=task.modalities,
        outcome="measured",
        cold=seen.cold,
        stages={stage: distribution(spent) for stage, spent in stages_ms.items()},
        hops=hops,
        deadline_ms=deadline_ms,
        misses=len(late) + seen.lacking,
        missed_by_stalls=excused,
        real_time_factor=busy_ms / (manifest.hop_s * 1e3),
        cpu_percent=seen.cpu_s / seen.took_s * 100 if task.mode == "paced" else None,
        memory=_memory(seen),
        macs_per_s=_macs_per_s(task, manifest),
        model_bytes=_model_bytes(task, manifest),
        energy=_energy(task, manifest, seen),
        accuracy=_accuracy(task, manifest),
        halves_differ=repeat.differ if repeat else None,
        before=_conditions(before),
        after=_conditions(after),
        valid=not reasons,
        reasons=tuple(reasons),
        warnings=(
            *_warnings(hops, late, excused, deadline_ms, max(held), seen.lacking),
            *(f"{name} is not in this onnxruntime" for name in absent_providers(task.backend, task.providers)),
            *limits,
        ),
        **made,  # type: ignore[arg-type]
    )


def _is_by_stall(seen: Seen, index: int, excess_ms: float) -> bool:
    return seen.stalls is not None and seen.stalls.stalled_s(*seen.spans_s.rows[index].tolist()) * 1e3 >= excess_ms


def _reasons(task: Task, hops: int, repeat: Repeat | None, excused: int, throttled: list[str]) -> list[str]:
    """Why the figures cannot be relied on; none where they can. excused: decisions that were late by the machine."""
    reasons = [f"throttled: {', '.join(throttled)}"] if throttled else []
    if excused:
        reasons.append(
            f"the machine stalled, and {excused} of {hops} decisions were late because of that: run it again"
        )
    if hops < (least := LEAST_SAMPLES[task.mode]):
        reasons.append(f"{hops} samples are fewer than {least}: give more --hops")
    if repeat and repeat.beyond_noise > MOST_DIFFERENT:
        reasons.append(
            f"does not repeat: the medians of its first and second half differ by {repeat.differ:.0%}, "
            f"which is more than {MOST_DIFFERENT:.0%} beyond noise"
        )
    return reasons


def _warnings(
    hops: int, late: list[int], excused: int, deadline_ms: float, worst_ms: float, lacking: int
) -> tuple[str, ...]:
    lines = []
    if late:
        line = f"{len(late)} of {hops} decisions came later than {deadline_ms:g} ms, the latest after {worst_ms:.1f} ms"
        lines.append(line + (f"; stalls of the machine explain {excused} of them" if excused else ""))
    if lacking:
        lines.append(f"{lacking} decisions were made without one of the modalities, which came too late: not counted")
    return tuple(lines)


def _memory(seen: Seen) -> Memory:
    times, resident = seen.resident.rows.T
    long = times[-1] - times[0] >= LEAST_SLOPE_S
    return Memory(
        base_mib=seen.base_mib,
        steady_mib=float(np.median(resident)),
        peak_mib=max(seen.peak_mib, float(resident.max())),  # the kernel's own figure may lag a little
        slope_mib_per_hour=float(np.polyfit((times - times[0]) / 3600, resident, 1)[0]) if long else None,
    )


def _macs_per_s(task: Task, manifest: Manifest) -> float | None:
    """Of the encoders, and of the fusion by its part of the tokens: what it does grows with them, nearly in line."""
    encoders = [manifest.modality(name).encoder for name in task.modalities]
    whole = sum(modality.encoder.tokens_per_hop for modality in manifest.modalities)
    macs = [encoder.macs for encoder in encoders]
    if manifest.fusion.macs is None or None in macs:
        return None
    part = sum(encoder.tokens_per_hop for encoder in encoders) / whole
    return (sum(one or 0 for one in macs) + manifest.fusion.macs * part) / manifest.hop_s


def _model_bytes(task: Task, manifest: Manifest) -> int:
    files = manifest.files(task.modalities)
    return sum(file.bytes for file in files if (file.backend, file.precision) == (task.backend, task.precision))


def _accuracy(task: Task, manifest: Manifest) -> float | None:
    for subset in manifest.subsets:
        if set(subset.modalities) == set(task.modalities):
            if subset.variants:
                return subset.variants.get(f"{task.backend}-{task.precision}")
            return subset.accuracy if task.precision == "fp32" else None
    return None


def _energy(task: Task, manifest: Manifest, seen: Seen) -> Energy | None:
    decisions, metered = len(seen.resident.rows), seen.energy
    if metered is not None:
        return Energy(
            measured=True,
            meter=metered.meter,
            joules=metered.joules,
            mean_w=metered.watts,
            mj_per_decision=metered.watts * manifest.hop_s * 1e3
            if task.mode == "paced"
            else metered.joules / decisions * 1e3,
        )
    if task.core_w is None:
        return None
    joules = seen.cpu_s * task.core_w
    return Energy(
        measured=False,
        meter=f"estimate: processor time at {task.core_w:g} W a core",
        joules=joules,
        mean_w=joules / seen.took_s,
        mj_per_decision=joules / decisions * 1e3,
    )


def _conditions(condition: Condition) -> Conditions:
    return Conditions(
        governor=condition.governor,
        frequency_mhz=condition.frequency_mhz,
        temperature_c=condition.temperature_c,
        throttled=condition.throttled,
        free_mib=condition.free_mib,
        load=condition.load,
    )
