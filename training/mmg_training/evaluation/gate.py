"""What a gate saves and what it costs: policies tried on people who are in no training, through the device's engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import merge
from itertools import pairwise, product
from pathlib import Path

import msgspec
import numpy as np
from mmg import Bundle, Chunk, Engine
from mmg.board.profiling.estimate import estimated_mw
from mmg.bundle.gate import Gate, GatePoint
from mmg.bundle.manifest import Manifest
from mmg.bundle.reader import CARD
from mmg.bundle.writer import write_bundle
from mmg.cli.progress import counted
from mmg.cli.reporting import Reporter
from mmg.engine import DEFAULT_GRACE_S
from mmg.errors import ConfigError
from mmg.runs.gating import open_gating
from mmg.runs.settings import Settings
from mmg.types import UNKNOWN
from mmg_device_profiles.gate import GatePolicy, Wake

from mmg_training.data.sessions import UNLABELLED, Dataset, Session
from mmg_training.evaluation.decide import having
from mmg_training.evaluation.engine import HOP_NS, as_chunk
from mmg_training.evaluation.plots import plot_gate
from mmg_training.evaluation.tables import Cell, Table, plus
from mmg_training.task import Task

PIECE_NS = 100_000_000
"""Recordings come to a gate in pieces as short as a port's."""
CONFIDENCES = (0.35, 0.5, 0.65, 0.8, 0.9)
AFTER_S = (0.0, 1.5)
RARELY_S, OFTEN_S = 60.0, 10.0
"""How often a sensor is looked at whatever is decided."""
DEAREST = ("video",)
"""Kinds of sensor that are also tried with looks alone."""
WORTH = 0.01
"""A gate is to cost no more of the accuracy than that."""


@dataclass(frozen=True)
class Trial:
    """What one policy gave: None is that all are awake. awake: the part of the time, of the sensors that may sleep.
    busy_ms: processor time of a hop on this machine."""

    policy: GatePolicy | None
    accuracy: float
    awake: dict[str, float]
    busy_ms: float
    decisions: int


def policies(manifest: Manifest, names: Sequence[str]) -> list[GatePolicy]:
    """What is tried, of these sensors: the first one watches, the others are woken in their order."""
    watch, *sleepers = names
    each = []
    for place, name in enumerate(sleepers):
        is_dear = manifest.modality(name).kind in DEAREST
        looks = [Wake(look_s=often) for often in (OFTEN_S, RARELY_S)] if is_dear else []
        # Of several sensors the product of all would take hours: the first to wake has one measure, the others another.
        afters = AFTER_S if len(sleepers) == 1 else AFTER_S[min(place, 1) :][:1]
        below = CONFIDENCES if place == 0 else CONFIDENCES[:2]
        each.append(looks + [Wake(confidence=one, after_s=after, look_s=RARELY_S) for one in below for after in afters])
    return [GatePolicy(watch=(watch,), wake=dict(zip(sleepers, wakes, strict=True))) for wakes in product(*each)]


def measure_gate(
    bundle: Bundle, task: Task, sessions: Sequence[Session], names: Sequence[str], policy: GatePolicy | None
) -> Trial:
    """Every hop of the sessions, or each clip at its end, as the device would decide it with this gate."""
    right = count = busy_ns = hops = 0
    sleepers = list(names[1:])
    awake_s, whole_s = dict.fromkeys(sleepers, 0.0), 0.0
    for session in sessions:
        engine = Engine(bundle, names)
        gating = open_gating(Settings(gate=policy), bundle.manifest, engine, 0, lambda _: None)
        truth = session.cut(task, 0, session.hops)[1]
        end_ns = session.hops * HOP_NS
        for chunk, now_ns in _pieces(task, session, names, end_ns):
            begin_ns = time.thread_time_ns()
            admitted = gating.admit(chunk) if gating and chunk else chunk
            made = [*(engine.push(admitted) if admitted else ()), *engine.advance(now_ns)]
            made = gating.follow(made, min(now_ns, end_ns)) if gating else made
            busy_ns += time.thread_time_ns() - begin_ns
            for decision in made:
                if truth[decision.hop] == UNLABELLED or (task.clips and decision.hop < session.hops - 1):
                    continue
                scores = {label: score for label, score in decision.scores.items() if label != UNKNOWN}
                right += max(scores, key=scores.__getitem__) == task.labels[truth[decision.hop]]
        counted_hops = truth[-1:] if task.clips else truth
        count += int((counted_hops != UNLABELLED).sum())
        hops += session.hops
        seconds = session.hops * HOP_NS / 1e9
        whole_s += seconds
        for name, part in (gating.share_awake() if gating else dict.fromkeys(sleepers, 1.0)).items():
            awake_s[name] += part * seconds
    return Trial(
        policy,
        right / max(count, 1),
        {name: one / max(whole_s, 1e-9) for name, one in awake_s.items()},
        busy_ns / 1e6 / max(hops, 1),
        count,
    )


