"""The first table: every subset of the modalities, calibrated on some sessions and measured on others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import torch

from mmg_training.data.sessions import Dataset, NamedTest, Session
from mmg_training.evaluation.decide import Decisions, decide, decide_each, having, shared, subjects_of
from mmg_training.evaluation.scores import accuracy, calibration_error, fit_temperature, interval, macro_f1, recall
from mmg_training.evaluation.tables import Cell, Table, plus
from mmg_training.metrics import ExtraScore, SubsetScore
from mmg_training.models.multimodal import MultimodalModel
from mmg_training.task import Task

MOST_HOPS = 1500
"""Of one set among those that calibrate: a large one does not outvote the others."""
Subset = tuple[str, ...]
Decider = Callable[[Sequence[Session], Sequence[Subset]], dict[Subset, Decisions]]


def by_model(model: MultimodalModel) -> Decider:
    """Decides with a checkpoint's model, from each of some subsets, in the sessions that have it: those whose label is
    known."""

    def decide_subsets(sessions: Sequence[Session], subsets: Sequence[Subset]) -> dict[Subset, Decisions]:
        alike: dict[tuple[int, ...], list[Subset]] = {}
        for names in subsets:
            which = tuple(number for number, one in enumerate(sessions) if set(names) <= set(one.samples))
            alike.setdefault(which, []).append(names)
        made: dict[Subset, Decisions] = {}
        for which, some in alike.items():
            decided = decide_each(model, [sessions[number] for number in which], [(names, None) for names in some])
            made.update((names, one.known()) for names, one in zip(some, decided, strict=True))
        return {names: made[names] for names in subsets}

    return decide_subsets


def measurable(task: Task, sessions: Sequence[Session]) -> tuple[Subset, ...]:
    """The task's subsets of which one of these sessions has all modalities, and a label."""
    return tuple(
        names for names in task.subsets() if any((one.labels[1::2] >= 0).any() for one in having(sessions, names))
    )


def score_subsets(
    model: MultimodalModel, calibration: Sequence[Sequence[Session]], test: Sequence[Session]
) -> tuple[SubsetScore, ...]:
    """For each subset that the test sessions have: the temperature from the sets of ``calibration`` (1 where these lack
    the subset), everything else from ``test``."""
    scores, subsets, decider = [], measurable(model.task, test), by_model(model)
    temperatures = fit_temperatures(decider, model.task, calibration, subsets)
    for names, made in (decider(test, subsets) if subsets else {}).items():
        temperature, logits, labels = temperatures.get(names, 1.0), made.logits, made.labels
        scores.append(
            SubsetScore(
                modalities=names,
                temperature=temperature,
                accuracy=accuracy(logits, labels),
                macro_f1=macro_f1(logits, labels),
                ece=calibration_error(torch.softmax(logits / temperature, dim=1), labels),
                samples=len(labels),
                recall=recall(logits, labels, model.task.labels),
            )
        )
    return tuple(scores)


def score_extra(model: MultimodalModel, test: NamedTest, temperatures: dict[tuple[str, ...], float]) -> ExtraScore:
    """One named test, from the modalities that all of its sessions have."""
    names = shared(model.task, test.sessions)
    decided = decide(model, test.sessions, names).known()
    made, choices = in_groups(model.task, test, decided, temperatures.get(names, 1.0))
    return ExtraScore(
        name=test.name,
        kind=test.kind,
        modalities=names,
        accuracy=accuracy(made.logits, made.labels),
        ece=calibration_error(torch.softmax(made.logits, dim=1), made.labels),
        samples=len(made.labels),
        recall=recall(made.logits, made.labels, choices),
    )


def in_groups(task: Task, test: NamedTest, made: Decisions, temperature: float) -> tuple[Decisions, tuple[str, ...]]:
    """Decisions with calibrated logits, and the names that they choose from: the task's labels, or the test's groups,
    whose logits are those of the summed probabilities of their labels."""
    logits = made.logits / temperature
    if not test.groups:
        return replace(made, logits=logits), task.labels
    members = [[task.labels.index(name) for name in group] for group in test.groups.values()]
    group_of = {label: number for number, group in enumerate(members) for label in group}
    return replace(
        made,
        logits=torch.stack([torch.logsumexp(logits[:, group], dim=1) for group in members], dim=1),
        labels=torch.tensor([group_of[label] for label in made.labels.tolist()]),
    ), tuple(test.groups)


def calibrating(data: Dataset) -> list[Sequence[Session]]:
    """The sets that temperatures, and what is none of the labels, are fitted on."""
    return [data.calibration, *(test.sessions for test in data.known)]


