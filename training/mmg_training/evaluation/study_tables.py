"""The tables of a study, from the results of its runs: first the mean over folds, then mean and spread over seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from mmg.counts import count_of

from mmg_training.evaluation.fewshot import FewshotConfig, shot_column
from mmg_training.evaluation.late_fusion import late_fusion_of
from mmg_training.evaluation.missing import MISSING_NOTE, column
from mmg_training.evaluation.study import FewshotFigures, Results, Run, Study
from mmg_training.evaluation.tables import Cell, Figure, Table, over_seeds, plus
from mmg_training.metrics import Split
from mmg_training.task import MODALITIES, subsets_of

Subset = tuple[str, ...]
Measure = Callable[[Run, Results], float | None]


@dataclass(frozen=True)
class Outcome:
    """A study's runs and the results of those that are done."""

    study: Study
    runs: Sequence[Run]
    results: Mapping[str, Results]

    @property
    def first(self) -> Results:
        """Any run's results: what data and labels all have."""
        return next(iter(self.results.values()))

    @property
    def modalities(self) -> Subset:
        """Those that any run has: one that was trained with some of them knows no others."""
        return tuple(name for name in MODALITIES if any(name in one.modalities for one in self.results.values()))

    @property
    def subsets(self) -> tuple[Subset, ...]:
        """The non-empty subsets of the modalities, single ones first."""
        return subsets_of(self.modalities)

    def by_seed(self, variant: str, measure: Measure) -> dict[int, float]:
        """seed -> the mean over the folds, of the seeds that have every fold."""
        found: dict[int, list[float | None]] = {}
        for run in self.runs:
            if run.variant == variant:
                done = self.results.get(run.name)
                found.setdefault(run.seed, []).append(None if done is None else measure(run, done))
        whole = {seed: [value for value in values if value is not None] for seed, values in found.items()}
        return {seed: float(np.mean(kept)) for seed, kept in whole.items() if kept and len(kept) == len(found[seed])}

    def figure(self, variant: str, measure: Measure) -> Figure | None:
        """Over the seeds; None where no seed has every fold."""
        values = list(self.by_seed(variant, measure).values())
        return over_seeds(values) if values else None


def all_tables(outcome: Outcome) -> list[Table]:
    """Those for which the study has measured something, and of these the rows."""
    tables = [accuracy_table(outcome), train_test_table(outcome), ablation_table(outcome), zeroshot_table(outcome)]
    tables += [fewshot_table(outcome), missing_table(outcome)]
    return [table for table in tables if table.rows]


def accuracy_table(outcome: Outcome) -> Table:
    """Accuracy of each variant on each subset, and of late fusion."""
    rows: list[tuple[Cell, ...]] = [
        (name, *(outcome.figure(name, accuracy_of(subset)) for subset in outcome.subsets))
        for name in outcome.study.variants
    ]
    if late := outcome.study.config.late_fusion:
        fused = (outcome.figure(late[0], fused_of(outcome, subset)) for subset in outcome.subsets)
        rows.append((f"late fusion of {plus(late)}", *fused))
    return _table(outcome, "accuracy", "Accuracy on each subset", ("variant", *_heads(outcome)), rows)


def train_test_table(outcome: Outcome) -> Table:
    """Modalities trained with against modalities tested on."""
    rows: list[tuple[Cell, ...]] = []
    for name in outcome.study.config.train_subsets:
        trained = next(run.config.data.modalities for run in outcome.runs if run.variant == name)
        cells = (outcome.figure(name, accuracy_of(subset)) for subset in outcome.subsets)
        rows.append((plus(trained or outcome.modalities), *cells))
    head = ("trained with", *_heads(outcome))
    note = "A dash: a modality that was never trained, so chance."
    return _table(outcome, "train_test", "Trained with, tested on", head, rows, note)


def ablation_table(outcome: Outcome) -> Table:
    """What each ablation loses or gains, seed by seed against the full variant."""
    full, rows = outcome.study.config.full, list[tuple[Cell, ...]]()
    for name in outcome.study.config.ablations:
        cells = [difference(outcome, name, full, accuracy_of(subset)) for subset in outcome.subsets]
        rows.append((name, *cells, difference(outcome, name, full, mean_accuracy(outcome))))
    head = ("ablation", *_heads(outcome), "mean of all subsets")
    note = f"Differences in accuracy to {full}; less than zero is worse."
    return _table(outcome, "ablations", "Ablations", head, rows, note)