def _pieces(task: Task, session: Session, names: Sequence[str], end_ns: int) -> Iterator[tuple[Chunk | None, int]]:
    """The session's samples as ports would bring them, each with the time that it is then; and last the end."""
    cut = [list(_cut(as_chunk(task, session, name))) for name in names]
    for chunk in merge(*cut, key=lambda one: int(one.times_ns[0])):
        yield chunk, int(chunk.times_ns[0])
    yield None, end_ns + round(DEFAULT_GRACE_S * 1e9)


def _cut(chunk: Chunk) -> Iterator[Chunk]:
    edges = np.arange(PIECE_NS, int(chunk.times_ns[-1]) + 1, PIECE_NS)
    places = [0, *np.searchsorted(chunk.times_ns, edges).tolist(), len(chunk.times_ns)]
    for begin, end in pairwise(places):
        if end > begin:
            yield replace(chunk, samples=chunk.samples[begin:end], times_ns=chunk.times_ns[begin:end])


def choose(manifest: Manifest, names: Sequence[str], trials: Sequence[Trial]) -> Trial:
    """The one that draws least, by the estimate, of those that lose at most ``WORTH`` against all being awake; the
    most accurate where none does. trials: the first is that of all awake."""
    full, *others = trials
    good = [one for one in others if one.accuracy >= full.accuracy - WORTH]
    if not good:
        return max(others, key=lambda one: one.accuracy)
    return min(good, key=lambda one: trial_mw(manifest, names, one))


def trial_mw(manifest: Manifest, names: Sequence[str], trial: Trial) -> float:
    """An estimate, see ``mmg.board.profiling.estimate``."""
    return estimated_mw(manifest, {name: trial.awake.get(name, 1.0) for name in names})


def front(manifest: Manifest, names: Sequence[str], trials: Sequence[Trial]) -> list[Trial]:
    """Those that none beats in both accuracy and estimated power, the leanest first."""
    found: list[Trial] = []
    for one in sorted(trials, key=lambda trial: (trial_mw(manifest, names, trial), -trial.accuracy)):
        if not found or one.accuracy > found[-1].accuracy:
            found.append(one)
    return found


@dataclass(frozen=True)
class Learnt:
    """policy: what is to be shipped. chosen: what was learnt, on those it was not learnt on. trials: every policy on
    all who are measured, the first with all awake."""

    policy: GatePolicy
    chosen: Trial
    trials: tuple[Trial, ...]
    told: str


def learn(bundle: Bundle, dataset: Dataset, report: Reporter) -> Learnt:
    """Thresholds are learnt on some people and measured on others, of none of whom anything is in training. Raises
    ConfigError where there are none."""
    task, manifest = dataset.task, bundle.manifest
    names = tuple(one.name for one in manifest.modalities if one.name in task.modalities)
    if len(names) < 2:
        raise ConfigError(f"--gate: a gate needs two sensors, and there is only {plus(names)}")
    test, apart = having(dataset.test, names), having(dataset.calibration, names)
    people = sorted({one.subject for one in test})
    if not test or not (apart or len(people) > 1):
        raise ConfigError("--gate: thresholds are learnt on some people and measured on others: hold out at least two")
    tried: list[GatePolicy | None] = [None, *policies(manifest, names)]

    def try_all(sessions: Sequence[Session], where: str) -> list[Trial]:
        return [
            measure_gate(bundle, task, sessions, names, policy)
            for policy in counted(report, f"policies tried on {where}", tried, len(tried), "policies")
        ]

    if apart:
        policy = choose(manifest, names, try_all(apart, "people to learn on")).policy
        trials = try_all(test, "people to measure")
        chosen = next(one for one in trials if one.policy == policy)
        told = "The policy was learnt on people who are neither trained on nor measured here."
    else:
        each = {person: try_all([one for one in test if one.subject == person], str(person)) for person in people}
        trials = [_together([each[person][place] for person in people]) for place in range(len(tried))]
        kept = []
        for person in people:
            others = [_together([each[one][place] for one in people if one != person]) for place in range(len(tried))]
            found = choose(manifest, names, others).policy
            kept.append(next(one for one in each[person] if one.policy == found))
        chosen, policy = _together(kept), choose(manifest, names, trials).policy
        told = "The chosen policy was learnt for each person on the others; the one that is written, on all of them."
    assert policy is not None
    return Learnt(policy, chosen, tuple(trials), told)