def fit_temperatures(
    decider: Decider, task: Task, calibration: Sequence[Sequence[Session]], subsets: Sequence[Subset]
) -> dict[Subset, float]:
    """The temperature of each subset that some calibration sessions have; at most ``MOST_HOPS`` hops of each set count,
    so that a large one does not outvote the others."""
    made: dict[Subset, list[Decisions]] = {}
    for sessions in calibration:
        possible = measurable(task, sessions)
        if chosen := [names for names in subsets if names in possible]:
            for names, one in decider(sessions, chosen).items():
                made.setdefault(names, []).append(one)
    return {names: fit_temperature(*_thinned(parts)) for names, parts in made.items()}


def unfitted(fitted: Collection[Subset], subsets: Sequence[Subset]) -> str:
    """The subsets, in words, that nobody of the calibration has, where it has others; else empty."""
    return ", ".join(plus(names) for names in subsets if names not in fitted) if fitted else ""


def _thinned(parts: Sequence[Decisions]) -> tuple[torch.Tensor, torch.Tensor]:
    steps = [-(-len(part.labels) // MOST_HOPS) for part in parts]
    logits, labels = (
        torch.cat([values[::step] for values, step in zip(column, steps, strict=True)])
        for column in ([part.logits for part in parts], [part.labels for part in parts])
    )
    return logits, labels


def subset_table(
    task: Task,
    made: Mapping[Subset, Decisions],
    test: Sequence[Session],
    temperatures: Mapping[Subset, float],
    kind: str,
    notes: Sequence[str],
) -> Table:
    """Accuracy with its interval, macro F1 and calibration of every subset; a dash where none of it was decided."""
    rows, methods = list[tuple[Cell, ...]](), set[str]()
    for names in task.subsets():
        if names not in made:
            rows.append((plus(names), None, None, None, None, None))
            continue
        figures, method = _row(task, made[names], having(test, names), temperatures.get(names, 1.0))
        methods.add(method)
        rows.append((plus(names), *figures))
    head = ("modalities", "accuracy", "95 % interval", "macro F1", "ECE", "decisions")
    told = (*notes, *(f"Intervals: {method}." for method in sorted(methods)))
    return Table("subsets", "Every subset of the modalities", head, tuple(rows), kind, told)


def extra_table(
    task: Task,
    decider: Decider,
    tests: Sequence[NamedTest],
    temperatures: Mapping[Subset, float],
    notes: Sequence[str],
) -> Table:
    """Each named test, from the modalities that all of its sessions have, with what kind of data it is."""
    rows, methods = list[tuple[Cell, ...]](), set[str]()
    for test in tests:
        names = shared(task, test.sessions)
        made, _ = in_groups(task, test, decider(test.sessions, [names])[names], temperatures.get(names, 1.0))
        figures, method = _row(task, made, test.sessions, 1.0)
        methods.add(method)
        rows.append((test.name, test.kind, plus(names), *figures))
    head = ("test", "data", "modalities", "accuracy", "95 % interval", "macro F1", "ECE", "decisions")
    told = (*notes, *(f"Intervals: {method}." for method in sorted(methods)))
    kinds = ", ".join(dict.fromkeys(test.kind for test in tests))
    return Table("extra", "Further tests", head, tuple(rows), kinds, told)


def zeroshot_table(
    task: Task,
    made: Mapping[Subset, Decisions],
    test: Sequence[Session],
    labelled: Sequence[str],
    kind: str,
    notes: Sequence[str],
) -> Table:
    """Subsets by whether training used the labels of none, of some or of all of their modalities."""
    rows: list[tuple[Cell, ...]] = []
    for names, decisions in made.items():
        known = sum(name in labelled for name in names)
        used = "never (zero-shot)" if not known else "all" if known == len(names) else "of a part"
        (right, limits, *_), _ = _row(task, decisions, having(test, names), 1.0)
        rows.append((plus(names), used, right, limits))
    head = ("modalities", "their labels used", "accuracy", "95 % interval")
    chance = f"Labels of {plus(labelled)} only were used in training. Chance is {1 / len(task.labels):.3f}."
    return Table("zeroshot", "Cross-modal zero-shot", head, tuple(rows), kind, (*notes, chance))


def _row(task: Task, made: Decisions, sessions: Sequence[Session], temperature: float) -> tuple[tuple[Cell, ...], str]:
    people = subjects_of(task, sessions)
    right = (made.logits.argmax(1) == made.labels).numpy()
    limits = interval(right, people)
    calibrated = torch.softmax(made.logits / temperature, dim=1)
    figures: tuple[Cell, ...] = (
        accuracy(made.logits, made.labels),
        f"{limits.low:.3f} to {limits.high:.3f}",
        macro_f1(made.logits, made.labels),
        calibration_error(calibrated, made.labels),
        len(made.labels),
    )
    return figures, limits.method