def difference(outcome: Outcome, variant: str, full: str, measure: Measure) -> Figure | None:
    """The mean difference to the full variant over the seeds that both have."""
    ours, theirs = outcome.by_seed(variant, measure), outcome.by_seed(full, measure)
    both = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
    return over_seeds(both) if both else None


def zeroshot_table(outcome: Outcome) -> Table:
    """Variants that used labels of some modalities only, on those whose labels they never used."""
    rows: list[tuple[Cell, ...]] = []
    for name in outcome.study.variants:
        labelled = _labelled(outcome, name)
        if not labelled or set(labelled) == set(outcome.modalities):
            continue
        for subset in outcome.subsets:
            if (accuracy := outcome.figure(name, accuracy_of(subset))) is None:
                continue
            known = sum(one in labelled for one in subset)
            used = "never (zero-shot)" if not known else "all" if known == len(subset) else "of a part"
            full = outcome.study.config.full
            reference = outcome.figure(full, accuracy_of(subset)) if full else None
            rows.append((name, plus(subset), used, accuracy, reference))
    head = ("variant", "tested on", "their labels used", "accuracy", "all labels used")
    note = f"Chance is {1 / outcome.first.labels:.3f}."
    return _table(outcome, "zeroshot", "Cross-modal zero-shot", head, rows, note)


def fewshot_table(outcome: Outcome) -> Table:
    """Each variant's pairs of support and query, then the means of the same and of the crossed ones."""
    settings, rows = outcome.study.config.evaluate.fewshot, list[tuple[Cell, ...]]()
    for name in outcome.study.variants:
        found = next((outcome.results[r.name].fewshot for r in outcome.runs if _has_fewshot(outcome, r, name)), ())
        pairs = list(dict.fromkeys((score.support, score.query) for score in found))
        for support, query in pairs:
            cells = (outcome.figure(name, _fewshot_of(shots, _is(support, query))) for shots in settings.shots)
            rows.append((name, plus(support), plus(query), "same" if support == query else "crossed", *cells))
        for kind in ("same", "crossed") if len(pairs) > 1 else ():
            cells = (outcome.figure(name, _fewshot_of(shots, _of_kind(kind))) for shots in settings.shots)
            rows.append((name, "one", "the same one" if kind == "same" else "another", f"mean, {kind}", *cells))
    head = ("variant", "support", "query", "modalities", *(shot_column(shots) for shots in settings.shots))
    notes = (_episodes_note(outcome, settings), *_over_folds(outcome, lambda split: split.episodes))
    return _table(outcome, "fewshot", f"Few-shot, {settings.ways} ways", head, rows, *notes)


def _episodes_note(outcome: Outcome, settings: FewshotConfig) -> str:
    """What the episodes are, how sure their mean is, and how many keep people apart."""
    scores = [score for results in outcome.results.values() for score in results.fewshot]
    apart = ", ".join(
        f"{min((score.apart for score in scores if score.shots == shots), default=1):.0%} at {shot_column(shots)}"
        for shots in settings.shots
    )
    halves = [score.half for score in scores if score.half is not None]
    within = f" A run's 95 % interval over its episodes is at most ± {max(halves):.3f}." if halves else ""
    return (
        f"{settings.episodes} episodes of {settings.ways} ways in each fold, drawn with seed {settings.seed}; score: "
        f"{settings.score}. Chance is {1 / settings.ways:.3f}.{within} Support and query of different people in at "
        f"least {apart} of the episodes."
    )


def missing_table(outcome: Outcome) -> Table:
    """The full variant's, or else the first one's, accuracy at each rate."""
    name = outcome.study.config.full or next(iter(outcome.study.variants))
    curves = missing_curves(outcome, name)
    rates = outcome.first.rates
    rows: list[tuple[Cell, ...]] = [
        (f"{rate:.0%}", *(row[place] for row in curves.values())) for place, rate in enumerate(rates) if curves
    ]
    head = ("missing", *map(column, curves))
    return _table(outcome, "missing", f"Accuracy by the share of missing hops: {name}", head, rows, MISSING_NOTE)