def _together(trials: Sequence[Trial]) -> Trial:
    weights = [one.decisions for one in trials]

    def mean(of: Callable[[Trial], float]) -> float:
        return float(np.average([of(one) for one in trials], weights=weights))

    awake = {name: mean(lambda one, name=name: one.awake[name]) for name in trials[0].awake}  # type: ignore[misc]
    return Trial(trials[0].policy, mean(lambda one: one.accuracy), awake, mean(lambda one: one.busy_ms), sum(weights))


def gate_of(manifest: Manifest, names: Sequence[str], learnt: Learnt) -> Gate:
    """For the manifest: the policy, what it gave, and the curve."""
    full = learnt.trials[0]
    curve = tuple(_point(one) for one in (*(one for one in front(manifest, names, learnt.trials) if one != full), full))
    return Gate(policy=learnt.policy, chosen=_point(learnt.chosen, "as learnt"), curve=curve)


def _point(trial: Trial, name: str = "") -> GatePoint:
    return GatePoint(
        policy=name or describe(trial.policy),
        awake={sensor: round(part, 4) for sensor, part in trial.awake.items()},
        accuracy=round(trial.accuracy, 4),
    )


def describe(policy: GatePolicy | None) -> str:
    """In a few words."""
    if policy is None:
        return "all awake"
    return "; ".join(f"{name} {_describe(wake)}" for name, wake in policy.wake.items())


def _describe(wake: Wake) -> str:
    if wake.confidence is None:
        return f"every {wake.look_s:g} s"
    return f"below {wake.confidence:g}" + (f" for {wake.after_s:g} s" if wake.after_s else "")


def gate_table(bundle: Bundle, dataset: Dataset, learnt: Learnt, notes: Sequence[str]) -> Table:
    """The chosen policy and the curve: those policies that no other beats in both accuracy and estimated power."""
    manifest = bundle.manifest
    names = tuple(one.name for one in manifest.modalities if one.name in dataset.task.modalities)
    full = learnt.trials[0]
    shown = [("as learnt", learnt.chosen), ("all awake", full)]
    shown += [(describe(one.policy), one) for one in front(manifest, names, learnt.trials) if one.policy is not None]
    rows: list[tuple[Cell, ...]] = []
    for name, one in shown:
        mw, awake = trial_mw(manifest, names, one), (f"{one.awake[sensor]:.1%}" for sensor in names[1:])
        rows.append((name, one.accuracy, one.accuracy - full.accuracy, *awake, f"{one.busy_ms:.2f}", f"{mw:.2f}"))
    head = (
        "wakes",
        "accuracy",
        "to all awake",
        *(f"{sensor} awake" for sensor in names[1:]),
        "processor, ms a hop",
        "mW (estimate)",
    )
    told = (
        *notes,
        f"{names[0]} watches; {full.decisions} decisions. {learnt.told} Below it: the policies that none beats in both "
        "accuracy and estimated power. Power: 4.6 pJ a multiply-accumulate, 80 pJ a byte moved, camera 35 mW, IMU 1.2, "
        "microphone 0.3: an estimate, no board was measured. Processor: the engine's thread on this machine.",
    )
    return Table("gate", "What a gate saves", head, tuple(rows), dataset.kind, told)


def write_gated(path: Path, bundle: Bundle, learnt: Learnt, task: Task) -> None:
    """Write the policy: as lines of a device profile where path ends in .toml, else the bundle with it in its manifest.

    Raises BundleError, ConfigError.
    """
    if path.suffix == ".toml":
        path.write_text(as_toml(learnt), encoding="utf-8")
        return
    manifest = bundle.manifest
    names = tuple(one.name for one in manifest.modalities if one.name in task.modalities)
    files = {file.path: bundle.read(file) for file in manifest.stored()}
    if card := bundle.read_card():
        files[CARD] = card
    write_bundle(path, msgspec.structs.replace(manifest, gate=gate_of(manifest, names, learnt)), files)


def plot_learnt(path: Path, manifest: Manifest, learnt: Learnt, title: str) -> None:
    """Every policy that was tried, at its estimated power and its accuracy."""
    names = (*learnt.policy.watch, *learnt.policy.wake)

    def place(one: Trial) -> tuple[float, float]:
        return trial_mw(manifest, names, one), one.accuracy

    marked = {"all awake": place(learnt.trials[0]), "as learnt": place(learnt.chosen)}
    plot_gate(path, [place(one) for one in learnt.trials], marked, f"{title}: what a gate saves")


def as_toml(learnt: Learnt) -> str:
    """The policy as lines of a device profile."""
    watch = ", ".join(f'"{name}"' for name in learnt.policy.watch)
    lines = ["[gate]", f"watch = [{watch}]"]
    for name, wake in learnt.policy.wake.items():
        lines += ["", f"[gate.wake.{name}]"]
        keys = ("confidence", "after_s", "hold_s", "look_s")
        lines += [f"{key} = {value:g}" for key in keys if (value := getattr(wake, key)) is not None]
    return "\n".join(lines) + "\n"