def missing_curves(outcome: Outcome, variant: str) -> dict[str, list[Figure | None]]:
    """For each modality and for all: the accuracy at each rate."""
    some = next(
        (outcome.results[r.name] for r in outcome.runs if r.variant == variant and r.name in outcome.results), None
    )
    if some is None:
        return {}
    return {
        key: [outcome.figure(variant, missing_at(key, place)) for place in range(len(some.rates))]
        for key in some.missing
    }


def missing_at(key: str, place: int) -> Measure:
    """A run's accuracy where the modality ``key`` misses at the rate number ``place``."""
    return lambda _, results: results.missing[key][place] if key in results.missing else None


def accuracy_of(subset: Subset) -> Measure:
    """A run's accuracy on a subset; None where it never trained with it."""
    return lambda _, results: next((f.accuracy for f in results.subsets if f.modalities == subset), None)


def fused_of(outcome: Outcome, subset: Subset) -> Measure:
    """The accuracy of late fusion in a run's fold with its seed."""
    done = [run for run in outcome.runs if run.name in outcome.results]
    return lambda run, _: late_fusion_of(done, outcome.study.config.late_fusion, run, subset)


def mean_accuracy(outcome: Outcome) -> Measure:
    """The mean over all subsets; None where one is missing."""
    wanted = len(outcome.subsets)
    return lambda _, results: (
        float(np.mean([f.accuracy for f in results.subsets])) if len(results.subsets) == wanted else None
    )


def _table(
    outcome: Outcome, name: str, title: str, head: tuple[str, ...], rows: Sequence[tuple[Cell, ...]], *told: str
) -> Table:
    seeds, folds = len(outcome.study.config.seeds), len(outcome.study.folds)
    over = count_of(seeds, "seed") + (f", each the mean of {folds} folds" if folds > 1 else "")
    done = (
        f" {len(outcome.results)} of {len(outcome.runs)} runs are done."
        if len(outcome.results) < len(outcome.runs)
        else ""
    )
    means = f"Means over {over}; ± is the standard deviation over the seeds.{done}"
    notes = (means, *_split_notes(outcome, name), *told)
    measured = tuple(row for row in rows if any(cell is not None for cell in row[1:]))
    return Table(name, title, head, measured, outcome.first.kind, notes)


def _split_notes(outcome: Outcome, table: str) -> tuple[str, ...]:
    """Who was trained on, and what the figures are of: the test, or for few-shot the people of the episodes."""
    trained = _over_folds(outcome, lambda split: f"Trained on: {split.training or 'nobody'}.")
    return trained if table == "fewshot" else (*trained, *_over_folds(outcome, lambda split: split.measured))


def _over_folds(outcome: Outcome, told: Callable[[Split], str]) -> tuple[str, ...]:
    """What is told of the runs' parts: once where all are alike, else for each fold."""
    by_fold: dict[str, dict[str, None]] = {}
    for run in outcome.runs:
        done = outcome.results.get(run.name)
        if done is not None and done.split is not None and (sentence := told(done.split)):
            by_fold.setdefault(run.fold, {})[sentence] = None
    alike = dict.fromkeys(sentence for sentences in by_fold.values() for sentence in sentences)
    if len(alike) < 2:
        return tuple(alike)
    told_of = [(fold, sentence) for fold, sentences in by_fold.items() for sentence in sentences]
    return tuple(f"{fold}: {sentence}" if fold else sentence for fold, sentence in told_of)


def _heads(outcome: Outcome) -> list[str]:
    return [plus(subset) for subset in outcome.subsets]


def _labelled(outcome: Outcome, variant: str) -> tuple[str, ...]:
    return next((run.config.data.labelled for run in outcome.runs if run.variant == variant), ())


def _has_fewshot(outcome: Outcome, run: Run, variant: str) -> bool:
    return run.variant == variant and run.name in outcome.results and bool(outcome.results[run.name].fewshot)


def _is(support: Subset, query: Subset) -> Callable[[FewshotFigures], bool]:
    return lambda score: (score.support, score.query) == (support, query)


def _of_kind(kind: str) -> Callable[[FewshotFigures], bool]:
    # Of single modalities: the full set is a row of its own.
    return lambda score: len(score.support) == 1 and (score.support == score.query) == (kind == "same")


def _fewshot_of(shots: int, wanted: Callable[[FewshotFigures], bool]) -> Measure:
    def measure(_: Run, results: Results) -> float | None:
        found = [score.accuracy for score in results.fewshot if score.shots == shots and wanted(score)]
        return float(np.mean(found)) if found else None

    return measure
